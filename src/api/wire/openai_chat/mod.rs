//! OpenAI's chat completions.

mod completion;
pub mod encoder;
mod merge;
mod usage;

pub use completion::Completion;
pub use encoder::{BlockIds, ChatEncoder};
pub use usage::usage_json;
