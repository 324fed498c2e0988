//! What a channel tells its subscribers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{ConnectionId, Event, GenerationId, InvalidName, Principal, Timestamp};

/// One thing that subscribers are told. Cheap to clone: each of them gets one.
#[derive(Debug, Clone, PartialEq)]
pub enum ChannelEvent {
    /// What a caller sent.
    Published(Arc<Published>),
    /// What a generation said that answers in this channel.
    Said(GenerationId, Event),
    /// Somebody subscribed; for those who asked to be told.
    Joined(Arc<Presence>),
    /// Somebody went.
    Left(Arc<Presence>),
}

/// An event of an application's own.
#[derive(Clone, PartialEq)]
pub struct Published {
    /// Absent: it reaches a browser's `onmessage`.
    pub name: Option<EventName>,
    /// JSON on one line, fit for every client.
    pub data_json: Box<str>,
    pub to: Recipient,
    pub keeping: Keeping,
}

/// For whom an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    Everybody,
    /// One stream, as long as it is there.
    Connection(ConnectionId),
    /// Whoever this is, on all of its streams.
    Principal(Principal),
}

impl Recipient {
    /// The bytes of its name.
    pub fn size(&self) -> usize {
        match self {
            Self::Principal(Principal::Named(name)) => name.len(),
            Self::Everybody | Self::Connection(_) | Self::Principal(Principal::Anonymous) => 0,
        }
    }
}

/// What becomes of an event once it has been delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// It is part of the history, for those who come later.
    Kept,
    /// Who is not there when it comes does not get it.
    Ephemeral,
}

/// Who subscribes, by one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriber {
    pub connection: ConnectionId,
    pub principal: Principal,
    pub since: Timestamp,
}

/// Somebody who came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    pub who: Subscriber,
    /// How many there were after it came, or went.
    pub subscribers: usize,
}

/// What an application calls its events: 1 to 64 characters out of `[A-Za-z0-9._:-]`, and none of the names in
/// [`EventName::TAKEN`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventName(Box<str>);

impl EventName {
    /// Names that are the service's, so that nobody can speak for it or for a model, and those that a browser's
    /// `EventSource` mixes up with its own.
    pub const TAKEN: [&str; 19] = [
        "cancelled",
        "connected",
        "delta",
        "done",
        "error",
        "failed",
        "gap",
        "joined",
        "left",
        "message",
        "open",
        "part",
        "queued",
        "reasoning",
        "refusal",
        "restart",
        "snapshot",
        "start",
        "tool_call",
    ];
    const LONGEST: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
        let valid = (1..=Self::LONGEST).contains(&text.len()) && text.bytes().all(plain);
        if valid && !Self::TAKEN.contains(&text) { Ok(Self(text.into())) } else { Err(InvalidName) }
    }
}

impl ChannelEvent {
    pub fn keeping(&self) -> Keeping {
        match self {
            Self::Published(published) => published.keeping,
            Self::Said(..) => Keeping::Kept,
            Self::Joined(_) | Self::Left(_) => Keeping::Ephemeral,
        }
    }

    /// Whether it counts where a history is so many events long: a whole answer counts once.
    pub const fn counts(&self) -> bool {
        !matches!(self, Self::Said(_, event) if !matches!(event, Event::Start(_)))
    }
}

/// Prints lengths.
impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Published({} bytes)", self.data_json.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_speak_for_the_service() {
        for good in ["said", "server-time", "a.b:c_1", &"x".repeat(64)] {
            assert!(good.parse::<EventName>().is_ok(), "{good}");
        }
        for bad in EventName::TAKEN.into_iter().chain(["", "a b", "a\nid: 1", "ü", &"x".repeat(65)]) {
            assert_eq!(bad.parse::<EventName>(), Err(InvalidName), "{bad}");
        }
    }
}
