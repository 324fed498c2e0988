//! What a generation took: tokens and time.

use std::time::Duration;

/// Tokens read and written by the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input_tokens: u64,
    /// Tokens of the answer, those of its reasoning included.
    pub output_tokens: u64,
    /// The part of `output_tokens` that was reasoning, where the provider says.
    pub reasoning_tokens: Option<u64>,
    pub source: TokenSource,
}

/// Who counted the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenSource {
    /// The provider's own figure.
    Provider,
    /// Ours, because the provider gave none: counted with the vocabulary of the model's family, or the
    /// nearest there is.
    #[default]
    Estimated,
}

/// How long a generation took, on the monotonic clock from the moment it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Until the first text, reasoning or tool call; absent where none came.
    pub first_token: Option<Duration>,
    pub total: Duration,
}
