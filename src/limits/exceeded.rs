//! Why a limit refuses a request, and what a caller has left.

use std::num::NonZeroU32;
use std::time::Duration;

use super::rates::RemainingQuota;

/// Why a call to the limits fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitError {
    Exceeded(Exceeded),
    /// The limits did not answer in time. Whatever the call reserved is released in the background.
    Unavailable,
}

/// A request exceeds a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    pub limit: ExceededLimit,
    /// Time until the limit allows the request, if no other request takes the capacity.
    pub wait: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExceededLimit {
    RequestsPerMinute(NonZeroU32),
    TokensPerMinute(NonZeroU32),
    PublishesPerMinute(NonZeroU32),
    Generations,
}

impl ExceededLimit {
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestsPerMinute(_) => "requests",
            Self::TokensPerMinute(_) => "tokens",
            Self::PublishesPerMinute(_) => "publishes",
            Self::Generations => "generations",
        }
    }
}

/// Remaining quota of a caller, of the limit that is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowance {
    pub requests: Option<RemainingQuota>,
    pub tokens: Option<RemainingQuota>,
    /// Set only for a request that publishes.
    pub publishes: Option<RemainingQuota>,
}

impl From<Exceeded> for LimitError {
    fn from(exceeded: Exceeded) -> Self {
        Self::Exceeded(exceeded)
    }
}
