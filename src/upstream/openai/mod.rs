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
mod model_list;
mod pieces;
mod progress;
mod reader;
mod request_body;
mod templates;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_openai::config::Config;
use async_openai::middleware::HttpRequestFactory;
use async_stream::try_stream;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::time::{Instant, sleep_until, timeout};
use tower::ServiceExt;

use super::http1::{self, Idle, More};
use super::refusal::LONGEST_REFUSAL;
use super::sse::TooLarge;
use super::{Answer, AttemptTerms, Malformed, Model, Provider, ReportTerms, Signals, UpstreamError, UpstreamIdentity};
use crate::domain::ChatRequest;

pub use endpoint::{Endpoint, InvalidEndpoint, Timeouts};
pub use reader::AnswerReader;
pub use templates::Templates;

use exchange::{Exchange, Incoming, in_the_clear};
use progress::Progress;

/// One upstream that speaks OpenAI's chat completions.
#[derive(Debug, Clone)]
pub struct OpenAi(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    identity: Arc<UpstreamIdentity>,
    reports: ReportTerms,
    exchange: Exchange,
    endpoint: Endpoint,
    /// A request for a chat, made once, if it is sent in the clear.
    chat: Option<http1::Request>,
    timeouts: Timeouts,
    templates: Templates,
}

/// The largest list of models.
const LARGEST_LIST: usize = 4 << 20;

impl OpenAi {
    /// `name` is what operators call the upstream; `idle` are the connections in the clear that wait for a request.
    pub fn new(
        name: &str,
        endpoint: Endpoint,
        timeouts: Timeouts,
        reports: ReportTerms,
        idle: Idle,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(timeouts.connect)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .build()?;
        let chat = chat(&http, &endpoint).build().ok().as_ref().and_then(in_the_clear);
        let exchange = Exchange { http, idle, connect: timeouts.connect };
        let identity = UpstreamIdentity::new(name, &endpoint.url("/chat/completions"));
        Ok(Self(Arc::new(Inner {
            identity,
            reports,
            exchange,
            endpoint,
            chat,
            timeouts,
            templates: Templates::default(),
        })))
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

impl Inner {
    /// Reads what the upstream says of the request that it refused.
    async fn refusal(&self, response: &mut Incoming, request: &[u8]) -> UpstreamError {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        let reading = async {
            while let Ok(More::Maybe) = response.read(&mut |bytes: &[u8]| body.extend_from_slice(bytes)).await {
                if body.len() > LONGEST_REFUSAL {
                    break;
                }
            }
        };
        _ = timeout(REFUSAL_TIME, reading).await;
        self.reports.refused(status, &headers, &body, request)
    }
}

/// A refusal whose body takes longer is a refusal without a body.
const REFUSAL_TIME: Duration = Duration::from_secs(2);

fn chat(http: &reqwest::Client, endpoint: &Endpoint) -> reqwest::RequestBuilder {
    http.post(endpoint.url("/chat/completions"))
        .headers(endpoint.headers())
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "text/event-stream")
}

impl Provider for OpenAi {
    fn identity(&self) -> &Arc<UpstreamIdentity> {
        &self.0.identity
    }

    fn attempt(&self, request: ChatRequest, terms: AttemptTerms) -> Answer {
        let this = Arc::clone(&self.0);
        Box::pin(try_stream! {
            let mut timer = pin!(sleep_until(Instant::now()));
            let mut progress = Progress::new(this.timeouts, timer.as_mut());
            terms.sent.set();
            let mut reader = AnswerReader::new(request.model.clone(), choices(&request), this.templates.clone());
            let body = request_body::body(request);
            let mut response = progress.in_time(this.ask(body.clone())).await??;
            if !response.status().is_success() {
                Err(progress.in_time(this.refusal(&mut response, &body)).await?)?;
            }
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
                    Ok(_) => reader.cut_off(UpstreamError::Disconnected { cause: "closed before the end".into() }).map(|end| signals.push(end)),
                    Err(timeout) => reader.cut_off(timeout).map(|end| signals.push(end)),
                };
                progress.note(&signals, &reader);
                if !signals.is_empty() {
                    yield signals;
                }
                read.map_err(|error| this.reports.reported(error, response.headers(), &body))?;
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
            if !response.status().is_success() {
                return Err(self.0.refusal(&mut response, b"").await);
            }
            let mut body = Vec::new();
            while response.read(&mut |bytes: &[u8]| body.extend_from_slice(bytes)).await? == More::Maybe {
                if body.len() > LARGEST_LIST {
                    Err(UpstreamError::Malformed(Malformed::EventTooLarge))?;
                }
            }
            model_list::read(&body).map_err(UpstreamError::Malformed)
        }
        .boxed()
    }
}

/// How many choices a request asks for.
fn choices(request: &ChatRequest) -> usize {
    usize::try_from(request.choices()).unwrap_or(usize::MAX)
}

fn is_event_stream(response: &Incoming) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
}

impl From<TooLarge> for UpstreamError {
    fn from(_: TooLarge) -> Self {
        Self::Malformed(Malformed::EventTooLarge)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

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
