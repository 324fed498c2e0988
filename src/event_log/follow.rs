//! Replay, then live: one code path for every viewer of a generation and every subscriber of a channel.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use futures_util::future::{BoxFuture, Either, FutureExt};

use super::tail::TailReader;
use super::{Ends, Page, ReadError, Readable, Tail, TailState};
use crate::domain::Sequence;

/// Every entry after a position, page by page, then each new one; ends after the terminal entry.
///
/// Wake, then read: the wake says only that the tail has moved, and entries are always read from the
/// log. So there is no queue of a viewer's own that could overflow, and a slow viewer reads a longer
/// page next time.
pub fn follow<L: Readable + ?Sized>(log: Arc<L>, after: Sequence) -> Follow<L> {
    Follow { tail: log.tail(), log, after, step: Step::Look }
}

/// One reader's way through a log. Written by hand: a generator would cost as much as the read that it wraps.
pub struct Follow<L: Readable + ?Sized> {
    log: Arc<L>,
    tail: TailReader,
    after: Sequence,
    step: Step<L::Event>,
}

enum Step<E> {
    Look,
    /// Of a log behind a network; one in memory answers at once.
    Read(Tail, BoxFuture<'static, Result<Page<E>, ReadError>>),
    Wait,
    Over,
}

impl<L: Readable + ?Sized> Stream for Follow<L> {
    type Item = Result<Page<L::Event>, ReadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let (seen, page) = match &mut this.step {
                Step::Look => {
                    // Seen before the read: a move that comes after it wakes us (contract 4).
                    let seen = this.tail.look();
                    match this.log.read(this.after) {
                        Either::Left(page) => (seen, page.into_inner()),
                        Either::Right(_) => {
                            let (log, after) = (Arc::clone(&this.log), this.after);
                            this.step = Step::Read(seen, async move { log.read(after).await }.boxed());
                            continue;
                        }
                    }
                }
                Step::Read(seen, page) => (*seen, ready!(page.poll_unpin(context))),
                Step::Wait => {
                    ready!(this.tail.poll_changed(context));
                    this.step = Step::Look;
                    continue;
                }
                Step::Over => return Poll::Ready(None),
            };
            match page.as_ref().map(|page| page.last()) {
                Ok(Some(last)) => {
                    this.after = last.sequence;
                    this.step = if last.event.is_terminal() { Step::Over } else { Step::Look };
                    return Poll::Ready(Some(page));
                }
                Ok(None) if seen.state == TailState::Closed => this.step = Step::Over,
                Ok(None) => this.step = Step::Wait,
                Err(_) => {
                    this.step = Step::Over;
                    return Poll::Ready(Some(page));
                }
            }
        }
    }
}
