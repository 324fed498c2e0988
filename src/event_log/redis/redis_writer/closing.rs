//! The close of a log by its owner, and whether it still is.

use std::future::poll_fn;
use std::sync::Arc;

use tokio::time::Instant;

use super::super::mirror::RemovedLogs;
use super::super::mirror_log::MirrorLog;
use super::super::writer_calls::{ReplyVerdict, nonce};
use super::{CLOSE_PATIENCE, LEASE_MARGIN, RedisWriter};
use crate::domain::{Event, Sequence};
use crate::event_log::{AppendError, CloseOutcome, Limit, TailState, read_page};
use crate::redis_client::Patience;

impl RedisWriter {
    /// Sends the close until it is answered.
    pub(super) async fn close_now(&mut self, terminal: Event) -> Result<CloseOutcome, Limit> {
        loop {
            match poll_fn(|context| self.poll_in_flight(context)).await {
                Ok(()) => {}
                Err(AppendError::Full(limit)) => return Err(limit),
                Err(_) => return Ok(self.other_end(terminal).await),
            }
            if self.in_flight.is_some() {
                continue;
            }
            if let Err(limit) = self.mirror.check_room(&self.pending) {
                self.pending.clear();
                return Err(limit);
            }
            let (nonce, terminal) = self.closing.get_or_insert_with(|| (nonce(), terminal.clone())).clone();
            let unsent = self.shown.iter().chain(&self.pending);
            // With a copy: a repeated call defines the same shapes.
            let batch = self.encoder.clone().encode(unsent.chain([&terminal]));
            let events = self.shown.len() + self.pending.len() + 1;
            let call = self.calls.close(&nonce, (self.epoch, self.acknowledged), (events, batch), &terminal);
            let sent = Instant::now();
            let Ok(reply) = self.store.client.connection.call(&call, Patience::Unlimited).await else { continue };
            match self.judge(&reply, sent) {
                ReplyVerdict::Ok => {
                    self.acknowledge(self.shown.len() + self.pending.len());
                    self.acknowledged = self.acknowledged.plus(1);
                    self.is_closed = true;
                    self.closing = None;
                    self.calls.settle(&self.store);
                    self.mirror.add_own([terminal]);
                    self.mirror.give_up(self.epoch, self.acknowledged);
                    return Ok(CloseOutcome::Won);
                }
                ReplyVerdict::Behind => {}
                ReplyVerdict::Failed(_) => return Ok(self.other_end(terminal).await),
            }
        }
    }

    /// Renews a lease that may have expired. Returns whether the log is still this process's; not if Redis is silent.
    pub(super) async fn confirm_lease(&mut self) -> bool {
        let lease = self.store.terms.lease;
        if self.is_fenced || self.confirmed + lease > Instant::now() + LEASE_MARGIN {
            return !self.is_fenced;
        }
        let (call, sent) = (self.calls.renew(self.epoch, lease, Sequence::START), Instant::now());
        match self.store.client.connection.call(&call, Patience::For(CLOSE_PATIENCE)).await {
            // A log that Redis has lost has no other owner.
            Ok(reply) if reply.code() == "lost" => true,
            Ok(reply) => matches!(self.judge(&reply, sent), ReplyVerdict::Ok),
            Err(_) => false,
        }
    }

    /// Returns the terminal event that another process has appended.
    async fn other_end(&mut self, terminal: Event) -> CloseOutcome {
        self.closing = None;
        self.pending.clear();
        _ = self.mirror.refresh(RemovedLogs::Readable).await;
        if let Ok(tail) = self.mirror.tail()
            && tail.state == TailState::Closed
            && let Ok(mut page) = read_page(&MirrorLog(Arc::clone(&self.mirror)), tail.sequence.before()).await
            && let Some(last) = page.entries.pop()
        {
            return CloseOutcome::Lost(last.event);
        }
        // The log is gone with its end.
        CloseOutcome::Lost(terminal)
    }
}
