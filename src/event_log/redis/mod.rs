//! The event log in Redis or Valkey, shared by all processes that use the same server and prefix.
//!
//! Each generation has a hash (the head), a stream (the entries, a batch for each append) and a sorted set (the
//! processes that have viewers). Every comparison and the change that depends on it are one script in Redis, by its
//! clock. The process that runs the generation owns the log: its lease is moved by every append, and a log whose lease
//! has expired is taken over (`takeover.rs`), or closed by its next reader. Channels have their own scripts and keys (`channels/`).

mod batch;
mod channels;
mod claims;
mod creation;
mod follower;
mod kept_bytes;
mod keys;
mod mirror;
mod mirror_log;
mod orphans;
mod owned;
mod owner_list;
mod redis_chats;
mod redis_logs;
mod redis_writer;
mod replica_viewers;
mod script;
mod store;
mod summary;
mod takeover;
mod writer_calls;

pub use channels::{RedisChannelTerms, RedisChannels, ReplicaChannels};
pub use redis_logs::RedisLogs;
pub use store::{RecoveryMode, RedisTerms};
