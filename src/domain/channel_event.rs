//! The events of a channel.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{ConnectionId, Event, GenerationId, InvalidName, Principal, Timestamp};

/// One event of a channel. Cheap to clone: each subscriber gets a clone.
#[derive(Debug, Clone, PartialEq)]
pub enum ChannelEvent {
    /// An event that a caller published.
    Published(Arc<Published>),
    /// An event of a generation whose answer is copied into this channel.
    Generation(GenerationId, Event),
    /// A subscriber joined; sent to subscribers that requested presence.
    Joined(Arc<Presence>),
    /// A subscriber left; sent to the same subscribers.
    Left(Arc<Presence>),
}

/// An application's own event.
#[derive(Clone, PartialEq)]
pub struct Published {
    /// `None`: a browser delivers it to `onmessage`.
    pub name: Option<EventName>,
    /// JSON on one line, safe for every client.
    pub data_json: Box<str>,
    pub to: Recipient,
    pub keeping: Keeping,
}

/// The recipients of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    AllSubscribers,
    /// One event stream, as long as it is open.
    Connection(ConnectionId),
    /// One caller, on all of its streams.
    Principal(Principal),
}

impl Recipient {
    /// Returns the bytes of the recipient's name.
    pub fn size(&self) -> usize {
        match self {
            Self::Principal(principal) => principal.size(),
            Self::AllSubscribers | Self::Connection(_) => 0,
        }
    }
}

/// Whether an event is kept after its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// It is part of the history, for later subscribers.
    Kept,
    /// Only the subscribers at the time of its append get it.
    Ephemeral,
}

/// One subscriber, with one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriber {
    pub connection: ConnectionId,
    pub principal: Principal,
    pub since: Timestamp,
}

/// A subscriber that joined or left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    pub who: Subscriber,
    /// The number of subscribers after it joined or left.
    pub subscribers: usize,
}

/// The name of an application's event: 1 to 64 characters out of `[A-Za-z0-9._:-]`, and none of the names in
/// [`EventName::TAKEN`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventName(Box<str>);

impl EventName {
    /// Reserved names: those of the service, so that a publisher cannot impersonate it or a model, and those that a
    /// browser's `EventSource` confuses with its own events.
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
            Self::Generation(..) => Keeping::Kept,
            Self::Joined(_) | Self::Left(_) => Keeping::Ephemeral,
        }
    }

    /// Returns whether the event counts towards the length of a history. A whole answer counts once.
    pub const fn counts(&self) -> bool {
        !matches!(self, Self::Generation(_, event) if !matches!(event, Event::Start(_)))
    }
}

/// Prints lengths: content is never logged.
impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Published({} bytes)", self.data_json.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_and_malformed_names_are_refused() {
        for good in ["said", "server-time", "a.b:c_1", &"x".repeat(64)] {
            assert!(good.parse::<EventName>().is_ok(), "{good}");
        }
        for bad in EventName::TAKEN.into_iter().chain(["", "a b", "a\nid: 1", "ü", &"x".repeat(65)]) {
            assert_eq!(bad.parse::<EventName>(), Err(InvalidName), "{bad}");
        }
    }
}
