//! A channel's events on the native wire.
//!
//! Blocks as those of a generation; the ids are `<channel>.<sequence>`. What is told of the subscribers is in no
//! history and has no id, nor has what a caller marked as ephemeral.

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::native::encode_event;
use super::{Block, Retry};
use crate::domain::{
    ChannelEvent, ChannelEventId, ChannelName, Entry, Keeping, Presence, Principal, Sequence, Subscriber,
};

/// The names of what a channel's stream tells beside what is published and what generations say.
pub const EVENTS: [&str; 4] = ["connected", "joined", "left", "gap"];

/// Appends the block of one entry, or nothing where it has none.
pub fn encode(channel: &ChannelName, entry: &Entry<ChannelEvent>, retry: &mut Option<Retry>, out: &mut BytesMut) {
    let id = Id { channel, sequence: entry.sequence };
    match &entry.event {
        ChannelEvent::Published(published) => {
            let mut block = match &published.name {
                Some(name) => Block::new(out, name.as_str()),
                None => Block::unnamed(out),
            };
            block.raw(&published.data_json);
            block.end(retry.take(), Some(id).filter(|_| published.keeping == Keeping::Kept));
        }
        ChannelEvent::Said(generation, event) => encode_event(event, Some(*generation), id, retry, out),
        ChannelEvent::Joined(presence) => encode_presence("joined", presence, retry, out),
        ChannelEvent::Left(presence) => encode_presence("left", presence, retry, out),
    }
}

/// The first block of every stream. Its id is the position after which the rest comes: a client that loses the
/// connection before there was an event comes back to where it was.
pub fn encode_connected(data: &ConnectedData, id: ChannelEventId, retry: &mut Option<Retry>, out: &mut BytesMut) {
    let mut block = Block::new(out, "connected");
    block.json(data);
    block.end(retry.take(), Some(id));
}

pub fn encode_gap(channel: &ChannelName, from: Sequence, to: Sequence, retry: &mut Option<Retry>, out: &mut BytesMut) {
    let mut block = Block::new(out, "gap");
    block.json(&GapData { from: from.get(), to: to.get() });
    block.end(retry.take(), Some(Id { channel, sequence: to }));
}

fn encode_presence(name: &str, presence: &Presence, retry: &mut Option<Retry>, out: &mut BytesMut) {
    let mut block = Block::new(out, name);
    let subscribers = presence.subscribers as u64;
    block.json(&PresenceData { who: SubscriberBody::from(&presence.who), subscribers });
    block.end(retry.take(), None::<Id<'_>>);
}

/// A [`ChannelEventId`] that is only written.
struct Id<'a> {
    channel: &'a ChannelName,
    sequence: Sequence,
}

impl std::fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.channel.as_str())?;
        f.write_str(".")?;
        self.sequence.fmt(f)
    }
}

/// The subscription has begun; always the first event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectedData {
    pub channel: String,
    /// This stream, by which an event can be sent to it alone.
    pub connection: String,
    /// How many subscribe, this one included.
    pub subscribers: u64,
    /// Who subscribes, with `presence=true`: the first thousand, this one included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<Vec<SubscriberBody>>,
}

/// Somebody subscribed, or went; with `presence=true`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PresenceData {
    #[serde(flatten)]
    pub who: SubscriberBody,
    /// How many subscribe now.
    pub subscribers: u64,
}

/// One stream of one subscriber.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Subscriber)]
pub struct SubscriberBody {
    #[schema(example = "conn_AAAAAAAAAAAAAAAAAAAAAA")]
    pub connection: String,
    /// Whose it is: the name of a key, or a token's subject. Absent where nobody is authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Whose subject that is, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Since when (RFC 3339, UTC).
    #[schema(format = "date-time")]
    pub since: String,
}

/// Events from here to there, both included, are no longer kept: what the client shows may lack something. In
/// between may be numbers that no event ever had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GapData {
    pub from: u64,
    pub to: u64,
}

/// `server-time` of `system.time`, each second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTimeData {
    /// RFC 3339, UTC.
    #[schema(format = "date-time")]
    pub time: String,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
}

/// `metrics` of `system.metrics`, each second. What is no rate is as of now, or since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricsData {
    /// RFC 3339, UTC.
    #[schema(format = "date-time")]
    pub time: String,
    /// Viewers and subscribers that are there.
    pub streams: u64,
    pub subscribers: u64,
    pub generations: GenerationFigures,
    pub tokens: TokenFigures,
    /// Pieces of answers in the last second, which are tokens as a rule.
    pub tokens_per_second: f64,
    pub first_token_ms: FirstTokenFigures,
    /// Requests beyond a limit.
    pub refusals: u64,
    /// What the process holds of the machine's memory; null where the system does not say.
    #[schema(required)]
    pub memory_bytes: Option<u64>,
    /// What the logs of generations and channels hold.
    pub event_log_bytes: u64,
}

/// Generations: those that run or wait, and those that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerationFigures {
    pub running: u64,
    pub waiting: u64,
    pub done: u64,
    pub cancelled: u64,
    pub failed: u64,
}

/// Tokens of generations that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenFigures {
    pub input: u64,
    pub output: u64,
    /// What cancelled generations did not come to, an estimate.
    pub saved: u64,
}

/// Of the last hundred generations; null before the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FirstTokenFigures {
    #[schema(required)]
    pub p50: Option<f64>,
    #[schema(required)]
    pub p95: Option<f64>,
}

impl From<&Subscriber> for SubscriberBody {
    fn from(who: &Subscriber) -> Self {
        let (principal, issuer) = named(&who.principal);
        Self { connection: who.connection.to_string(), principal, issuer, since: who.since.to_string() }
    }
}

/// A principal as callers know it: its name, and the issuer where that is a token's subject.
pub fn named(principal: &Principal) -> (Option<String>, Option<String>) {
    match principal {
        Principal::Anonymous => (None, None),
        Principal::Named(name) => match name.split_once('\n') {
            Some((issuer, subject)) => (Some(subject.to_owned()), Some(issuer.to_owned())),
            None => (Some(name.to_string()), None),
        },
    }
}
