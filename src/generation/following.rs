//! One viewer's stream of a generation.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_stream::stream;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::chat_end::ChatEnd;
use super::log_text::{LogLost, LogTexts};
use super::state::GenerationState;
use super::storage::Record;
use crate::domain::{Event, Failed, Sequence, Start};
use crate::event_log::{
    EntryBatch, Follow, GenerationLog, LogUnavailable, ReadError, Tail, TailState, ViewerLease, follow, read_page,
    wait_until,
};
use crate::limits::{QueuePosition, QueueState};
use crate::telemetry::Gauge;

/// A viewer that reads a log from a position on. Dropping it ends the viewing.
pub struct Following {
    log: Arc<dyn GenerationLog>,
    pages: Follow<dyn GenerationLog>,
    handle: ViewerHandle,
}

/// The resources that a viewer holds while it is connected.
pub struct ViewerHandle {
    /// `None` if the generation has ended, or is being cancelled because it has no viewer: its terminal event is in the
    /// log, or will be.
    _viewer: Option<ViewerLease>,
    /// Only for a generation whose record is removed with its last holder.
    record: Option<Arc<Record>>,
    _live: Gauge,
    /// Only for a generation of a chat.
    chat: Option<ChatEnd>,
    /// The queue positions, while the generation waits for its slot.
    queue_positions: Option<BoxStream<'static, QueuePosition>>,
}

/// Why a generation cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// It never existed, has expired, or belongs to another caller. The error does not distinguish these, so that it
    /// does not reveal other callers' generations.
    #[error("no such generation")]
    NotFound,
    /// The position is that of the terminal event, so no event will follow.
    #[error("nothing follows the terminal event")]
    AtEnd,
    #[error("the log does not reach this position")]
    HistoryLost,
    #[error(transparent)]
    LogUnavailable(#[from] LogUnavailable),
}

impl From<LogLost> for FollowError {
    fn from(_: LogLost) -> Self {
        Self::HistoryLost
    }
}

/// The shortest time between two queue positions that a viewer is sent.
const QUEUE_POSITION_INTERVAL: Duration = Duration::from_millis(250);

impl ViewerHandle {
    pub fn new(
        viewer: Option<ViewerLease>,
        record: Option<Arc<Record>>,
        live: Gauge,
        queue_state: Option<watch::Receiver<QueueState>>,
    ) -> Self {
        let waiting = queue_state.filter(|queue_state| matches!(*queue_state.borrow(), QueueState::Waiting(_)));
        Self {
            _viewer: viewer,
            record,
            _live: live,
            chat: None,
            queue_positions: waiting.map(|queue_state| queue_positions(queue_state).boxed()),
        }
    }

    /// Returns the handle of a viewer of a chat.
    pub fn of_chat(self, chat: Option<ChatEnd>) -> Self {
        Self { chat, ..self }
    }
}

/// Returns the generation's queue position now and whenever it changes, until the generation has its slot.
fn queue_positions(mut queue_state: watch::Receiver<QueueState>) -> impl Stream<Item = QueuePosition> {
    stream! {
        loop {
            let QueueState::Waiting(position) = *queue_state.borrow_and_update() else { break };
            yield position;
            sleep(QUEUE_POSITION_INTERVAL).await;
            if queue_state.changed().await.is_err() {
                break;
            }
        }
    }
}

impl Following {
    pub(super) fn new(log: Arc<dyn GenerationLog>, after: Sequence, handle: ViewerHandle) -> Self {
        let pages = follow(Arc::clone(&log), after);
        Self { log, pages, handle }
    }

    /// Returns the generation's start, whatever position this viewer began at.
    pub fn start(&self) -> &Arc<Start> {
        self.log.start()
    }

    /// Returns the whole log from its beginning, for a reader that does not count as a viewer and does not keep the
    /// generation running.
    pub fn whole_log(&self) -> impl Stream<Item = Result<EntryBatch, ReadError>> + Send + use<> {
        follow(Arc::clone(&self.log), Sequence::START)
    }

