//! What a caller may do.

use std::fmt;
use std::sync::Arc;

use crate::domain::{ChannelName, NamePattern};

/// One kind of thing that a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Start generations, and come back to them.
    Generate,
    /// Read its own generations.
    Follow,
    /// Stop and erase its own generations.
    Stop,
    /// See the service's figures.
    Admin,
}

/// What may be done with a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelScope {
    /// Write events into it.
    Publish,
    /// Read it.
    Subscribe,
}

/// A set of both. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Scopes {
    bits: u8,
    channels: Channels,
}

#[derive(Clone, PartialEq, Eq)]
enum Channels {
    All,
    These(Arc<[(ChannelScope, NamePattern)]>),
}

/// No scope of this service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such scope")]
pub struct UnknownScope;

/// What a mistaken scope is told.
pub const SCOPES: &str = "there are generate, follow, stop, admin, publish:<channel> and subscribe:<channel>, where \
                          * stands for any characters";

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

    /// The scope for this channel alone.
    pub fn for_channel(self, channel: &ChannelName) -> String {
        format!("{}:{channel}", self.name())
    }
}

impl Scopes {
    pub const ALL: Self = Self { bits: u8::MAX, channels: Channels::All };

    /// What a key may do that says nothing of it: everything with its generations, and nothing else.
    pub fn usual() -> Self {
        [Scope::Generate, Scope::Follow, Scope::Stop].into_iter().collect()
    }

    /// For one channel alone.
    pub fn of_channel(scopes: impl IntoIterator<Item = ChannelScope>, channel: &ChannelName) -> Self {
        let these = scopes.into_iter().map(|scope| (scope, NamePattern::new(channel.as_str()))).collect();
        Self { bits: 0, channels: Channels::These(these) }
    }

    /// Each text is one scope.
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
        Ok(Self { bits, channels: Channels::These(channels.into()) })
    }

    /// Returns the scopes that a claim grants. A word that is no scope of this service is for another one.
    pub fn of_claim<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let known = words.into_iter().filter(|word| Self::read([*word]).is_ok());
        Self::read(known).unwrap_or_default()
    }

    pub const fn contains(&self, scope: Scope) -> bool {
        self.bits & scope.bit() != 0
    }

    /// Whether they allow this with that channel. The service's own channels are in no pattern that does not begin
    /// with their name: who may read every room may not read every figure.
    pub fn allow(&self, scope: ChannelScope, channel: &ChannelName) -> bool {
        match &self.channels {
            Channels::All => true,
            Channels::These(these) => these.iter().any(|(allowed, pattern)| {
                let may_be_built_in = pattern.as_str().starts_with(ChannelName::BUILT_IN);
                *allowed == scope && pattern.matches(channel.as_str()) && (may_be_built_in || !channel.is_built_in())
            }),
        }
    }

    /// Whether there is nothing that they allow.
    pub fn is_empty(&self) -> bool {
        self.bits == 0 && matches!(&self.channels, Channels::These(these) if these.is_empty())
    }
}

/// What names of channels are made of, and stars.
fn is_pattern(text: &str) -> bool {
    text.replace('*', "x").parse::<ChannelName>().is_ok()
}

impl Default for Channels {
    fn default() -> Self {
        Self::These([].into())
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self { bits: scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()), channels: Channels::default() }
    }
}

/// As in a claim: words with spaces in between. All channels are not told one by one.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Scope::EACH.into_iter().filter(|scope| self.contains(*scope)).map(|scope| scope.name().to_owned());
        let channels = match &self.channels {
            Channels::All => &[][..],
            Channels::These(these) => these,
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
    fn a_claim_gives_the_scopes_it_names_and_no_other() {
        let claim = "openid follow Follow follow* stop subscribe:room-* write:room publish: publish:a/b";
        let scopes = Scopes::of_claim(claim.split(' '));
        assert_eq!(scopes.to_string(), "follow stop subscribe:room-*");
        assert!(!scopes.contains(Scope::Generate) && Scopes::of_claim([""]).is_empty());
        assert!(!Scopes::usual().contains(Scope::Admin));
    }

    #[test]
    fn a_pattern_allows_what_it_matches_and_nothing_of_the_service() {
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
