//! Copies the answers of generations into channels.

use std::sync::Arc;

use futures_util::{Stream, StreamExt};

use super::service::Channels;
use crate::domain::{Account, ChannelEvent, ChannelName, GenerationId};
use crate::event_log::{ChannelLog, EntryBatch};

impl Channels {
    /// Spawns a task that copies all events of a generation into the channel. They count against `account`, that of the
    /// generation's caller. The task is not a viewer: subscribers do not keep a generation running. It ends with the
    /// service, also while an append is in flight.
    pub fn carry<E: Send + 'static>(
        &self,
        channel: &ChannelName,
        account: &Account,
        generation: GenerationId,
        pages: impl Stream<Item = Result<EntryBatch, E>> + Send + 'static,
    ) {
        let (logs, stopping) = (Arc::clone(&self.0.logs), self.0.stopping.clone());
        let (channel, account) = (channel.clone(), account.clone());
        let copying = async move {
            // A channel that cannot be created has no subscriber that could miss the answer.
            let Ok(log) = logs.open(&channel, &account).await else { return };
            let mut pages = std::pin::pin!(pages);
            while let Some(Ok(page)) = pages.next().await {
                let said = page.into_iter().map(|entry| ChannelEvent::Generation(generation, entry.event)).collect();
                carry_page(log.as_ref(), said).await;
            }
        };
        self.0.tasks.spawn(async move { stopping.run_until_cancelled(copying).await });
    }
}

/// Appends a page. If the channel cannot hold all of it, each event is appended by itself; one that is too large leaves
/// a gap.
async fn carry_page(log: &dyn ChannelLog, said: Vec<ChannelEvent>) {
    if log.append(said.clone()).await.is_ok() {
        return;
    }
    for event in said {
        if log.append(vec![event]).await.is_err() {
            log.skip().await;
        }
    }
}
