//! Every token is delivered once and in order, wherever the connection is cut.
//!
//! The connection is cut after each byte of a stream in turn, and the client resumes after the last id that it has:
//! once with the parser of fetch-event-source, once with that of the HTML Standard (WHATWG HTML, section 9.2.6).
//!
//! At one offset in each block no server can prevent a loss, for a client that stores the id when it reads the line and
//! not when the event is dispatched: between the last two line feeds. The client then has the id and not the event. A
//! block is one write, so a cut there needs a packet that ends there. Ids rise by one, so the client can detect the gap
//! and request the state (`GET /v1/generations/{id}`).

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Answer, Service, Upstream, sized, soon};

/// When a client's parser stores an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parser {
    /// `@microsoft/fetch-event-source` 2.0.1, `parse.ts`: when it reads the id's line.
    FetchEventSource,
    /// `EventSource`: when it dispatches the event.
    HtmlStandard,
}

const PARSERS: [Parser; 2] = [Parser::FetchEventSource, Parser::HtmlStandard];

/// The state of a client over all its connections.
struct Reader {
    parser: Parser,
    events: Vec<(String, Value)>,
    held: Option<String>,
}

impl Reader {
    const fn new(parser: Parser) -> Self {
        Self { parser, events: Vec::new(), held: None }
    }

    /// Reads the bytes of one connection up to the cut; an unfinished line is discarded.
    fn connection(&mut self, bytes: &[u8]) {
        let (mut data, mut id) = (Vec::new(), self.held.clone());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else { return };
            let line = std::str::from_utf8(line).expect("a whole line is UTF-8");
            if line.is_empty() {
                assert!(!data.is_empty(), "no block without data: a client would deliver an empty message");
                let [json]: [&str; 1] = data.try_into().expect("one line of data");
                self.events.push((id.clone().expect("an id"), serde_json::from_str(json).expect("JSON")));
                self.held.clone_from(&id);
                data = Vec::new();
            } else if let Some(value) = line.strip_prefix("data: ") {
                data.push(value);
            } else if let Some(value) = line.strip_prefix("id: ") {
                id = Some(value.to_owned());
                if self.parser == Parser::FetchEventSource {
                    self.held.clone_from(&id);
                }
            }
        }
    }

    fn request(&self, service: &Service, generation: &str, key: &str, body: &Value) -> RequestBuilder {
        let request = match self.parser {
            Parser::FetchEventSource => service.generation(body).header("idempotency-key", key),
            Parser::HtmlStandard => service.request(Method::GET, &format!("/v1/generations/{generation}/events")),
        };
        match &self.held {
            Some(id) => request.header("last-event-id", id),
            None => request,
        }
    }

    /// Returns the sequence numbers of the dispatched events.
    fn sequences(&self) -> Vec<u64> {
        let number = |id: &str| id.rsplit_once('.').and_then(|(_, number)| number.parse().ok()).expect("a number");
        self.events.iter().map(|(id, _)| number(id)).collect()
    }
}

/// Returns the first `length` bytes of the response body; then the connection is reset.
async fn cut(address: SocketAddr, head: &str, body: &str, length: usize) -> Vec<u8> {
    let mut socket = soon(TcpStream::connect(address)).await.expect("a connection");
    socket.set_zero_linger().expect("a socket");
    let request = format!("{head}host: localhost\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    soon(socket.write_all(request.as_bytes())).await.expect("sent");
    let mut wire = Vec::with_capacity(length * 2 + 1024);
    loop {
        let read = dechunked(&wire);
        if read.len() >= length {
            return read[..length].to_vec();
        }
        assert_ne!(soon(socket.read_buf(&mut wire)).await.expect("bytes"), 0, "the body is longer");
    }
}

/// Returns the received part of the body, without chunk framing.
fn dechunked(wire: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let Some(head) = wire.windows(4).position(|four| four == b"\r\n\r\n") else { return body };
    let mut rest = &wire[head + 4..];
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("a chunk's size");
        let chunk = &rest[line + 2..];
        body.extend_from_slice(&chunk[..size.min(chunk.len())]);
        match chunk.get(size + 2..) {
            Some(next) => rest = next,
            None => break,
        }
    }
    body
}

/// Pieces with multi-byte characters, with several characters in one grapheme cluster, and with characters at which
/// some clients end a line.
const PIECES: [&str; 8] = ["a", "é", "東", "👩‍👩‍👧", "\u{2028}", "\"\\", "\n\n", "نص"];

/// Finishes an answer of `count` pieces; returns its id and its whole stream.
async fn finished(service: &Service, upstream: &Upstream, count: usize) -> (String, String) {
    let body = json!({"input": "Hello"});
    let answer = Answer::to(service.generation(&body).header("idempotency-key", KEY)).await;
    let generation = answer.header("tokenrill-generation").to_owned();
    let mut call = upstream.call().await;
    let pieces: Vec<_> = (0..count).map(|at| PIECES[at % PIECES.len()]).collect();
    call.answer(&pieces).await;
    (generation, answer.text().await)
}

