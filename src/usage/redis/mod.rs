//! The sums of all replicas, in Redis or Valkey.
//!
//! A row is one field of one hash, so that reading and expiring them is one step. Each replica adds what it has settled
//! once a second.

mod keys;
mod script;
mod shared_sums;
mod stored_row;

pub use shared_sums::{SharedSums, SumsUnavailable};
