//! JSON text without meaning: objects and tokens, kept as they were written.
//!
//! No I/O, no HTTP, no other room.

mod request_object;
mod tokens;

pub use request_object::{InvalidObject, JsonObject, MOST_MEMBERS, write_members};
pub use tokens::{Token, Tokens, unescape};
