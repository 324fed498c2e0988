//! The clients: plain sockets of one thread, which record the arrival time of each token.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::answer::Answer;
use crate::marker::{self, Scanner};
use crate::script::Script;

/// An answer without new bytes for this long counts as broken.
const LATE: Duration = Duration::from_secs(30);

thread_local! {
    /// The read buffer that all sockets share. Its content is not used after a read is processed.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

const STREAM: &str = "text/event-stream";

/// The API of a request and its response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    OpenAi,
    Native,
}

/// The server, its credential and its API, with counters that all clients share.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub key: String,
    pub clock: Instant,
    /// Tokens received by all clients of this target.
    pub came: Arc<AtomicU64>,
    /// Answers whose first token was received.
    pub began: Arc<AtomicU64>,
    /// Whether the measurement is over: clients then disconnect at their next token.
    pub is_over: Arc<AtomicBool>,
}

impl Target {
    pub fn new(address: SocketAddr, key: String, clock: Instant) -> Self {
        Self { address, key, clock, came: Arc::default(), began: Arc::default(), is_over: Arc::default() }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub fn ask(&self, wire: Wire, script: &Script, is_stream: bool) -> Vec<u8> {
        let body = match wire {
            Wire::Native => format!(r#"{{"model":"{script}","input":"Hello"}}"#),
            Wire::OpenAi => {
                let stream = if is_stream { r#"true,"stream_options":{"include_usage":true}"# } else { "false" };
                format!(r#"{{"model":"{script}","messages":[{{"role":"user","content":"Hello"}}],"stream":{stream}}}"#)
            }
        };
        let path = if wire == Wire::Native { "/v1/generations" } else { "/v1/chat/completions" };
        self.post(path, if is_stream { STREAM } else { "application/json" }, "", &body)
    }

    /// A request for a generation that continues without viewers. Only Tokenrill has such requests.
    pub fn begin(&self, script: &Script) -> Vec<u8> {
        let body = format!(r#"{{"model":"{script}","input":"Hello","on_disconnect":"continue"}}"#);
        self.post("/v1/generations", "application/json", "prefer: respond-async\r\n", &body)
    }

    pub fn get(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\n{}\r\n", self.headers(STREAM)).into_bytes()
    }

    fn post(&self, path: &str, accept: &str, more: &str, body: &str) -> Vec<u8> {
        let (headers, length) = (self.headers(accept), body.len());
        let framing = format!("content-type: application/json\r\ncontent-length: {length}\r\n");
        format!("POST {path} HTTP/1.1\r\n{headers}{more}{framing}\r\n{body}").into_bytes()
    }

    fn headers(&self, accept: &str) -> String {
        format!("host: {}\r\nauthorization: Bearer {}\r\naccept: {accept}\r\n", self.address, self.key)
    }
}

/// The counts of faults in all answers, which must be 0.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    pub missing: u64,
    pub doubled: u64,
    pub disordered: u64,
    /// Answers that were refused or incomplete.
    pub broken: u64,
    /// Client closes that did not close the upstream connection.
    pub never: u64,
}

impl Faults {
    pub fn add(&mut self, other: Self) {
        self.missing += other.missing;
        self.doubled += other.doubled;
        self.disordered += other.disordered;
        self.broken += other.broken;
        self.never += other.never;
    }
}

/// The measurements of one client; times in tenths of a microsecond.
#[derive(Default)]
pub struct Seen {
    pub relay: Vec<u32>,
    pub first: Vec<u32>,
    pub answers: u64,
    pub tokens: u64,
    pub faults: Faults,
    /// The generation id of the last answer, if it came from Tokenrill.
    pub generation: Option<String>,
    /// The body of the last answer, if it is recorded.
    pub kept: Option<Vec<u8>>,
}

impl Seen {
    pub fn add(&mut self, other: Self) {
        self.relay.extend(other.relay);
        self.first.extend(other.first);
        self.answers += other.answers;
        self.tokens += other.tokens;
        self.faults.add(other.faults);
    }
}

pub fn tenths(nanos: u64) -> u32 {
    u32::try_from(nanos / 100).unwrap_or(u32::MAX)
}

/// One connection, which reconnects if the server has closed it.
pub struct Client {
    pub target: Target,
    socket: Option<TcpStream>,
}

impl Client {
    pub async fn connect(target: &Target) -> io::Result<Self> {
        let mut this = Self { target: target.clone(), socket: None };
        this.reconnect().await?;
        Ok(this)
    }

    async fn reconnect(&mut self) -> io::Result<()> {
        let socket = TcpStream::connect(self.target.address).await?;
        socket.set_nodelay(true)?;
        self.socket = Some(socket);
        Ok(())
    }

    /// Sends a request and reads the answer of `tokens` tokens. Counts its faults in `seen`.
    pub async fn exchange(&mut self, request: &[u8], tokens: u32, seen: &mut Seen) {
        let mut reading = Reading::new(&self.target, tokens);
        let read = self.try_exchange(request, &mut reading, seen).await;
        seen.faults.missing += reading.gaps.len() as u64;
        let was_left = read.is_ok() && !reading.answer.is_whole();
        if !was_left {
            seen.faults.missing += u64::from(tokens.saturating_sub(reading.next));
            let is_good = reading.answer.status / 100 == 2 && (tokens == 0 || reading.has_ended());
            let is_whole = read.is_ok() && is_good;
            seen.answers += u64::from(is_whole);
            seen.faults.broken += u64::from(!is_whole);
        }
        if was_left || read.is_err() || reading.answer.closes {
            self.socket = None;
        }
        seen.generation = reading.answer.generation;
    }

    async fn try_exchange(&mut self, request: &[u8], reading: &mut Reading, seen: &mut Seen) -> io::Result<()> {
        if self.socket.is_none() {
            self.reconnect().await?;
        }
        let Some(socket) = &mut self.socket else { return Err(ErrorKind::NotConnected.into()) };
        reading.asked = marker::nanos(self.target.clock);
        socket.write_all(request).await?;
        while !reading.answer.is_whole() && !self.target.is_over() {
            let read = poll_fn(|context| reading.poll(socket, context, seen));
            if timeout(LATE, read).await?? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads up to the first token of the response. The caller then drops the connection.
    pub async fn first_token(&mut self) -> io::Result<()> {
        let (mut reading, mut seen) = (Reading::new(&self.target, u32::MAX), Seen::default());
        let Some(socket) = &mut self.socket else { return Err(ErrorKind::NotConnected.into()) };
        while seen.tokens == 0 {
            let read = poll_fn(|context| reading.poll(socket, context, &mut seen));
            if timeout(LATE, read).await?? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads all bytes that arrive within `time`, because closing a socket with unread bytes sends a reset.
    pub async fn drain(&mut self, time: Duration) {
        let Some(socket) = &mut self.socket else { return };
        let mut bytes = [0; 4096];
        _ = timeout(time, async { while matches!(socket.read(&mut bytes).await, Ok(1..)) {} }).await;
    }

    pub async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Err(ErrorKind::NotConnected.into()) };
        socket.write_all(request).await
    }
}

/// The state of reading one answer.
struct Reading {
    answer: Answer,
    scanner: Scanner,
    target: Target,
    asked: u64,
    expected: u32,
    /// One more than the highest token number so far.
    next: u32,
    /// Lower numbers that have not arrived.
    gaps: Vec<u32>,
    /// The bytes from the last token on.
    end: Vec<u8>,
}

impl Reading {
    fn new(target: &Target, expected: u32) -> Self {
        let (answer, scanner, target) = (Answer::default(), Scanner::default(), target.clone());
        Self { answer, scanner, target, asked: 0, expected, next: 0, gaps: Vec::new(), end: Vec::new() }
    }

    /// Returns whether the last event of a stream, or the `usage` of a JSON body, was received.
    fn has_ended(&self) -> bool {
        let ends: [&[u8]; 3] = [b"data: [DONE]", b"event: done", b"\"usage\""];
        ends.iter().any(|end| memchr::memmem::find(&self.end, end).is_some())
    }

    fn poll(&mut self, socket: &mut TcpStream, context: &mut Context<'_>, seen: &mut Seen) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(socket).poll_read(context, &mut buffer))?;
            let bytes = buffer.filled();
            if !bytes.is_empty() {
                self.take(bytes, seen)?;
            }
            Poll::Ready(Ok(bytes.len()))
        })
    }

    fn take(&mut self, bytes: &[u8], seen: &mut Seen) -> io::Result<()> {
        let now = marker::nanos(self.target.clock);
        let Self { answer, scanner, asked, expected, next, gaps, end, .. } = self;
        let (before, firsts) = (seen.tokens, seen.first.len() as u64);
        answer.feed(bytes, |piece| {
            scanner.feed(piece, |number, sent| {
                if *next == 0 && seen.tokens == before {
                    seen.first.push(tenths(now.saturating_sub(*asked)));
                }
                seen.tokens += 1;
                seen.relay.push(tenths(now.saturating_sub(sent)));
                if number >= *next {
                    gaps.extend(*next..number);
                    *next = number + 1;
                } else if let Some(at) = gaps.iter().position(|gap| *gap == number) {
                    gaps.swap_remove(at);
                    seen.faults.disordered += 1;
                } else {
                    seen.faults.doubled += 1;
                }
            });
            if *next >= *expected {
                end.extend_from_slice(piece);
            }
            if let Some(kept) = &mut seen.kept {
                kept.extend_from_slice(piece);
            }
        })?;
        let Target { came, began, .. } = &self.target;
        came.fetch_add(seen.tokens - before, Ordering::Relaxed);
        began.fetch_add(seen.first.len() as u64 - firsts, Ordering::Relaxed);
        Ok(())
    }
}
