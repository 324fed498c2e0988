//! Any OpenAI-compatible endpoint: async-openai's configuration and request machinery, our own reading
//! of what comes back.
//!
//! async-openai's own streams are not used: they run through an unbounded channel, take an answer that
//! breaks off for a complete one, and drop every field they do not know.

mod canonical;
mod chunk;
mod endpoint;
mod exchange;
mod members;
mod pieces;
mod reader;
mod templates;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use async_openai::config::Config;
use async_openai::middleware::HttpRequestFactory;
use async_stream::try_stream;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep, sleep_until};
use tower::ServiceExt;

use super::http1::{self, Idle, More};
use super::sse::TooLarge;
use super::{Answer, Malformed, Model, Phase, Provider, Signal, Signals, UpstreamError};
use crate::domain::ChatRequest;

pub use endpoint::{Endpoint, InvalidEndpoint, Timeouts};
pub use reader::AnswerReader;
pub use templates::Templates;

use exchange::{Exchange, Incoming, in_the_clear};

/// One upstream that speaks OpenAI's chat completions.
#[derive(Debug, Clone)]
pub struct OpenAi(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    exchange: Exchange,
    endpoint: Endpoint,
    /// A request for a chat, made once, if it is sent in the clear.
    chat: Option<http1::Request>,
    timeouts: Timeouts,
    templates: Templates,
}

/// The largest list of models.
const LARGEST_LIST: usize = 4 << 20;
/// After a finish reason the usage and `[DONE]` are at most this far away; an upstream that sends
/// neither has nevertheless finished.
const FINISH_PATIENCE: Duration = Duration::from_secs(5);

impl OpenAi {
    /// `idle` are the connections in the clear that wait for a request.
    pub fn new(endpoint: Endpoint, timeouts: Timeouts, idle: Idle) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(timeouts.connect)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .build()?;
        let chat = chat(&http, &endpoint).build().ok().as_ref().and_then(in_the_clear);
        let exchange = Exchange { http, idle, connect: timeouts.connect };
        Ok(Self(Arc::new(Inner { exchange, endpoint, chat, timeouts, templates: Templates::default() })))
    }
}

impl Inner {
    async fn ask(&self, body: Bytes) -> Result<Incoming, UpstreamError> {
        if let Some(chat) = &self.chat {
            return self.exchange.send(chat, &body).await;
        }
        let (http, endpoint) = (self.exchange.http.clone(), self.endpoint.clone());
        let request = HttpRequestFactory::new(move || {
            let request = chat(&http, &endpoint).body(body.clone());
            async move { Ok(request.build()?) }
        });
        self.exchange.clone().oneshot(request).await
    }
}

fn chat(http: &reqwest::Client, endpoint: &Endpoint) -> reqwest::RequestBuilder {
    http.post(endpoint.url("/chat/completions"))
        .headers(endpoint.headers())
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "text/event-stream")
}

