//! JSON text, without its meaning.
//!
//! JSON of upstreams is parsed leniently into a [`Tree`], kept as received, and written as JSON that every parser
//! accepts. JSON of callers is parsed strictly into a [`JsonObject`], whose members are forwarded byte for byte. No
//! I/O, no HTTP, no other module.

mod check;
mod object;
mod parse;
mod request_object;
mod surrogates;
mod tokens;
mod tree;

pub use check::{JsonCheck, WholeJson};
pub use object::Object;
pub use parse::Unreadable;
pub use request_object::{InvalidObject, JsonObject, JsonText, MOST_MEMBERS, write_members};
pub use surrogates::{REPLACEMENT, trailing_high_half, well_formed};
pub use tokens::{Token, Tokens, unescape};
pub use tree::{RawText, Tree};
