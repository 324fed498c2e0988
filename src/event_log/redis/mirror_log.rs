//! The copy of a log as its readers see it.

use std::future::ready;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::follower::follow_log;
use super::mirror::{Mirror, RemovedLogs};
use crate::domain::{Epoch, Event, Sequence, Start};
use crate::event_log::{GenerationLog, Page, ReadError, Readable, Tail, Wake};

/// Reads the copy. A copy of another process's log is kept up to date from its first wake on.
pub struct MirrorLog(pub Arc<Mirror>);

impl GenerationLog for MirrorLog {
    fn start(&self) -> &Arc<Start> {
        self.0.start()
    }

    fn epoch_of(&self, sequence: Sequence) -> Epoch {
        self.0.epoch_of(sequence)
    }
}

impl Readable for MirrorLog {
    type Event = Event;

    fn try_read(&self, after: Sequence) -> Option<Result<Page, ReadError>> {
        let page = self.0.page(after);
        // A copy that is behind is refreshed first.
        (page != Err(ReadError::BeyondTail)).then_some(page)
    }

    fn read(&self, after: Sequence) -> BoxFuture<'static, Result<Page, ReadError>> {
        let mirror = Arc::clone(&self.0);
        async move {
            let page = mirror.page(after);
            if page != Err(ReadError::BeyondTail) || mirror.is_owned() {
                return page;
            }
            mirror.refresh(RemovedLogs::Readable).await.map_err(|_| ReadError::Lost)?;
            mirror.page(after)
        }
        .boxed()
    }

    fn tail(&self) -> BoxFuture<'static, Result<Tail, ReadError>> {
        ready(self.0.tail()).boxed()
    }

    fn wake(&self) -> Box<dyn Wake> {
        if self.0.begin_following() {
            follow_log(&self.0);
        }
        Box::new(self.0.wake())
    }
}
