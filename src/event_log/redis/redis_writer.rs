//! The writer of a log in Redis.

mod closing;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::batch::BatchEncoder;
use super::follower::follow_log;
use super::mirror::Mirror;
use super::mirror_log::MirrorLog;
use super::owned::OwnedGeneration;
use super::owner_list;
use super::store::Store;
use super::writer_calls::{CallPurpose, NewLog, ReplyVerdict, SentCall, WriterCalls};
use crate::domain::{Epoch, Event, Sequence};
use crate::event_log::{AppendError, CloseOutcome, Events, GenerationLog, Limit, Writer};
use crate::redis_client::{CallError, Patience, Reply, ScriptCall};

/// Appends to a log in Redis, one append at a time. What is pushed while it is in flight is the next one.
///
/// An append that is not answered is sent again as it was until it is answered: Redis knows the last one by its nonce.
/// A viewer sees an entry when Redis has acknowledged it, or, if Redis is silent for longer than the hold, at once.
pub struct RedisWriter {
    store: Arc<Store>,
    owned: Arc<OwnedGeneration>,
    mirror: Arc<Mirror>,
    log: Arc<dyn GenerationLog>,
    encoder: BatchEncoder,
    /// The call that makes the log, which also restores it. `None` for a log that was taken over.
    create: Option<ScriptCall>,
    calls: WriterCalls,
    epoch: Epoch,
    /// The tail when this writer began. What is before it cannot be written again in this epoch.
    base: Sequence,
    /// The last entry that Redis has acknowledged.
    acknowledged: Sequence,
    /// Entries that viewers see and Redis has not acknowledged, in front of `pending`.
    shown: Events,
    pending: Events,
    in_flight: Option<SentCall>,
    /// The close that was sent and may have been dropped before its reply.
    closing: Option<(String, Event)>,
    /// The renewal in flight, and when it was sent.
    renewal: Option<(Instant, BoxFuture<'static, Result<Reply, CallError>>)>,
    next_renewal: Pin<Box<Sleep>>,
    /// When the last call that Redis answered was sent: the lease lasts from then on, at least.
    confirmed: Instant,
    is_closed: bool,
    is_fenced: bool,
}

/// Time before the end of the lease at which the owner no longer counts on it.
const LEASE_MARGIN: Duration = Duration::from_secs(1);
/// How long a close is repeated while Redis is silent, beyond the lease. After that another process ends the log.
const CLOSE_PATIENCE: Duration = Duration::from_secs(25);

impl RedisWriter {
    pub fn new(store: Arc<Store>, new: NewLog) -> Self {
        let NewLog { mirror, owned, encoder, create, calls } = new;
        let now = Instant::now();
        Self {
            log: Arc::new(MirrorLog(Arc::clone(&mirror))),
            next_renewal: Box::pin(sleep_until(now + store.terms.lease / 3)),
            store,
            owned,
            mirror,
            encoder,
            create,
            calls,
            epoch: Epoch::FIRST,
            base: Sequence::START,
            acknowledged: Sequence::new(1),
            shown: Events::new(),
            pending: Events::new(),
            in_flight: None,
            closing: None,
            renewal: None,
            confirmed: now,
            is_closed: false,
            is_fenced: false,
        }
    }

    /// Continues a log that was taken over.
    pub fn continuing(mut self, epoch: Epoch, tail: Sequence) -> Self {
        (self.epoch, self.base, self.acknowledged) = (epoch, tail, tail);
        self
    }

    /// Sends what is not acknowledged, if nothing is in flight.
    fn send(&mut self) -> Result<(), AppendError> {
        if self.in_flight.is_some() || self.shown.is_empty() && self.pending.is_empty() {
            return Ok(());
        }
        self.mirror.check_room(&self.pending).map_err(AppendError::Full)?;
        let events = self.shown.len() + self.pending.len();
        let batch = self.encoder.encode(self.shown.iter().chain(&self.pending));
        let call = self.calls.append(self.epoch, self.acknowledged, events, batch);
        self.in_flight = Some(SentCall::send(&self.store, CallPurpose::Append, call, events));
        Ok(())
    }

