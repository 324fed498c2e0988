//! Replay, then live events: one code path for every viewer of a generation and every subscriber of a channel.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use futures_util::future::{BoxFuture, Either, FutureExt};

use super::tail::TailReader;
use super::{Ends, Page, ReadError, Readable, Tail, TailState};
use crate::domain::Sequence;

/// Returns a stream of every entry after a position, page by page, then of each new one. It ends after the terminal
/// entry.
///
/// Wake, then read: a wake signals only that the tail has moved, and entries are always read from the log. A viewer
/// therefore has no queue that could overflow, and a slow viewer reads a longer page next time.
pub fn follow<L: Readable + ?Sized>(log: Arc<L>, after: Sequence) -> Follow<L> {
    Follow { tail: log.tail(), log, after, step: Step::Look }
}

/// One reader's stream over a log. Written by hand: a generator would cost as much as the read that it wraps.
pub struct Follow<L: Readable + ?Sized> {
    log: Arc<L>,
    tail: TailReader,
    after: Sequence,
    step: Step<L::Event>,
}

enum Step<E> {
    Look,
    /// A read of a log behind a network; a log in memory returns at once.
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
                    // Look at the tail before the read: a later move then wakes this reader (contract 4).
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
