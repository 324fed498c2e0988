//! The body of an event stream.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http_body::Frame;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};

use super::body_memory::BodyMemory;
use super::connection::{Closing, Connection};
use super::wire::{HEARTBEAT, Retry};
use crate::domain::GenerationId;
use crate::generation::LogLost;

pub const TOKENRILL_GENERATION: HeaderName = HeaderName::from_static("tokenrill-generation");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Blocks that are ready together leave in one write of about this size: larger ones would only
/// fill a slow client's buffers, smaller ones cost a system call each.
const WRITE_BYTES: usize = 12 * 1024;

/// A write that is larger counts as memory of its account: a slow client holds it for long.
const LARGE_WRITE: usize = 64 * 1024;

/// What an event stream is written from: a generation's log, or a channel's.
pub trait Source: Send + 'static {
    /// Writes what there is to be read; answers how many events that were. `None`: nothing will follow.
    ///
    /// `retry` goes into the first block that is written and is taken by it.
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        retry: &mut Option<Retry>,
        out: &mut BytesMut,
    ) -> Poll<Option<Result<usize, BrokenOff>>>;

    /// Whether the last event has been written.
    fn is_over(&self) -> bool;

    /// Whether a block was begun that has not ended: nothing else may be written then.
    fn is_in_block(&self) -> bool {
        false
    }

    /// Writes what is in no log.
    fn poll_aside(&mut self, context: &mut Context<'_>, retry: &mut Option<Retry>, out: &mut BytesMut) -> Poll<()>;

    /// Appends when to connect again, where no block is due, in the formats that have such lines.
    fn write_retry(&self, retry: Retry, out: &mut BytesMut);

    /// How it ends where nobody ends it.
    fn lasting(&self) -> Lasting;

    /// The generation that it is of, which the head names.
    fn generation(&self) -> Option<GenerationId>;
}

/// How long a stream lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// Until its last event.
    ToItsEnd,
    /// For ever: it is broken off when the service stops, and after so long without an event.
    WithoutEnd { idle: Duration },
}

pin_project! {
    /// A client's event stream: what the log holds, then what comes, with heartbeats in between.
    ///
    /// Not axum's `Sse`: its heartbeat ends in a blank line, which clients take for an empty message,
    /// and it writes the id where a cut connection would lose the event.
    ///
    /// Ends cleanly after the terminal event and in no other case: where the log breaks off, or the stream is
    /// closed, the connection is cut, so that the client connects again.
    pub struct EventStream<S> {
        source: S,
        connection: Connection,
        // Counts a large block until its client has taken it.
        memory: BodyMemory,
        retry: Option<Retry>,
        heartbeat: Duration,
        // When something was last written; the timer is set anew only when it rings.
        last_write: Instant,
        last_event: Instant,
        end: End,
        // When it is broken off, once its client has been told to come back later.
        leaves_at: Option<Instant>,
        #[pin]
        silence: Sleep,
        out: BytesMut,
    }
}

/// What is written just before a connection is cut is written only if it has this long.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How a stream ends when nothing more can be read.
#[derive(Debug, Clone, Copy)]
enum End {
    Clean,
    /// What has been read is written, then the connection is cut.
    Broken(BrokenOff),
}

/// Why a stream ends without its ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokenOff {
    #[error(transparent)]
    Lost(#[from] LogLost),
    #[error("the stream was closed")]
    Closed,
    /// The next event is large, and its account has its share of the memory for bodies.
    #[error("the account holds its share of the memory for bodies")]
    NoMemory,
}

impl<S: Source> EventStream<S> {
    /// Heartbeats count from here on, before the first event as well.
    pub fn new(source: S, connection: Connection, memory: BodyMemory, heartbeat: Duration) -> Self {
        let now = Instant::now();
        Self {
            source,
            retry: None,
            connection,
            memory,
            heartbeat,
            last_write: now,
            last_event: now,
            end: End::Clean,
            leaves_at: None,
            silence: sleep(heartbeat),
            out: BytesMut::new(),
        }
    }

    /// With something before its first event.
    pub fn beginning_with(mut self, write: impl FnOnce(&mut Option<Retry>, &mut BytesMut)) -> Self {
        self.retry = self.connection.begin();
        write(&mut self.retry, &mut self.out);
        self
    }
}