    /// Waits for the append in flight. Ready without one.
    fn poll_in_flight(&mut self, context: &mut Context<'_>) -> Poll<Result<(), AppendError>> {
        let Some(in_flight) = &mut self.in_flight else { return Poll::Ready(Ok(())) };
        let Poll::Ready(reply) = in_flight.reply.poll_unpin(context) else { return Poll::Pending };
        let (events, sent, purpose) = (in_flight.events, in_flight.sent, in_flight.purpose);
        self.in_flight = None;
        let verdict = match reply {
            Ok(reply) if purpose == CallPurpose::Check && reply.code() == "moved" => {
                ReplyVerdict::Failed(AppendError::Full(Limit::Total))
            }
            Ok(reply) => self.judge(&reply, sent),
            Err(CallError::Full) if purpose == CallPurpose::Append => {
                self.in_flight = Some(self.calls.check(&self.store, (self.epoch, self.acknowledged), events));
                ReplyVerdict::Behind
            }
            // A log that Redis has lost cannot be made again.
            Err(CallError::Full) => self.fenced(AppendError::Lost),
            // An unlimited call does not give up.
            Err(CallError::Unavailable(_)) => ReplyVerdict::Behind,
        };
        match verdict {
            ReplyVerdict::Ok => {
                self.acknowledge(events);
                Poll::Ready(Ok(()))
            }
            ReplyVerdict::Behind => Poll::Ready(Ok(())),
            ReplyVerdict::Failed(error) => {
                self.pending.clear();
                // The shapes that the batch would have defined are not known to readers.
                self.encoder.forget_shapes();
                Poll::Ready(Err(error))
            }
        }
    }

    /// Records that Redis has the next `events`. Those that viewers have not seen are shown.
    fn acknowledge(&mut self, events: usize) {
        let already_shown = self.shown.len().min(events);
        self.shown.drain(..already_shown);
        let new: Events = self.pending.drain(..events - already_shown).collect();
        self.acknowledged = self.acknowledged.plus(events as u64);
        self.mirror.add_own(new);
    }

    /// Reads a reply to an append, a close or a renewal.
    fn judge(&mut self, reply: &Reply, sent: Instant) -> ReplyVerdict {
        match reply.code() {
            "ok" | "made" => {
                self.confirmed = sent;
                self.next_renewal.as_mut().reset(sent + self.store.terms.lease / 3);
                self.owned.request_end(std::str::from_utf8(reply.bytes(1)).unwrap_or_default());
                ReplyVerdict::Ok
            }
            "closed" => self.fenced(AppendError::Closed),
            "moved" => self.restore_after(Sequence::new(reply.number(1))),
            "lost" => self.restore_whole(),
            _ => self.fenced(AppendError::Fenced),
        }
    }

    /// Another process has ended the log, which this process reads from now on.
    fn fenced(&mut self, error: AppendError) -> ReplyVerdict {
        self.shown.clear();
        self.is_fenced = true;
        self.hand_over();
        ReplyVerdict::Failed(error)
    }

    /// From now on the entries are read from Redis, also for readers that wait already.
    fn hand_over(&self) {
        self.mirror.give_up(self.epoch, self.acknowledged);
        if self.mirror.begin_following() {
            follow_log(&self.mirror);
        }
    }

    /// Redis has lost acknowledged entries in a failover: they are sent again, with the same numbers.
    fn restore_after(&mut self, tail: Sequence) -> ReplyVerdict {
        if tail >= self.acknowledged || tail < self.base {
            return self.fenced(AppendError::Lost);
        }
        tracing::warn!("Redis has lost the end of a log: it is written again");
        self.resend_after(tail)
    }

    /// Treats the entries after `tail` as not acknowledged. Shapes of the lost batches are defined again.
    fn resend_after(&mut self, tail: Sequence) -> ReplyVerdict {
        self.shown = self.mirror.events_after(tail).into();
        self.acknowledged = tail;
        self.encoder.forget_shapes();
        ReplyVerdict::Behind
    }

    /// Redis has lost the log: it is made again with its claim, and then filled.
    fn restore_whole(&mut self) -> ReplyVerdict {
        let Some(create) = self.create.clone().filter(|_| !self.is_closed) else {
            return self.fenced(AppendError::Lost);
        };
        tracing::warn!("Redis has lost a log: it is written again");
        self.resend_after(Sequence::new(1));
        let batch = self.encoder.encode(&self.shown);
        let keys = self.store.keys.of(self.mirror.generation());
        let tail = self.acknowledged.plus(self.shown.len() as u64);
        let call = create.number(tail.get()).arg(batch).arg(keys.wakes);
        self.in_flight = Some(SentCall::send(&self.store, CallPurpose::Restore, call, self.shown.len()));
        let (store, start) = (Arc::clone(&self.store), Arc::clone(self.mirror.start()));
        self.store.tasks.spawn(async move { owner_list::add(&store, &start).await });
        ReplyVerdict::Behind
    }

