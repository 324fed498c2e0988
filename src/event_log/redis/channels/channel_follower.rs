//! Keeps this process's copy of a channel up to date.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::channel_copy::{ChannelCopy, MissingLog, NoLog};

/// The wait before a failed read is repeated.
const RETRY: Duration = Duration::from_millis(200);

/// Reads the channel whenever an append is announced, and after each new connection to Redis, until the copy is dropped.
pub fn follow_channel(copy: &Arc<ChannelCopy>) {
    let store = Arc::clone(copy.store());
    let mut announced = store.client.subscriptions.subscribe(copy.keys().wakes.clone());
    let (dropped, stop) = (copy.dropped().clone(), store.stop.clone());
    let copy = Arc::downgrade(copy);
    let following = async move {
        // The subscription is announced once it is in effect; that of an earlier copy may be in effect already.
        loop {
            let Some(reading) = copy.upgrade() else { return };
            let read = reading.refresh(MissingLog::Create).await;
            drop(reading);
            match read {
                Ok(()) => announced.next().await,
                Err(NoLog) => sleep(RETRY).await,
            }
        }
    };
    store.tasks.spawn(async move {
        tokio::select! {
            () = following => {}
            () = dropped.cancelled() => {}
            () = stop.cancelled() => {}
        }
    });
}
