//! An attempt at a target, as the ledger knows it.

use std::sync::Arc;

use crate::domain::{Principal, Usage};

/// What an attempt was made for, and at which target.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptSubject {
    pub principal: Principal,
    /// The requested model.
    pub model: Arc<str>,
    pub upstream: Arc<str>,
    /// The model that the upstream was asked for.
    pub target: Arc<str>,
    /// The tokens that are reserved for it.
    pub reserved: Usage,
}

/// The role of an attempt in its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptRole {
    /// Its answer is that of the generation.
    Winner,
    /// Another attempt beside it had the first token earlier.
    Hedged,
    /// Its answer began, and was withdrawn for that of another attempt.
    Withdrawn,
    Failed,
}

/// The longest name of a model that is kept, in bytes.
const LONGEST_NAME: usize = 256;

/// Stands for names that are too long, or too many.
pub const OTHER: &str = "other";

impl AttemptSubject {
    /// Replaces names that are too long to be kept. Callers choose the names of models if an upstream serves any model.
    #[must_use]
    pub fn with_short_names(self) -> Self {
        let short = |name: Arc<str>| if name.len() > LONGEST_NAME { OTHER.into() } else { name };
        Self { model: short(self.model), target: short(self.target), ..self }
    }
}

impl AttemptRole {
    pub const ALL: [Self; 4] = [Self::Winner, Self::Hedged, Self::Withdrawn, Self::Failed];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Winner => "winner",
            Self::Hedged => "hedged",
            Self::Withdrawn => "withdrawn",
            Self::Failed => "failed",
        }
    }
}
