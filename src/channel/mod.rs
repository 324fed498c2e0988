//! Channels: named logs that applications write and subscribers read.
//!
//! ```text
//! service        publish, subscribe, inspect
//! carrier        copies a generation's answer into a channel
//! roster         a subscriber's entry in the roster of its channel
//! subscription   one subscriber's stream: the events for it, and the gaps
//! built_in       the channels that the service itself writes
//! ```
//!
//! A channel is created when it is first used, and removed when it holds nothing and has no subscriber. Subscribers
//! follow its log as viewers follow a generation's: they are woken when the tail has moved, and always read from the
//! log. The roster and the log of a channel are behind ports (`event_log`), so every call may take time: a call that joins
//! or leaves is completed even if its caller is gone, and no other call delays the end of the service.

mod built_in;
mod carrier;
mod roster;
mod service;
mod subscription;

pub use service::{Channels, ChannelsUnavailable, Inspection, PublishError, Reserve, SubscribeError, Subscribed};
pub use subscription::{Beginning, Heard, Subscription};

pub use crate::event_log::PresenceMode;
