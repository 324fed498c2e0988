//! What a caller may do.

use std::fmt;
use std::str::FromStr;

/// One thing that a caller may do.
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

/// A set of them.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

/// No scope of this service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such scope")]
pub struct UnknownScope;

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

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::EACH.into_iter().find(|scope| scope.name() == text).ok_or(UnknownScope)
    }
}

impl Scopes {
    pub const ALL: Self = Self(u8::MAX);

    /// What a key may do that says nothing of it: everything but to see the service's figures.
    pub fn usual() -> Self {
        [Scope::Generate, Scope::Follow, Scope::Stop].into_iter().collect()
    }

    /// Of a claim `scope` (RFC 8693, section 4.2): words that are no scope of ours are somebody else's.
    pub fn of_claim(claim: &str) -> Self {
        claim.split(' ').filter_map(|word| word.parse::<Scope>().ok()).collect()
    }

    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether all of `others` are in these.
    pub const fn cover(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }
}

impl IntoIterator for Scopes {
    type Item = Scope;
    type IntoIter = std::vec::IntoIter<Scope>;

    fn into_iter(self) -> Self::IntoIter {
        let these: Vec<_> = Scope::EACH.into_iter().filter(|scope| self.contains(*scope)).collect();
        these.into_iter()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.into_iter().map(Scope::name).collect();
        f.write_str(&names.join(" "))
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
        let scopes = Scopes::of_claim("openid follow Follow follow* stop");
        assert_eq!(scopes.to_string(), "follow stop");
        assert!(!scopes.contains(Scope::Generate) && Scopes::of_claim("") == Scopes::default());
        assert!(Scopes::usual().cover(scopes) && !scopes.cover(Scopes::usual()));
        assert!(!Scopes::usual().contains(Scope::Admin));
    }
}
