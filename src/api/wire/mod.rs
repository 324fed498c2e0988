//! Wires: the dialects in which clients send requests and read answers.

#[cfg(test)]
pub mod block_encoder;
pub mod channel;
pub mod encoder;
pub mod entry_frames;
pub mod frames;
pub mod measures;
pub mod messages;
pub mod native;
pub mod openai_chat;
pub mod output_piece;
pub mod port;
pub mod responses;
#[cfg(test)]
mod resuming;
pub mod retry;
pub mod retry_headers;
pub mod table;
pub mod ui_stream;

pub use encoder::{BlockIds, Encoder};
pub use frames::Frames;
pub use messages::encoder::MessagesEncoder;
pub use native::encoder::NativeEncoder;
pub use openai_chat::encoder::ChatEncoder;
pub use responses::encoder::ResponsesEncoder;
pub use ui_stream::encoder::UiEncoder;
