//! Channels: named logs that applications write and subscribers read.
//!
//! ```text
//! service        publish, subscribe, inspect; copy a generation's answer into a channel
//! roster         the subscribers of each channel
//! subscription   one subscriber's stream: the events for it, and the gaps
//! built_in       the channels that the service itself writes
//! ```
//!
//! A channel is created when it is first used, and removed when it holds nothing and has no subscriber. Subscribers
//! follow its log as viewers follow a generation's: they are woken when the tail has moved, and always read from the
//! log.

mod built_in;
mod roster;
mod service;
mod subscription;

pub use roster::PresenceMode;
pub use service::{Channels, Inspection, PublishError, Reserve, SubscribeError, Subscribed};
pub use subscription::{Beginning, Heard, Subscription};
