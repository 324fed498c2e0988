//! Upstream faults. For each: the error that the caller receives, one upstream call, a closed connection and no leak.
//! And unusual but valid upstreams, whose answers arrive whole.

mod chat;

use std::net::Ipv4Addr;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokenrill::settings::{Settings, Size};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use chat::{DELIVERIES, Delivery, Stage, ask, read_stream};

use crate::support::{Answer, Call, Event, SOON, Service, Upstream, case, text};

/// Part of every error text of the upstream, which no caller may see.
const WORDS: &str = "sk-secret-words-of-the-upstream";

/// The action of an upstream after its last byte.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    /// Nothing.
    Waits,
    /// Ends the body as HTTP requires, then closes the connection.
    Ends,
    /// Closes the connection after these bytes, which are not a complete HTTP chunk.
    Breaks(&'static str),
    Fin,
    Reset,
}

use Then::{Breaks, Ends, Fin, Reset, Waits};

/// A chunk of an HTTP body.
fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// An SSE event with this data.
fn data(data: impl AsRef<[u8]>) -> Vec<u8> {
    [b"data: ", data.as_ref(), b"\n\n"].concat()
}

fn delta(choice: u32, delta: &Value) -> Vec<u8> {
    data(json!({"id": "c1", "choices": [{"index": choice, "delta": delta, "finish_reason": null}]}).to_string())
}

fn text_event(text: &str) -> Vec<u8> {
    delta(0, &json!({"content": text}))
}

fn finish(choice: u32) -> Vec<u8> {
    data(json!({"id": "c1", "choices": [{"index": choice, "delta": {}, "finish_reason": "stop"}]}).to_string())
}

fn done() -> Vec<u8> {
    data("[DONE]")
}

/// A service with a scripted upstream, and a generation that has been requested.
struct Scene {
    upstream: Upstream,
    service: Service,
    answer: Answer,
    events: Vec<Event>,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let upstream = Upstream::start().await;
        let mut settings = Service::settings(&upstream.base_url());
        change(&mut settings);
        let service = Service::with(settings).await;
        let answer = service.generate(&json!({"input": "Hello"})).await;
        assert_eq!(answer.status, 200);
        Self { upstream, service, answer, events: Vec::new() }
    }

    /// Reads until the caller has received this text, or to the end.
    async fn read_until(&mut self, expected: &str) {
        while text(&self.events) != expected {
            let Some(event) = self.answer.next().await else { return };
            self.events.push(event);
        }
    }

    /// Reads to the end and checks the events, the snapshot, the metrics and the number of upstream calls.
    async fn read_to_end(mut self, expected: &str, ending: &str) -> Event {
        while let Some(event) = self.answer.next().await {
            self.events.push(event);
        }
        let Self { upstream, service, events, .. } = self;
        let (terminal, before) = events.split_last().expect("events");
        assert_eq!(text(&events), expected);
        assert_eq!(before[0].name, "start");
        assert!(before[1..].iter().all(|event| event.name == "delta"), "one terminal event, and last: {before:?}");
        assert_eq!(outcome_of(terminal), ending);
        assert!(events.iter().all(|event| !event.block.contains(WORDS)), "{events:?}");
        assert!(events.is_sorted_by(|one, next| one.sequence() < next.sequence()), "ids increase");

        let snapshot = service.get(&format!("/v1/generations/{}", terminal.generation())).await.text().await;
        assert!(!snapshot.contains(WORDS), "{snapshot}");
        let snapshot: Value = serde_json::from_str(&snapshot).expect("JSON");
        let first: Vec<_> = events.iter().filter(|event| event.data["choice"].is_null()).cloned().collect();
        assert_eq!((&snapshot["text"], &snapshot["status"]), (&json!(text(&first)), &json!(terminal.name)));
        if terminal.name == "failed" {
            assert_eq!(snapshot["error"], terminal.data["error"], "both wires have the same content");
        }

        service.metric_becomes("tokenrill_generations_live", 0.0).await;
        service.metric_becomes("tokenrill_viewers_live", 0.0).await;
        let outcome = format!("tokenrill_generations_total{{outcome=\"{}\"}}", terminal.name);
        assert_eq!(service.metric(&outcome).await.to_bits(), 1f64.to_bits());
        assert!(!upstream.was_called(), "the upstream was called once");
        terminal.clone()
    }
}

/// `done`, `cancelled` or the code of a failure.
fn outcome_of(terminal: &Event) -> &str {
    if terminal.name == "failed" { terminal.data["error"]["code"].as_str().expect("a code") } else { &terminal.name }
}

// Faults after a valid response head.

