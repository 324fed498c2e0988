//! The event log: the events of a generation or a channel, in order, for every reader.
//!
//! # The contract
//!
//! Every backend keeps these rules; `tests/it/event_log.rs` tests each rule against each backend.
//!
//! 1. **Dense.** Entry 1 is the event that made the log; each append adds the next numbers, with no gap.
//! 2. **Compare and append.** An append names the tail that it extends and changes nothing if the tail has moved.
//!    Either all of its events are added or none.
//! 3. **Closed once.** A close means "append if open" and names no tail. The first terminal event wins; every later
//!    close returns that event. Nothing follows a terminal event.
//! 4. **Tail before wake.** A reader is woken only once the entries can be read. A reader that looks at the tail before
//!    it reads misses no wake.
//! 5. **Never trimmed.** A generation's log is kept whole or not at all: a read after position `k` returns `k + 1`
//!    onwards. A position beyond the tail is [`ReadError::BeyondTail`], never a wait.
//! 6. **Bounded, and fair.** Each log has a byte limit, and all logs and tombstones together have another. An append
//!    beyond either is [`AppendError::Full`]. Every log and tombstone counts for the account that made it. To make
//!    room, closed logs are evicted, one at a time: of the accounts that have a closed log, the one that holds most
//!    bytes loses the log that closed first. The exception: an account that would hold more than its share (the limit,
//!    divided by the accounts that hold anything) evicts no log of an account within its share. It loses its own closed
//!    logs, and without any it gets `Full`. An account within its share is therefore never refused because of the
//!    closed logs of others. An open log is never evicted. A terminal event always fits: terminal events may exceed the
//!    limit by 64 KiB in all; beyond that, a terminal event's own log is evicted if no other can be. Backends may
//!    compare accounts to within 4 KiB.
//! 7. **Retained, then removed.** A closed log is readable for the retention, then unknown; a removed log is unknown at
//!    once. Readers that already hold it can read on. A backend may keep only its last page for them; the log is then
//!    [`ReadError::Lost`] to readers that are further behind.
//! 8. **Claimed once.** A claim is written in the step that makes its log. While that log is kept, a create with the
//!    same claim of the same owner makes no log and returns the id of that one; a create with the same key and another
//!    fingerprint is a [`Conflict`]. A claim whose log is evicted or discarded stays as a tombstone until the retention
//!    of that log ends: the same create is then a [`LostAnswer`] with the usage of the terminal event. A tombstone is
//!    never dropped early, except by a release. An account that has too many tombstones gets no new claim until its
//!    oldest expires ([`CreateError::TooManyTombstones`]); creates without a claim are not affected. Otherwise a claim
//!    ends with its log, or when it is released.
//! 9. **Listed.** The logs of a named owner are listed as long as they are kept, newest first, each once over all
//!    pages. Logs of an anonymous owner are not listed.
//!
//! A channel's log keeps rule 4 and the second half of rule 5, and:
//!
//! 10. **Monotonic.** Each append adds the next numbers. The first number is above every number that a log of this name
//!     ever had: it is taken from the clock, so an old position is never taken for a new one.
//! 11. **Trimmed, with gaps reported.** The last events are kept, up to a number, an age and a size. A read that
//!     reaches a position whose event is no longer kept is [`ReadError::Trimmed`], with the position after which to
//!     continue; the missing position may be in the middle of the log. A missing ephemeral event is not a gap. A
//!     [`History`] states where a gap of events begins that were evicted before they expired, including those of an
//!     earlier log of the name.
//! 12. **Fair.** Each event counts against the account that appended it. A log that is full evicts its oldest event; if
//!     all logs together are full, the oldest events of the account that holds most are evicted, in whichever log they
//!     are. An append is [`AppendError::Full`] only if its events alone are too large. The terminal event of an answer
//!     that is copied into a channel always fits. If there are too many channels, the account that holds most of them
//!     loses the one that has been idle for longest.

