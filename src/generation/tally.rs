//! What the upstream has reported of the answer that stands.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::domain::{FinishReason, UsageReport};

/// The usage and the finish reasons that the upstream has reported so far.
#[derive(Debug, Default)]
pub struct Tally {
    pub reported: UsageReport,
    pub finish: BTreeMap<u32, FinishReason>,
    /// When the answer began, if it replaced one that was withdrawn.
    pub began_anew: Option<Instant>,
    /// The tally of the one that was withdrawn.
    pub withdrawn: Option<Box<Self>>,
}
