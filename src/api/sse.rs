//! The body of an event stream.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::Frame as BodyFrame;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};

use super::body_memory::BodyMemory;
use super::connection::{Connection, ConnectionClosing};
use super::headers::TOKENRILL_GENERATION;
use super::wire::frames::Frames;
use super::wire::retry::{HEARTBEAT, Retry};
use crate::domain::GenerationId;
use crate::generation::LogLost;

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Blocks that are ready at the same time are sent in one write of about this size. Larger writes would only fill the
/// buffers of a slow client, and each smaller write costs a system call.
const WRITE_BYTES: usize = 12 * 1024;

/// A larger write counts as memory of its account, because a slow client may hold it for a long time.
const LARGE_WRITE: usize = 64 * 1024;

/// The source of an event stream: the log of a generation or of a channel.
pub trait Source: Send + 'static {
    /// Appends the events that are ready, and returns their number. `None`: no more events will follow.
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        frames: &mut Frames,
    ) -> Poll<Option<Result<usize, EventStreamError>>>;

    /// Whether the last event has been written.
    fn is_over(&self) -> bool;

    /// Whether a block is incomplete. Until it ends, nothing else may be written.
    fn is_in_block(&self) -> bool {
        false
    }

    /// Appends an event that is in no log, such as a change of the queue position.
    fn poll_unlogged(&mut self, context: &mut Context<'_>, frames: &mut Frames) -> Poll<()>;

    /// Appends a `retry` line outside a block, on the wires that have such lines.
    fn write_retry(&mut self, retry: Retry, frames: &mut Frames);

    /// How long the stream lasts unless it is closed.
    fn lifetime(&self) -> StreamLifetime;

    /// The generation for the response header `Tokenrill-Generation`.
    fn generation(&self) -> Option<GenerationId>;
}

/// How long a stream lasts unless it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamLifetime {
    /// Until its last event.
    UntilLastEvent,
    /// Until the service stops, or until no event was sent for `idle`.
    Unbounded { idle: Duration },
}

pin_project! {
    /// A client's event stream: replayed events, then live events, with heartbeats in between.
    ///
    /// Not axum's `Sse`: its heartbeat ends in a blank line, which clients take for an empty message, and it writes the
    /// id before the data, so that a cut connection would lose the event.
    ///
    /// Ends cleanly only after the terminal event. If the log is lost or the stream is closed, the connection is cut,
    /// so that the client reconnects.
    pub struct EventStream<S> {
        source: S,
        connection: Connection,
        // Counts a large write until its client has read it.
        memory: BodyMemory,
        heartbeat: Duration,
        // The time of the last write. A write does not reset the timer; it is reset only when it fires.
        last_write: Instant,
        last_event: Instant,
        end: End,
        // When the connection is cut, set after the `retry` line of a stream that closes was written.
        cut_at: Option<Instant>,
        #[pin]
        timer: Sleep,
        frames: Frames,
    }
}

/// The time between the last write and the cut of the connection. Without it, the write would not be sent.
const CUT_DELAY: Duration = Duration::from_millis(200);

/// How the response body ends after the last event that can be read.
#[derive(Debug, Clone, Copy)]
enum End {
    Clean,
    /// The events that were read are written, then the connection is cut.
    Cut(EventStreamError),
}

/// Why a stream is cut before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventStreamError {
    #[error(transparent)]
    Lost(#[from] LogLost),
    #[error("the stream was closed")]
    Closed,
    /// The next write is large, and the account already holds its share of the memory for bodies.
    #[error("the account holds its share of the memory for bodies")]
    NoMemory,
}

impl<S: Source> EventStream<S> {
    /// Heartbeats start now, so the client also receives them before the first event.
    pub fn new(source: S, connection: Connection, memory: BodyMemory, heartbeat: Duration) -> Self {
        let now = Instant::now();
        Self {
            source,
            connection,
            memory,
            heartbeat,
            last_write: now,
            last_event: now,
            end: End::Clean,
            cut_at: None,
            timer: sleep(heartbeat),
            frames: Frames::default(),
        }
    }

    /// Writes a block before the first event of the source.
    pub fn beginning_with(mut self, write: impl FnOnce(&mut Frames)) -> Self {
        if let Some(retry) = self.connection.begin() {
            self.frames.set_retry(retry);
        }
        write(&mut self.frames);
        self
    }
}

