//! What callers, operators and other targets see of each fault of an upstream, before and after the first token, on two
//! wires.

use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::Method;
use serde_json::{Value, json};
use tokenrill::settings::{AliasSettings, BreakerSettings, Settings, UpstreamSettings};
use tokio::sync::Mutex;

use crate::support::answering_upstream::WORDS_TEXT;
use crate::support::{Answer, AnsweringUpstream, Call, Service, Upstream, case, text};

/// Does to one call what a faulty upstream does. Returns it if its connection stays open.
type Fault = fn(Call) -> BoxFuture<'static, Option<Call>>;

/// A fault, and what it has to lead to.
#[derive(Clone, Copy)]
struct FaultRow {
    what: &'static str,
    fault: Fault,
    /// The attempts of one request at the faulty target.
    calls: usize,
    /// The API's code of the failure.
    code: &'static str,
    /// Of the target's breaker, which as many failures open as there are calls.
    breaker: &'static str,
    /// What other requests leave alone.
    rests: &'static str,
    /// Whether each call may have been billed.
    billed: bool,
}

const BROKEN: FaultRow = FaultRow {
    what: "",
    fault: |call| Box::pin(async { Some(call) }),
    calls: 1,
    code: "upstream_disconnected",
    breaker: "open",
    rests: "nothing",
    billed: true,
};

/// A refusal, which is not billed.
const REFUSED: FaultRow = FaultRow { billed: false, ..BROKEN };

/// A refusal that is about the caller, the key or the model.
const NOT_ITS_FAULT: FaultRow = FaultRow { breaker: "closed", ..REFUSED };

async fn refused(mut call: Call, status: u16, headers: &str, code: &str) -> Option<Call> {
    call.refuse(status, headers, &json!({"error": {"message": "words", "code": code}}).to_string()).await;
    None
}

/// Sends the head of a stream.
async fn with_head(mut call: Call) -> Option<Call> {
    call.ok().await;
    Some(call)
}

/// Sends the head of a stream, and one event.
async fn with_event(mut call: Call, data: Value) -> Option<Call> {
    call.ok().await;
    call.data(data).await;
    Some(call)
}

