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
mod following;
mod running;
mod service;
mod snapshot;
mod storage;
mod task;

pub use crate::upstream::Model;
pub use audience::{OnDisconnect, Viewer};
pub use following::{Following, LogLost};
pub use service::{FollowError, Generations, Limits, NewGeneration, StartError, Started};
pub use snapshot::{ChoiceSnapshot, Snapshot, Status, ToolCall};
pub use storage::Storage;
