//! The log of one channel in Redis, as appenders and readers see it.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::channel_copy::{ChannelCopy, MissingLog};
use super::channel_follower::follow_channel;
use crate::domain::{ChannelEvent, Sequence};
use crate::event_log::{AppendError, ChannelLog, History, Page, ReadError, Readable, Tail, Wake};

/// Reads this process's copy of the channel, which is kept up to date from the first wake on.
pub struct RedisChannel(pub Arc<ChannelCopy>);

impl ChannelLog for RedisChannel {
    fn append(&self, events: Vec<ChannelEvent>) -> BoxFuture<'static, Result<Sequence, AppendError>> {
        let copy = Arc::clone(&self.0);
        async move {
            let appended = copy.append(&events).await;
            // A drain that waited for this answer closes the subscribers' streams next: they get its end before that.
            if events.iter().any(|event| matches!(event, ChannelEvent::Generation(_, event) if event.is_terminal())) {
                _ = copy.refresh(MissingLog::Report).await;
            }
            appended
        }
        .boxed()
    }

    fn skip(&self) -> BoxFuture<'static, ()> {
        let copy = Arc::clone(&self.0);
        async move { copy.skip().await }.boxed()
    }

    fn history(&self, most: usize) -> BoxFuture<'static, History> {
        let copy = Arc::clone(&self.0);
        async move {
            _ = copy.refresh(MissingLog::Create).await;
            copy.history(most)
        }
        .boxed()
    }
}

impl Readable for RedisChannel {
    type Event = ChannelEvent;

    fn try_read(&self, after: Sequence) -> Option<Result<Page<ChannelEvent>, ReadError>> {
        self.0.page(after)
    }

    fn read(&self, after: Sequence) -> BoxFuture<'static, Result<Page<ChannelEvent>, ReadError>> {
        let copy = Arc::clone(&self.0);
        async move {
            if let Some(page) = copy.page(after) {
                return page;
            }
            _ = copy.refresh(MissingLog::Create).await;
            copy.page_of_copy(after)
        }
        .boxed()
    }

    fn tail(&self) -> BoxFuture<'static, Result<Tail, ReadError>> {
        let copy = Arc::clone(&self.0);
        async move {
            if let Some(tail) = copy.tail() {
                return Ok(tail);
            }
            _ = copy.refresh(MissingLog::Create).await;
            Ok(copy.tail_of_copy())
        }
        .boxed()
    }

    fn wake(&self) -> Box<dyn Wake> {
        if self.0.begin_following() {
            follow_channel(&self.0);
        }
        Box::new(self.0.wake())
    }
}
