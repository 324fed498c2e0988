//! Any OpenAI-compatible endpoint: async-openai's configuration and request machinery, our own loop
//! over the response's body.
//!
//! async-openai's own streams are not used: they run through an unbounded channel, take an answer that
//! breaks off for a complete one, and drop every field they do not know.

mod chunk;
mod endpoint;
mod exchange;

use std::collections::BTreeSet;
use std::time::Duration;

use async_openai::Client;
use async_openai::config::Config;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use async_stream::try_stream;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Map, Value, json};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt;

use super::sse::{Parser, TooLarge};
use super::{Answer, Malformed, Model, Phase, Provider, Signal, UpstreamError};
use crate::domain::ChatRequest;

pub use endpoint::{Endpoint, InvalidEndpoint, Timeouts};

use chunk::Decoder;
use exchange::Exchange;

/// One upstream that speaks OpenAI's chat completions.
#[derive(Debug, Clone)]
pub struct OpenAi {
    http: reqwest::Client,
    endpoint: Endpoint,
    timeouts: Timeouts,
}

/// The largest event and the longest line that an upstream may send.
const LARGEST_EVENT: usize = 1 << 20;
/// After a finish reason the usage and `[DONE]` are at most this far away; an upstream that sends
/// neither has nevertheless finished.
const FINISH_PATIENCE: Duration = Duration::from_secs(5);

impl OpenAi {
    pub fn new(endpoint: Endpoint, timeouts: Timeouts) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(timeouts.connect)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .build()?;
        Ok(Self { http, endpoint, timeouts })
    }

    fn request(&self, body: Bytes) -> HttpRequestFactory {
        let (http, endpoint) = (self.http.clone(), self.endpoint.clone());
        HttpRequestFactory::new(move || {
            let request = http
                .post(endpoint.url("/chat/completions"))
                .headers(endpoint.headers())
                .header(CONTENT_TYPE, "application/json")
                .header(ACCEPT, "text/event-stream")
                .body(body.clone());
            async move { Ok(request.build()?) }
        })
    }
}

