//! Wire formats: encode log entries in the format that a kind of client expects.

pub mod channel;
mod format;
pub mod measures;
pub mod native;
pub mod openai_chat;
mod retry;
mod sse_block;

pub use format::WireFormat;
pub use native::Native;
pub use openai_chat::OpenAiChat;
pub use retry::{HEARTBEAT, Retry};
pub use sse_block::SseBlock;
