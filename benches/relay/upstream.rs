//! The model: a minimal server of OpenAI's chat completions, with little CPU cost. Its answers follow a [`Script`].

use std::fmt;
use std::io::{self, Error, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval_at, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_util::task::TaskTracker;

use crate::marker;
use crate::script::{Hold, Script};

/// An event of a watched request.
#[derive(Clone, Copy)]
pub enum Said {
    /// The request is complete, and the response is sent as far as its `Hold` allows.
    Arrived(u32),
    /// The connection has ended, at this time of the clock.
    Closed(u32, u64),
}

/// A name of the model's TLS certificate, in addition to the address.
pub const TLS_NAME: &str = "localhost";

/// How peers reach the model.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

/// The model, which runs on its own thread until the process ends.
pub struct Upstream {
    pub address: SocketAddr,
    /// The same model behind TLS.
    pub tls_address: SocketAddr,
    /// The certificate of the TLS address, in PEM.
    pub certificate: String,
    pub said: mpsc::Receiver<Said>,
}

impl Upstream {
    pub fn start(clock: Instant) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listen = || {
            let socket = TcpSocket::new_v4()?;
            socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
            socket.listen(4096)
        };
        let (clear, behind_tls) = runtime.block_on(async { listen().and_then(|clear| Ok((clear, listen()?))) })?;
        let (address, tls_address) = (clear.local_addr()?, behind_tls.local_addr()?);
        let (tls, certificate) = tls(address)?;
        let (tell, said) = mpsc::channel(1024);
        thread::Builder::new().name("upstream".to_owned()).spawn(move || {
            let clear = accept(clear, None, clock, tell.clone());
            runtime.block_on(async { tokio::try_join!(clear, accept(behind_tls, Some(tls), clock, tell)) })
        })?;
        Ok(Self { address, tls_address, certificate, said })
    }

    pub fn origin(&self, scheme: Scheme) -> Origin {
        let address = if scheme == Scheme::Http { self.address } else { self.tls_address };
        Origin { scheme, address }
    }
}

/// The scheme and the address of the model.
#[derive(Clone, Copy)]
pub struct Origin {
    pub scheme: Scheme,
    pub address: SocketAddr,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.scheme == Scheme::Http { "http" } else { "https" };
        write!(out, "{scheme}://{}", self.address)
    }
}

/// Returns a TLS acceptor with a certificate for this address, and the certificate.
fn tls(address: SocketAddr) -> io::Result<(TlsAcceptor, String)> {
    let made =
        rcgen::generate_simple_self_signed([address.ip().to_string(), TLS_NAME.to_owned()]).map_err(Error::other)?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(Error::other)?;
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).map_err(Error::other)?;
    Ok((TlsAcceptor::from(Arc::new(config)), made.cert.pem()))
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    clock: Instant,
    tell: mpsc::Sender<Said>,
) -> io::Result<()> {
    let tasks = TaskTracker::new();
    for number in 0_u64.. {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let (tls, tell) = (tls.clone(), tell.clone());
        // Ignores the error, since a peer may close at any time.
        tasks.spawn(async move {
            _ = match tls {
                None => Connection::new(socket, clock, tell, number).serve().await,
                Some(tls) => match tls.accept(socket).await {
                    Ok(socket) => Connection::new(socket, clock, tell, number).serve().await,
                    Err(error) => Err(error),
                },
            };
        });
    }
    Ok(())
}

struct Connection<S> {
    socket: S,
    clock: Instant,
    tell: mpsc::Sender<Said>,
    number: u64,
    unread: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(socket: S, clock: Instant, tell: mpsc::Sender<Said>, number: u64) -> Self {
        Self { socket, clock, tell, number, unread: Vec::new() }
    }