    /// Returns the next entries: at least one, in order. `None` after the terminal one.
    pub fn poll_page(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<EntryBatch, LogLost>>> {
        Pin::new(&mut self.pages).poll_next(context).map_err(|_| LogLost)
    }

    /// Continues from the beginning of the log, for an encoder that needs the entries before its viewer's position.
    pub fn rewind(&mut self) {
        self.pages = follow(Arc::clone(&self.log), Sequence::START);
    }

    /// Notes that this viewer was sent the terminal event: a client that returns to the chat has nothing to read.
    pub fn end_was_sent(&mut self) {
        if let Some(chat) = self.handle.chat.take() {
            chat.close();
        }
    }

    /// Returns the texts of the log.
    pub fn texts(&self) -> LogTexts {
        LogTexts::new(Arc::clone(&self.log), self.handle.record.clone())
    }

    /// Returns the generation's queue position, each one once; pending if it is not queued.
    pub fn poll_queue_position(&mut self, context: &mut Context<'_>) -> Poll<QueuePosition> {
        let Some(queue_positions) = &mut self.handle.queue_positions else { return Poll::Pending };
        match queue_positions.poll_next_unpin(context) {
            Poll::Ready(Some(position)) => Poll::Ready(position),
            Poll::Ready(None) => {
                self.handle.queue_positions = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    pub async fn next_page(&mut self) -> Option<Result<EntryBatch, LogLost>> {
        poll_fn(|context| self.poll_page(context)).await
    }

    /// Waits until the first chunk is in the log, at most `patience`. An error is a failure before the first chunk: the
    /// client is sent it as a status, and its chat has nothing to read. Consumes no entries, so the viewer may read
    /// meanwhile.
    pub fn wait_for_first_chunk(
        &self,
        patience: Duration,
    ) -> impl Future<Output = Result<(), Arc<Failed>>> + Send + use<> {
        let (log, chat) = (Arc::clone(&self.log), self.handle.chat.clone());
        async move {
            let first = Sequence::START.plus(1);
            let moved = wait_until(Arc::clone(&log), |tail| tail.sequence > first);
            let Ok(Ok(Tail { sequence, state })) = timeout(patience, moved).await else { return Ok(()) };
            if sequence > first.plus(1) || state == TailState::Open {
                return Ok(());
            }
            // The terminal event came before any chunk.
            match read_page(&*log, first).await.ok().and_then(|mut page| page.entries.pop()).map(|entry| entry.event) {
                Some(Event::Failed(failed)) => {
                    if let Some(chat) = chat {
                        chat.close();
                    }
                    Err(failed)
                }
                _ => Ok(()),
            }
        }
    }

    /// Waits until the generation has ended.
    pub async fn ended(&mut self) {
        _ = wait_until(Arc::clone(&self.log), |tail| tail.state == TailState::Closed).await;
    }

    /// Returns the current state of the generation.
    pub fn state(&self) -> impl Future<Output = Result<GenerationState, FollowError>> + Send + use<> {
        GenerationState::now(Arc::clone(&self.log), self.handle.record.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Account, CancelReason, Cancelled, Entry, GenerationId, Principal, Timestamp, Timings, Usage, UsageRequest,
    };
    use crate::event_log::{Created, EventLog, LogTerms, Memory, MemoryLimits};
    use crate::telemetry::Metrics;

    #[tokio::test]
    async fn viewer_that_rewinds_receives_the_log_from_its_beginning() {
        let limits =
            MemoryLimits { total: 1 << 20, generation: 1 << 20, running: 0, retention: Duration::from_mins(1) };
        let memory = Memory::new(limits);
        let start = Start {
            generation: GenerationId::random(),
            owner: Principal::Anonymous,
            model: "m".into(),
            created_at: Timestamp::now(),
            prompt: None,
            metadata: [].into(),
            usage: UsageRequest::NotAsked,
            notes: None,
            chat: None,
        };
        let (usage, timings) = (Usage::default(), Timings::default());
        let end = Event::Cancelled(Arc::new(Cancelled { reason: CancelReason::ClientRequest, usage, timings }));
        let account = Account::Principal(Principal::Anonymous);
        let terms = LogTerms { account, claim: None, if_orphaned: end.clone(), recovery: None };
        let created = memory.create(Arc::new(start), terms).await;
        let Ok(Created::New { mut writer, .. }) = created else { panic!("a new log") };
        writer.close(end).await.expect("there is room");
        let handle = ViewerHandle::new(None, None, Metrics::new().viewer(), None);
        let mut following = Following::new(Arc::clone(writer.log()), Sequence::new(1), handle);
        let sequences = |page: Option<Result<EntryBatch, LogLost>>| {
            let page = page.expect("a page").expect("the log is kept");
            page.iter().map(|entry: &Entry| entry.sequence.get()).collect::<Vec<_>>()
        };
        assert_eq!(sequences(following.next_page().await), [2]);
        following.rewind();
        assert_eq!(sequences(following.next_page().await), [1, 2]);
        assert!(following.next_page().await.is_none());
    }
}
