//! The scopes that a credential grants.

use std::fmt;
use std::sync::Arc;

use crate::domain::{ChannelName, NamePattern};

/// A permission that is not for a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Start generations, and reconnect to them.
    Generate,
    /// Read its own generations.
    Follow,
    /// Stop and erase its own generations.
    Stop,
    /// Read the metrics of the service.
    Admin,
}

/// A permission for channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelScope {
    /// Publish events.
    Publish,
    /// Read events.
    Subscribe,
}

/// A set of scopes and channel scopes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Scopes {
    bits: u8,
    channels: AllowedChannels,
}

#[derive(Clone, PartialEq, Eq)]
enum AllowedChannels {
    All,
    These(Arc<[(ChannelScope, NamePattern)]>),
}

/// The text is not a scope of this service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope")]
pub struct UnknownScope;

/// The scopes, for the error message of an unknown one.
pub const SCOPES: &str = "the scopes are generate, follow, stop, admin, publish:<channel> and subscribe:<channel>; \
                          * matches any characters";

impl Scope {
    pub const EACH: [Self; 4] = [Self::Generate, Self::Follow, Self::Stop, Self::Admin];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Follow => "follow",
            Self::Stop => "stop",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl ChannelScope {
    const EACH: [Self; 2] = [Self::Publish, Self::Subscribe];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }

    /// Returns the text of the scope for this channel.
    pub fn for_channel(self, channel: &ChannelName) -> String {
        format!("{}:{channel}", self.name())
    }
}

impl Scopes {
    pub const ALL: Self = Self { bits: u8::MAX, channels: AllowedChannels::All };

    /// Returns the default scopes of a key: all operations on its generations, and nothing else.
    pub fn usual() -> Self {
        [Scope::Generate, Scope::Follow, Scope::Stop].into_iter().collect()
    }

    /// Returns these scopes for one channel.
    pub fn of_channel(scopes: impl IntoIterator<Item = ChannelScope>, channel: &ChannelName) -> Self {
        let these = scopes.into_iter().map(|scope| (scope, NamePattern::new(channel.as_str()))).collect();
        Self { bits: 0, channels: AllowedChannels::These(these) }
    }

    /// Parses scopes, one from each text.
    pub fn read<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownScope> {
        let (mut bits, mut channels) = (0, Vec::new());
        for text in texts {
            match (Scope::EACH.into_iter().find(|scope| scope.name() == text), text.split_once(':')) {
                (Some(scope), _) => bits |= scope.bit(),
                (None, Some((verb, pattern))) => {
                    let scope = ChannelScope::EACH.into_iter().find(|scope| scope.name() == verb);
                    let pattern = Some(pattern).filter(|pattern| is_pattern(pattern)).map(NamePattern::new);
                    channels.push(scope.zip(pattern).ok_or(UnknownScope)?);
                }
                (None, None) => return Err(UnknownScope),
            }
        }
        Ok(Self { bits, channels: AllowedChannels::These(channels.into()) })
    }

    /// Returns the scopes that a claim grants. Ignores unknown words, which are scopes of other services.
    pub fn of_claim<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let known = words.into_iter().filter(|word| Self::read([*word]).is_ok());
        Self::read(known).unwrap_or_default()
    }

    pub const fn contains(&self, scope: Scope) -> bool {
        self.bits & scope.bit() != 0
    }

    /// Returns whether the set allows this operation on that channel. A pattern matches built-in channels only if it
    /// begins with [`ChannelName::BUILT_IN`]: `subscribe:*` must not grant access to the service's metrics.
    pub fn allow(&self, scope: ChannelScope, channel: &ChannelName) -> bool {
        match &self.channels {
            AllowedChannels::All => true,
            AllowedChannels::These(these) => these.iter().any(|(allowed, pattern)| {
                let may_be_built_in = pattern.as_str().starts_with(ChannelName::BUILT_IN);
                *allowed == scope && pattern.matches(channel.as_str()) && (may_be_built_in || !channel.is_built_in())
            }),
        }
    }

    /// Returns whether the set allows nothing.
    pub fn is_empty(&self) -> bool {
        self.bits == 0 && matches!(&self.channels, AllowedChannels::These(these) if these.is_empty())
    }
}

/// Returns whether `text` has only the characters of a channel name, and `*`.
fn is_pattern(text: &str) -> bool {
    text.replace('*', "x").parse::<ChannelName>().is_ok()
}

impl Default for AllowedChannels {
    fn default() -> Self {
        Self::These([].into())
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self {
            bits: scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()),
            channels: AllowedChannels::default(),
        }
    }
}

/// Writes the scopes as in a claim, separated by spaces. Omits the channel scopes if the set allows all channels.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Scope::EACH.into_iter().filter(|scope| self.contains(*scope)).map(|scope| scope.name().to_owned());
        let channels = match &self.channels {
            AllowedChannels::All => &[][..],
            AllowedChannels::These(these) => these,
        };
        let channels = channels.iter().map(|(scope, pattern)| format!("{}:{}", scope.name(), pattern.as_str()));
        f.write_str(&named.chain(channels).collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_claim_ignores_unknown_words() {
        let claim = "openid follow Follow follow* stop subscribe:room-* write:room publish: publish:a/b";
        let scopes = Scopes::of_claim(claim.split(' '));
        assert_eq!(scopes.to_string(), "follow stop subscribe:room-*");
        assert!(!scopes.contains(Scope::Generate) && Scopes::of_claim([""]).is_empty());
        assert!(!Scopes::usual().contains(Scope::Admin));
    }

    #[test]
    fn pattern_allows_matching_channels_but_not_built_in_ones() {
        let scopes = Scopes::read(["subscribe:room-*", "publish:room-1", "subscribe:system.t*"]).expect("scopes");
        for (scope, channel, allowed) in [
            (ChannelScope::Subscribe, "room-1", true),
            (ChannelScope::Subscribe, "room-", true),
            (ChannelScope::Subscribe, "rooms", false),
            (ChannelScope::Publish, "room-1", true),
            (ChannelScope::Publish, "room-12", false),
            (ChannelScope::Subscribe, "system.time", true),
            (ChannelScope::Subscribe, "system.metrics", false),
        ] {
            let channel: ChannelName = channel.parse().expect("a name");
            assert_eq!(scopes.allow(scope, &channel), allowed, "{scope:?} {channel}");
        }
        let all = Scopes::read(["subscribe:*"]).expect("a scope");
        assert!(all.allow(ChannelScope::Subscribe, &"x".parse().expect("a name")));
        assert!(!all.allow(ChannelScope::Subscribe, &ChannelName::system_metrics()));
        assert!(!Scopes::usual().allow(ChannelScope::Subscribe, &"x".parse().expect("a name")));
        for wrong in ["subscribe", "subscribe:", "publish:a b", "generate:x", "Publish:x", "publish:é"] {
            assert_eq!(Scopes::read([wrong]), Err(UnknownScope), "{wrong}");
        }
    }
}
