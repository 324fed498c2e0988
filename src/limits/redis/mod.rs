//! The limits in Redis or Valkey, exact over all processes that use the same server and prefix.
//!
//! Each decision is one script, by the server's clock. All keys of the limits of a deployment share one hash tag, so
//! that one script checks every rate and every slot of an admission. The queue is that of this process: a message tells
//! the processes that a slot is free, and each then tries its next generations.

mod keys;
mod rate_list;
mod redis_limits;
mod replica_slots;
mod reservations;
mod script;
mod slot_service;
mod unanswered;

pub use redis_limits::{RedisLimitTerms, RedisLimits};
