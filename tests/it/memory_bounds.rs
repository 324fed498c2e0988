//! Resident memory of the service process under expensive requests, while another caller uses it too.

use std::io;
use std::num::NonZeroU32;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokenrill::settings::{Settings, Size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::fairness::{OrdinaryCaller, Protocol, by_address};
use crate::support::answering_upstream::{HELD, LARGE, LARGE_PIECE, LARGE_PIECES};
use crate::support::{AnsweringUpstream, ServiceProcess, SlowReader, case, slow_http2_client, soon};

const GENERATIONS: &str = "/v1/generations";
const STREAM: &str = "text/event-stream";
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const BODY_BYTES: &str = "tokenrill_body_bytes";
const IN_FLIGHT: &str = "tokenrill_requests_in_flight";
/// Address of the expensive caller. The ordinary caller is [`OTHER`].
const ONE: &str = "203.0.113.1";
const OTHER: &str = "203.0.113.2";

/// The service in a process of its own, with two callers.
struct Measured<'a> {
    service: ServiceProcess,
    other: OrdinaryCaller<'a>,
    client: reqwest::Client,
    before: usize,
}

impl<'a> Measured<'a> {
    async fn start(
        upstream: &'a AnsweringUpstream,
        client: reqwest::Client,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut settings = by_address(upstream);
        change(&mut settings);
        let service = ServiceProcess::start(&settings).await;
        let mut other = OrdinaryCaller::new(service.address, OTHER, upstream);
        // One round for each protocol: one-time allocations are made before the measurement.
        other.round().await;
        other.round().await;
        let before = service.resident();
        Self { service, other, client, before }
    }

    fn post(&self) -> RequestBuilder {
        self.request(Method::POST, GENERATIONS).header(CONTENT_TYPE, "application/json")
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.service.address);
        self.client.request(method, url).header("x-forwarded-for", ONE)
    }

    /// Starts the measurement.
    fn mark(&mut self) {
        self.before = self.service.resident();
        self.service.forget_peak();
    }

    /// Peak growth in bytes since `mark`.
    fn growth(&self) -> usize {
        self.service.peak().saturating_sub(self.before)
    }
}

/// Reads an answer of [`LARGE`] to its end and returns the id of its generation.
async fn large_answer(measured: &Measured<'_>, key: &str) -> String {
    let body = json!({"input": "x", "model": LARGE}).to_string();
    let request = measured.post().header(ACCEPT, STREAM).header("idempotency-key", key).body(body);
    let mut response = soon(request.send()).await.expect("a response");
    assert_eq!(response.status(), 200);
    let id = response.headers()["tokenrill-generation"].to_str().expect("ASCII").to_owned();
    let mut read = 0;
    while let Some(bytes) = soon(response.chunk()).await.expect("no cut") {
        read += bytes.len();
    }
    assert!(read > LARGE_PIECES * LARGE_PIECE);
    id
}

/// Sends the request and reads the head and the first bytes of the response, which has started then.
async fn send_and_read_first_bytes(request: RequestBuilder) -> Response {
    let mut response = soon(request.send()).await.expect("a response");
    assert_eq!(response.status(), 200);
    soon(response.chunk()).await.expect("no cut").expect("the first bytes");
    response
}