impl<S: Source> http_body::Body for EventStream<S> {
    type Data = Bytes;
    type Error = EventStreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, EventStreamError>>> {
        let mut this = self.project();
        let mut has_events = false;
        // Before the state is read, because a change between a read and the registration would not wake this task.
        this.connection.watch(context);
        if let Some(retry) = this.connection.begin() {
            this.frames.set_retry(retry);
        }
        loop {
            let closing = this.connection.closing();
            match closing {
                ConnectionClosing::No | ConnectionClosing::AtEndOfService => {}
                // The stream is about to end cleanly anyway.
                ConnectionClosing::Later(_) if this.source.is_over() => {}
                ConnectionClosing::Later(_) if this.source.is_in_block() => {
                    return Poll::Ready(Some(Err(EventStreamError::Closed)));
                }
                ConnectionClosing::Now => return Poll::Ready(Some(Err(EventStreamError::Closed))),
                ConnectionClosing::Later(retry) if this.cut_at.is_none() => {
                    let cut_at = Instant::now() + CUT_DELAY;
                    *this.cut_at = Some(cut_at);
                    this.timer.as_mut().reset(cut_at);
                    this.source.write_retry(retry, this.frames);
                    if !this.frames.is_empty() {
                        return Poll::Ready(Some(Ok(BodyFrame::data(this.frames.take()))));
                    }
                }
                ConnectionClosing::Later(_) => {
                    return this.timer.as_mut().poll(context).map(|()| Some(Err(EventStreamError::Closed)));
                }
            }
            let ended = match this.source.poll_write(context, this.frames) {
                Poll::Ready(Some(Ok(events))) => {
                    if events > 0 {
                        this.connection.note_events(events);
                        has_events = true;
                    }
                    if this.frames.len() < WRITE_BYTES {
                        continue;
                    }
                    false
                }
                Poll::Ready(Some(Err(why))) => {
                    *this.end = End::Cut(why);
                    true
                }
                Poll::Ready(None) => true,
                Poll::Pending => false,
            };
            if !this.source.is_over() && !this.source.is_in_block() {
                if this.source.poll_unlogged(context, this.frames).is_ready() {
                    this.connection.note_events(1);
                }
                if let Some(retry) = this.connection.take_drain_retry() {
                    this.source.write_retry(retry, this.frames);
                }
            }
            if !this.frames.is_empty() {
                let now = Instant::now();
                *this.last_write = now;
                if has_events {
                    *this.last_event = now;
                }
                this.connection.note_write(now, this.frames.len());
                let mut blocks = this.frames.take();
                if blocks.len() > LARGE_WRITE {
                    let held = this.memory.hold_bytes(this.connection.account(), blocks);
                    blocks = held.map_err(|_| EventStreamError::NoMemory)?;
                }
                return Poll::Ready(Some(Ok(BodyFrame::data(blocks))));
            }
            if ended {
                return match this.end {
                    End::Clean => Poll::Ready(None),
                    End::Cut(why) => Poll::Ready(Some(Err(*why))),
                };
            }
            if closing == ConnectionClosing::AtEndOfService && this.source.lifetime() != StreamLifetime::UntilLastEvent
            {
                this.connection.schedule_close();
                continue;
            }
            if this.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if let StreamLifetime::Unbounded { idle } = this.source.lifetime()
                && now.duration_since(*this.last_event) >= idle
            {
                this.connection.schedule_close();
                continue;
            }
            let due = *this.last_write + *this.heartbeat;
            if due <= now && !this.source.is_in_block() {
                *this.last_write = now;
                this.connection.note_write(now, HEARTBEAT.len());
                this.timer.as_mut().reset(now + *this.heartbeat);
                return Poll::Ready(Some(Ok(BodyFrame::data(Bytes::from_static(HEARTBEAT)))));
            }
            this.timer.as_mut().reset(if due > now { due } else { now + *this.heartbeat });
        }
    }
}

/// Returns the response for an event stream.
///
/// The content type has no charset, because fetch-event-source's own example compares it with `===`.
pub fn event_stream<S: Source>(stream: EventStream<S>) -> Response {
    let generation = stream.source.generation();
    let mut response = Body::new(stream).into_response();
    set_head(&mut response);
    if let Some(generation) = generation {
        name_generation(&mut response, generation);
    }
    response
}

/// Returns the response for a client that reconnects after the last event. Its `retry` keeps the client from
/// reconnecting for a day.
pub fn ended(generation: GenerationId) -> Response {
    let body = format!(": end\nretry: {}\n", Retry::DORMANT.millis());
    // A body of unknown length, as for every event stream.
    let body = futures_util::stream::once(std::future::ready(Ok::<_, std::convert::Infallible>(body)));
    let mut response = Body::from_stream(body).into_response();
    set_head(&mut response);
    name_generation(&mut response, generation);
    response
}

fn set_head(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

pub fn name_generation(response: &mut Response, generation: GenerationId) {
    if let Ok(value) = HeaderValue::from_str(&generation.to_string()) {
        response.headers_mut().insert(TOKENRILL_GENERATION, value);
    }
}
