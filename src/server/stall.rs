//! Resets HTTP/2 streams whose clients read nothing.
//!
//! The operating system does not detect a client that answers pings and keeps a stream's window closed (RFC 9113,
//! section 5.2). The response body does not detect it either: HTTP/2 stops polling it once the window is full. HTTP/1.1
//! does not need this module: a closed window there is the connection's, which the kernel ends (`TCP_USER_TIMEOUT`).

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Buf, Bytes, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep_until};

use super::exchange::ServedExchange;

tokio::task_local! {
    static PROGRESS: Arc<StreamProgress>;
}

/// Records whether the client of a stream reads its data.
#[derive(Default)]
struct StreamProgress {
    /// When the body last handed data to HTTP/2, if HTTP/2 has not asked for more since.
    unsent_since: Mutex<Option<Instant>>,
}

impl StreamProgress {
    fn set(&self, unsent_since: Option<Instant>) {
        *self.unsent_since.lock().unwrap_or_else(PoisonError::into_inner) = unsent_since;
    }

    /// Resolves when the client has read nothing for `limit`. Uses one timer and resets it only when it fires.
    async fn stalled(&self, limit: Duration) {
        loop {
            let unsent_since = *self.unsent_since.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            match unsent_since.map(|since| since + limit) {
                Some(due) if due <= now => return,
                due => sleep_until(due.unwrap_or(now + limit)).await,
            }
        }
    }
}

/// Runs one stream until it ends. If its client reads nothing for `limit`, drops the stream, which resets it.
pub(super) async fn bounded<F: Future>(limit: Duration, stream: F) {
    let progress = Arc::new(StreamProgress::default());
    let watched = PROGRESS.scope(Arc::clone(&progress), stream);
    tokio::select! {
        biased;
        _ = watched => {}
        () = progress.stalled(limit) => tracing::debug!("a stream was reset: its client reads nothing"),
    }
}

pin_project! {
    /// A response body that records whether HTTP/2 asks for more, if its stream is [`bounded`].
    ///
    /// It yields slices of at most [`SLICE`]. HTTP/2 accepts each frame whole, even if the window is smaller. With a
    /// large frame, progress inside it would be invisible, and the frame would stay in memory until its end is sent.
    pub(super) struct Watched<B: Body> {
        #[pin]
        body: B,
        rest: Option<B::Data>,
        progress: Option<Arc<StreamProgress>>,
        exchange: Option<Arc<ServedExchange>>,
    }
}

/// Maximum bytes of a stream that may wait in HTTP/2's buffers beyond its window.
const SLICE: usize = 16 * 1024;

impl<B: Body> Watched<B> {
    /// Records progress only if it is called while a [`bounded`] stream is polled; HTTP/1.1 has none. Holds `exchange`
    /// until the body is dropped.
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
                // A frame without data holds trailers.
                Err(frame) => frame.map_data(|_| Bytes::new()),
            }),
        };
        if let Some(progress) = this.progress {
            progress.set(polled.is_ready().then(Instant::now));
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