#[tokio::test]
async fn a_slow_reader_of_a_large_answer_costs_less_than_128_kib() {
    const READERS: u32 = 60;
    const MOST: usize = 128 * KIB;
    let forms: [(&str, Method, &str); 5] = [
        ("state", Method::GET, "/v1/generations/gen_ID"),
        ("long poll", Method::GET, "/v1/generations/gen_ID?after=1&wait=10s"),
        ("snapshot event", Method::GET, "/v1/generations/gen_ID/events?replay=snapshot"),
        ("response", Method::GET, "/v1/responses/resp_ID"),
        ("joiner that waits for JSON", Method::POST, ""),
    ];
    for protocol in Protocol::BOTH {
        for (name, method, path) in &forms {
            case(&format!("{name}, {protocol:?}"), async {
                let upstream = AnsweringUpstream::start().await;
                let mut measured = Measured::start(&upstream, slow_http2_client(), |_| {}).await;
                let id = large_answer(&measured, "large").await;
                measured.mark();
                let reader = || {
                    if *method == Method::POST {
                        let body = json!({"input": "x", "model": LARGE}).to_string();
                        let request = measured.post().header(ACCEPT, "application/json");
                        return request.header("idempotency-key", "large").body(body);
                    }
                    let path = path.replace("gen_ID", &id).replace("ID", id.trim_start_matches("gen_"));
                    measured.request(Method::GET, &path).header(ACCEPT, "*/*")
                };
                let mut readers = Vec::new();
                for _ in 0..READERS {
                    let reader = match protocol {
                        Protocol::Http1 => soon(SlowReader::http1(reader())).await.expect("a response"),
                        Protocol::Http2 => soon(SlowReader::http2(reader())).await.expect("a response"),
                    };
                    assert_eq!(reader.status, 200);
                    readers.push(reader);
                }
                measured.service.metric_becomes(IN_FLIGHT, READERS.into()).await;
                measured.other.round().await;
                let each = measured.growth() / READERS as usize;
                println!("a reader of the {name}, {protocol:?}: {} KiB", each / KIB);
                assert!(each < MOST, "{each} bytes each");
                drop(readers);
                measured.service.metric_becomes(IN_FLIGHT, 0.0).await;
            })
            .await;
        }
    }
}

#[tokio::test]
async fn slow_readers_of_evicted_or_deleted_answers_stay_within_the_event_log_memory_limit() {
    const ANSWERS: usize = 40;
    const LOG: usize = 16 * MIB;
    let tails = ["", "/events", "/events?replay=snapshot"];
    for is_deleted in [false, true] {
        let upstream = AnsweringUpstream::start().await;
        let change = |settings: &mut Settings| settings.event_log.memory.max_bytes = Size::mib(LOG / MIB);
        let mut measured = Measured::start(&upstream, Protocol::Http1.client(), change).await;
        measured.mark();
        let reading = slow_http2_client();
        let mut readers = Vec::new();
        for number in 0..ANSWERS {
            let id = large_answer(&measured, &format!("large-{number}")).await;
            let url = format!("http://{}{GENERATIONS}/{id}", measured.service.address);
            let tail = tails[number % tails.len()];
            let reader = SlowReader::http2(reading.get(format!("{url}{tail}")).header("x-forwarded-for", ONE));
            readers.push(soon(reader).await.expect("a response"));
            if is_deleted {
                let delete = measured.client.delete(url).header("x-forwarded-for", ONE);
                assert_eq!(soon(delete.send()).await.expect("a response").status(), 204);
            }
        }
        measured.other.round().await;
        measured.other.check_all().await;
        let (growth, most) = (measured.growth(), 2 * LOG + ANSWERS * 128 * KIB + 16 * MIB);
        println!("{ANSWERS} readers, deleted: {is_deleted}: {} MiB", growth / MIB);
        assert!(growth < most, "{} MiB of {} MiB, deleted: {is_deleted}", growth / MIB, most / MIB);
        drop(readers);
        measured.service.metric_becomes(IN_FLIGHT, 0.0).await;
    }
}

