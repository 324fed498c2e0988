//! A generation: one answer of one model, which outlives the connection that requested it.
//!
//! ```text
//!             start                    answer complete
//!   (nothing) ─────▶ running ───────────────────────────────▶ done
//!                       ├── cancel, DELETE, no viewer
//!                       │   for the grace ─────────────────▶ cancelled
//!                       └── upstream fault, deadline, limit,
//!                           shutdown, internal error ────────▶ failed
//! ```
//!
//! Every ending is one terminal entry in the log; the first one that is appended ends the generation. In this process
//! only the generation's task appends it: others ask the task, which drops the upstream connection and then appends. A
//! task that is dropped appends in its destructor.

mod admission;
mod answer_text;
mod assembly;
mod attempt_failure;
mod attempts;
mod audience;
mod chat_end;
mod chats;
mod embedding;
mod end_report;
mod ending;
#[cfg(test)]
pub mod fixture;
mod following;
mod listing;
mod log_text;
mod prompt_count;
mod reading;
mod recorded_request;
mod recovery;
mod registry;
mod relay;
mod repeats;
mod running;
mod service;
mod start;
mod state;
mod stopping;
mod storage;
mod subject;
mod tally;
mod task;
mod tokens;
mod withdrawn;

pub use crate::event_log::{ChatGeneration, ChatState, CreateError};
pub use crate::upstream::{
    AnswerRoom, BreakerState, Delivery, KeyStatus, ListedModel, ListedModels, ModelStatus, NoRoomError, UpstreamStatus,
};
pub use attempt_failure::UpstreamMessages;
pub use audience::OnDisconnect;
pub use embedding::{AdmittedEmbedding, NewEmbedding};
pub use following::{FollowError, Following};
pub use listing::{GenerationPage, Summary};
pub use log_text::{LogLost, LogTexts, TextSpan};
pub use service::{Generations, Terms};
pub use start::{NewGeneration, Origin, StartError, StartedGeneration};
pub use state::{ChoiceOutline, GenerationState, Outline, Status, ToolCallOutline};
pub use storage::Storage;
pub use task::RequestMemory;
