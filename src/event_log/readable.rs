//! The port of a log that can be read: a generation's or a channel's.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use smallvec::SmallVec;

use crate::domain::{ChannelEvent, Entry, Event, Sequence};

/// Entries in order. One entry needs no allocation.
pub type EntryBatch<E = Event> = SmallVec<[Entry<E>; 2]>;

/// The result of one read.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<E = Event> {
    /// The entries after the position: at least one if there are any.
    pub entries: EntryBatch<E>,
    /// The tail at this read. The entries may end before it.
    pub tail: Tail,
}

/// A log that can be read.
pub trait Readable: Send + Sync + 'static {
    type Event: Ends + Send;

    /// Reads as [`Readable::read`] does, if that takes no wait and no allocation of a future. `None`: call `read`. A
    /// log in memory never returns `None`.
    fn try_read(&self, after: Sequence) -> Option<Result<Page<Self::Event>, ReadError>>;

    /// Returns the entries after a position, at most a page, and the tail (contract 5, 14). A page ends at the first
    /// entry that makes it larger than 16 KiB.
    fn read(&self, after: Sequence) -> BoxFuture<'static, Result<Page<Self::Event>, ReadError>>;

    /// Returns the tail without any entries.
    fn tail(&self) -> BoxFuture<'static, Result<Tail, ReadError>>;

    /// Returns a new reader's wake (contract 4).
    fn wake(&self) -> Box<dyn Wake>;
}

/// Wakes one reader of a log.
pub trait Wake: Send {
    /// Resolves when the tail may be beyond `seen`, the tail of the reader's last page. Only a hint: the reader reads
    /// again.
    fn poll_moved(&mut self, seen: Sequence, context: &mut Context<'_>) -> Poll<()>;
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

/// Reads a page at once if the log can, else through a future.
pub async fn read_page<L: Readable + ?Sized>(log: &L, after: Sequence) -> Result<Page<L::Event>, ReadError> {
    match log.try_read(after) {
        Some(page) => page,
        None => log.read(after).await,
    }
}

/// Waits for a tail that satisfies the predicate, and returns it.
pub async fn wait_until<L: Readable + ?Sized>(log: Arc<L>, wanted: impl Fn(&Tail) -> bool) -> Result<Tail, ReadError> {
    let mut wake = log.wake();
    loop {
        let tail = log.tail().await?;
        if wanted(&tail) {
            return Ok(tail);
        }
        poll_fn(|context| wake.poll_moved(tail.sequence, context)).await;
    }
}
