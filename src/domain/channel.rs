//! The names of channels and the ids of their events.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{InvalidId, Sequence};

/// The name of a channel: 1 to 100 characters out of `[A-Za-z0-9._~-]`, the first not a dot. They need no escape in a
/// path (RFC 3986, section 2.3) or in a header. A name has one text form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

/// The text is not a valid name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a name")]
pub struct InvalidName;

const LONGEST: usize = 100;

impl ChannelName {
    /// The prefix of the channels that the service itself writes.
    pub const BUILT_IN: &'static str = "system.";

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether only the service itself writes this channel.
    pub fn is_built_in(&self) -> bool {
        self.0.starts_with(Self::BUILT_IN)
    }

    /// `system.time`: the server's clock, each second.
    pub fn system_time() -> Self {
        Self(format!("{}time", Self::BUILT_IN).into())
    }

    /// `system.metrics`: the service's figures, each second.
    pub fn system_metrics() -> Self {
        Self(format!("{}metrics", Self::BUILT_IN).into())
    }
}

impl FromStr for ChannelName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-');
        // Path normalization removes the segments `.` and `..` (RFC 3986, section 5.2.4).
        let is_a_segment = !text.starts_with('.');
        let valid = (1..=LONGEST).contains(&text.len()) && text.bytes().all(unreserved) && is_a_segment;
        if valid { Ok(Self(text.into())) } else { Err(InvalidName) }
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `<channel>.<sequence>`: the `id` of a channel's event. The name may contain dots; the last dot separates the
/// sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelEventId {
    pub channel: ChannelName,
    pub sequence: Sequence,
}

impl fmt::Display for ChannelEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.channel, self.sequence)
    }
}

impl FromStr for ChannelEventId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (channel, sequence) = text.rsplit_once('.').ok_or(InvalidId)?;
        Ok(Self { channel: channel.parse().map_err(|_| InvalidId)?, sequence: sequence.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_characters_that_need_an_escape_is_refused() {
        for good in ["a", "room-1", "system.time", "a.b_c~d", &"x".repeat(100)] {
            assert!(good.parse::<ChannelName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".a", "a b", "a/b", "a%20", "ü", "a*", "a,b", &"x".repeat(101)] {
            assert_eq!(bad.parse::<ChannelName>(), Err(InvalidName), "{bad}");
        }
        assert!(ChannelName::system_time().is_built_in() && "system.time".parse() == Ok(ChannelName::system_time()));
        assert!(!"systematic".parse::<ChannelName>().expect("a name").is_built_in());
    }

    #[test]
    fn an_id_reads_back_as_itself_and_is_short() {
        let channel: ChannelName = "x.7".repeat(33).parse().expect("a name");
        let id = ChannelEventId { channel, sequence: Sequence::new(u64::MAX) };
        assert_eq!(id.to_string().parse(), Ok(id.clone()));
        assert!(id.to_string().len() <= 128);
        for text in ["", "a", "a.", ".1", "a.01", "a.-1", "a b.1"] {
            assert_eq!(text.parse::<ChannelEventId>(), Err(InvalidId), "{text}");
        }
    }
}
