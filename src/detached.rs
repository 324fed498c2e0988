//! Calls that are completed even if their caller is dropped.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// A call that continues in a tracked task if its caller is dropped, for a call that changes state which its caller
/// must undo: a call that is cut off in the middle may or may not have changed it.
///
/// The output is then dropped in the task. An output that undoes the call in its `Drop` therefore needs nothing else.
pub struct Detached<T: Send + 'static> {
    call: Option<BoxFuture<'static, T>>,
    tasks: TaskTracker,
}

impl<T: Send + 'static> Detached<T> {
    pub fn new(tasks: &TaskTracker, call: impl Future<Output = T> + Send + 'static) -> Self {
        Self { call: Some(call.boxed()), tasks: tasks.clone() }
    }

    /// Returns the output, or `None` if the call takes longer than `limit`. It then continues in its task.
    pub async fn within(self, limit: Duration) -> Option<T> {
        within(limit, self).await
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Taken, so that a call that panics is not polled again when this is dropped.
        let Some(mut call) = self.call.take() else { return Poll::Pending };
        let polled = call.as_mut().poll(context);
        if polled.is_pending() {
            self.call = Some(call);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        let (Some(mut call), Ok(runtime)) = (self.call.take(), Handle::try_current()) else { return };
        // Most calls are ready at once and need no task. A panic in a call must not meet another one.
        let is_done = !thread::panicking() && call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if !is_done {
            self.tasks.spawn_on(call.map(drop), &runtime);
        }
    }
}

/// Returns the output of a call, or `None` if it takes longer than `limit`. A call that is ready at once needs no
/// timer.
pub async fn within<T>(limit: Duration, mut call: impl Future<Output = T> + Unpin) -> Option<T> {
    match (&mut call).now_or_never() {
        Some(output) => Some(output),
        None => timeout(limit, call).await.ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn dropped_call_is_completed_and_its_output_dropped_in_the_task() {
        let (tasks, gate, output) = (TaskTracker::new(), Arc::new(Notify::new()), Arc::new(()));
        let call = |gate: &Arc<Notify>| {
            let (gate, output) = (Arc::clone(gate), Arc::clone(&output));
            Detached::new(&tasks, async move {
                gate.notified().await;
                output
            })
        };
        drop(call(&gate));
        assert_eq!((tasks.len(), Arc::strong_count(&output)), (1, 2), "it waits in a task");
        let mut polled = call(&gate);
        assert!((&mut polled).now_or_never().is_none());
        drop(polled);
        assert_eq!(tasks.len(), 2);
        tasks.close();
        while !tasks.is_empty() {
            gate.notify_one();
            tokio::task::yield_now().await;
        }
        assert_eq!(Arc::strong_count(&output), 1);
    }

    #[tokio::test]
    async fn dropped_call_that_is_ready_is_completed_at_once_without_a_task() {
        let (tasks, output) = (TaskTracker::new(), Arc::new(()));
        let made = Arc::clone(&output);
        drop(Detached::new(&tasks, async move { made }));
        assert_eq!((tasks.len(), Arc::strong_count(&output)), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_takes_too_long_continues_in_its_task() {
        let (tasks, gate) = (TaskTracker::new(), Arc::new(Notify::new()));
        let waiting = Arc::clone(&gate);
        let call = Detached::new(&tasks, async move { waiting.notified().await });
        assert_eq!(call.within(Duration::from_secs(1)).await, None);
        assert_eq!(tasks.len(), 1);
        gate.notify_one();
        tasks.close();
        tasks.wait().await;
    }
}