async fn with_role(call: Call) -> Option<Call> {
    with_event(call, json!({"id": "c1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}))
        .await
}

async fn with_token(call: Call) -> Option<Call> {
    with_event(call, json!({"id": "c1", "choices": [{"index": 0, "delta": {"content": "Hel"}}]})).await
}

fn close(call: Option<Call>) -> Option<Call> {
    drop(call);
    None
}

fn reset(call: Option<Call>) -> Option<Call> {
    call?.reset();
    None
}

async fn html(mut call: Call) -> Option<Call> {
    call.raw("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 3\r\n\r\n<p>").await;
    None
}

async fn only_done(mut call: Call) -> Option<Call> {
    call.ok().await;
    call.data("[DONE]").await;
    None
}

async fn with_error(call: Option<Call>) -> Option<Call> {
    call?.data(json!({"error": {"message": "words"}})).await;
    None
}

/// Faults of a server or a connection before the first token.
#[rustfmt::skip]
fn broken() -> Vec<FaultRow> {
    vec![
        FaultRow { what: "hang before the head", code: "upstream_timeout", ..BROKEN },
        FaultRow { what: "hang after the head", code: "upstream_timeout", fault: |call| Box::pin(with_head(call)), ..BROKEN },
        FaultRow { what: "hang before the first token", code: "upstream_timeout", fault: |call| Box::pin(with_role(call)), ..BROKEN },
        FaultRow { what: "close before the head", fault: |call| Box::pin(async { close(Some(call)) }), ..BROKEN },
        FaultRow { what: "close after the head", fault: |call| Box::pin(async { close(with_head(call).await) }), ..BROKEN },
        FaultRow { what: "close before the first token", fault: |call| Box::pin(async { close(with_role(call).await) }), ..BROKEN },
        FaultRow { what: "reset before the head", fault: |call| Box::pin(async { reset(Some(call)) }), ..BROKEN },
        FaultRow { what: "reset after the head", fault: |call| Box::pin(async { reset(with_head(call).await) }), ..BROKEN },
        FaultRow { what: "reset before the first token", fault: |call| Box::pin(async { reset(with_role(call).await) }), ..BROKEN },
        FaultRow { what: "a wrong type", code: "upstream_malformed", fault: |call| Box::pin(html(call)), ..BROKEN },
        FaultRow { what: "an empty answer", code: "upstream_empty", fault: |call| Box::pin(only_done(call)), ..BROKEN },
        FaultRow { what: "an error in a 200", code: "upstream_error", calls: 2, fault: |call| Box::pin(async { with_error(with_head(call).await).await }), ..BROKEN },
    ]
}

/// Refusals after which the next target is asked.
#[rustfmt::skip]
fn refusals() -> Vec<FaultRow> {
    let (limited, overloaded) = ("upstream_rate_limited", "upstream_overloaded");
    vec![
        FaultRow { what: "401", code: "upstream_auth", rests: "key", fault: |call| Box::pin(refused(call, 401, "", "invalid_api_key")), ..NOT_ITS_FAULT },
        FaultRow { what: "403", code: "upstream_auth", rests: "key", fault: |call| Box::pin(refused(call, 403, "", "forbidden")), ..NOT_ITS_FAULT },
        FaultRow { what: "404", code: "model_not_found", rests: "target", fault: |call| Box::pin(refused(call, 404, "", "model_not_found")), ..NOT_ITS_FAULT },
        FaultRow { what: "429 with a wait", code: limited, rests: "key for the model", fault: |call| Box::pin(refused(call, 429, "retry-after: 7\r\n", "rate_limit_exceeded")), ..NOT_ITS_FAULT },
        FaultRow { what: "429 without a wait", code: limited, rests: "key for the model", fault: |call| Box::pin(refused(call, 429, "", "rate_limit_exceeded")), ..NOT_ITS_FAULT },
        FaultRow { what: "429 about money", code: limited, rests: "key", fault: |call| Box::pin(refused(call, 429, "", "insufficient_quota")), ..NOT_ITS_FAULT },
        FaultRow { what: "408", code: "upstream_timeout", calls: 2, fault: |call| Box::pin(refused(call, 408, "", "timeout")), ..REFUSED },
        FaultRow { what: "409", code: "upstream_rejected", calls: 2, fault: |call| Box::pin(refused(call, 409, "", "conflict")), ..REFUSED },
        FaultRow { what: "500", code: "upstream_error", calls: 2, fault: |call| Box::pin(refused(call, 500, "", "server_error")), ..REFUSED },
        FaultRow { what: "502", code: "upstream_error", fault: |call| Box::pin(refused(call, 502, "", "bad_gateway")), ..REFUSED },
        FaultRow { what: "503", code: overloaded, calls: 2, fault: |call| Box::pin(refused(call, 503, "", "overloaded")), ..REFUSED },
        FaultRow { what: "503 with a wait", code: overloaded, rests: "target", fault: |call| Box::pin(refused(call, 503, "retry-after: 7\r\n", "overloaded")), ..REFUSED },
        FaultRow { what: "504", code: "upstream_timeout", fault: |call| Box::pin(refused(call, 504, "", "timeout")), ..REFUSED },
        FaultRow { what: "529", code: overloaded, calls: 2, fault: |call| Box::pin(refused(call, 529, "", "overloaded")), ..REFUSED },
    ]
}

/// Faults of the request, which no other target gets.
#[rustfmt::skip]
fn request_faults() -> Vec<FaultRow> {
    let rejected = FaultRow { code: "upstream_rejected", ..NOT_ITS_FAULT };
    vec![
        FaultRow { what: "400", fault: |call| Box::pin(refused(call, 400, "", "invalid_value")), ..rejected },
        FaultRow { what: "413", fault: |call| Box::pin(refused(call, 413, "", "invalid_value")), ..rejected },
        FaultRow { what: "422", fault: |call| Box::pin(refused(call, 422, "", "invalid_value")), ..rejected },
    ]
}

/// Faults after the first token.
#[rustfmt::skip]
fn interruptions() -> Vec<FaultRow> {
    vec![
        FaultRow { what: "hang after a token", code: "upstream_timeout", fault: |call| Box::pin(with_token(call)), ..BROKEN },
        FaultRow { what: "close after a token", fault: |call| Box::pin(async { close(with_token(call).await) }), ..BROKEN },
        FaultRow { what: "reset after a token", fault: |call| Box::pin(async { reset(with_token(call).await) }), ..BROKEN },
        FaultRow { what: "an error after a token", code: "upstream_error", fault: |call| Box::pin(async { with_error(with_token(call).await).await }), ..BROKEN },
    ]
}

/// Serves the faults of an upstream until the other future is complete; returns its output and the number of calls.
async fn while_faulty<T>(upstream: &Upstream, fault: Fault, other: impl Future<Output = T>) -> (T, usize) {
    let calls = Mutex::new((0, Vec::new()));
    let serving = async {
        while let Some(call) = upstream.next_call().await {
            let open = fault(call).await;
            let mut calls = calls.lock().await;
            calls.0 += 1;
            calls.1.extend(open);
        }
    };
    let output = tokio::select! {
        output = other => output,
        () = serving => panic!("the upstream ended"),
    };
    (output, calls.into_inner().0)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Wire {
    Native,
    Chat,
}

const WIRES: [Wire; 2] = [Wire::Native, Wire::Chat];

/// A service whose model `fast` asks a faulty upstream, and then one that answers.
struct Scene {
    faulty: Upstream,
    answering: AnsweringUpstream,
    service: Service,
}

impl Scene {
    async fn new(row: &FaultRow, fallback_on: &str) -> Self {
        let (faulty, answering) = (Upstream::start().await, AnsweringUpstream::start().await);
        let mut settings = Settings::default();
        for (name, base_url) in [("a", faulty.base_url()), ("b", answering.base_url())] {
            let upstream = UpstreamSettings::new(name, base_url.parse().expect("a base URL"));
            settings.upstreams.push(UpstreamSettings {
                max_retries: 1,
                models: vec!["none".to_owned()],
                // A whole answer has no first token to wait for.
                always_stream: true,
                idle_timeout: Duration::from_millis(200),
                breaker: BreakerSettings {
                    failures: u32::try_from(row.calls).expect("few calls"),
                    ..BreakerSettings::default()
                },
                ..upstream
            });
        }
        let fast = format!(
            "targets = [\"a/one\", \"b/words\"]\nfirst_token_timeout = \"200ms\"\nfallback_on = [{fallback_on}]"
        );
        let alias: AliasSettings = toml::from_str(&fast).expect("an alias");
        settings.models.aliases.insert("fast".to_owned(), alias);
        Self { faulty, answering, service: Service::with(settings).await }
    }

    /// Asks on a wire; returns the text, and the code of the failure if there is one.
    async fn ask(&self, wire: Wire) -> (String, Option<String>) {
        let code = |error: &Value| error["code"].as_str().map(str::to_owned);
        match wire {
            Wire::Native => {
                let events = self.service.generate(&json!({"input": "Hello", "model": "fast"})).await.events().await;
                let last = events.last().expect("an ending");
                assert!(events.first().is_none_or(|start| start.data["model"] == "fast"), "callers see the alias");
                (text(&events), code(&last.data["error"]))
            }
            Wire::Chat => {
                let body = json!({"model": "fast", "messages": [{"role": "user", "content": "Hello"}], "stream": true});
                let answer = Answer::to(self.service.request(Method::POST, "/v1/chat/completions").json(&body)).await;
                if answer.status != 200 {
                    return (String::new(), code(&answer.json().await["error"]));
                }
                let stream = answer.text().await;
                let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
                let chunks = data.filter(|data| *data != "[DONE]");
                let chunks: Vec<Value> = chunks.map(|data| serde_json::from_str(data).expect("JSON")).collect();
                let texts = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
                (texts.collect(), chunks.iter().find_map(|chunk| code(&chunk["error"])))
            }
        }
    }

    /// Checks what operators see after one request.
    async fn check(&self, row: &FaultRow) {
        self.service.metric_becomes("tokenrill_generations_live", 0.0).await;
        let status = self.service.get("/v1/upstreams").await.json().await;
        let faulty = &status["data"][1];
        let model = &faulty["models"][0];
        assert_eq!((&model["breaker"], &model["in_flight"]), (&json!(row.breaker), &json!(0)), "{faulty}");
        assert_eq!(faulty["connections"], "closed", "it was connected to");
        let rests = match (&faulty["keys"][0]["rest_ms"], &model["rest_ms"], &model["limited_keys"]) {
            (Value::Null, Value::Null, limited) if *limited == 0 => "nothing",
            (Value::Null, Value::Null, _) => "key for the model",
            (Value::Null, _, _) => "target",
            _ => "key",
        };
        assert_eq!(rests, row.rests, "{faulty}");
        let attempts = format!(
            r#"tokenrill_upstream_attempts_total{{upstream="a",model="one",outcome="failed",error_type="{}"}}"#,
            row.code
        );
        let calls = f64::from(u32::try_from(row.calls).expect("few calls"));
        self.service.metric_becomes(&attempts, calls).await;
        let usage = self.service.get("/v1/usage?by=upstream").await.json().await;
        let line = &usage["data"][0];
        assert_eq!((&line["upstream"], &line["failed"]), (&json!("a"), &json!(row.calls)), "{usage}");
        assert_eq!(line["input_tokens"].as_u64().expect("a number") > 0, row.billed, "{usage}");
    }
}

#[tokio::test]
async fn each_failure_before_the_first_token_goes_to_the_other_target_and_leaves_nothing_open() {
    for row in broken().into_iter().chain(refusals()) {
        for wire in WIRES {
            let answered = async {
                let scene = Scene::new(&row, "").await;
                let (answer, made) = while_faulty(&scene.faulty, row.fault, scene.ask(wire)).await;
                assert_eq!((answer, made), ((WORDS_TEXT.to_owned(), None), row.calls));
                scene.check(&row).await;
                let fallbacks =
                    r#"tokenrill_upstream_repeated_attempts_total{upstream="b",model="words",reason="fallback"}"#;
                scene.service.metric_becomes(fallbacks, 1.0).await;
            };
            case(&format!("{}, {wire:?}", row.what), answered).await;
        }
    }
}

#[tokio::test]
async fn fault_of_the_request_is_not_sent_to_another_target_unless_the_settings_say_so() {
    for row in request_faults() {
        for (fallback_on, text) in [("", ""), ("\"rejected\"", WORDS_TEXT)] {
            for wire in WIRES {
                let answered = async {
                    let scene = Scene::new(&row, fallback_on).await;
                    let ((answer, code), made) = while_faulty(&scene.faulty, row.fault, scene.ask(wire)).await;
                    // An attempt that is refused is repeated without the fields that Tokenrill added.
                    let requests = if row.what == "413" { 1 } else { 2 };
                    assert_eq!((answer.as_str(), made), (text, requests));
                    assert_eq!(code.is_some(), text.is_empty(), "{code:?}");
                    assert_eq!(scene.answering.calls("Hello"), usize::from(!text.is_empty()));
                    scene.check(&row).await;
                };
                case(&format!("{}, {wire:?}", row.what), answered).await;
            }
        }
    }
}

#[tokio::test]
async fn each_failure_after_the_first_token_ends_the_answer_with_its_text_and_asks_no_other_target() {
    for row in interruptions() {
        for wire in WIRES {
            let answered = async {
                let scene = Scene::new(&row, "").await;
                let (answer, made) = while_faulty(&scene.faulty, row.fault, scene.ask(wire)).await;
                assert_eq!((answer, made), (("Hel".to_owned(), Some(row.code.to_owned())), row.calls));
                assert_eq!(scene.answering.calls("Hello"), 0);
                scene.check(&row).await;
            };
            case(&format!("{}, {wire:?}", row.what), answered).await;
        }
    }
}
