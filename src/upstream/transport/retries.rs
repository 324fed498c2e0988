//! Which failed requests may be retried, and how many were, by reason.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::error::TransportError;

/// If a reused connection ends within this time after the request's last byte, the server closed it before it read the
/// request (keep-alive race). If it ends later, the server may have processed the request.
pub const CLOSE_RACE: Duration = Duration::from_secs(1);

/// Why a request was retried on a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryReason {
    /// The reused connection ended before all of the request was written.
    NotWritten,
    /// HTTP/2: `REFUSED_STREAM`, or a GOAWAY whose last stream is lower.
    RefusedStream,
    /// The reused connection ended within a second after the request's last byte.
    ClosedEarly,
}

impl RetryReason {
    pub const ALL: [Self; 3] = [Self::NotWritten, Self::RefusedStream, Self::ClosedEarly];

    /// Returns the label value in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotWritten => "not_written",
            Self::RefusedStream => "refused_stream",
            Self::ClosedEarly => "closed_early",
        }
    }
}

/// A request that received no response.
pub struct FailedRequest {
    pub error: TransportError,
    /// Set if the request may be retried, provided that its connection was reused.
    pub retry: Option<RetryReason>,
}

/// Counters of retried requests. They never decrease.
#[derive(Debug, Default)]
pub struct Retries {
    not_written: AtomicU64,
    refused_stream: AtomicU64,
    closed_early: AtomicU64,
}

impl Retries {
    pub fn count(&self, reason: RetryReason) -> u64 {
        self.counter(reason).load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, reason: RetryReason) {
        self.counter(reason).fetch_add(1, Ordering::Relaxed);
    }

    fn counter(&self, reason: RetryReason) -> &AtomicU64 {
        match reason {
            RetryReason::NotWritten => &self.not_written,
            RetryReason::RefusedStream => &self.refused_stream,
            RetryReason::ClosedEarly => &self.closed_early,
        }
    }
}