    /// Writes `bytes`: without TLS in one write, with TLS also flushed, since TLS buffers.
    async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await?;
        self.socket.flush().await
    }

    async fn serve(&mut self) -> io::Result<()> {
        while let Some((is_chat, body)) = self.request().await? {
            match Script::find(&body) {
                Some(script) if is_chat => self.answer(script, &body).await?,
                _ => {
                    self.say(&json("404 Not Found", r#"{"error":{"message":"there is no such thing"}}"#)).await?;
                }
            }
        }
        Ok(())
    }

    /// Returns whether the next request is for a completion, and its body; `None` at the end of the connection.
    async fn request(&mut self) -> io::Result<Option<(bool, Vec<u8>)>> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.unread, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.unread[..at]).to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
                let (begin, end) = (at + 4, at + 4 + length.unwrap_or(0_usize));
                if self.unread.len() >= end {
                    let body = self.unread[begin..end].to_vec();
                    self.unread.drain(..end);
                    return Ok(Some((head.starts_with("post /v1/chat/completions"), body)));
                }
            }
            if self.socket.read_buf(&mut self.unread).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn answer(&mut self, script: Script, body: &[u8]) -> io::Result<()> {
        let is_stream = asks(body, "stream");
        if script.watched > 0 {
            return self.watched(script).await;
        }
        if is_stream { self.stream(script, asks(body, "include_usage")).await } else { self.whole(script).await }
    }

    async fn stream(&mut self, script: Script, has_usage: bool) -> io::Result<()> {
        self.number += 1 << 20;
        let chunks = Chunks::new(self.number, &script);
        let mut bytes = chunks.head();
        if script.is_one_write() {
            chunks.tokens(&mut bytes, 0..script.tokens, self.clock);
            chunks.end(&mut bytes, script.tokens, has_usage);
            return self.say(&bytes).await;
        }
        self.say(&bytes).await?;
        if !script.lead.is_zero() {
            sleep(script.lead).await;
        }
        let mut ticks = (!script.pause.is_zero()).then(|| paced(script.pause));
        let mut next = 0;
        while next < script.tokens {
            let to = (next + script.batch).min(script.tokens);
            // The first write does not wait for the timer, which would add up to a millisecond.
            if let (Some(ticks), 1..) = (&mut ticks, next) {
                ticks.tick().await;
            }
            bytes.clear();
            chunks.tokens(&mut bytes, next..to, self.clock);
            self.say(&bytes).await?;
            next = to;
        }
        bytes.clear();
        chunks.end(&mut bytes, script.tokens, has_usage);
        self.say(&bytes).await
    }

    /// Serves a watched request until the peer closes the connection, and reports that.
    async fn watched(&mut self, script: Script) -> io::Result<()> {
        let chunks = Chunks::new(self.number, &script);
        if script.hold != Hold::BeforeHead {
            self.say(&chunks.head()).await?;
        }
        _ = self.tell.send(Said::Arrived(script.watched)).await;
        let (mut reader, mut writer) = tokio::io::split(&mut self.socket);
        let speak = async {
            let mut ticks = paced(script.pause.max(Duration::from_millis(1)));
            let mut bytes = Vec::new();
            for number in 0..script.tokens {
                if number > 0 {
                    ticks.tick().await;
                }
                bytes.clear();
                chunks.tokens(&mut bytes, number..number + 1, self.clock);
                writer.write_all(&bytes).await?;
            }
            std::future::pending::<io::Result<()>>().await
        };
        let listen = async { while matches!(reader.read(&mut [0; 1024]).await, Ok(1..)) {} };
        tokio::select! {
            _ = speak, if script.hold == Hold::Nowhere => {}
            () = listen => {}
        }
        _ = self.tell.send(Said::Closed(script.watched, marker::nanos(self.clock))).await;
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    async fn whole(&mut self, script: Script) -> io::Result<()> {
        let mut text = vec![b' '; marker::WIDTH * script.tokens as usize];
        for (number, token) in (0..).zip(text.chunks_exact_mut(marker::WIDTH)) {
            marker::write(token, number, marker::nanos(self.clock));
        }
        let answer = format!(
            r#"{{"id":"chatcmpl-{:029}","object":"chat.completion","created":1764171234,"model":"{script}","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{},"service_tier":"default","system_fingerprint":"fp_3502f4eb73"}}"#,
            self.number,
            String::from_utf8_lossy(&text),
            usage(script.tokens),
        );
        self.say(&json("200 OK", &answer)).await
    }
}

/// Returns whether the body has a member of this name with the value `true`.
fn asks(body: &[u8], member: &str) -> bool {
    let needles = [format!(r#""{member}":true"#), format!(r#""{member}": true"#)];
    needles.iter().any(|needle| memchr::memmem::find(body, needle.as_bytes()).is_some())
}

fn paced(pause: Duration) -> tokio::time::Interval {
    let mut ticks = interval_at(tokio::time::Instant::now() + pause, pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}

fn json(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn usage(tokens: u32) -> String {
    format!(r#"{{"prompt_tokens":8,"completion_tokens":{tokens},"total_tokens":{}}}"#, tokens + 8)
}

/// The events of one answer, as OpenAI writes them.
struct Chunks {
    start: String,
    token: Vec<u8>,
    /// The position of the marker in `token`.
    at: usize,
}

impl Chunks {
    fn new(number: u64, script: &Script) -> Self {
        let start = format!(
            r#"data: {{"id":"chatcmpl-{number:029}","object":"chat.completion.chunk","created":1764171234,"model":"{script}","system_fingerprint":"fp_3502f4eb73","#
        );
        let before = format!(r#"{start}"choices":[{{"index":0,"delta":{{"content":""#);
        let at = before.len();
        let after = "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
        let token = [before.as_bytes(), &[b' '; marker::WIDTH], after.as_bytes()].concat();
        Self { start, token, at }
    }

    fn head(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 * 1024);
        bytes.extend_from_slice(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n\
            transfer-encoding: chunked\r\n\r\n",
        );
        let role = r#""choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}"#;
        framed(&mut bytes, format!("{}{role}\n\n", self.start).as_bytes());
        bytes
    }

    /// Appends tokens as one HTTP chunk.
    fn tokens(&self, bytes: &mut Vec<u8>, numbers: std::ops::Range<u32>, clock: Instant) {
        size(bytes, self.token.len() * numbers.len());
        let nanos = marker::nanos(clock);
        for number in numbers {
            let at = bytes.len() + self.at;
            bytes.extend_from_slice(&self.token);
            marker::write(&mut bytes[at..at + marker::WIDTH], number, nanos);
        }
        bytes.extend_from_slice(b"\r\n");
    }

    fn end(&self, bytes: &mut Vec<u8>, tokens: u32, has_usage: bool) {
        let start = &self.start;
        let finish = "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n";
        let usage = format!("{start}\"choices\":[],\"usage\":{}}}\n\n", usage(tokens));
        let usage = if has_usage { usage.as_str() } else { "" };
        let text = format!("{start}{finish}{usage}data: [DONE]\n\n");
        framed(bytes, text.as_bytes());
        bytes.extend_from_slice(b"0\r\n\r\n");
    }
}

fn framed(bytes: &mut Vec<u8>, text: &[u8]) {
    size(bytes, text.len());
    bytes.extend_from_slice(text);
    bytes.extend_from_slice(b"\r\n");
}

fn size(bytes: &mut Vec<u8>, size: usize) {
    // Writing to a vector cannot fail.
    _ = write!(bytes, "{size:x}\r\n");
}
