//! The settings of a model that stands for several targets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// In which order the targets of a model are tried (`models.*.strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// As they are listed.
    #[default]
    Fallback,
    /// Each first in the share of its weight.
    Weighted,
    /// Of two that are drawn, the one with the shorter time to the first token first.
    Fastest,
}

/// Whether a conversation stays with its target and key (`models.*.affinity`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub enum Affinity {
    On,
    Off,
}

/// How long an attempt may be silent before a hedge: a second attempt beside it (`models.*.hedge.after`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeDelay {
    /// The 95th percentile of the target's recent times to the first token.
    Percentile95,
    Fixed(Duration),
}

/// A refusal after which another target is tried (`models.*.fallback_on`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FallbackClass {
    /// Any other fault of the request.
    Rejected,
    ContextLength,
    ContentFilter,
}

impl From<bool> for Affinity {
    fn from(is_on: bool) -> Self {
        if is_on { Self::On } else { Self::Off }
    }
}

impl From<Affinity> for bool {
    fn from(affinity: Affinity) -> Self {
        affinity == Affinity::On
    }
}