mod arena;
mod channel;
mod channel_account;
mod channel_directory;
mod channel_limits;
mod channel_reading;
mod channel_roster;
mod channel_slot;
mod channel_state;
mod entries;
mod follow;
mod holdings;
mod kept;
mod memory;
mod memory_roster;
mod roster;
mod sync;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, Ready};
use smallvec::SmallVec;

use crate::domain::{
    Account, ChannelEvent, ChannelName, Claim, Entry, Event, GenerationId, IdempotencyKey, Listed, Principal, Sequence,
    Start, Usage,
};

pub use channel::MemoryChannels;
pub use channel_limits::ChannelLimits;
pub use follow::{Follow, follow};
pub use holdings::MOST_TOMBSTONES;
pub use memory::{Memory, MemoryLimits};
pub use roster::{JoinError, JoinedRoster, PresenceMode, RosterMember, RosterMembers, Rosters};
pub use tail::TailReader;

/// The result of a call: ready at once from a backend in memory, without an allocation, or later from one behind a
/// network.
pub type Reply<'a, T> = Either<Ready<T>, BoxFuture<'a, T>>;

/// Events to be appended together. One event, which is usual for a token, needs no allocation.
pub type Events = SmallVec<[Event; 2]>;

/// Entries that are read together. One entry needs no allocation.
pub type Page<E = Event> = SmallVec<[Entry<E>; 2]>;

/// All generations' logs of one deployment.
pub trait EventLog: Send + Sync + 'static {
    /// Makes the log of a generation with `start` as entry 1, counted for `account`, unless its owner's claim names a
    /// kept log (contract 1, 6, 8).
    fn create(
        &self,
        start: Arc<Start>,
        account: &Account,
        claim: Option<Claim>,
    ) -> Reply<'_, Result<Created, CreateError>>;

    /// Returns the log, if it is kept (contract 7).
    fn open(&self, generation: GenerationId) -> Reply<'_, Option<Arc<dyn Log>>>;

    /// Returns the generation that the owner's claim names, if it is kept (contract 8).
    fn claimed(&self, owner: &Principal, claim: &Claim) -> Reply<'_, Result<Option<GenerationId>, ClaimError>>;

    /// Returns whether a claim with this key exists, with any fingerprint (contract 8).
    fn knows(&self, owner: &Principal, key: &IdempotencyKey) -> Reply<'_, bool>;

    /// Frees the claim on the log, or removes its tombstone. The log is kept (contract 8).
    fn release(&self, generation: GenerationId) -> Reply<'_, ()>;

    /// Returns the owner's generations that follow `before`, newest first, at most `most` (contract 9).
    fn list(&self, owner: &Principal, before: Option<Listed>, most: usize) -> Reply<'_, Vec<Listed>>;

    /// Removes the log and its claim at once (contract 7).
    fn remove(&self, generation: GenerationId) -> Reply<'_, ()>;

    /// Removes the log as an eviction does, at once or, if it is open, when it closes. Its claim stays as a tombstone
    /// (contract 8).
    fn discard(&self, generation: GenerationId) -> Reply<'_, ()>;
}

/// A log that can be read: a generation's or a channel's.
pub trait Readable: Send + Sync + 'static {
    type Event: Ends + Send;

    /// Returns the entries after a position: at least one if there are any, at most a page (contract 5, 11). A page
    /// ends at the first entry that makes it larger than 16 KiB.
    fn read(&self, after: Sequence) -> Reply<'_, Result<Page<Self::Event>, ReadError>>;

    /// Returns a reader of the log's tail, which also waits for the tail to move (contract 4).
    fn tail(&self) -> TailReader;
}

/// An event that can be terminal.
pub trait Ends {
    fn is_terminal(&self) -> bool;
}

impl Ends for Event {
    fn is_terminal(&self) -> bool {
        Self::is_terminal(self)
    }
}

impl Ends for ChannelEvent {
    /// A channel does not end.
    fn is_terminal(&self) -> bool {
        false
    }
}

/// The log of one generation.
pub trait Log: Readable<Event = Event> {
    /// Returns entry 1.
    fn start(&self) -> &Arc<Start>;