#[tokio::test]
async fn requests_that_continue_a_large_response_stay_within_the_memory_for_bodies() {
    const REQUESTS: usize = 60;
    const BODIES: usize = 32 * MIB;
    const LOG: usize = 32 * MIB;
    let upstream = AnsweringUpstream::start().await;
    let change = |settings: &mut Settings| {
        settings.server.max_body_memory = Size::mib(BODIES / MIB);
        settings.event_log.memory.max_bytes = Size::mib(LOG / MIB);
    };
    let mut measured = Measured::start(&upstream, Protocol::Http1.client(), change).await;
    let id = large_answer(&measured, "large").await.replace("gen_", "resp_");
    let path = format!("/v1/responses/{id}/input_items");
    assert_eq!(soon(measured.request(Method::GET, &path).send()).await.expect("a response").status(), 200);
    let begin = json!({"model": LARGE, "input": "x"}).to_string();
    let post = |body: String| {
        measured.request(Method::POST, "/v1/responses").header(CONTENT_TYPE, "application/json").body(body)
    };
    let first: Value = soon(post(begin).send()).await.expect("a response").json().await.expect("JSON");
    let item = &first["output"][0]["id"];
    let bodies = [
        json!({"model": HELD, "previous_response_id": first["id"], "input": "x", "background": true}),
        json!({"model": HELD, "input": [{"type": "item_reference", "id": item}], "background": true}),
    ];
    let requests: Vec<_> = bodies.iter().cycle().take(REQUESTS).map(|body| post(body.to_string())).collect();
    measured.mark();
    let answers = soon(join_all(requests.into_iter().map(RequestBuilder::send))).await;
    let statuses: Vec<_> = answers.into_iter().map(|answer| answer.expect("a response").status().as_u16()).collect();
    assert!(statuses.iter().all(|status| [200, 429, 503].contains(status)), "{statuses:?}");
    measured.other.round().await;
    let (growth, most) = (measured.growth(), 3 * (BODIES + LOG));
    println!("{REQUESTS} requests, {statuses:?}: {} MiB", growth / MIB);
    assert!(growth < most, "{} MiB of {} MiB", growth / MIB, most / MIB);
    upstream.release();
    measured.service.metric_becomes(BODY_BYTES, 0.0).await;
}

