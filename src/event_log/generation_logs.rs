//! The port of the generations' logs.

use std::fmt;
use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Chats, Control, LogSummary, Readable, ViewerLease, ViewerPresence, Writer};
use crate::domain::{
    Account, Claim, Epoch, Event, GenerationId, IdempotencyKey, Listed, Principal, Sequence, Start, Usage,
};

/// All generations' logs of one deployment, with the control of their writers and the presence of their viewers.
pub trait EventLog: Chats + Control + ViewerPresence + Send + Sync + 'static {
    /// Checks that logs can be made.
    fn check_available(&self) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        ready(Ok(())).boxed()
    }

    /// Returns the id of a new generation. With a key, the backend can make the log and its claim in one step (contract
    /// 8): one that is spread over several servers keeps both on the same one.
    fn new_id(&self, _owner: &Principal, _key: Option<&IdempotencyKey>) -> GenerationId {
        GenerationId::random()
    }

    /// Makes the log of a generation with `start` as entry 1, unless its owner's claim names a kept log (contract 1, 6,
    /// 8, 12). A create whose reply is lost is sent again and finds its own log.
    fn create(&self, start: Arc<Start>, terms: LogTerms) -> BoxFuture<'static, Result<Created, CreateError>>;

    /// Returns the log, if it is kept (contract 7). Closes it if its writer's lease has expired (contract 10). A
    /// backend that reads from a copy refreshes the copy if it does not reach `at_least`.
    fn open(
        &self,
        generation: GenerationId,
        at_least: Sequence,
    ) -> BoxFuture<'static, Result<Option<Arc<dyn GenerationLog>>, LogUnavailable>>;

    /// Returns the start and the end of a log, if it is kept (contract 7, 10).
    fn summary(&self, generation: GenerationId) -> BoxFuture<'static, Result<Option<LogSummary>, LogUnavailable>> {
        let opening = self.open(generation, Sequence::START);
        async move {
            match opening.await? {
                Some(log) => Ok(LogSummary::of(&*log).await),
                None => Ok(None),
            }
        }
        .boxed()
    }

    /// Returns the generation that the owner's claim names, if it is kept (contract 8).
    fn claimed(&self, owner: &Principal, claim: &Claim)
    -> BoxFuture<'static, Result<Option<GenerationId>, ClaimError>>;

    /// Returns whether a claim with this key exists, with any fingerprint (contract 8).
    fn knows(&self, owner: &Principal, key: &IdempotencyKey) -> BoxFuture<'static, Result<bool, LogUnavailable>>;

    /// Frees the claim on the log, or removes its tombstone. The log is kept (contract 8).
    fn release(&self, generation: GenerationId) -> BoxFuture<'static, Result<(), LogUnavailable>>;

    /// Returns the owner's generations that follow `before`, newest first, at most `most` (contract 9).
    fn list(
        &self,
        owner: &Principal,
        before: Option<Listed>,
        most: usize,
    ) -> BoxFuture<'static, Result<Vec<Listed>, LogUnavailable>>;

    /// Returns whether another process may take over a log that is made with [`LogTerms::recovery`].
    fn recovers(&self) -> bool {
        false
    }

    /// Resolves with the next log that a read has found without an owner, and that may be taken over (contract 16).
    fn orphan(&self) -> BoxFuture<'static, GenerationId> {
        pending().boxed()
    }

    /// Makes this process the owner of a log whose owner is lost. `None` if it may not, or another process is faster
    /// (contract 16).
    fn take_over(&self, _generation: GenerationId) -> BoxFuture<'static, Result<Option<TakenLog>, LogUnavailable>> {
        ready(Ok(None)).boxed()
    }

    /// Removes the log and its claim at once (contract 7).
    fn remove(&self, generation: GenerationId) -> BoxFuture<'static, Result<(), LogUnavailable>>;

    /// Removes the log as an eviction does, at once or, if it is open, when it closes. Its claim stays as a tombstone
    /// (contract 8).
    fn discard(&self, generation: GenerationId) -> BoxFuture<'static, Result<(), LogUnavailable>>;
}

/// The log of one generation, for its readers.
pub trait GenerationLog: Readable<Event = Event> {
    /// Returns entry 1.
    fn start(&self) -> &Arc<Start>;

    /// Returns the epoch of the entry with this number. A log that ends with its process has one epoch.
    fn epoch_of(&self, _sequence: Sequence) -> Epoch {
        Epoch::FIRST
    }
}

/// What a new log is made with.
#[derive(Debug, Clone)]
pub struct LogTerms {
    /// The account that the log counts for (contract 6).
    pub account: Account,
    pub claim: Option<Claim>,
    /// The terminal event of the log if its writer is lost (contract 10).
    pub if_orphaned: Event,
    /// What another process needs to take the log over, if the request permits that (contract 16).
    pub recovery: Option<Recovery>,
}

/// What a process stores so that another one can begin its generation anew.
#[derive(Clone)]
pub struct Recovery {
    /// The recorded request, in a form of the generation's own.
    pub request: Arc<[u8]>,
    /// How long the generation may be without a viewer. `None`: as long as it runs.
    pub grace: Option<Duration>,
}

/// A log that this process has taken over.
pub struct TakenLog {
    pub writer: Box<dyn Writer>,
    /// The recorded request.
    pub request: Vec<u8>,
}

/// Prints a length: requests are never logged.
impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recovery({} bytes)", self.request.len())
    }
}

/// The result of a create.
pub enum Created {
    New {
        writer: Box<dyn Writer>,
        /// The first viewer: the request that made the log.
        viewer: ViewerLease,
    },
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
    #[error(transparent)]
    Unavailable(#[from] LogUnavailable),
}

/// Why a claim cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    #[error(transparent)]
    Conflict(#[from] Conflict),
    #[error(transparent)]
    Lost(#[from] LostAnswer),
    #[error(transparent)]
    Unavailable(#[from] LogUnavailable),
}

impl From<ClaimError> for CreateError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Conflict(conflict) => Self::Conflict(conflict),
            ClaimError::Lost(lost) => Self::Lost(lost),
            ClaimError::Unavailable(unavailable) => Self::Unavailable(unavailable),
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

/// The backend does not answer in time. Whether it has carried out the call is unknown; every call may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event log does not answer")]
pub struct LogUnavailable;
