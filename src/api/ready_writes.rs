//! Reads a stream's source in tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::sse::{EventStreamError, Source};
use super::wire::frames::Frames;

#[derive(Default)]
struct WokenFlag(AtomicBool);

impl Wake for WokenFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads from a source until it ends or waits. Returns the bytes of each write.
pub fn ready_writes(source: &mut impl Source) -> Result<Vec<Vec<u8>>, EventStreamError> {
    let woken = Arc::new(WokenFlag::default());
    let waker = Waker::from(Arc::clone(&woken));
    let (mut context, mut frames, mut writes) = (Context::from_waker(&waker), Frames::default(), Vec::new());
    loop {
        match source.poll_write(&mut context, &mut frames) {
            Poll::Ready(Some(Ok(_))) => writes.push(frames.take().to_vec()),
            Poll::Ready(Some(Err(error))) => return Err(error),
            Poll::Pending if woken.0.swap(false, Ordering::Relaxed) => {}
            Poll::Pending | Poll::Ready(None) => return Ok(writes),
        }
    }
}