const KEY: &str = "cut";
const POST: &str = "POST /v1/generations HTTP/1.1\r\ncontent-type: application/json\r\nidempotency-key: cut\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_cut_after_any_byte_resumes_without_loss() {
    const WORKERS: usize = 4;
    let tokens = sized(40, 300);
    // `start` and `done` surround the tokens.
    let last = tokens as u64 + 2;
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let (generation, stream) = finished(&service, &upstream, tokens).await;
    let body = json!({"input": "Hello"});
    let mut whole = Reader::new(Parser::HtmlStandard);
    whole.connection(stream.as_bytes());
    assert_eq!(whole.sequences(), (1..=last).collect::<Vec<_>>());
    let text = service.get(&format!("/v1/generations/{generation}")).await.json().await["text"].clone();

    let check = async |offset: usize| {
        let received = cut(service.address, POST, &body.to_string(), offset).await;
        assert_eq!(received, stream.as_bytes()[..offset], "the same bytes on each connection");
        // The one lossy offset: the client has read the id, but not the blank line.
        let between = stream.as_bytes()[..offset].ends_with(b"\n") && stream.as_bytes().get(offset) == Some(&b'\n');
        for parser in PARSERS {
            let mut reader = Reader::new(parser);
            reader.connection(&received);
            let before = reader.sequences();
            let rest = Answer::to(reader.request(&service, &generation, KEY, &body)).await;
            assert!([200, 204].contains(&rest.status), "{offset}: {}", rest.status);
            reader.connection(rest.text().await.as_bytes());
            if between && parser == Parser::FetchEventSource {
                let lost = before.len() as u64 + 1;
                let others: Vec<_> = (1..=last).filter(|sequence| *sequence != lost).collect();
                assert_eq!(
                    reader.sequences(),
                    others,
                    "{offset}: only that event is missing, and its id shows the gap"
                );
            } else {
                assert!(reader.events == whole.events, "{offset} as {parser:?}: {:?}", reader.sequences());
            }
        }
        usize::from(between)
    };
    let lost = join_all((0..WORKERS).map(async |worker| {
        let mut lost = 0;
        for offset in (worker..stream.len()).step_by(WORKERS) {
            lost += check(offset).await;
        }
        lost
    }));
    assert_eq!(lost.await.iter().sum::<usize>(), tokens + 2, "each block has one such offset");
    // The state contains the lost event.
    assert_eq!(text, Value::from((0..tokens).map(|at| PIECES[at % PIECES.len()]).collect::<String>()));
    assert!(!upstream.was_called(), "one upstream call in all");
    service.metric_becomes("tokenrill_generations_total{outcome=\"done\"}", 1.0).await;
    service.metric_becomes("tokenrill_viewers_live", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_stream_cut_repeatedly_resumes_without_loss() {
    let mut settings = tokenrill::settings::Settings::default();
    settings.generation.grace = Duration::from_secs(30);
    let service = Service::with(settings).await;
    for (round, parser) in (0..10).zip(PARSERS.into_iter().cycle()) {
        let body = json!({"input": "Hello", "model": "demo?tokens=300&rate=2000"});
        let key = format!("live{round}");
        let head =
            format!("POST /v1/generations HTTP/1.1\r\ncontent-type: application/json\r\nidempotency-key: {key}\r\n");
        let mut reader = Reader::new(parser);
        // Cuts fall between blocks and inside them, and never at the lossy offset.
        let first = cut(service.address, &head, &body.to_string(), 150 + round).await;
        reader.connection(&first);
        let started = service.generation(&body).header("idempotency-key", &key);
        let generation = Answer::to(started).await.header("tokenrill-generation").to_owned();
        let mut length = 97 + 13 * round;
        while reader.events.last().is_none_or(|(_, data)| data.get("finish_reason").is_none()) {
            let (request, said) = match parser {
                Parser::FetchEventSource => (head.clone(), body.to_string()),
                Parser::HtmlStandard => {
                    (format!("GET /v1/generations/{generation}/events HTTP/1.1\r\n"), String::new())
                }
            };
            let last = reader.held.as_ref().map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
            let received = cut_or_end(service.address, &(request + &last), &said, length).await;
            reader.connection(&received);
            length = 61 + (length * 7 + 31) % 700;
        }
        let count = reader.events.len() as u64;
        assert_eq!(reader.sequences(), (1..=count).collect::<Vec<_>>(), "round {round}, as {parser:?}");
        let text: String = reader.events.iter().filter_map(|(_, data)| data["text"].as_str()).collect();
        let snapshot = service.get(&format!("/v1/generations/{generation}")).await.json().await;
        assert_eq!((&snapshot["text"], &snapshot["status"]), (&json!(text), &json!("done")));
    }
    service.metric_becomes("tokenrill_generations_total{outcome=\"done\"}", 10.0).await;
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

/// Like [`cut`], but returns a shorter body whole, and cuts one byte later if the cut would be at the lossy offset.
async fn cut_or_end(address: SocketAddr, head: &str, body: &str, length: usize) -> Vec<u8> {
    let mut socket = soon(TcpStream::connect(address)).await.expect("a connection");
    socket.set_zero_linger().expect("a socket");
    let request = format!("{head}host: localhost\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    soon(socket.write_all(request.as_bytes())).await.expect("sent");
    let mut wire = Vec::new();
    loop {
        let read = dechunked(&wire);
        if read.len() > length {
            let between = read[..length].ends_with(b"\n") && read[length] == b'\n';
            return read[..length + usize::from(between)].to_vec();
        }
        if wire.ends_with(b"\r\n0\r\n\r\n") {
            return read;
        }
        assert_ne!(soon(socket.read_buf(&mut wire)).await.expect("bytes"), 0, "no end without a last chunk");
    }
}