/// A body that sends the chunks of `sent` and never ends.
fn unfinished(sent: impl futures_util::Stream<Item = Bytes> + Send + 'static) -> reqwest::Body {
    reqwest::Body::wrap_stream(sent.chain(stream::pending()).map(Ok::<_, io::Error>))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_bodies_hold_only_their_received_bytes_for_any_chunk_size() {
    for protocol in Protocol::BOTH {
        for (bodies, bytes, chunk) in [(60, MIB, MIB), (1, MIB / 2, protocol.smallest_chunk())] {
            let upstream = AnsweringUpstream::start().await;
            let change = |settings: &mut Settings| settings.server.max_body_memory = Size::mib(64);
            let mut measured = Measured::start(&upstream, protocol.client(), change).await;
            measured.mark();
            let tasks = TaskTracker::new();
            // All bodies share these bytes, because other tests measure the memory of this process.
            let piece = Bytes::from(vec![b' '; chunk]);
            let sending: Vec<_> = (0..bodies)
                .map(|_| {
                    let sent = stream::iter(std::iter::repeat_n(piece.clone(), bytes / chunk));
                    tasks.spawn(measured.post().body(unfinished(sent)).send())
                })
                .collect();
            let sent = f64::from(u32::try_from(bodies * bytes).expect("a few MiB"));
            measured.service.metric_is(BODY_BYTES, |held| held >= sent).await;
            measured.other.round().await;
            // A buffer that grows briefly holds half of its bytes twice.
            let (growth, most) = (measured.growth(), bodies * bytes * 3 / 2 + bodies * 128 * KIB + 8 * MIB);
            println!("{bodies} bodies of {bytes} bytes by {chunk}, {protocol:?}: {} KiB", growth / KIB);
            assert!(growth < most, "{} KiB of {} KiB, {protocol:?}, {chunk}", growth / KIB, most / KIB);
            for task in sending {
                task.abort();
            }
            measured.service.metric_becomes(BODY_BYTES, 0.0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_requests_of_many_small_json_values_hold_their_bytes_without_a_parsed_tree() {
    const WAITING: usize = 12;
    let values = "0,".repeat(MIB / 2);
    let body = Bytes::from(format!(r#"{{"input":"x","model":"{HELD}","vendor":[{values}0]}}"#));
    for protocol in Protocol::BOTH {
        let upstream = AnsweringUpstream::start().await;
        let mut measured = Measured::start(&upstream, protocol.client(), |settings| {
            settings.limits.each.concurrent_generations = NonZeroU32::new(1);
        })
        .await;
        let held = json!({"input": "x", "model": HELD}).to_string();
        let running = send_and_read_first_bytes(measured.post().header(ACCEPT, STREAM).body(held)).await;
        measured.mark();
        let waiting = join_all(
            (0..WAITING).map(|_| send_and_read_first_bytes(measured.post().header(ACCEPT, STREAM).body(body.clone()))),
        );
        let waiting = waiting.await;
        assert!(measured.service.metric(BODY_BYTES).await >= f64::from(u32::try_from(WAITING * MIB).expect("MiB")));
        measured.other.round().await;
        let (growth, most) = (measured.growth(), 3 * WAITING * MIB + 16 * MIB);
        println!("{WAITING} requests that wait, {protocol:?}: {} MiB", growth / MIB);
        assert!(growth < most, "{} MiB of {} MiB, {protocol:?}", growth / MIB, most / MIB);
        drop((running, waiting));
        measured.service.metric_becomes(BODY_BYTES, 0.0).await;
    }
}

#[tokio::test]
async fn prompt_requests_above_the_rate_are_refused_before_their_body_is_read() {
    const REQUESTS: usize = 40;
    const ADMITTED: usize = 6;
    let upstream = AnsweringUpstream::start().await;
    let mut measured = Measured::start(&upstream, Protocol::Http1.client(), |settings| {
        // The limit is enough for the requests of the other caller: those made so far and one more.
        settings.limits.each.requests_per_minute = NonZeroU32::new(u32::try_from(ADMITTED).expect("six"));
    })
    .await;
    measured.mark();
    let values: Value = vec![0; 2 * MIB].into();
    let body = json!({"prompt": {"id": "summarise", "variables": {"text": values}}}).to_string();
    let head = format!(
        "POST {GENERATIONS} HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {ONE}\r\naccept: application/json\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    let request = async || {
        let mut socket = soon(TcpStream::connect(measured.service.address)).await.expect("a connection");
        soon(socket.write_all(head.as_bytes())).await.expect("sent");
        let mut first = vec![0; 12];
        soon(socket.read_exact(&mut first)).await.expect("an answer");
        (String::from_utf8(first).expect("ASCII"), socket)
    };
    let answers = join_all((0..REQUESTS).map(|_| request())).await;
    let (wanted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(first, _)| first == "HTTP/1.1 100");
    assert_eq!((wanted.len(), refused.len()), (ADMITTED, REQUESTS - ADMITTED), "read, and refused before the body");
    assert!(refused.iter().all(|(first, _)| first == "HTTP/1.1 429"));
    let sent = wanted.into_iter().map(|(_, mut socket)| {
        let body = &body;
        async move {
            soon(socket.write_all(body.as_bytes())).await.expect("sent");
            let mut said = String::new();
            soon(async {
                let mut bytes = [0; KIB];
                while !said.contains("HTTP/1.1 422") && !said.contains("HTTP/1.1 400") {
                    let read = socket.read(&mut bytes).await.expect("an answer");
                    assert!(read > 0, "{said}");
                    said.push_str(&String::from_utf8_lossy(&bytes[..read]));
                }
            })
            .await;
        }
    });
    join_all(sent).await;
    measured.other.round().await;
    let (growth, most) = (measured.growth(), 3 * ADMITTED * body.len() + 32 * MIB);
    println!("{REQUESTS} prompt requests of {} bytes: {} MiB", body.len(), growth / MIB);
    assert!(growth < most, "{} MiB of {} MiB", growth / MIB, most / MIB);
}
