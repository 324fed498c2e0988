//! The event log: what a generation said, in order, for everybody who reads.
//!
//! # The contract
//!
//! Every backend keeps these numbers; `tests/it/event_log.rs` runs each against each.
//!
//! 1. **Dense.** Entry 1 is the event that made the log; each append adds the next numbers, with no gap.
//! 2. **Compare and append.** An append names the tail that it extends and changes nothing if the tail
//!    has moved. Its events are added whole or not at all.
//! 3. **Closed once.** A close means "append if open" and names no tail. The first terminal event wins;
//!    whoever comes later is told which one that was. Nothing follows a terminal event.
//! 4. **Tail before wake.** A reader is woken after the entries can be read, and a reader that looked at
//!    the tail before it read misses no wake.
//! 5. **Whole or gone.** A log is never trimmed: a read after position `k` gives `k + 1` onwards. A
//!    position beyond the tail is [`ReadError::BeyondTail`], never a wait.
//! 6. **Bounded.** A log holds at most its byte limit, all logs together at most theirs; past either an
//!    append is [`AppendError::Full`]. A terminal event always fits. To make room, the log that ended
//!    first goes first; one that is open never goes.
//! 7. **Kept, then gone.** A closed log is readable for the retention, then unknown; a removed one is
//!    unknown at once. Whoever holds it open reads on.
//! 8. **Claimed once.** A claim is written in the step that makes its log. While that log is kept, a
//!    create with the same claim of the same owner makes nothing and names it; one with the same key
//!    and another fingerprint is a [`Conflict`]. The claim goes with its log, or when it is released.
//! 9. **Listed.** The logs of a named owner are listed as long as they are kept, newest first, each once
//!    over all pages. Those of an anonymous one are not.

mod entries;
mod follow;
mod memory;
mod sync;

use std::sync::Arc;

use futures_util::future::{BoxFuture, Either, Ready};
use tokio::sync::watch;

use crate::domain::{Claim, Entry, Event, GenerationId, Listed, Principal, Sequence, Start};

pub use follow::follow;
pub use memory::{Memory, MemoryLimits};

/// An answer that a backend in memory has at once and one behind a network has later: no allocation
/// for the former.
pub type Reply<'a, T> = Either<Ready<T>, BoxFuture<'a, T>>;

/// All logs of one deployment.
pub trait EventLog: Send + Sync + 'static {
    /// Makes the log of a generation with `start` as entry 1, unless its owner's claim names one that is
    /// kept (contract 1, 6, 8).
    fn create(&self, start: Arc<Start>, claim: Option<Claim>) -> Reply<'_, Result<Created, CreateError>>;

    /// The log, if it is kept (contract 7).
    fn open(&self, generation: GenerationId) -> Reply<'_, Option<Arc<dyn Log>>>;

    /// The generation that the owner's claim names, if it is kept (contract 8).
    fn claimed(&self, owner: &Principal, claim: &Claim) -> Reply<'_, Result<Option<GenerationId>, Conflict>>;

    /// Frees the claim on the log, if there is one; the log stays (contract 8).
    fn release(&self, generation: GenerationId) -> Reply<'_, ()>;

    /// The owner's, newest first: those that come after `before` in that order, `most` at most (contract 9).
    fn list(&self, owner: &Principal, before: Option<Listed>, most: usize) -> Reply<'_, Vec<Listed>>;

    /// Forgets the log at once (contract 7).
    fn remove(&self, generation: GenerationId) -> Reply<'_, ()>;
}

/// The log of one generation.
pub trait Log: Send + Sync + 'static {
    /// Entry 1.
    fn start(&self) -> &Arc<Start>;

    /// Adds `events` after `tail`, none of them terminal; answers the new tail (contract 2, 6).
    fn append(&self, tail: Sequence, events: Vec<Event>) -> Reply<'_, Result<Sequence, AppendError>>;

    /// Adds the terminal event if none is there (contract 3).
    fn close(&self, terminal: Event) -> Reply<'_, Closing>;

    /// The entries after a position: at least one if there are any, at most a page (contract 5). A
    /// page ends at the first entry that makes it larger than 16 KiB.
    fn read(&self, after: Sequence) -> Reply<'_, Result<Vec<Entry>, ReadError>>;

    /// Tells where the log ends, and when that moves (contract 4).
    fn tail(&self) -> watch::Receiver<Tail>;
}

/// Where a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    pub sequence: Sequence,
    pub state: TailState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TailState {
    Open,
    /// The last entry is terminal.
    Closed,
}

/// Who ended a generation.
#[derive(Debug, Clone, PartialEq)]
pub enum Closing {
    /// This call did.
    Won,
    /// Somebody else had, with this event.
    Lost(Event),
}

/// What a create has come to.
pub enum Created {
    New(Arc<dyn Log>),
    /// The claim names this generation; nothing was made.
    Known(GenerationId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    #[error("the event log is full of running generations")]
    Full,
    #[error(transparent)]
    Conflict(#[from] Conflict),
}

/// The key names another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the idempotency key was used for another request")]
pub struct Conflict;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the tail is elsewhere")]
    Moved,
    #[error("the log is closed")]
    Closed,
    /// The generation's own limit, or that of all logs.
    #[error("the log is full")]
    Full(Limit),
}

/// Which limit a log has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Generation,
    Total,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("the log ends before this position")]
    BeyondTail,
    #[error("the log is lost")]
    Lost,
}

/// A finished [`Reply`].
pub fn ready<'a, T>(value: T) -> Reply<'a, T> {
    Either::Left(futures_util::future::ready(value))
}
