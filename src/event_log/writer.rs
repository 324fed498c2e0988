//! The port of a log's writer.

use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use smallvec::SmallVec;

use super::GenerationLog;
use crate::domain::{Epoch, Event, Sequence};

/// Events to be appended together. One event, which is usual for a token, needs no allocation.
pub type Events = SmallVec<[Event; 2]>;

/// The right to append to one log, which only its generation's owner has (contract 10).
///
/// Events are pushed, and then appended: [`Writer::poll_append`] sends one append at a time, and what is pushed while
/// it is in flight joins the next one. The writer keeps what is not acknowledged, so that a caller may stop polling, or
/// drop a future of [`Writer::close`], at any moment and lose nothing.
pub trait Writer: Send + 'static {
    fn log(&self) -> &Arc<dyn GenerationLog>;

    /// Returns the epoch that this writer appends in.
    fn epoch(&self) -> Epoch;

    /// Returns the tail up to which all appends are acknowledged.
    fn tail(&self) -> Sequence;

    /// Adds events to the next append, none of them terminal.
    fn push(&mut self, events: Events);

    /// Returns the pushed events that are not known to be in the log.
    fn pending(&self) -> &[Event];

    /// Appends the pending events; resolves when there are none left (contract 2, 6). An error discards them.
    fn poll_append(&mut self, context: &mut Context<'_>) -> Poll<Result<(), AppendError>>;

    /// Renews the lease whenever that is due. Resolves only when the lease is lost (contract 10).
    fn poll_renew(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Returns whether this process still owns the log (contract 10). Waits for a renewal if the lease may have expired.
    fn is_owner(&mut self) -> BoxFuture<'_, bool> {
        ready(true).boxed()
    }

    /// Appends the pending events and the terminal event in one step, if the log is open (contract 3). After a dropped
    /// close, the next one may append the terminal event of the dropped one.
    ///
    /// # Errors
    ///
    /// [`Limit`] if the pending events do not fit. They are then discarded, and the log is still open. A close without
    /// pending events never fails.
    fn close(&mut self, terminal: Event) -> BoxFuture<'_, Result<CloseOutcome, Limit>>;
}

/// Which close ended a generation.
#[derive(Debug, Clone, PartialEq)]
pub enum CloseOutcome {
    /// This call.
    Won,
    /// Another one, with this event.
    Lost(Event),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the log is closed")]
    Closed,
    /// The writer's lease has expired, and another process has taken the log over.
    #[error("the writer does not own the log any more")]
    Fenced,
    /// The log is gone from the backend, or has lost entries.
    #[error("the log is lost")]
    Lost,
    /// The log's own limit, or the limit of all logs together, is reached.
    #[error("the log is full")]
    Full(Limit),
}

/// Which limit an append exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Own,
    Total,
}