impl Provider for OpenAi {
    fn stream(&self, request: ChatRequest) -> Answer {
        let this = Arc::clone(&self.0);
        Box::pin(try_stream! {
            let mut timer = pin!(sleep_until(Instant::now()));
            let mut progress = Progress::new(this.timeouts, timer.as_mut());
            let mut reader = AnswerReader::new(request.model.clone(), choices(&request), this.templates.clone());
            let mut response = progress.in_time(this.ask(body(request))).await??;
            progress.head();
            if !is_event_stream(&response) {
                Err(UpstreamError::Malformed(Malformed::ContentType))?;
            }
            loop {
                let mut signals = Signals::new();
                let mut said = Ok(());
                let mut sink = |bytes: &[u8]| {
                    if said.is_ok() {
                        said = reader.feed(bytes, &mut signals);
                    }
                };
                let read = match progress.in_time(response.read(&mut sink)).await {
                    Ok(Ok(More::Maybe)) => said,
                    // What was said before it broke off counts first.
                    _ if said.is_err() || reader.has_ended() => said,
                    Ok(_) => reader.cut_off(UpstreamError::Disconnected).map(|end| signals.push(end)),
                    Err(timeout) => reader.cut_off(timeout).map(|end| signals.push(end)),
                };
                progress.note(&signals, &reader);
                if !signals.is_empty() {
                    yield signals;
                }
                read?;
                if reader.has_ended() {
                    break;
                }
            }
            // Read to the end, so that the connection can be used again; what comes is nobody's.
            while let Ok(More::Maybe) = response.read(&mut |_: &[u8]| {}).await {}
        })
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<Model>, UpstreamError>> {
        async {
            let (http, endpoint) = (self.0.exchange.http.clone(), self.0.endpoint.clone());
            let request = HttpRequestFactory::new(move || {
                let request = http.get(endpoint.url("/models")).headers(endpoint.headers());
                async move { Ok(request.build()?) }
            });
            let mut response = self.0.exchange.clone().oneshot(request).await?;
            let mut body = Vec::new();
            while response.read(&mut |bytes: &[u8]| body.extend_from_slice(bytes)).await? == More::Maybe {
                if body.len() > LARGEST_LIST {
                    Err(UpstreamError::Malformed(Malformed::EventTooLarge))?;
                }
            }
            let list: ModelList =
                serde_json::from_slice(&body).map_err(|_| UpstreamError::Malformed(Malformed::Models))?;
            Ok(list.data.into_iter().map(Model::from).collect())
        }
        .boxed()
    }
}

/// A list of models. Not async-openai's type: that refuses the whole list for one member that a server
/// leaves out.
#[derive(Deserialize)]
struct ModelList {
    data: Vec<ListedModel>,
}

#[derive(Deserialize)]
struct ListedModel {
    id: String,
    #[serde(default)]
    created: Option<u64>,
    #[serde(default)]
    owned_by: Option<String>,
}

impl From<ListedModel> for Model {
    fn from(model: ListedModel) -> Self {
        let owned_by = model.owned_by.unwrap_or_else(|| "unknown".to_owned());
        Self { id: model.id, owned_by, created: model.created.unwrap_or_default() }
    }
}

/// How many choices a request asks for.
fn choices(request: &ChatRequest) -> usize {
    usize::try_from(request.choices()).unwrap_or(usize::MAX)
}

/// The request's fields with ours: always a stream, always with the usage at its end.
fn body(request: ChatRequest) -> Bytes {
    let mut fields = request.fields;
    fields.shift_insert(0, "model".to_owned(), request.model.into());
    fields.insert("stream".to_owned(), true.into());
    match fields.get_mut("stream_options").and_then(Value::as_object_mut) {
        Some(options) => _ = options.insert("include_usage".to_owned(), true.into()),
        None => _ = fields.insert("stream_options".to_owned(), json!({"include_usage": true})),
    }
    serde_json::to_vec(&fields).unwrap_or_default().into()
}

fn is_event_stream(response: &Incoming) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// How far an answer has come, and until when the next step is due.
#[derive(Debug)]
struct Progress<'a> {
    timeouts: Timeouts,
    phase: Phase,
    asked: Instant,
    due: Instant,
    /// Set anew only when it rings, or for what is due earlier: not for each token.
    timer: Pin<&'a mut Sleep>,
}

impl<'a> Progress<'a> {
    fn new(timeouts: Timeouts, mut timer: Pin<&'a mut Sleep>) -> Self {
        let asked = Instant::now();
        let due = asked + timeouts.head.min(timeouts.first_token);
        timer.as_mut().reset(due);
        Self { timeouts, phase: Phase::Head, asked, due, timer }
    }

    /// The head has come; the time to the first token counts from the request all the same.
    fn head(&mut self) {
        self.phase = Phase::FirstToken;
        self.due = self.asked + self.timeouts.first_token;
    }

