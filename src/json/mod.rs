//! JSON text without meaning.
//!
//! What upstreams write is read leniently into a [`Tree`], kept as it came and written for every reader. What callers write
//! is read strictly into a [`JsonObject`], whose members go on byte for byte. No I/O, no HTTP, no other room.

mod object;
mod parse;
mod request_object;
mod surrogates;
mod tokens;
mod tree;

pub use object::Object;
pub use parse::Unreadable;
pub use request_object::{InvalidObject, JsonObject, JsonText, MOST_MEMBERS, write_members};
pub use surrogates::{REPLACEMENT, trailing_high_half, well_formed};
pub use tokens::{Token, Tokens, unescape};
pub use tree::{RawText, Tree};
