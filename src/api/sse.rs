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

use super::connection::{Closing, Connection};
use super::snapshot::SnapshotBody;
use super::wire::{Block, HEARTBEAT, Native, Retry, WireFormat};
use crate::domain::{EventId, GenerationId, Sequence};
use crate::generation::{Following, LogLost};

pub const TOKENRILL_GENERATION: HeaderName = HeaderName::from_static("tokenrill-generation");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Blocks that are ready together leave in one write of about this size: larger ones would only
/// fill a slow client's buffers, smaller ones cost a system call each.
const WRITE_BYTES: usize = 12 * 1024;

pin_project! {
    /// A viewer's event stream: what the log holds, then what comes, with heartbeats in between.
    ///
    /// Not axum's `Sse`: its heartbeat ends in a blank line, which clients take for an empty message,
    /// and it writes the id where a cut connection would lose the event.
    ///
    /// Ends cleanly after the terminal event and in no other case: where the log breaks off or an operator
    /// closes the stream the connection is cut, so that the client connects again.
    pub struct EventStream<F> {
        generation: GenerationId,
        following: Following,
        format: F,
        connection: Connection,
        retry: Option<Retry>,
        heartbeat: Duration,
        // When something was last written; the timer is set anew only when it rings.
        last_write: Instant,
        // The terminal event has been read: nothing follows it.
        over: bool,
        end: End,
        // When it is broken off, once it has been displaced.
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
}

impl<F: WireFormat> EventStream<F> {
    /// Heartbeats count from here on, before the first event as well.
    pub fn new(following: Following, format: F, mut connection: Connection, heartbeat: Duration) -> Self {
        Self {
            generation: following.start().generation,
            following,
            format,
            retry: Some(connection.begin()),
            connection,
            heartbeat,
            last_write: Instant::now(),
            over: false,
            end: End::Clean,
            leaves_at: None,
            silence: sleep(heartbeat),
            out: BytesMut::new(),
        }
    }
}

impl EventStream<Native> {
    /// With the state before its first event, as an event in place of all those that led to it.
    pub fn beginning_with(mut self, state: &SnapshotBody) -> Self {
        let sequence = Sequence::new(state.last_sequence);
        let id = EventId { generation: self.generation, sequence };
        let mut block = Block::new(&mut self.out, "snapshot");
        block.json(state);
        block.end(self.retry.take(), Some(id));
        self
    }
}

impl<F: WireFormat> http_body::Body for EventStream<F> {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let mut this = self.project();
        // Before anything is looked at: what comes later wakes this again.
        this.connection.watch(context);
        loop {
            match this.connection.closing() {
                Closing::No => {}
                // It is at its end anyway.
                Closing::Displaced(_) if *this.over => {}
                Closing::Now => return Poll::Ready(Some(Err(BrokenOff::Closed))),
                Closing::Displaced(retry) if this.leaves_at.is_none() => {
                    let leaves_at = Instant::now() + LAST_WORDS;
                    *this.leaves_at = Some(leaves_at);
                    this.silence.as_mut().reset(leaves_at);
                    this.format.encode_retry(retry, this.out);
                    if !this.out.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(this.out.split().freeze()))));
                    }
                }
                Closing::Displaced(_) => {
                    return this.silence.as_mut().poll(context).map(|()| Some(Err(BrokenOff::Closed)));
                }
            }
            let ended = match this.following.poll_page(context) {
                Poll::Ready(Some(Ok(page))) => {
                    this.connection.note_events(page.len());
                    *this.over |= page.iter().any(|entry| entry.event.is_terminal());
                    for entry in &page {
                        this.format.encode(*this.generation, entry, this.retry, this.out);
                    }
                    if this.out.len() < WRITE_BYTES {
                        continue;
                    }
                    false
                }
                Poll::Ready(Some(Err(lost))) => {
                    *this.end = End::Broken(lost.into());
                    true
                }
                Poll::Ready(None) => true,
                Poll::Pending => false,
            };
            if !*this.over {
                if let Poll::Ready(ahead) = this.following.poll_ahead(context) {
                    this.connection.note_events(1);
                    this.format.encode_ahead(ahead, this.retry, this.out);
                }
                if let Some(retry) = this.connection.come_back_later() {
                    this.format.encode_retry(retry, this.out);
                }
            }
            if !this.out.is_empty() {
                *this.last_write = Instant::now();
                this.connection.note_write(this.out.len());
                return Poll::Ready(Some(Ok(Frame::data(this.out.split().freeze()))));
            }
            if ended {
                return match this.end {
                    End::Clean => Poll::Ready(None),
                    End::Broken(why) => Poll::Ready(Some(Err(*why))),
                };
            }
            if this.silence.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let due = *this.last_write + *this.heartbeat;
            let now = Instant::now();
            if due <= now {
                *this.last_write = now;
                this.connection.note_write(HEARTBEAT.len());
                this.silence.as_mut().reset(now + *this.heartbeat);
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(HEARTBEAT)))));
            }
            this.silence.as_mut().reset(due);
        }
    }
}

/// The head that every event stream has, and the stream.
///
/// The content type has no charset: fetch-event-source's own example compares it with `===`.
pub fn event_stream<F: WireFormat>(stream: EventStream<F>) -> Response {
    let generation = stream.generation;
    let mut response = Body::new(stream).into_response();
    set_head(&mut response, generation);
    response
}

/// The answer to a client that connects again where nothing will follow: it goes dormant.
pub fn ended(generation: GenerationId) -> Response {
    let body = format!(": end\nretry: {}\n", Retry::DORMANT.millis());
    // A body of unknown length, as every event stream has.
    let body = futures_util::stream::once(std::future::ready(Ok::<_, std::convert::Infallible>(body)));
    let mut response = Body::from_stream(body).into_response();
    set_head(&mut response, generation);
    response
}

fn set_head(response: &mut Response, generation: GenerationId) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    name_generation(response, generation);
}

pub fn name_generation(response: &mut Response, generation: GenerationId) {
    if let Ok(value) = HeaderValue::from_str(&generation.to_string()) {
        response.headers_mut().insert(TOKENRILL_GENERATION, value);
    }
}