    /// Shows the pending events if Redis has been silent for the hold and the lease lasts.
    fn poll_hold(&mut self, context: &mut Context<'_>) -> Poll<Result<(), AppendError>> {
        let Some(in_flight) = &mut self.in_flight else { return Poll::Pending };
        if in_flight.hold.poll_unpin(context).is_pending()
            || self.confirmed + self.store.terms.lease < Instant::now() + LEASE_MARGIN
        {
            return Poll::Pending;
        }
        let has_room = self.mirror.check_room(&self.pending);
        let pending = std::mem::take(&mut self.pending);
        has_room.map_err(AppendError::Full)?;
        self.shown.extend(pending.iter().cloned());
        self.mirror.add_own(pending);
        Poll::Ready(Ok(()))
    }

    fn poll_renewal(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some((sent, renewal)) = &mut self.renewal {
                let Poll::Ready(reply) = renewal.poll_unpin(context) else { return Poll::Pending };
                let sent = *sent;
                self.renewal = None;
                let Ok(reply) = reply else { continue };
                // The append that is in flight finds out the same.
                if self.in_flight.is_some() && ["moved", "lost"].contains(&reply.code()) {
                    continue;
                }
                match self.judge(&reply, sent) {
                    ReplyVerdict::Ok => {}
                    ReplyVerdict::Failed(_) => return Poll::Ready(()),
                    // The next poll sends what Redis lacks.
                    ReplyVerdict::Behind => context.waker().wake_by_ref(),
                }
            }
            if self.next_renewal.poll_unpin(context).is_pending() || self.in_flight.is_some() {
                return Poll::Pending;
            }
            let call = self.calls.renew(self.epoch, self.store.terms.lease, self.acknowledged);
            let connection = self.store.client.connection.clone();
            let sent = Instant::now();
            self.next_renewal.as_mut().reset(sent + self.store.terms.lease / 3);
            self.renewal = Some((sent, async move { connection.call(&call, Patience::Unlimited).await }.boxed()));
        }
    }
}

impl Writer for RedisWriter {
    fn log(&self) -> &Arc<dyn GenerationLog> {
        &self.log
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn tail(&self) -> Sequence {
        self.acknowledged
    }

    fn push(&mut self, events: Events) {
        self.pending.extend(events);
    }

    fn pending(&self) -> &[Event] {
        &self.pending
    }

    fn poll_append(&mut self, context: &mut Context<'_>) -> Poll<Result<(), AppendError>> {
        loop {
            if let Err(error) = self.send() {
                self.pending.clear();
                return Poll::Ready(Err(error));
            }
            match self.poll_in_flight(context) {
                Poll::Ready(Ok(())) if self.pending.is_empty() && self.in_flight.is_none() => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_hold(context),
            }
        }
    }

    fn poll_renew(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_fenced {
            return Poll::Ready(());
        }
        if self.is_closed {
            return Poll::Pending;
        }
        // Without pending events nothing else polls an append of what viewers have seen.
        while self.pending.is_empty() && (self.in_flight.is_some() || !self.shown.is_empty()) {
            if self.send().is_err() {
                break;
            }
            match self.poll_in_flight(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        self.poll_renewal(context)
    }

    fn is_owner(&mut self) -> BoxFuture<'_, bool> {
        self.confirm_lease().boxed()
    }

    fn close(&mut self, terminal: Event) -> BoxFuture<'_, Result<CloseOutcome, Limit>> {
        let end = self.confirmed.max(Instant::now()) + self.store.terms.lease + CLOSE_PATIENCE;
        async move {
            if let Ok(closed) = timeout_at(end, self.close_now(terminal.clone())).await {
                return closed;
            }
            // Redis was silent for longer than the lease. What the log has will end with `if_orphaned`, so viewers here
            // must not get another end.
            self.mirror.set_lost();
            Ok(CloseOutcome::Lost(terminal))
        }
        .boxed()
    }
}

/// Gives the log up: it is closed with its `if_orphaned` when it is read next.
impl Drop for RedisWriter {
    fn drop(&mut self) {
        if self.is_closed {
            return;
        }
        self.hand_over();
        let call = self.calls.renew(self.epoch, Duration::ZERO, Sequence::START);
        let (connection, lease) = (self.store.client.connection.clone(), self.store.terms.lease);
        self.store.tasks.spawn(async move { _ = connection.call(&call, Patience::For(lease)).await });
    }
}
