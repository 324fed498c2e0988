//! JSON as upstreams write it: read leniently, kept as it came, written for every reader.
//!
//! No I/O and no vocabulary of ours.

mod object;
mod parse;
mod surrogates;
mod tree;

pub use object::Object;
pub use parse::Unreadable;
pub use surrogates::{REPLACEMENT, trailing_high_half, well_formed};
pub use tree::{RawText, Tree};
