//! HTTP/2 streams whose clients take nothing.
//!
//! To the operating system a client is well that answers pings and keeps a stream's window shut (RFC 9113,
//! section 5.2). Nor does the response's body see it: once it has given more than the window takes, it is not
//! asked again. HTTP/1.1 needs none of this: there a shut window is the connection's, which the kernel ends
//! (`TCP_USER_TIMEOUT`).

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Buf, Bytes, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep_until};

use super::exchange::ServedExchange;

tokio::task_local! {
    static PROGRESS: Arc<Progress>;
}

/// Whether a stream's client takes what it is given.
#[derive(Default)]
struct Progress {
    /// When something was given that has not been taken.
    given: Mutex<Option<Instant>>,
}

impl Progress {
    fn note(&self, given: Option<Instant>) {
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = given;
    }

    /// Resolves when nothing has been taken for `limit`. One timer, set anew only when it rings.
    async fn stalled(&self, limit: Duration) {
        loop {
            let given = *self.given.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            match given.map(|given| given + limit) {
                Some(due) if due <= now => return,
                due => sleep_until(due.unwrap_or(now + limit)).await,
            }
        }
    }
}

/// Runs one stream, at most until its client has taken nothing for `limit`: then it is dropped, which resets it.
pub(super) async fn bounded<F: Future>(limit: Duration, stream: F) {
    let progress = Arc::new(Progress::default());
    let watched = PROGRESS.scope(Arc::clone(&progress), stream);
    tokio::select! {
        biased;
        _ = watched => {}
        () = progress.stalled(limit) => tracing::debug!("a stream was reset: its client takes nothing"),
    }
}

pin_project! {
    /// A response's body that tells whether more of it is asked for: of a stream that is [`bounded`].
    ///
    /// It gives slices of at most [`SLICE`]. HTTP/2 takes what it is given whole, however small the window: of a
    /// large frame it could neither be told whether the client takes any, nor would it be let go of at its end.
    pub(super) struct Watched<B: Body> {
        #[pin]
        body: B,
        rest: Option<B::Data>,
        progress: Option<Arc<Progress>>,
        exchange: Option<Arc<ServedExchange>>,
    }
}

/// So much of a stream may wait in HTTP/2's buffers beyond its window.
const SLICE: usize = 16 * 1024;

impl<B: Body> Watched<B> {
    /// Called where the stream is polled. `exchange` is held until the body is dropped.
    pub fn new(body: B, exchange: Option<Arc<ServedExchange>>) -> Self {
        Self { body, rest: None, progress: PROGRESS.try_with(Arc::clone).ok(), exchange }
    }
}

impl<B: Body> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let slice = if this.progress.is_some() { SLICE } else { usize::MAX };
        let waiting = this.rest.take();
        let mut give = |mut data: B::Data| {
            let given = data.copy_to_bytes(data.remaining().min(slice));
            *this.rest = Some(data).filter(Buf::has_remaining);
            Frame::data(given)
        };
        let polled = match waiting {
            Some(data) => Poll::Ready(Some(Ok(give(data)))),
            None => this.body.poll_frame(context).map_ok(|frame| match frame.into_data() {
                Ok(data) => give(data),
                // Without data there are only trailers.
                Err(frame) => frame.map_data(|_| Bytes::new()),
            }),
        };
        if let Some(progress) = this.progress {
            progress.note(polled.is_ready().then(Instant::now));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.remaining() as u64);
        let mut hint = self.body.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}
