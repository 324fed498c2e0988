//! Replay, then live events: one code path for every viewer of a generation and every subscriber of a channel.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use futures_util::future::{BoxFuture, FutureExt};

use super::{Ends, EntryBatch, Page, ReadError, Readable, TailState, Wake};
use crate::domain::Sequence;

/// Returns a stream of every entry after a position, page by page, then of each new one. It ends after the terminal
/// entry.
///
/// Wake, then read: a wake signals only that the tail has moved, and entries are always read from the log. A viewer
/// therefore has no queue that could overflow, and a slow viewer reads a longer page next time.
pub fn follow<L: Readable + ?Sized>(log: Arc<L>, after: Sequence) -> Follow<L> {
    Follow { wake: log.wake(), log, after, step: FollowStep::Read }
}

/// One reader's stream over a log. Written by hand: a generator would cost as much as the read that it wraps.
pub struct Follow<L: Readable + ?Sized> {
    log: Arc<L>,
    wake: Box<dyn Wake>,
    after: Sequence,
    step: FollowStep<L::Event>,
}

enum FollowStep<E> {
    Read,
    /// A read of a log behind a network; a log in memory is read at once.
    Reading(BoxFuture<'static, Result<Page<E>, ReadError>>),
    /// Everything up to this tail was read. The next move is awaited beyond the tail of the read, not beyond a later
    /// one, so that no move is missed (contract 4).
    Wait(Sequence),
    Over,
}

impl<L: Readable + ?Sized> Stream for Follow<L> {
    type Item = Result<EntryBatch<L::Event>, ReadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let page = match &mut this.step {
                FollowStep::Read => {
                    let Some(page) = this.log.try_read(this.after) else {
                        this.step = FollowStep::Reading(this.log.read(this.after));
                        continue;
                    };
                    page
                }
                FollowStep::Reading(page) => ready!(page.poll_unpin(context)),
                FollowStep::Wait(seen) => {
                    ready!(this.wake.poll_moved(*seen, context));
                    this.step = FollowStep::Read;
                    continue;
                }
                FollowStep::Over => return Poll::Ready(None),
            };
            let Page { entries, tail } = match page {
                Ok(page) => page,
                Err(error) => {
                    this.step = FollowStep::Over;
                    return Poll::Ready(Some(Err(error)));
                }
            };
            let Some(last) = entries.last() else {
                this.step = match tail.state {
                    TailState::Closed => FollowStep::Over,
                    TailState::Open => FollowStep::Wait(tail.sequence),
                };
                continue;
            };
            this.after = last.sequence;
            this.step = match last.event.is_terminal() {
                true => FollowStep::Over,
                false if last.sequence == tail.sequence => FollowStep::Wait(tail.sequence),
                false => FollowStep::Read,
            };
            return Poll::Ready(Some(Ok(entries)));
        }
    }
}