/// A name, the events sent, the action after them, the text that the caller receives, and the outcome.
type Fault = (&'static str, Vec<Vec<u8>>, Then, &'static str, &'static str);

/// Plays each fault with its events in separate HTTP chunks and in one, to chat completions, streaming and not, and to
/// a native stream.
async fn assert_faults(faults: impl IntoIterator<Item = Fault>) {
    let stage = Stage::new().await;
    for (what, said, then, expected, ending) in faults {
        let one_by_one: Vec<_> = said.iter().map(chunk).collect();
        let together = if said.is_empty() { Vec::new() } else { chunk(said.concat()) };
        for said in [one_by_one.concat(), together] {
            for delivery in DELIVERIES {
                let expect_outcome =
                    stage.expect_outcome(delivery, expected, (ending, None), async |mut call, first_token| {
                        call.ok().await;
                        call.blurt(&said).await;
                        if !expected.is_empty() {
                            // Waits until the tokens have been read, because a reset discards unread bytes.
                            first_token.wait().await;
                        }
                        then.play(call).await;
                    });
                case(&format!("{what}, {delivery:?}"), Box::pin(expect_outcome)).await;
            }
            case(what, Box::pin(expect_outcome(said, then, expected, ending))).await;
        }
    }
}

impl Then {
    /// Acts, then waits until the service closes the connection.
    async fn play(self, mut call: Call) {
        match self {
            Waits => {}
            Ends => {
                call.blurt("0\r\n\r\n").await;
                call.fin().await;
            }
            Breaks(bytes) => {
                call.blurt(bytes).await;
                call.fin().await;
            }
            Fin => call.fin().await,
            Reset => return call.reset(),
        }
        call.closed().await;
    }
}

async fn expect_outcome(said: Vec<u8>, then: Then, expected: &str, ending: &str) {
    let mut scene = Scene::new().await;
    let mut call = scene.upstream.call().await;
    call.ok().await;
    call.blurt(said).await;
    scene.read_until(expected).await;
    tokio::join!(then.play(call), scene.read_to_end(expected, ending));
}

#[tokio::test]
async fn truncated_answer_fails_as_upstream_disconnected_or_empty() {
    let broken = "upstream_disconnected";
    assert_faults([
        ("nothing", vec![], Fin, "", broken),
        ("nothing, reset", vec![], Reset, "", broken),
        ("an empty body", vec![], Ends, "", broken),
        ("between events", vec![text_event("Hel"), text_event("lo")], Fin, "Hello", broken),
        ("between events, reset", vec![text_event("Hel"), text_event("lo")], Reset, "Hello", broken),
        ("between events, as if it were whole", vec![text_event("Hel"), text_event("lo")], Ends, "Hello", broken),
        (
            "inside a chunk",
            vec![text_event("Hel")],
            Breaks("40\r\ndata: {\"choices\":[{\"index\":0,\"del"),
            "Hel",
            broken,
        ),
        ("inside a chunk's size", vec![text_event("Hel")], Breaks("4"), "Hel", broken),
        ("not in chunks any more", vec![text_event("Hel")], Breaks("data: [DONE]\n\n"), "Hel", broken),
        ("inside an event", vec![text_event("Hel"), b"data: {\"cho".to_vec()], Ends, "Hel", broken),
        ("before an event's blank line", vec![text_event("Hel"), b"data: [DONE]\n".to_vec()], Ends, "Hel", broken),
        (
            "one of two choices",
            vec![text_event("Hel"), delta(1, &json!({"content": "lo"})), finish(0)],
            Ends,
            "Hello",
            broken,
        ),
        ("[DONE] and nothing said", vec![done()], Ends, "", "upstream_empty"),
        (
            "[DONE] after a role",
            vec![delta(0, &json!({"role": "assistant", "content": ""})), done()],
            Ends,
            "",
            "upstream_empty",
        ),
    ])
    .await;
}

#[tokio::test]
async fn complete_answer_is_done_however_the_connection_ends() {
    let silence = b": nothing more\n\n".to_vec();
    let words = data(json!({"error": {"message": WORDS}}).to_string());
    assert_faults([
        ("a finish and [DONE]", vec![text_event("Hel"), text_event("lo"), finish(0), done()], Ends, "Hello", "done"),
        ("a finish alone", vec![text_event("Hello"), finish(0)], Ends, "Hello", "done"),
        ("a finish alone, cut", vec![text_event("Hello"), finish(0)], Fin, "Hello", "done"),
        ("a finish alone, reset", vec![text_event("Hello"), finish(0)], Reset, "Hello", "done"),
        ("a finish and nothing said", vec![finish(0)], Ends, "", "done"),
        (
            "both choices",
            vec![text_event("Hel"), finish(0), delta(1, &json!({"content": "lo"})), finish(1)],
            Ends,
            "Hello",
            "done",
        ),
        ("[DONE] alone", vec![text_event("Hello"), done()], Ends, "Hello", "done"),
        ("[DONE] alone, cut", vec![text_event("Hello"), done()], Fin, "Hello", "done"),
        ("[DONE], and the body stays open", vec![text_event("Hello"), done()], Waits, "Hello", "done"),
        ("[DONE] twice", vec![text_event("Hello"), finish(0), done(), done()], Ends, "Hello", "done"),
        (
            "tokens after [DONE]",
            vec![text_event("Hello"), done(), text_event("again"), finish(0)],
            Ends,
            "Hello",
            "done",
        ),
        ("a finish, and more", vec![text_event("Hel"), finish(0), text_event("lo"), done()], Ends, "Hello", "done"),
        ("a finish, and more, cut", vec![text_event("Hel"), finish(0), text_event("lo")], Fin, "Hello", "done"),
        ("an error after [DONE]", vec![text_event("Hello"), done(), words], Waits, "Hello", "done"),
        ("nonsense after [DONE]", vec![text_event("Hello"), done(), data(b"\xff{"), silence], Waits, "Hello", "done"),
    ])
    .await;
}

#[tokio::test]
async fn error_inside_a_stream_fails_it_without_leaking_its_text() {
    let shapes = [
        json!({"error": {"message": WORDS, "type": "server_error", "code": null}}),
        json!({"error": {"message": WORDS, "code": 429}, "user_id": WORDS}),
        json!({"error": WORDS}),
        json!({"detail": WORDS}),
        json!({"message": WORDS}),
        json!({"code": "Throttling", "message": WORDS}),
        json!({"id": "c1", "choices": null, "error_type": "BadRequestError", "error_message": WORDS}),
        json!({"id": "c1", "choices": null, "base_resp": {"status_code": 1004, "status_msg": WORDS}}),
        json!({"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}),
        json!({"object": "error", "message": WORDS, "type": "BadRequestError", "param": null, "code": 400}),
        json!({"type": "error", "error": {"type": "overloaded_error", "message": WORDS}}),
        json!({"id": "c1", "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}], "error": {"code": 502, "message": WORDS}}),
    ];
    let faults = shapes.iter().flat_map(|shape| {
        let error = data(shape.to_string());
        let named = format!("event: error\ndata: {shape}\n\n").into_bytes();
        [
            ("as the first event", vec![error.clone()], Waits, "", "upstream_error"),
            ("after a token", vec![text_event("Hel"), error.clone()], Waits, "Hel", "upstream_error"),
            ("under a name", vec![text_event("Hel"), text_event("lo"), named], Waits, "Hello", "upstream_error"),
            (
                "before more",
                vec![text_event("Hel"), error.clone(), text_event("lo"), finish(0), done()],
                Waits,
                "Hel",
                "upstream_error",
            ),
            ("before [DONE]", vec![text_event("Hel"), error, done()], Ends, "Hel", "upstream_error"),
        ]
    });
    assert_faults(faults).await;
}

#[tokio::test]
async fn malformed_event_fails_the_stream_and_keeps_the_text_before_it() {
    let nonsense: Vec<(&str, Vec<u8>)> = vec![
        ("JSON that is cut", br#"{"choices":[{"index":0,"delta":{"content":"a"}"#.to_vec()),
        ("no JSON", WORDS.into()),
        ("two values", br#"{"choices":[]}{"choices":[]}"#.to_vec()),
        ("a number", b"42".to_vec()),
        ("a string", format!("\"{WORDS}\"").into()),
        ("an array", b"[]".to_vec()),
        ("choices of a wrong shape", br#"{"choices":"x"}"#.to_vec()),
        ("a choice of a wrong shape", br#"{"choices":[7]}"#.to_vec()),
        ("a delta of a wrong shape", br#"{"choices":[{"index":0,"delta":"x"}]}"#.to_vec()),
        ("a huge index", br#"{"choices":[{"index":4000000000,"delta":{"content":"x"}}]}"#.to_vec()),
        ("a huge index of a finish", br#"{"choices":[{"index":4000000000,"finish_reason":"stop"}]}"#.to_vec()),
        ("tool calls of a wrong shape", br#"{"choices":[{"index":0,"delta":{"tool_calls":{}}}]}"#.to_vec()),
        ("a tool call of a wrong shape", br#"{"choices":[{"index":0,"delta":{"tool_calls":["x"]}}]}"#.to_vec()),
        ("a finish reason of a wrong shape", br#"{"choices":[{"index":0,"delta":{},"finish_reason":7}]}"#.to_vec()),
        ("a control character", b"{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\x01b\"}}]}".to_vec()),
        ("an unknown escape", br#"{"choices":[{"index":0,"delta":{"content":"a\xb"}}]}"#.to_vec()),
    ];
    // Same shape as the token before it: such chunks are matched with a template instead of being parsed.
    let good = br#"{"choices":[{"index":0,"delta":{"content":"Hel"}}]}"#;
    let faults = nonsense.into_iter().flat_map(|(what, nonsense)| {
        let bad = data(nonsense);
        [
            (what, vec![bad.clone()], Waits, "", "upstream_malformed"),
            (what, vec![data(good), bad.clone(), data(good), finish(0), done()], Waits, "Hel", "upstream_malformed"),
        ]
    });
    assert_faults(faults).await;
}

#[tokio::test]
async fn odd_event_is_read_as_the_sdks_read_it() {
    let content = |content: &[u8]| [br#"{"choices":[{"index":0,"delta":{"content":""#, content, br#""}}]}"#].concat();
    let odd: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", Vec::new(), ""),
        ("null", b"null".to_vec(), ""),
        ("a choice with a negative index", br#"{"choices":[{"index":-1,"delta":{"content":"x"}}]}"#.to_vec(), "x"),
        ("usage of a wrong shape", br#"{"choices":[],"usage":"x"}"#.to_vec(), ""),
        ("NaN", br#"{"choices":[{"index":0,"delta":{"content":"x"}}],"score":NaN}"#.to_vec(), "x"),
        (
            "a member twice",
            br#"{"choices":[],"choices":[{"index":0,"delta":{"content":"a","content":"x"}}]}"#.to_vec(),
            "x",
        ),
        ("no UTF-8", content(b"a\xffb"), "a\u{fffd}b"),
        ("half a character", content(b"a\xe6\x9d"), "a\u{fffd}"),
        ("a lone low surrogate", content(br"a\ude00"), "a\u{fffd}"),
        ("parts", br#"{"choices":[{"index":0,"delta":{"content":[{"type":"text","text":"x"}]}}]}"#.to_vec(), "x"),
        ("a message", br#"{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}]}"#.to_vec(), "x"),
    ];
    for (what, event, expected) in odd {
        let said = vec![text_event("Hel"), data(event), text_event("lo"), finish(0), done()];
        assert_faults([(what, said, Ends, format!("Hel{expected}lo").leak() as &str, "done")]).await;
    }
    let halves = vec![data(content(br"Hel\ud83d")), data(content(br"\ude00lo")), finish(0), done()];
    assert_faults([("surrogate halves", halves, Ends, "Hel😀lo", "done")]).await;
}

#[tokio::test]
async fn event_larger_than_the_limit_ends_its_stream() {
    let mib = "x".repeat(1 << 20);
    let line = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{mib}\"}}}}]}}\n\n");
    let lines = "data: 0123456789\n".repeat(100_000);
    for (what, said, expected) in [
        ("a line", vec![text_event("Hel"), line.into()], "Hel"),
        ("a line without an end", vec![text_event("Hel"), format!("data: {mib}{mib}").into()], "Hel"),
        ("a comment without an end", vec![format!(": {mib}{mib}").into()], ""),
        ("many lines", vec![text_event("Hel"), lines.into()], "Hel"),
        ("a JSON body", vec![format!("{{\"x\":\"{mib}\"}}").into()], ""),
    ] {
        let ends = async {
            let mut scene = Scene::with(|settings| settings.upstreams[0].max_event = Size::mib(1)).await;
            let mut call = scene.upstream.call().await;
            call.ok().await;
            call.blurt(chunk(said.concat())).await;
            scene.read_until(expected).await;
            tokio::join!(Waits.play(call), scene.read_to_end(expected, "too_large"));
        };
        case(what, Box::pin(ends)).await;
    }

    // An event within the limit arrives whole.
    let large = "x".repeat((1 << 20) - 200);
    let mut scene = Scene::new().await;
    let mut call = scene.upstream.call().await;
    call.ok().await;
    call.body([text_event(&large), done()].concat()).await;
    scene.read_until(&large).await;
    scene.read_to_end(&large, "done").await;
}

#[tokio::test]
async fn bytes_after_done_are_ignored() {
    let mut scene = Scene::new().await;
    let mut call = scene.upstream.call().await;
    call.ok().await;
    call.text("Hello").await;
    call.data("[DONE]").await;
    scene.read_until("Hello").await;
    let done = scene.answer.expect("done").await;
    assert!(
        done.data["timings"]["total_ms"].as_u64() < Some(1000),
        "the upstream's end of the response is not awaited"
    );
    scene.events.push(done);
    call.repeat(chunk(text_event("again"))).await;
    scene.read_to_end("Hello", "done").await;
}

#[tokio::test]
async fn answer_with_a_finish_reason_is_done_at_the_idle_timeout() {
    let mut scene = Scene::with(|settings| settings.upstreams[0].idle_timeout = SHORT).await;
    let mut call = scene.upstream.call().await;
    call.ok().await;
    call.text("Hello").await;
    call.finish("length").await;
    scene.read_until("Hello").await;
    assert_eq!(scene.read_to_end("Hello", "done").await.data["finish_reason"], "length");
    call.closed().await;
}

// Faults in place of a valid response head.

/// The expected error: code, status, whether to retry, and after how many milliseconds.
type Problem = (&'static str, u16, bool, Option<u64>);

/// The service may retry without the fields that it added to the request; that is refused again.
async fn assert_refusal(response: impl AsRef<[u8]>, problem: Problem) {
    let (code, _, _, wait) = problem;
    let stage = Stage::new().await;
    let response = response.as_ref();
    for delivery in DELIVERIES {
        case(&format!("{delivery:?}"), Box::pin(stage.expect_refusal(delivery, (code, wait), response))).await;
    }
    let answer = async { stage.service.generate(&json!({"input": "Hello"})).await.events().await };
    let events = stage.while_refusing(response, answer).await;
    assert_problem(events.last().expect("an event"), problem);
}

fn assert_problem(failed: &Event, (code, status, retryable, retry_after): Problem) {
    let error = &failed.data["error"];
    assert_eq!(error["type"], format!("urn:tokenrill:error:{code}"));
    assert_eq!(
        (&error["code"], &error["status"], &error["retryable"]),
        (&json!(code), &json!(status), &json!(retryable))
    );
    assert_eq!(error["retry_after_ms"].as_u64(), retry_after);
    assert!(error["request_id"].as_str().is_some_and(|id| id.starts_with("req_")));
    // A request that was refused or never sent has no usage.
    let is_unbilled = ["auth", "rejected", "rate_limited", "overloaded", "misconfigured", "unreachable"]
        .iter()
        .any(|kind| code == format!("upstream_{kind}"));
    let output = &failed.data["usage"]["output_tokens"];
    assert!(output.is_null() || (!is_unbilled && *output == 0), "{code}: {}", failed.data);
}

fn whole(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn upstream_refusals_map_to_a_code_and_status_without_secrets() {
    let rejected_as = |status| ("upstream_rejected", status, false, None);
    let rejected = rejected_as(400);
    let limited = |wait| ("upstream_rate_limited", 429, true, wait);
    let overloaded = |wait| ("upstream_overloaded", 503, true, wait);
    let failed = ("upstream_error", 502, true, None);
    let reason = format!("599 {WORDS}");
    let table: [(&str, &str, Problem); 24] = [
        ("400 Bad Request", "", rejected),
        ("401 Unauthorized", "www-authenticate: Bearer\r\n", ("upstream_auth", 502, false, None)),
        ("402 Payment Required", "", rejected),
        ("403 Forbidden", "", ("upstream_auth", 502, false, None)),
        ("404 Not Found", "", ("model_not_found", 404, false, None)),
        ("408 Request Timeout", "", ("upstream_timeout", 504, true, None)),
        ("413 Content Too Large", "", rejected_as(413)),
        ("422 Unprocessable Content", "", rejected_as(422)),
        ("429 Too Many Requests", "", limited(None)),
        ("429 Too Many Requests", "retry-after: 7\r\n", limited(Some(7_000))),
        ("429 Too Many Requests", "retry-after: 0\r\n", limited(Some(0))),
        ("429 Too Many Requests", "retry-after: 0.5\r\n", limited(Some(500))),
        ("429 Too Many Requests", "retry-after-ms: 1500\r\nretry-after: 9\r\n", limited(Some(1_500))),
        ("429 Too Many Requests", "retry-after: 99999999999999999999999\r\n", limited(Some(86_400_000))),
        ("429 Too Many Requests", "retry-after: -5\r\n", limited(None)),
        ("429 Too Many Requests", "retry-after: 1e9\r\n", limited(Some(86_400_000))),
        ("429 Too Many Requests", "retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n", limited(Some(86_400_000))),
        ("500 Internal Server Error", "", failed),
        ("502 Bad Gateway", "", failed),
        ("503 Service Unavailable", "", overloaded(None)),
        ("503 Service Unavailable", "retry-after: 30\r\n", overloaded(Some(30_000))),
        ("504 Gateway Timeout", "", ("upstream_timeout", 504, true, None)),
        ("529 Overloaded", "", overloaded(None)),
        (&reason, "", failed),
    ];
    let bodies = [
        ("application/json", json!({"error": {"message": WORDS, "type": WORDS, "code": WORDS}}).to_string()),
        ("text/html", format!("<html><title>{WORDS}</title>")),
        ("text/plain", WORDS.to_owned()),
        (
            "text/event-stream",
            format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{WORDS}\"}}}}]}}\n\n"),
        ),
    ];
    for (at, (status, headers, problem)) in table.into_iter().enumerate() {
        let (content_type, body) = &bodies[at % bodies.len()];
        let headers = format!("content-type: {content_type}\r\nx-request-id: {WORDS}\r\n{headers}");
        case(status, assert_refusal(whole(status, &headers, body), problem)).await;
    }
}

#[tokio::test]
async fn endless_body_of_an_upstream_refusal_is_not_awaited() {
    let scene = Scene::new().await;
    let mut call = scene.upstream.call().await;
    call.raw("HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n").await;
    call.raw(chunk(WORDS)).await;
    assert_problem(&scene.read_to_end("", "upstream_error").await, ("upstream_error", 502, true, None));
    call.closed().await;
}

#[tokio::test]
async fn upstream_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Upstream::start().await;
        let location = format!("location: {}/chat/completions\r\n", elsewhere.base_url());
        let problem = ("upstream_misconfigured", 502, false, None);
        assert_refusal(whole(&format!("{status} Elsewhere"), &location, WORDS), problem).await;
        assert!(!elsewhere.was_called(), "{status}");
    }
}

#[tokio::test]
async fn body_decides_and_not_its_content_type() {
    let completion = json!({"object": "chat.completion", "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}]}).to_string();
    let stream = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\ndata: [DONE]\n\n".to_owned();
    let stage = Stage::new().await;
    for (content_type, body) in [
        ("content-type: application/json\r\n", &completion),
        ("content-type: text/event-stream\r\n", &completion),
        ("", &completion),
        ("content-type: application/json\r\n", &stream),
        ("content-type: text/plain\r\n", &stream),
        ("", &stream),
    ] {
        for delivery in DELIVERIES {
            let response = whole("200 OK", content_type, body);
            let expect_outcome = stage.expect_outcome(delivery, "Hello", ("done", None), async |mut call, _| {
                call.blurt(&response).await;
                call.fin().await;
                call.closed().await;
            });
            case(&format!("{content_type}{body}, {delivery:?}"), Box::pin(expect_outcome)).await;
        }
    }
}

#[tokio::test]
async fn success_status_without_an_answer_fails() {
    let malformed = ("upstream_malformed", 502, false, None);
    let page = whole("200 OK", "content-type: text/html\r\n", &format!("<p>{WORDS}"));
    case("HTML", assert_refusal(page, malformed)).await;
    let error =
        whole("200 OK", "content-type: application/json\r\n", &json!({"error": {"message": WORDS}}).to_string());
    case("an error", assert_refusal(error, ("upstream_error", 502, true, None))).await;
    let broken = ("upstream_disconnected", 502, true, None);
    for (what, headers) in [
        ("an empty body", "content-length: 0\r\n"),
        ("an empty body up to the end of the connection", ""),
        ("less than the length it names", "content-length: 1000\r\n"),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{headers}\r\n");
        case(what, assert_refusal(head, broken)).await;
    }
}

#[tokio::test]
async fn invalid_http_response_fails_as_upstream_disconnected() {
    let broken = ("upstream_disconnected", 502, true, None);
    let endless_head = format!("HTTP/1.1 200 OK\r\n{}", format!("x-filler: {WORDS}\r\n").repeat(20_000));
    for (what, response) in [
        ("nothing", String::new()),
        ("half a head", "HTTP/1.1 200 OK\r\ncontent-type: text/ev".to_owned()),
        ("no HTTP", format!("{WORDS}\r\n\r\n")),
        ("a head without measure", endless_head),
    ] {
        case(what, assert_refusal(response, broken)).await;
    }
    let scene = Scene::new().await;
    scene.upstream.call().await.reset();
    assert_problem(&scene.read_to_end("", "upstream_disconnected").await, broken);
}

#[tokio::test]
async fn closed_upstream_port_fails_as_upstream_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nobody = format!("http://{}/v1", listener.local_addr().expect("an address"));
    drop(listener);
    let scene = Scene::with(|settings| settings.upstreams[0].base_url = nobody.parse().expect("a base URL")).await;
    let failed = scene.read_to_end("", "upstream_unreachable").await;
    assert_problem(&failed, ("upstream_unreachable", 502, true, None));
}

// Timeouts, deadlines and size limits.

const SHORT_MS: u64 = 200;
const SHORT: Duration = Duration::from_millis(SHORT_MS);
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn unaccepted_connection_fails_after_the_connect_timeout() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    let listener = socket.listen(0).expect("a listener");
    let address = listener.local_addr().expect("an address");
    // No task accepts connections. Once the backlog is full, the kernel answers no further SYN.
    let mut queued = Vec::new();
    while let Ok(Ok(connection)) = timeout(SHORT, TcpStream::connect(address)).await {
        queued.push(connection);
    }
    let asked = Instant::now();
    let scene = Scene::with(|settings| {
        settings.upstreams[0].base_url = format!("http://{address}/v1").parse().expect("a base URL");
        settings.upstreams[0].connect_timeout = SHORT;
    });
    let failed = scene.await.read_to_end("", "upstream_unreachable").await;
    assert_problem(&failed, ("upstream_unreachable", 502, true, None));
    assert!(asked.elapsed() >= SHORT && asked.elapsed() < DEFAULT_CONNECT_TIMEOUT, "after {:?}", asked.elapsed());
}

/// A name, the bytes sent first, and the bytes repeated after them, if any.
type Delay = (&'static str, Vec<u8>, Option<Vec<u8>>);

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn after_head(said: &[Vec<u8>]) -> Vec<u8> {
    let chunks: Vec<_> = said.iter().map(chunk).collect();
    [HEAD.as_bytes(), &chunks.concat()].concat()
}

/// Bytes without a token. Blank lines take longer to read than to send, so unread ones are always available.
fn noises() -> [(&'static str, Vec<u8>); 6] {
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":0}}"#;
    [
        ("comments", chunk(": keep-alive\n\n")),
        ("blank lines", chunk("\n".repeat(60_000))),
        ("other events", chunk("event: ping\nid: 7\n\n")),
        ("a role", chunk(delta(0, &json!({"role": "assistant", "content": ""})))),
        ("usage", chunk(data(usage))),
        ("a line without an end", chunk(" ")),
    ]
}

async fn assert_timeouts(delays: Vec<Delay>, expected: &str, change: fn(&mut Settings), ending: &str) {
    for (what, said, again) in delays {
        let delay = async {
            let asked = Instant::now();
            let mut scene = Scene::with(change).await;
            let mut call = scene.upstream.call().await;
            call.raw(said).await;
            scene.read_until(expected).await;
            let told = async {
                let failed = scene.read_to_end(expected, ending).await;
                assert_eq!(failed.data["error"]["status"], 504);
                assert!(failed.data["timings"]["total_ms"].as_u64() >= Some(SHORT_MS), "{failed:?}");
                assert!(asked.elapsed() < SOON / 2, "after {:?}", asked.elapsed());
            };
            match again {
                Some(again) => _ = tokio::join!(told, call.repeat(again)),
                None => told.await,
            }
            call.closed().await;
        };
        case(what, delay).await;
    }
}

fn delays(said: &[Vec<u8>]) -> Vec<Delay> {
    let noises = noises().into_iter().map(|(what, noise)| (what, after_head(said), Some(noise)));
    std::iter::once(("silence", after_head(said), None)).chain(noises).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_first_token_fails_after_the_first_token_timeout() {
    let mut delays = delays(&[]);
    delays.push(("silence before the head", vec![], None));
    delays.push(("half a head", HEAD.as_bytes()[..30].to_vec(), None));
    delays.push(("informational heads", b"HTTP/1.1 102 Processing\r\n\r\n".repeat(3), None));
    assert_timeouts(delays, "", |settings| settings.upstreams[0].first_token_timeout = SHORT, "upstream_timeout").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stall_after_a_token_fails_after_the_idle_timeout() {
    let delays = delays(&[text_event("Hel")]);
    assert_timeouts(delays, "Hel", |settings| settings.upstreams[0].idle_timeout = SHORT, "upstream_timeout").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generation_ends_at_its_deadline_whatever_the_upstream_sends() {
    let mut delays = delays(&[text_event("Hel")]);
    delays.push(("half an event", after_head(&[text_event("Hel"), b"data: {".to_vec()]), None));
    assert_timeouts(delays, "Hel", |settings| settings.generation.max_duration = SHORT, "deadline_exceeded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_ends_an_upstream_that_sends_without_pause() {
    for (what, noise) in noises() {
        let stop = async {
            let mut scene = Scene::new().await;
            let mut call = scene.upstream.call().await;
            call.raw(after_head(&[text_event("Hel")])).await;
            scene.read_until("Hel").await;
            let stopped = async {
                let path = format!("/v1/generations/{}/cancel", scene.events[0].generation());
                let stopped = Answer::to(scene.service.request(Method::POST, &path)).await;
                assert_eq!(stopped.json().await["status"], "cancelled");
                scene.read_to_end("Hel", "cancelled").await;
            };
            tokio::join!(stopped, call.repeat(noise));
        };
        case(what, stop).await;
    }
}

/// Sends tokens until the generation ends, each as soon as the previous one has arrived: the upstream is never late.
/// Returns the text received.
async fn send_endlessly(scene: &mut Scene, token: &str) -> String {
    let mut call = scene.upstream.call().await;
    call.ok().await;
    scene.events.push(scene.answer.expect("start").await);
    loop {
        call.blurt(chunk(text_event(token))).await;
        let event = scene.answer.next().await.expect("a token or the end");
        let is_token = event.name == "delta";
        scene.events.push(event);
        if !is_token {
            call.closed().await;
            return text(&scene.events);
        }
    }
}

#[tokio::test]
async fn endless_answer_ends_at_the_deadline() {
    let mut scene = Scene::with(|settings| settings.generation.max_duration = SHORT).await;
    let said = send_endlessly(&mut scene, "x").await;
    assert!(!said.is_empty());
    let failed = scene.read_to_end(&said, "deadline_exceeded").await;
    assert!(failed.data["timings"]["total_ms"].as_u64() >= Some(SHORT_MS), "{failed:?}");
}

#[tokio::test]
async fn answer_above_the_size_limit_fails_between_tokens() {
    let size: Size = "8KiB".parse().expect("a size");
    let generation = Scene::with(|settings| settings.generation.max_bytes = size).await;
    // A running generation counts as 16 KiB in addition to its log.
    let all: Size = "24KiB".parse().expect("a size");
    let total = Scene::with(|settings| settings.event_log.memory.max_bytes = all).await;
    for (mut scene, ending, status) in [(generation, "too_large", 500), (total, "overloaded", 503)] {
        let said = send_endlessly(&mut scene, &"x".repeat(100)).await;
        assert!((4 << 10..8 << 10).contains(&said.len()) && said.len() % 100 == 0, "{} bytes", said.len());
        assert_eq!(scene.read_to_end(&said, ending).await.data["error"]["status"], status);
    }
}

#[tokio::test]
async fn full_event_log_refuses_before_the_upstream_is_called() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.event_log.memory.max_bytes = "17KiB".parse().expect("a size");
    let service = Service::with(settings).await;
    let running = service.generate(&json!({"input": "Hello"})).await;
    assert_eq!(running.status, 200);
    let call = upstream.call().await;

    let refused = Answer::to(service.generation(&json!({"input": "Hello"})).header("accept", "application/json")).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "5"));
    let problem = refused.json().await;
    assert_eq!((&problem["code"], &problem["retryable"]), (&json!("overloaded"), &json!(true)));
    let refused = service.generate(&json!({"input": "Hello"})).await;
    assert_eq!((refused.status, refused.header("content-type")), (503, "text/event-stream"));
    let events = refused.events().await;
    assert_eq!(
        (events.len(), outcome_of(&events[0]), &events[0].id, events[0].retry),
        (1, "overloaded", &None, Some(5000))
    );
    assert!(!upstream.was_called());
    assert_eq!(service.metric("tokenrill_generations_live").await.to_bits(), 1f64.to_bits());

    drop(running);
    drop(call);
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
    let next = service.generate(&json!({"input": "Hello"})).await;
    assert_eq!(next.status, 200, "an ended generation is evicted for a new one");
}

// Unusual but valid responses.

const SAID: &str = "Zürich 東京 👩‍👩‍👧 \"\\\n";

/// A whole answer with the text [`SAID`] and these line ends.
fn stream(line_end: &str) -> String {
    let (first, second) = SAID.split_at(11);
    let chunks = [
        json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": first}}]}),
        json!({"choices": [{"index": 0, "delta": {"content": second}}]}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}),
    ];
    let events = chunks.iter().map(Value::to_string).chain(["[DONE]".to_owned()]);
    events.map(|data| format!("data: {data}{line_end}{line_end}")).collect::<Vec<_>>().concat()
}

/// Name, response head and body of each dialect.
fn dialects() -> Vec<(&'static str, String, Vec<u8>)> {
    let plain = stream("\n");
    let chunked = "transfer-encoding: chunked\r\n";
    let sent = |body: &str| [chunk(body), b"0\r\n\r\n".to_vec()].concat();
    let head = |headers: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{headers}\r\n");
    let spread = plain.replace(",\"", "\ndata: ,\"").replace("{\"content", "\ndata:{\ndata: \"content");
    let comments = plain.replace("data:", ": comment\n:\n\n:data: {}\ndata:");
    let fields = plain.replace("data:", "event: message\nid: 7\nretry: 5\nnonsense\ndatax: 1\n data: 2\ndata:");
    let extended = format!("{:x};name=\"value\"\r\n{plain}\r\n000;last\r\nx-trailer: {WORDS}\r\n\r\n", plain.len());
    let each_byte: Vec<u8> = plain.bytes().flat_map(|byte| chunk([byte])).chain(*b"0\r\n\r\n").collect();
    let to_the_end = || plain.clone().into_bytes();
    vec![
        ("LF", head(chunked), sent(&plain)),
        ("CRLF", head(chunked), sent(&stream("\r\n"))),
        ("CR", head(chunked), sent(&stream("\r"))),
        ("a byte order mark", head(chunked), sent(&format!("\u{FEFF}{plain}"))),
        ("no space after the colon", head(chunked), sent(&plain.replace("data: ", "data:"))),
        ("comments", head(chunked), sent(&comments)),
        ("other fields", head(chunked), sent(&fields)),
        ("several data lines", head(chunked), sent(&spread)),
        ("several data lines with CRLF", head(chunked), sent(&spread.replace('\n', "\r\n"))),
        ("a chunk for each byte", head(chunked), each_byte),
        ("chunk extensions and a trailer", head(chunked), extended.into_bytes()),
        ("a length", head(&format!("content-length: {}\r\n", plain.len())), to_the_end()),
        ("the end of the connection", head(""), to_the_end()),
        ("the end of the connection, announced", head("connection: close\r\n"), to_the_end()),
        ("HTTP/1.0", head("").replace("HTTP/1.1", "HTTP/1.0"), to_the_end()),
        (
            "a content type in other letters",
            head(chunked).replace("text/event-stream", "Text/Event-Stream ;charset=UTF-8"),
            sent(&plain),
        ),
        ("early hints", format!("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n{}", head(chunked)), sent(&plain)),
        ("another success", head(chunked).replace("200 OK", "203 Changed On Its Way"), sent(&plain)),
    ]
}

/// Writes each dialect in pieces of this size and checks the answer.
async fn assert_dialects(piece: usize) {
    let stage = Stage::new().await;
    for (what, head, body) in dialects() {
        let arrives = async {
            let bytes = [head.into_bytes(), body].concat();
            let say = async |mut call: Call| {
                for piece in bytes.chunks(piece) {
                    call.raw(piece).await;
                    tokio::task::yield_now().await;
                }
                call.fin().await;
                call
            };
            for delivery in DELIVERIES {
                let expect_outcome = stage
                    .expect_outcome(delivery, SAID, ("done", None), async |call, _| say(call).await.closed().await);
                Box::pin(expect_outcome).await;
            }
            let scene = Scene::new().await;
            let _call = say(scene.upstream.call().await).await;
            let done = scene.read_to_end(SAID, "done").await;
            assert_eq!(done.data["finish_reason"], "stop");
            assert_eq!(done.data["usage"], json!({"input_tokens": 7, "output_tokens": 2, "estimated": false}));
        };
        case(what, arrives).await;
    }
}

#[tokio::test]
async fn every_valid_dialect_is_read_in_one_write() {
    assert_dialects(usize::MAX).await;
}

#[tokio::test]
async fn every_valid_dialect_is_read_byte_by_byte() {
    assert_dialects(1).await;
}

// Delay of the response head of a chat completion stream.

#[tokio::test]
async fn response_head_is_sent_after_head_wait_and_later_failures_are_events() {
    let upstream = Upstream::start().await;
    let service = chat::service(&upstream, |settings| {
        settings.generation.head_wait = SHORT;
        settings.generation.heartbeat = SHORT / 4;
    })
    .await;
    let asked = Instant::now();
    let answer = ask(&service, Delivery::Stream).await;
    assert!(asked.elapsed() >= SHORT, "the upstream may refuse within that time");
    assert!(answer.header("tokenrill-generation").len() > 16);
    let mut call = upstream.call().await;
    let stream = async {
        let mut answer = answer;
        answer.starts_with(": ping\n: ping\n").await;
        call.refuse(429, "retry-after: 7\r\n", WORDS).await;
        read_stream(answer, "upstream_rate_limited").await
    };
    assert_eq!(stream.await, "");
}

#[tokio::test]
async fn response_head_before_the_first_token_is_followed_by_the_answer() {
    let upstream = Upstream::start().await;
    let service = chat::service(&upstream, |settings| settings.generation.head_wait = Duration::ZERO).await;
    let answer = ask(&service, Delivery::Stream).await;
    upstream.call().await.answer(&["Hel", "lo"]).await;
    assert_eq!(read_stream(answer, "done").await, "Hello");
}

#[tokio::test]
async fn response_head_is_sent_with_the_first_token_before_head_wait_ends() {
    let upstream = Upstream::start().await;
    let service = chat::service(&upstream, |settings| settings.generation.head_wait = Duration::from_hours(1)).await;
    let play = async {
        let mut call = upstream.call().await;
        call.ok().await;
        call.text("Hel").await;
        call
    };
    let (answer, mut call) = tokio::join!(ask(&service, Delivery::Stream), play);
    call.data(json!({"error": WORDS})).await;
    assert_eq!(read_stream(answer, "upstream_error").await, "Hel");
    call.closed().await;
}

#[tokio::test]
async fn timeout_before_the_first_token_returns_504() {
    type Change = fn(&mut Settings);
    let heads: [(&str, Change, &[u8]); 3] = [
        ("no head", |settings| settings.upstreams[0].head_timeout = SHORT, b""),
        ("no token", |settings| settings.upstreams[0].first_token_timeout = SHORT, HEAD.as_bytes()),
        ("no end", |settings| settings.generation.max_duration = SHORT, HEAD.as_bytes()),
    ];
    for (what, change, head) in heads {
        // For a whole answer only the deadline of the generation applies.
        let deliveries = if what == "no end" { &DELIVERIES[..] } else { &[Delivery::Stream] };
        for &delivery in deliveries {
            let timeout = async {
                let upstream = Upstream::start().await;
                let service = chat::service(&upstream, change).await;
                let play = async {
                    let mut call = upstream.call().await;
                    call.raw(head).await;
                    call.closed().await;
                };
                let (answer, ()) = tokio::join!(ask(&service, delivery), play);
                assert_eq!((answer.status, answer.header("x-should-retry")), (504, "false"));
            };
            case(&format!("{what}, {delivery:?}"), timeout).await;
        }
    }
}

// Sequential and concurrent generations.

#[tokio::test]
async fn connection_is_reused_after_each_complete_answer() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let ask = async || service.generate(&json!({"input": "Hello"})).await;
    let mut answer = ask().await;
    let mut call = upstream.call().await;
    for round in ["first", "second", "third"] {
        call.answer(&[round]).await;
        assert_eq!(text(&answer.events().await), round);
        service.metric_becomes("tokenrill_generations_live", 0.0).await;
        answer = ask().await;
        call = call.next().await.expect("the same connection");
    }
    assert!(!upstream.was_called(), "one connection for all");
}

#[tokio::test]
async fn connection_is_not_reused_after_a_stop() {
    let mut scene = Scene::new().await;
    let mut call = scene.upstream.call().await;
    call.ok().await;
    call.text("Hel").await;
    scene.read_until("Hel").await;
    let path = format!("/v1/generations/{}/cancel", scene.events[0].generation());
    Answer::to(scene.service.request(Method::POST, &path)).await;
    call.closed().await;

    let again = scene.service.generate(&json!({"input": "Hello"})).await;
    scene.upstream.call().await.answer(&["Hello"]).await;
    assert_eq!(text(&again.events().await), "Hello");
}

#[tokio::test]
async fn concurrent_generations_do_not_mix() {
    const MANY: usize = 16;
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut answers = Vec::new();
    let mut calls = Vec::new();
    for at in 0..MANY {
        answers.push(service.generate(&json!({"input": at.to_string()})).await);
        let mut call = upstream.call().await;
        assert_eq!(call.body["messages"][0]["content"], at.to_string());
        call.ok().await;
        calls.push(call);
    }
    for round in 0..10 {
        for (at, call) in calls.iter_mut().enumerate() {
            call.text(&format!("{at}.{round} ")).await;
        }
    }
    // Some fail, which must not affect the others.
    for (at, mut call) in calls.into_iter().enumerate() {
        if at % 2 == 0 {
            call.finish("stop").await;
            call.done().await;
        } else {
            call.data(json!({"error": {"message": WORDS}})).await;
        }
    }
    for (at, answer) in answers.into_iter().enumerate() {
        let events = answer.events().await;
        let expected: Vec<_> = (0..10).map(|round| format!("{at}.{round} ")).collect();
        assert_eq!(text(&events), expected.concat());
        let ending = if at % 2 == 0 { "done" } else { "upstream_error" };
        assert_eq!(events.last().map(outcome_of), Some(ending));
    }
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}
