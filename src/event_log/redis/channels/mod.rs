//! Channels in Redis or Valkey: logs and rosters that all processes with the same server and prefix share.
//!
//! ```text
//! replica_channels  the channels of one process: shared ones, and its own built-in ones
//! redis_channels    all shared channels
//! redis_channel     the log of one channel, as appenders and readers see it
//! redis_roster      the subscribers of channels
//! members_here      the subscribers of this process, whose leases it extends
//! channel_copy      this process's copy of a log, with one read of Redis at a time
//! channel_follower  keeps a copy up to date
//! channel_page      what one read of Redis returns
//! channel_store     what all of these need: the client, the terms, the calls
//! stored_event      the stored form of an event
//! channel_script    the scripts: each comparison and the change that depends on it are one step
//! channel_keys      the names of the keys
//! ```
//!
//! Each channel has a hash (the head), a stream of its kept events, a stream of its ephemeral events, and its roster.
//! Every script removes what is no longer kept, by the clock of Redis, so all processes agree on it.

mod channel_copy;
mod channel_follower;
mod channel_keys;
mod channel_page;
mod channel_script;
mod channel_store;
mod members_here;
mod redis_channel;
mod redis_channels;
mod redis_roster;
mod replica_channels;
mod stored_event;

pub use channel_store::RedisChannelTerms;
pub use redis_channels::RedisChannels;
pub use replica_channels::ReplicaChannels;
