//! Calls of scripts, and their replies.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Value;

/// A call of a script. It may be sent more than once: every script finds what an earlier call has done.
#[derive(Clone)]
pub struct ScriptCall {
    pub(super) script: &'static LazyLock<redis::Script>,
    pub(super) keys: Vec<String>,
    pub(super) arguments: Vec<Vec<u8>>,
}

/// The reply of a script: a code and its values.
#[derive(Debug)]
pub struct Reply(pub(super) Vec<Value>);

/// How long a call is repeated while Redis does not answer.
#[derive(Debug, Clone, Copy)]
pub enum Patience {
    For(Duration),
    /// Until the future is dropped.
    Unlimited,
}

/// Why a call has no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Unavailable(#[from] RedisUnavailable),
    /// Redis has reached its `maxmemory`.
    #[error("Redis is full")]
    Full,
}

/// Redis does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Redis does not answer")]
pub struct RedisUnavailable;

/// How long a call that a request waits for is repeated.
pub const PATIENCE: Duration = Duration::from_secs(2);

impl ScriptCall {
    pub fn new<'a>(script: &'static LazyLock<redis::Script>, keys: impl IntoIterator<Item = &'a String>) -> Self {
        Self { script, keys: keys.into_iter().cloned().collect(), arguments: Vec::new() }
    }

    #[must_use]
    pub fn arg(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.arg(number.to_string())
    }

    /// Adds a duration in milliseconds.
    #[must_use]
    pub fn millis(self, duration: Duration) -> Self {
        self.number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> 16))
    }
}

impl Reply {
    pub fn code(&self) -> &str {
        std::str::from_utf8(self.bytes(0)).unwrap_or_default()
    }

    pub fn bytes(&self, at: usize) -> &[u8] {
        match self.0.get(at) {
            Some(Value::BulkString(bytes)) => bytes,
            _ => &[],
        }
    }

    pub fn number(&self, at: usize) -> u64 {
        match self.0.get(at) {
            Some(Value::Int(number)) => u64::try_from(*number).unwrap_or_default(),
            _ => std::str::from_utf8(self.bytes(at)).ok().and_then(|text| text.parse().ok()).unwrap_or_default(),
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
