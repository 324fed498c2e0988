//! The limits on concurrent generations that apply to one generation.

use std::num::NonZeroU32;
use std::time::Duration;

use super::policy::{GenerationDemand, WaitPolicy};

/// The limits that apply to one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    pub for_account: Option<NonZeroU32>,
    pub in_all: Option<NonZeroU32>,
    /// Maximum queued generations of all accounts together; 0 if this generation does not wait.
    pub waiting: usize,
}

/// All slots and queue positions are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Estimated time until a slot is free, if known.
    pub eta: Option<Duration>,
}

impl Room {
    pub const fn is_limited(&self) -> bool {
        self.for_account.is_some() || self.in_all.is_some()
    }
}

impl From<&GenerationDemand> for Room {
    fn from(GenerationDemand { spender, wait_policy, .. }: &GenerationDemand) -> Self {
        let waiting = match wait_policy {
            WaitPolicy::Waits { at_most: Some(Duration::ZERO) } | WaitPolicy::Refuses => 0,
            WaitPolicy::Waits { .. } => spender.policy.waiting,
        };
        Self { for_account: spender.quota.concurrent_generations, in_all: spender.policy.generations, waiting }
    }
}
