//! What callers of chat completions are told, streaming and not, where a native stream is told the same.

use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokenrill::domain::UsageWish;
use tokenrill::settings::Settings;

use super::WORDS;
use crate::support::{Answer, Call, Service, Upstream};
use crate::upstream_streams::wires::chat_completion_chunks;

/// How a chat completion is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Stream,
    Whole,
}

pub const DELIVERIES: [Delivery; 2] = [Delivery::Stream, Delivery::Whole];

/// One service for many chat completions, one after the other.
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

    /// Asks for a chat completion, which the upstream refuses with `response` as often as it is asked.
    pub async fn is_refused(&self, delivery: Delivery, (code, wait): (&str, Option<u64>), response: &[u8]) {
        let answer = self.while_refusing(response, ask(&self.service, delivery)).await;
        assert_refused(answer, code, wait).await;
        self.service.metric_becomes("tokenrill_generations_live", 0.0).await;
        self.service.metric_becomes("tokenrill_viewers_live", 0.0).await;
    }

    /// Sends the same response to each request until there is an answer; the service closes each connection.
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

    /// Asks for a chat completion, which `play` answers: the caller gets `expected` and is told `ending`,
    /// as a native stream would be: `done`, or the code of a failure.
    pub async fn is_told(
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
                (Delivery::Whole, "done") => assert_eq!(completed(answer).await, expected),
                // Before the head has left a failure is a status; a whole answer's head leaves last.
                (Delivery::Whole, code) => assert_refused(answer, code, wait).await,
                (Delivery::Stream, code) if code != "done" && expected.is_empty() => {
                    assert_refused(answer, code, wait).await;
                }
                (Delivery::Stream, _) => assert_eq!(streamed(answer, ending).await, expected),
            }
        };
        let played = async { play(self.upstream.call().await, first_token).await };
        tokio::join!(asked, played);
        self.service.metric_becomes("tokenrill_generations_live", 0.0).await;
        self.service.metric_becomes("tokenrill_viewers_live", 0.0).await;
        assert!(!self.upstream.was_called(), "it was asked once");
    }
}

const FIRST_TOKENS: &str = "gen_ai_server_time_to_first_token_seconds_count";

/// For an upstream that must know that it has been heard, where its caller sees nothing yet.
pub struct FirstToken<'a> {
    service: &'a Service,
    before: f64,
}

impl FirstToken<'_> {
    pub async fn has_come(self) {
        self.service.metric_becomes(FIRST_TOKENS, self.before + 1.0).await;
    }
}

/// A service before `upstream` whose settings are changed.
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
async fn completed(answer: Answer) -> String {
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

/// The text of a stream that ends in this way.
pub async fn streamed(answer: Answer, ending: &str) -> String {
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/event-stream"));
    let stream = answer.text().await;
    assert!(!stream.contains(WORDS), "{stream}");
    let whole = ending == "done";
    let stream = stream.replace(": ping\n", "");
    let (_, texts) = chat_completion_chunks(&stream, UsageWish::NotAsked, whole);
    if !whole {
        let (_, error) = stream.trim_end().rsplit_once("data: ").expect("an error");
        assert_error(&serde_json::from_str(error).expect("JSON"), ending);
    }
    texts.into_values().collect()
}

async fn assert_refused(answer: Answer, code: &str, wait: Option<u64>) {
    // Who limits us has not begun; but SDKs do not wait for longer than a minute.
    let repeat =
        code == "upstream_unreachable" || code == "upstream_rate_limited" && wait.is_none_or(|wait| wait <= 60_000);
    assert_eq!((answer.status, answer.header("content-type")), (status(code), "application/json"), "{code}");
    assert_eq!(answer.header("x-should-retry"), repeat.to_string(), "{code}");
    let retryable = !matches!(code, "upstream_auth" | "upstream_rejected" | "upstream_malformed" | "model_not_found");
    let wait = wait.or(retryable.then_some(5_000));
    let header = |wait: Option<u64>| wait.map(|wait| wait.to_string()).unwrap_or_default();
    assert_eq!(answer.header("retry-after-ms"), header(wait), "{code}");
    assert_eq!(answer.header("retry-after"), header(wait.map(|wait| wait.div_ceil(1000))), "{code}");
    assert!(answer.header("x-request-id").starts_with("req_"));
    assert_error(&answer.json().await, code);
}

/// In OpenAI's shape, and in our own words.
fn assert_error(body: &Value, code: &str) {
    let error = body["error"].as_object().expect("an error");
    assert_eq!(error.keys().map(String::as_str).collect::<Vec<_>>(), ["message", "type", "param", "code"]);
    let kind = match status(code) {
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    assert_eq!((&error["code"], &error["type"], &error["param"]), (&json!(code), &json!(kind), &Value::Null));
    assert!(error["message"].as_str().is_some_and(|message| message.ends_with('.') && !message.contains(WORDS)));
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