    async fn in_time<T>(&mut self, step: impl Future<Output = T>) -> Result<T, UpstreamError> {
        if self.due < self.timer.deadline() {
            self.timer.as_mut().reset(self.due);
        }
        let (due, timer) = (self.due, &mut self.timer);
        let overdue = async {
            loop {
                timer.as_mut().await;
                if due <= Instant::now() {
                    break;
                }
                timer.as_mut().reset(due);
            }
        };
        tokio::select! {
            // The clock first: a step that is always ready must not outrun it.
            biased;
            () = overdue => Err(UpstreamError::Timeout(self.phase)),
            done = step => Ok(done),
        }
    }

    /// Takes note of what came. A token puts the next step off, and nothing else does.
    fn note(&mut self, signals: &[Signal], reader: &AnswerReader) {
        if signals.iter().any(|signal| matches!(signal, Signal::Chunk(chunk) if chunk.part().choice().is_some())) {
            self.phase = Phase::NextToken;
            self.due = Instant::now() + self.timeouts.idle;
        }
        if reader.is_whole() {
            self.due = self.due.min(Instant::now() + FINISH_PATIENCE);
        }
    }
}

impl From<TooLarge> for UpstreamError {
    fn from(_: TooLarge) -> Self {
        Self::Malformed(Malformed::EventTooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use std::convert::Infallible;
    use std::future::ready;

    #[tokio::test(start_paused = true)]
    async fn bytes_that_are_always_there_do_not_outrun_the_clock() {
        let hour = Duration::from_hours(1);
        let mut timer = pin!(sleep_until(Instant::now()));
        let timeouts = Timeouts { connect: hour, head: hour, first_token: hour, idle: hour };
        let mut progress = Progress::new(timeouts, timer.as_mut());
        assert_eq!(progress.in_time(ready(())).await, Ok(()));
        tokio::time::advance(hour).await;
        assert_eq!(progress.in_time(ready(())).await, Err(UpstreamError::Timeout(Phase::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn each_step_has_a_limit_of_its_own() {
        let [head, first_token, idle] = [10, 100, 20].map(Duration::from_secs);
        let mut timer = pin!(sleep_until(Instant::now()));
        let mut progress = Progress::new(Timeouts { connect: head, head, first_token, idle }, timer.as_mut());
        let mut reader = AnswerReader::new("m".to_owned(), 1, Templates::default());
        let mut signals = Signals::new();
        let asked = progress.asked;
        let mut said = |progress: &mut Progress<'_>, bytes: &str| {
            signals.clear();
            reader.feed(bytes.as_bytes(), &mut signals).expect("no fault");
            progress.note(&signals, &reader);
            (progress.phase, progress.due - Instant::now())
        };
        assert_eq!((progress.phase, progress.due), (Phase::Head, asked + head));
        tokio::time::advance(Duration::from_secs(5)).await;
        progress.head();
        assert_eq!((progress.phase, progress.due), (Phase::FirstToken, asked + first_token));

        // A byte is not progress, a token is.
        let left = Duration::from_secs(95);
        let role = r#"data: {"choices":[{"delta":{"role":"assistant","content":""}}]}"#;
        for no_token in [": ping\n\n", role, "\n\n", "data: {\"choices\":[],\"usage\":{}}\n\n"] {
            assert_eq!(said(&mut progress, no_token), (Phase::FirstToken, left), "{no_token}");
        }
        let token = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        assert_eq!(said(&mut progress, token), (Phase::NextToken, idle));
        tokio::time::advance(Duration::from_secs(15)).await;
        assert_eq!(said(&mut progress, ": ping\n\n"), (Phase::NextToken, Duration::from_secs(5)));
        assert_eq!(said(&mut progress, token), (Phase::NextToken, idle));
        let finish = "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n";
        assert_eq!(said(&mut progress, finish), (Phase::NextToken, FINISH_PATIENCE));
    }

    #[tokio::test]
    async fn reading_gives_way_where_bytes_are_always_there() {
        let endless = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(b"\n")));
        let mut response = Incoming::Encrypted(hyper::Response::new(reqwest::Body::wrap_stream(endless)).into());
        let reading = async {
            for _ in 0..10_000 {
                response.read(&mut |_: &[u8]| {}).await.expect("more");
            }
        };
        assert_eq!(reading.now_or_never(), None);
    }
}
