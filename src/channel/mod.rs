//! Channels: named logs that applications write and subscribers read.
//!
//! ```text
//! service        publish, subscribe, inspect; a generation's answer carried into a channel
//! roster         who subscribes
//! subscription   one subscriber's reading: what is for it, and where something is missing
//! built_in       the channels that the service itself writes
//! ```
//!
//! A channel is there as soon as somebody names it, and goes when it holds nothing and nobody reads it. Subscribers
//! follow its log as viewers follow a generation's: woken when the tail has moved, and always reading the log.

mod built_in;
mod roster;
mod service;
mod subscription;

pub use service::{Channels, Inspection, PublishError, Reserve, SubscribeError, Subscribed};
pub use subscription::{Attendance, Beginning, Heard, Subscription};