    /// Appends `events` after `tail`, none of them terminal; returns the new tail (contract 2, 6).
    fn append(&self, tail: Sequence, events: Events) -> Reply<'_, Result<Sequence, AppendError>>;

    /// Appends the terminal event if the log has none (contract 3).
    fn close(&self, terminal: Event) -> Reply<'_, CloseOutcome>;
}

/// All channels' logs of one deployment.
pub trait ChannelLogs: Send + Sync + 'static {
    /// Returns the channel's log, a new one if it has none. Events appended through it count against the account
    /// (contract 12).
    fn open(&self, name: &ChannelName, account: &Account) -> Reply<'_, Result<Arc<dyn ChannelLog>, ChannelsFull>>;

    /// Returns the channel's log, if there is one.
    fn find(&self, name: &ChannelName) -> Reply<'_, Option<Arc<dyn ChannelLog>>>;

    /// Removes events older than the retention, and logs that are empty and not in use.
    fn sweep(&self) -> Reply<'_, ()>;
}

/// The log of one channel.
pub trait ChannelLog: Readable<Event = ChannelEvent> {
    /// Appends events; returns the new tail (contract 10, 12).
    fn append(&self, events: Vec<ChannelEvent>) -> Reply<'_, Result<Sequence, AppendError>>;

    /// Leaves a position empty for an event that did not fit. Readers get a gap there (contract 11).
    fn skip(&self) -> Reply<'_, ()>;

    /// Returns where the last `most` kept events begin.
    fn history(&self, most: usize) -> Reply<'_, History>;
}

/// The kept events of a channel's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// The position before the first of the last `most` kept events.
    pub after: Sequence,
    /// Where a gap before that position begins: events were evicted before they expired, or an answer continues after
    /// that position and its first events are no longer kept.
    pub gap_from: Option<Sequence>,
    /// The events that count towards the history, at least one if any event is kept.
    pub events: usize,
    pub bytes: usize,
}

/// The number of channels is at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the number of channels is at its limit")]
pub struct ChannelsFull;

/// The end of a log.
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

/// Which close ended a generation.
#[derive(Debug, Clone, PartialEq)]
pub enum CloseOutcome {
    /// This call.
    Won,
    /// An earlier one, with this event.
    Lost(Event),
}

/// The result of a create.
pub enum Created {
    New(Arc<dyn Log>),
    /// The claim names this generation; no log was made.
    Known(GenerationId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// No log can be evicted for this account (contract 6).
    #[error("the event log has no room for this account")]
    Full,
    #[error(transparent)]
    Conflict(#[from] Conflict),
    #[error(transparent)]
    Lost(#[from] LostAnswer),
    /// The account has too many tombstones for a new claim; the oldest expires after this time.
    #[error("the account has too many idempotency keys whose answers are lost")]
    TooManyTombstones(Duration),
}

/// Why a claim cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    #[error(transparent)]
    Conflict(#[from] Conflict),
    #[error(transparent)]
    Lost(#[from] LostAnswer),
}

impl From<ClaimError> for CreateError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Conflict(conflict) => Self::Conflict(conflict),
            ClaimError::Lost(lost) => Self::Lost(lost),
        }
    }
}

/// The claim's generation has ended, and its log was evicted or discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer for this idempotency key is no longer kept")]
pub struct LostAnswer {
    /// The usage of its terminal event, if that has one.
    pub usage: Option<Usage>,
}

/// The key belongs to another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the idempotency key was used for another request")]
pub struct Conflict;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the tail has moved")]
    Moved,
    #[error("the log is closed")]
    Closed,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("the log ends before this position")]
    BeyondTail,
    #[error("the log is lost")]
    Lost,
    /// Only channels: events after the requested position, up to this one, are no longer kept.
    #[error("events after this position are no longer kept")]
    Trimmed(Sequence),
}

/// Returns a finished [`Reply`].
pub fn ready<'a, T>(value: T) -> Reply<'a, T> {
    Either::Left(futures_util::future::ready(value))
}