impl<S: Source> http_body::Body for EventStream<S> {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let mut this = self.project();
        let mut has_events = false;
        // Before anything is looked at: what comes later wakes this again.
        this.connection.watch(context);
        if let Some(retry) = this.connection.begin() {
            *this.retry = Some(retry);
        }
        loop {
            let closing = this.connection.closing();
            match closing {
                Closing::No | Closing::AtEndOfService => {}
                // It is at its end anyway.
                Closing::Later(_) if this.source.is_over() => {}
                Closing::Later(_) if this.source.is_in_block() => return Poll::Ready(Some(Err(BrokenOff::Closed))),
                Closing::Now => return Poll::Ready(Some(Err(BrokenOff::Closed))),
                Closing::Later(retry) if this.leaves_at.is_none() => {
                    let leaves_at = Instant::now() + LAST_WORDS;
                    *this.leaves_at = Some(leaves_at);
                    this.silence.as_mut().reset(leaves_at);
                    this.source.write_retry(retry, this.out);
                    if !this.out.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(this.out.split().freeze()))));
                    }
                }
                Closing::Later(_) => {
                    return this.silence.as_mut().poll(context).map(|()| Some(Err(BrokenOff::Closed)));
                }
            }
            let ended = match this.source.poll_write(context, this.retry, this.out) {
                Poll::Ready(Some(Ok(events))) => {
                    if events > 0 {
                        this.connection.note_events(events);
                        has_events = true;
                    }
                    if this.out.len() < WRITE_BYTES {
                        continue;
                    }
                    false
                }
                Poll::Ready(Some(Err(why))) => {
                    *this.end = End::Broken(why);
                    true
                }
                Poll::Ready(None) => true,
                Poll::Pending => false,
            };
            if !this.source.is_over() && !this.source.is_in_block() {
                if this.source.poll_aside(context, this.retry, this.out).is_ready() {
                    this.connection.note_events(1);
                }
                if let Some(retry) = this.connection.come_back_later() {
                    this.source.write_retry(retry, this.out);
                }
            }
            if !this.out.is_empty() {
                let now = Instant::now();
                *this.last_write = now;
                if has_events {
                    *this.last_event = now;
                }
                this.connection.note_write(now, this.out.len());
                let mut blocks = this.out.split().freeze();
                if blocks.len() > LARGE_WRITE {
                    let held = this.memory.hold_bytes(this.connection.account(), blocks);
                    blocks = held.map_err(|_| BrokenOff::NoMemory)?;
                }
                return Poll::Ready(Some(Ok(Frame::data(blocks))));
            }
            if ended {
                return match this.end {
                    End::Clean => Poll::Ready(None),
                    End::Broken(why) => Poll::Ready(Some(Err(*why))),
                };
            }
            if closing == Closing::AtEndOfService && this.source.lasting() != Lasting::ToItsEnd {
                this.connection.leave();
                continue;
            }
            if this.silence.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if let Lasting::WithoutEnd { idle } = this.source.lasting()
                && now.duration_since(*this.last_event) >= idle
            {
                this.connection.leave();
                continue;
            }
            let due = *this.last_write + *this.heartbeat;
            if due <= now && !this.source.is_in_block() {
                *this.last_write = now;
                this.connection.note_write(now, HEARTBEAT.len());
                this.silence.as_mut().reset(now + *this.heartbeat);
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(HEARTBEAT)))));
            }
            this.silence.as_mut().reset(if due > now { due } else { now + *this.heartbeat });
        }
    }
}

/// The head that every event stream has, and the stream.
///
/// The content type has no charset: fetch-event-source's own example compares it with `===`.
pub fn event_stream<S: Source>(stream: EventStream<S>) -> Response {
    let generation = stream.source.generation();
    let mut response = Body::new(stream).into_response();
    set_head(&mut response);
    if let Some(generation) = generation {
        name_generation(&mut response, generation);
    }
    response
}

/// The answer to a client that connects again where nothing will follow: it goes dormant.
pub fn ended(generation: GenerationId) -> Response {
    let body = format!(": end\nretry: {}\n", Retry::DORMANT.millis());
    // A body of unknown length, as every event stream has.
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