impl Provider for OpenAi {
    fn stream(&self, request: ChatRequest) -> Answer {
        let this = self.clone();
        Box::pin(try_stream! {
            let mut progress = Progress::new(this.timeouts);
            let request = this.request(body(request));
            let exchange = Exchange::new(this.http).oneshot(request);
            let mut response = progress.in_time(exchange).await??;
            if !is_event_stream(&response) {
                Err(UpstreamError::Malformed(Malformed::ContentType))?;
            }
            let mut parser = Parser::new(LARGEST_EVENT);
            let mut decoder = Decoder::default();
            loop {
                let read = match progress.in_time(read(&mut response)).await {
                    Ok(Ok(Some(bytes))) => Ok(bytes),
                    Ok(_) => Err(UpstreamError::Disconnected),
                    Err(timeout) => Err(timeout),
                };
                // With its finish reasons an answer is whole, whatever becomes of the connection.
                if read.is_err() && progress.finished() {
                    yield vec![decoder.end()];
                    return;
                }
                let bytes = read?;
                let mut signals = Vec::new();
                let parsed = parser.feed(&bytes, |data| decoder.decode(data, &mut signals));
                // Not kept: each piece that a read hands out pins the whole buffer of that read.
                drop(bytes);
                let ended = progress.note(&mut signals);
                if !signals.is_empty() {
                    yield signals;
                }
                if ended {
                    break;
                }
                parsed?;
            }
            // Read to the end, so that the connection can be used again; what comes is nobody's.
            while let Ok(Some(_)) = read(&mut response).await {}
        })
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<Model>, UpstreamError>> {
        async {
            let client = Client::build(self.http.clone(), self.endpoint.clone())
                .with_http_service(Exchange::new(self.http.clone()));
            let list = client.models().list().await.map_err(|error| match error {
                OpenAIError::Boxed(error) => match error.downcast::<UpstreamError>() {
                    Ok(error) => *error,
                    Err(_) => UpstreamError::Unreachable,
                },
                OpenAIError::Reqwest(_) => UpstreamError::Disconnected,
                _ => UpstreamError::Malformed(Malformed::ContentType),
            })?;
            let models = list.data.into_iter();
            Ok(models
                .map(|model| Model { id: model.id, owned_by: model.owned_by, created: model.created.into() })
                .collect())
        }
        .boxed()
    }
}

/// The request's fields with ours: always a stream, always with the usage at its end.
fn body(request: ChatRequest) -> Bytes {
    let mut fields = Map::from_iter([("model".to_owned(), Value::from(request.model))]);
    fields.extend(request.fields);
    fields.insert("stream".to_owned(), true.into());
    match fields.get_mut("stream_options").and_then(Value::as_object_mut) {
        Some(options) => _ = options.insert("include_usage".to_owned(), true.into()),
        None => _ = fields.insert("stream_options".to_owned(), json!({"include_usage": true})),
    }
    Value::Object(fields).to_string().into()
}

/// The next bytes. Gives way now and then even where there are always more: an upstream that talks
/// without a pause would keep its generation from every deadline and every stop.
async fn read(response: &mut reqwest::Response) -> reqwest::Result<Option<Bytes>> {
    consume_budget().await;
    response.chunk().await
}

fn is_event_stream(response: &reqwest::Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// How far an answer has come, and until when the next step is due.
#[derive(Debug)]
struct Progress {
    timeouts: Timeouts,
    phase: Phase,
    due: Instant,
    /// The choices that have said something and not come to their end.
    open: BTreeSet<u32>,
    finishes: usize,
}

impl Progress {
    fn new(timeouts: Timeouts) -> Self {
        let due = Instant::now() + timeouts.first_token;
        Self { timeouts, phase: Phase::FirstToken, due, open: BTreeSet::new(), finishes: 0 }
    }

    async fn in_time<T>(&self, step: impl Future<Output = T>) -> Result<T, UpstreamError> {
        tokio::select! {
            // The clock first: a step that is always ready must not outrun it.
            biased;
            () = sleep_until(self.due) => Err(UpstreamError::Timeout(self.phase)),
            done = step => Ok(done),
        }
    }

    fn finished(&self) -> bool {
        self.finishes > 0 && self.open.is_empty()
    }

    /// Takes note of what came; whether that was the end. What follows the end is dropped.
    fn note(&mut self, signals: &mut Vec<Signal>) -> bool {
        if let Some(end) = signals.iter().position(|signal| matches!(signal, Signal::End { .. })) {
            signals.truncate(end + 1);
        }
        for signal in signals.iter() {
            match signal {
                Signal::Chunk(chunk) => {
                    if let Some(choice) = chunk.part().choice() {
                        self.phase = Phase::NextToken;
                        self.due = Instant::now() + self.timeouts.idle;
                        self.open.insert(choice);
                    }
                }
                Signal::Finish { choice, .. } => {
                    self.open.remove(choice);
                    self.finishes += 1;
                }
                Signal::End { .. } => return true,
                Signal::Usage(_) => {}
            }
        }
        if self.finished() {
            self.due = self.due.min(Instant::now() + FINISH_PATIENCE);
        }
        false
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
        let progress = Progress::new(Timeouts { connect: hour, first_token: hour, idle: hour });
        assert_eq!(progress.in_time(ready(())).await, Ok(()));
        tokio::time::advance(hour).await;
        assert_eq!(progress.in_time(ready(())).await, Err(UpstreamError::Timeout(Phase::FirstToken)));
    }

    #[tokio::test]
    async fn reading_gives_way_where_bytes_are_always_there() {
        let endless = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(b"\n")));
        let mut response = hyper::Response::new(reqwest::Body::wrap_stream(endless)).into();
        let reading = async {
            for _ in 0..10_000 {
                read(&mut response).await.expect("more");
            }
        };
        assert_eq!(reading.now_or_never(), None);
    }
}
