//! A channel's events in the native wire format.
//!
//! The blocks are like those of a generation; the ids are `<channel>.<sequence>`. Events about subscribers, and events
//! that a caller marked as ephemeral, are not in the history and have no id.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::frames::{Frames, JsonLine};
use super::native::encoder as native;
use crate::domain::{ChannelEvent, ChannelEventId, ChannelName, Entry, Keeping, Sequence, Subscriber};

/// The names of the events of a channel's stream other than published events and events of generations.
pub const EVENTS: [&str; 4] = ["connected", "joined", "left", "gap"];

/// Appends the block of one entry, or nothing if this format has none for it.
pub fn encode(channel: &ChannelName, entry: &Entry<ChannelEvent>, frames: &mut Frames) {
    let Some(name) = event_name(&entry.event) else { return };
    let mut block = match name {
        ChannelEventName::Named(name) => frames.event(name),
        ChannelEventName::Unnamed => frames.unnamed(),
    };
    write_data(&entry.event, &mut block.data());
    block.end(event_id(channel, entry));
}

/// The name of a channel's event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelEventName<'a> {
    Named(&'a str),
    /// Browsers deliver it to `onmessage`.
    Unnamed,
}

/// Returns the name of an event; `None` if it has no content in this format.
pub fn event_name(event: &ChannelEvent) -> Option<ChannelEventName<'_>> {
    Some(match event {
        ChannelEvent::Published(published) => match &published.name {
            Some(name) => ChannelEventName::Named(name.as_str()),
            None => ChannelEventName::Unnamed,
        },
        ChannelEvent::Generation(_, event) => ChannelEventName::Named(native::event_name(event)?),
        ChannelEvent::Joined(_) => ChannelEventName::Named("joined"),
        ChannelEvent::Left(_) => ChannelEventName::Named("left"),
    })
}

/// Writes the data of an event that is not without content.
pub fn write_data(event: &ChannelEvent, line: &mut JsonLine<'_>) {
    match event {
        ChannelEvent::Published(published) => _ = line.raw(&published.data_json),
        ChannelEvent::Generation(generation, event) => native::write_data(event, Some(*generation), line),
        ChannelEvent::Joined(presence) | ChannelEvent::Left(presence) => {
            let subscribers = presence.subscribers as u64;
            line.json(&PresenceData { who: SubscriberBody::from(&presence.who), subscribers });
        }
    }
}

/// Returns the id of an event; `None` if it is not in the history.
pub fn event_id<'a>(channel: &'a ChannelName, entry: &Entry<ChannelEvent>) -> Option<impl Display + use<'a>> {
    let is_kept = match &entry.event {
        ChannelEvent::Published(published) => published.keeping == Keeping::Kept,
        ChannelEvent::Generation(..) => true,
        ChannelEvent::Joined(_) | ChannelEvent::Left(_) => false,
    };
    is_kept.then_some(Id { channel, sequence: entry.sequence })
}

/// Appends the first block of every stream. Its id is the position after which the stream begins, so that a client that
/// loses its connection before the first event resumes at the same position.
pub fn encode_connected(data: &ConnectedData, id: ChannelEventId, frames: &mut Frames) {
    let mut block = frames.event("connected");
    block.data().json(data);
    block.end(Some(id));
}

pub fn encode_gap(channel: &ChannelName, from: Sequence, to: Sequence, frames: &mut Frames) {
    let mut block = frames.event("gap");
    block.data().json(&GapData { from: from.get(), to: to.get() });
    block.end(Some(Id { channel, sequence: to }));
}

/// A [`ChannelEventId`] that borrows the channel's name, for writing only.
struct Id<'a> {
    channel: &'a ChannelName,
    sequence: Sequence,
}

impl Display for Id<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.channel.as_str())?;
        f.write_str(".")?;
        self.sequence.fmt(f)
    }
}

/// The subscription has started. Always the first event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectedData {
    pub channel: String,
    /// The id of this stream. An event can be sent to this stream only.
    pub connection: String,
    /// The number of subscribers, including this one.
    pub subscribers: u64,
    /// The first thousand subscribers, including this one; only with `presence=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<Vec<SubscriberBody>>,
}

/// A subscriber joined or left; only with `presence=true`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PresenceData {
    #[serde(flatten)]
    pub who: SubscriberBody,
    /// The current number of subscribers.
    pub subscribers: u64,
}

/// One stream of one subscriber.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Subscriber)]
pub struct SubscriberBody {
    #[schema(example = "conn_AAAAAAAAAAAAAAAAAAAAAA")]
    pub connection: String,
    /// The principal: the name of a key, or the subject of a token. Absent without authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The issuer of the token, if the principal is a subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The time of the subscription (RFC 3339, UTC).
    #[schema(format = "date-time")]
    pub since: String,
}

/// The events from `from` to `to`, both included, are no longer kept, so the client's view may be incomplete. The range
/// may include numbers that no event ever had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GapData {
    pub from: u64,
    pub to: u64,
}

/// The event `server-time` of the channel `system.time`, sent every second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTimeData {
    /// RFC 3339, UTC.
    #[schema(format = "date-time")]
    pub time: String,
    /// Unix time in milliseconds.
    pub unix_ms: u64,
    /// The replica whose clock this is.
    #[schema(example = "rep_AAAAAAAAAAAAAAAAAAAAAA")]
    pub replica: String,
}

/// The event `metrics` of the channel `system.metrics`, sent every second. Values other than rates are current, or
/// counted since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricsData {
    /// RFC 3339, UTC.
    #[schema(format = "date-time")]
    pub time: String,
    /// Current viewers and subscribers.
    pub streams: u64,
    pub subscribers: u64,
    pub generations: GenerationFigures,
    pub tokens: TokenFigures,
    /// Pieces of answers in the last second; usually, a piece is a token.
    pub tokens_per_second: f64,
    pub first_token_ms: FirstTokenFigures,
    /// Requests that were refused because of a limit.
    pub refusals: u64,
    /// Memory of the process; null if the system does not report it.
    #[schema(required)]
    pub memory_bytes: Option<u64>,
    /// Memory of the logs of generations and channels.
    pub event_log_bytes: u64,
    /// The replica whose figures these are.
    #[schema(example = "rep_AAAAAAAAAAAAAAAAAAAAAA")]
    pub replica: String,
}

/// Numbers of generations, by status.
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
    /// An estimate of the tokens that were not generated because of cancellation.
    pub saved: u64,
}

/// Percentiles over the last hundred generations; null before the first.
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
        Self {
            connection: who.connection.to_string(),
            principal: who.principal.name().map(str::to_owned),
            issuer: who.principal.issuer().map(str::to_owned),
            since: who.since.to_string(),
        }
    }
}
