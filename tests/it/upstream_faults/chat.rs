//! The faults as callers of chat completions see them, streaming and not. They must agree with the native stream.

use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokenrill::domain::UsageRequest;
use tokenrill::settings::Settings;

use super::WORDS;
use crate::support::{Answer, Call, Service, Upstream};
use crate::upstream_streams::wires::chat_completion_chunks;

/// How a chat completion is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Stream,
    Whole,
}

pub const DELIVERIES: [Delivery; 2] = [Delivery::Stream, Delivery::Whole];

/// One service for a sequence of chat completions.
pub struct Stage {
    upstream: Upstream,
    pub service: Service,
}

impl Stage {
    pub async fn new() -> Self {
        let upstream = Upstream::start().await;
        let service = Service::before(&upstream.base_url()).await;
        Self { upstream, service }
    }

    /// Requests a chat completion. The upstream refuses every attempt with `response`.
    pub async fn expect_refusal(&self, delivery: Delivery, (code, wait): (&str, Option<u64>), response: &[u8]) {
        let answer = self.while_refusing(response, ask(&self.service, delivery)).await;
        assert_refused(answer, code, wait, response).await;
        self.service.metric_becomes("tokenrill_generations_live", 0.0).await;
        self.service.metric_becomes("tokenrill_viewers_live", 0.0).await;
    }

    /// Sends `response` to each upstream call until `answer` completes. The service must close each connection.
    pub async fn while_refusing<T>(&self, response: &[u8], answer: impl Future<Output = T>) -> T {
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                mut call = self.upstream.call() => {
                    call.blurt(response).await;
                    call.fin().await;
                    call.closed().await;
                }
            }
        }
    }

    /// Requests a chat completion, which `play` answers. The caller must receive the text `expected` and the outcome
    /// `ending`, as on a native stream: `done`, or the code of a failure.
    pub async fn expect_outcome(
        &self,
        delivery: Delivery,
        expected: &str,
        (ending, wait): (&str, Option<u64>),
        play: impl AsyncFnOnce(Call, FirstToken<'_>),
    ) {
        let first_token = FirstToken { service: &self.service, before: self.service.metric(FIRST_TOKENS).await };
        let asked = async {
            let answer = ask(&self.service, delivery).await;
            match (delivery, ending) {
                (Delivery::Whole, "done") => assert_eq!(read_completion(answer).await, expected),
                // A failure before the response head is a status. A whole answer sends its head last.
                (Delivery::Whole, code) => assert_refused(answer, code, wait, b"").await,
                (Delivery::Stream, code) if code != "done" && expected.is_empty() => {
                    assert_refused(answer, code, wait, b"").await;
                }
                (Delivery::Stream, _) => assert_eq!(read_stream(answer, ending).await, expected),
            }
        };
        let played = async { play(self.upstream.call().await, first_token).await };
        tokio::join!(asked, played);
        self.service.metric_becomes("tokenrill_generations_live", 0.0).await;
        self.service.metric_becomes("tokenrill_viewers_live", 0.0).await;
        assert!(!self.upstream.was_called(), "the upstream was called once");
    }
}

const FIRST_TOKENS: &str = "gen_ai_server_time_to_first_token_seconds_count";

/// Lets an upstream wait until the service has read its first token, even if the caller receives nothing yet.
pub struct FirstToken<'a> {
    service: &'a Service,
    before: f64,
}

impl FirstToken<'_> {
    pub async fn wait(self) {
        self.service.metric_becomes(FIRST_TOKENS, self.before + 1.0).await;
    }
}

/// A service with `upstream` and changed settings.
pub async fn service(upstream: &Upstream, change: impl FnOnce(&mut Settings)) -> Service {
    let mut settings = Service::settings(&upstream.base_url());
    change(&mut settings);
    Service::with(settings).await
}

pub async fn ask(service: &Service, delivery: Delivery) -> Answer {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": delivery == Delivery::Stream});
    let request =
        service.request(reqwest::Method::POST, "/v1/chat/completions").header(CONTENT_TYPE, "application/json");
    Answer::to(request.body(body.to_string())).await
}

