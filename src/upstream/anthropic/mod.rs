//! The adapter for Anthropic's Messages API.
//!
//! Requests are in the form of OpenAI's chat completions, and are converted for each attempt. Every answer is streamed,
//! also one that a caller wants as a whole.

mod content;
mod content_blocks;
mod conversation;

mod known_error;
mod message_reader;
mod message_usage;
mod model_page;
mod request_body;
mod tool_use;
mod tools;

mod version;

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

use async_stream::try_stream;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::time::{Instant, sleep_until};

use super::answer_parser::{AnswerParser, drain, next_signals};
use super::deadlines::{AnswerDeadlines, Timeouts};
use super::endpoint::Endpoint;
use super::exchange::{Exchange, read_to_end};
use super::transport::{ConnectionTerms, InvalidUrlError, TransportBuildError, TransportBuilder, UpstreamRequest};
use super::unsupported_field::UnsupportedFieldError;
use super::{
    Answer, AttemptError, AttemptErrorKind, AttemptTerms, Delivery, ListedModel, Provider, ReportTerms, SentMark,
    UpstreamIdentity,
};
use crate::domain::ChatRequest;

pub use message_reader::MessageReader;
pub use version::{ApiVersion, InvalidVersionError};

use known_error::with_code_of_refusal;
use model_page::ModelPage;

/// An upstream with Anthropic's Messages API.
#[derive(Debug, Clone)]
pub struct Anthropic(Arc<AnthropicUpstream>);

#[derive(Debug)]
struct AnthropicUpstream {
    identity: Arc<UpstreamIdentity>,
    exchange: Exchange,
    /// The request for an answer, without its body.
    messages: UpstreamRequest,
    endpoint: Endpoint,
    terms: MessageTerms,
    timeouts: Timeouts,
}

/// Parameters of all requests to an upstream.
#[derive(Debug, Clone)]
pub struct MessageTerms {
    pub version: ApiVersion,
    /// The largest event, in bytes (`upstreams.max_event`).
    pub max_event: usize,
}

const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// Largest page of a list of models, in bytes.
const LARGEST_PAGE: usize = 4 << 20;
/// Most pages of a list of models; further ones are left out.
const MOST_PAGES: usize = 10;

impl Anthropic {
    /// `name` is the name of the upstream in the settings; the base URL of `endpoint` is the one that Anthropic's SDKs
    /// take, and may end in `/v1`.
    pub fn new(
        name: &str,
        endpoint: Endpoint,
        timeouts: Timeouts,
        reports: ReportTerms,
        terms: MessageTerms,
        connections: ConnectionTerms,
        transports: &TransportBuilder,
    ) -> Result<Self, TransportBuildError> {
        let path = path(&endpoint, "messages");
        let identity = UpstreamIdentity::new(name, &endpoint.url(&path));
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (ACCEPT, HeaderValue::from_static("text/event-stream")),
            (VERSION, terms.version.header().clone()),
        ];
        let messages = endpoint.request(Method::POST, &path, headers)?;
        let exchange = Exchange { transport: transports.build(messages.url(), connections)?, reports };
        Ok(Self(Arc::new(AnthropicUpstream { identity, exchange, messages, endpoint, terms, timeouts })))
    }
}

/// Returns a path of the API below the base URL, which may end in `/v1`.
fn path(endpoint: &Endpoint, name: &str) -> String {
    let version = if endpoint.base_url().ends_with("/v1") { "" } else { "/v1" };
    format!("{version}/{name}")
}

impl AnthropicUpstream {
    fn list_request(&self, after: Option<&str>) -> Result<UpstreamRequest, InvalidUrlError> {
        let after = after.map(|id| format!("&after_id={id}")).unwrap_or_default();
        let path = path(&self.endpoint, &format!("models?limit=1000{after}"));
        self.endpoint.request(Method::GET, &path, [(VERSION, self.terms.version.header().clone())])
    }

    /// Returns a page of the list of models.
    async fn list(&self, after: Option<&str>) -> Result<ModelPage, AttemptErrorKind> {
        let request = self.list_request(after).map_err(|_| {
            let cause = "the request cannot be built".into();
            AttemptErrorKind::Unreachable { cause }
        })?;
        let mark = SentMark::default();
        let mut response = self.exchange.send(&request, Bytes::new(), &mark).await.map_err(|error| error.kind)?;
        let body = read_to_end(&mut response, LARGEST_PAGE).await?;
        let page = ModelPage::read(&body).map_err(AttemptErrorKind::Malformed)?;
        response.recycle();
        Ok(page)
    }
}

impl Provider for Anthropic {
    fn identity(&self) -> &Arc<UpstreamIdentity> {
        &self.0.identity
    }

    fn attempt(&self, request: &Arc<ChatRequest>, terms: AttemptTerms) -> Answer {
        let (this, request) = (Arc::clone(&self.0), Arc::clone(request));
        Box::pin(try_stream! {
            let body = request_body::body(&request, &terms.model, this.terms.version.sampling())
                .map_err(UnsupportedFieldError::into_attempt_error)?;
            let mut timer = pin!(sleep_until(Instant::now()));
            let mut deadlines = AnswerDeadlines::new(this.timeouts, timer.as_mut());
            let mark = terms.sent.of_request(Delivery::Stream);
            let sent = deadlines.await_step(this.exchange.send(&this.messages, body, &mark)).await;
            let sent = sent.map_err(|timeout| AttemptError::new(timeout, terms.sent.get()))?;
            let mut response = sent.map_err(|AttemptError { kind, sent }| {
                AttemptError { kind: with_code_of_refusal(kind), sent }
            })?;
            drop(request);
            deadlines.record_head();
            let mut reader = MessageReader::new(this.terms.max_event);
            while !reader.has_ended() {
                let (signals, read) = next_signals(&mut response, Vec::new(), &mut reader, &mut deadlines).await;
                if !signals.is_empty() {
                    yield signals;
                }
                read.map_err(|error| {
                    AttemptError::in_response(this.exchange.reports.reported(error, &response.headers))
                })?;
            }
            drain(response).await;
        })
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ListedModel>, AttemptErrorKind>> {
        async {
            let (mut models, mut ids, mut after) = (Vec::new(), HashSet::new(), None);
            for _ in 0..MOST_PAGES {
                let page = self.0.list(after.as_deref()).await?;
                let known = models.len();
                models.extend(page.models.into_iter().filter(|model| ids.insert(model.id.clone())));
                after = page.next_after;
                // A server that ignores `after_id` repeats its first page.
                if after.is_none() || models.len() == known {
                    break;
                }
            }
            Ok(models)
        }
        .boxed()
    }
}
