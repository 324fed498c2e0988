//! A generation: one answer of one model, which outlives the connection that asked for it.
//!
//! ```text
//!             start                    the model's end
//!   (nothing) ─────▶ running ───────────────────────────────▶ done
//!                       ├── cancel, DELETE, last viewer gone ▶ cancelled
//!                       └── upstream fault, deadline, limit,
//!                           shutdown, defect of ours ────────▶ failed
//! ```
//!
//! Every ending is one terminal entry in the log. Whoever appends it first has ended the generation;
//! the task that carries the model's answer learns it from the log and drops the upstream connection.

mod audience;
mod running;
mod service;
mod snapshot;
mod task;

pub use audience::{OnDisconnect, Viewer};
pub use service::{FollowError, Following, Generations, Limits, LogLost, NewGeneration, StartError, Started};
pub use snapshot::{ChoiceSnapshot, Snapshot, Status, ToolCall};