/// The text of a whole completion, choice after choice.
async fn read_completion(answer: Answer) -> String {
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let completion = answer.json().await;
    assert_eq!(completion["object"], "chat.completion");
    assert!(completion["usage"]["total_tokens"].is_u64() || completion["usage"]["prompt_tokens"].is_u64());
    let choices = completion["choices"].as_array().expect("choices");
    let texts = choices.iter().map(|choice| {
        assert!(choice["finish_reason"].is_string(), "{choice}");
        choice["message"]["content"].as_str().unwrap_or_default()
    });
    texts.collect()
}

/// The text of a stream, which must end with this outcome.
pub async fn read_stream(answer: Answer, ending: &str) -> String {
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/event-stream"));
    let stream = answer.text().await;
    assert!(!stream.contains(WORDS), "{stream}");
    let whole = ending == "done";
    let stream = stream.replace(": ping\n", "");
    let (_, texts) = chat_completion_chunks(&stream, UsageRequest::NotAsked, whole);
    if !whole {
        let (_, error) = stream.trim_end().rsplit_once("data: ").expect("an error");
        assert_error(&serde_json::from_str(error).expect("JSON"), ending, Words::Ours);
    }
    texts.into_values().collect()
}

/// Checks a refusal as a status. `response` holds the bytes that the upstream sent.
async fn assert_refused(answer: Answer, code: &str, wait: Option<u64>, response: &[u8]) {
    let response = String::from_utf8_lossy(response);
    // For a rejected request the status and the texts of the upstream are passed on.
    let passed =
        response.split(' ').nth(1).and_then(|status| status.parse().ok()).filter(|_| code == "upstream_rejected");
    let status = passed.filter(|status| [400, 404, 413, 422].contains(status)).unwrap_or_else(|| status(code));
    let is_theirs = matches!(code, "upstream_rejected" | "model_not_found") && response.contains("application/json");
    let words = if is_theirs { Words::Theirs } else { Words::Ours };
    // A rate-limited upstream has not started the request, so a retry is safe; but SDKs do not wait longer than a
    // minute.
    let repeat =
        code == "upstream_unreachable" || code == "upstream_rate_limited" && wait.is_none_or(|wait| wait <= 60_000);
    assert_eq!((answer.status, answer.header("content-type")), (status, "application/json"), "{code}");
    assert_eq!(answer.header("x-should-retry"), repeat.to_string(), "{code}");
    let header = |wait: Option<u64>| wait.map(|wait| wait.to_string()).unwrap_or_default();
    assert_eq!(answer.header("retry-after-ms"), header(wait), "{code}");
    assert_eq!(answer.header("retry-after"), header(wait.map(|wait| wait.div_ceil(1000))), "{code}");
    assert!(answer.header("x-request-id").starts_with("req_"));
    assert_error(&answer.json().await, code, words);
}

/// The origin of the texts in an error.
#[derive(Clone, Copy, PartialEq)]
enum Words {
    Ours,
    /// The upstream. Its texts here have the shape of a key.
    Theirs,
}

/// Checks that an error has OpenAI's shape and contains no secret of the upstream.
fn assert_error(body: &Value, code: &str, words: Words) {
    let error = body["error"].as_object().expect("an error");
    assert_eq!(error.keys().map(String::as_str).collect::<Vec<_>>(), ["message", "type", "param", "code"]);
    let kind = match status(code) {
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    let message = error["message"].as_str().expect("a message");
    assert!(!message.contains(WORDS), "{message}");
    let (code, kind) = if words == Words::Theirs { ("[masked]", "[masked]") } else { (code, kind) };
    assert_eq!((&error["code"], &error["type"], &error["param"]), (&json!(code), &json!(kind), &Value::Null));
    assert!(words == Words::Theirs || message.ends_with('.'), "{message}");
}

fn status(code: &str) -> u16 {
    match code {
        "upstream_rejected" => 400,
        "model_not_found" => 404,
        "upstream_rate_limited" => 429,
        "upstream_overloaded" => 503,
        "upstream_timeout" | "deadline_exceeded" => 504,
        _ => 502,
    }
}
