//! Replay, then live: one code path for every viewer of a generation and every subscriber of a channel.

use std::sync::Arc;

use async_stream::try_stream;
use futures_util::Stream;

use super::{Ends, Page, ReadError, Readable, TailState};
use crate::domain::Sequence;

/// Every entry after a position, page by page, then each new one; ends after the terminal entry.
///
/// Wake, then read: the wake says only that the tail has moved, and entries are always read from the
/// log. So there is no queue of a viewer's own that could overflow, and a slow viewer reads a longer
/// page next time.
pub fn follow<L: Readable + ?Sized>(
    log: Arc<L>,
    after: Sequence,
) -> impl Stream<Item = Result<Page<L::Event>, ReadError>> + Send {
    try_stream! {
        let mut tail = log.tail();
        let mut after = after;
        loop {
            // Seen before the read: a move that comes after it wakes us (contract 4).
            let seen = *tail.borrow_and_update();
            let page = log.read(after).await?;
            match page.last() {
                Some(last) => {
                    after = last.sequence;
                    let ended = last.event.is_terminal();
                    yield page;
                    if ended {
                        return;
                    }
                }
                None if seen.state == TailState::Closed => return,
                None => tail.changed().await.map_err(|_| ReadError::Lost)?,
            }
        }
    }
}
