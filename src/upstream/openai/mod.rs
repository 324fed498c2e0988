//! The adapter for OpenAI-compatible endpoints. It uses the configuration and request types of async-openai, and reads
//! the responses itself.
//!
//! The streams of async-openai are not used: they run through an unbounded channel, take an interrupted answer for a
//! complete one, and drop unknown fields.

mod choice;
mod chunk;
mod chunk_piece;
mod completion;
mod deadlines;
mod endpoint;
mod event;
mod exchange;
mod message;
mod model_list;
mod normalizer;
mod reader;
mod refused_fields;
mod request_body;
mod request_form;
mod shown_model;
mod tool_calls;
mod usage;
mod whole_body;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_openai::config::Config;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use async_stream::try_stream;
use futures_util::future::{BoxFuture, FutureExt};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt;

use super::sse::EventTooLargeError;
use super::transport::{ConnectionTerms, More, Response, TransportBuildError, TransportBuilder, UpstreamRequest};
use super::{
    Answer, AttemptError, AttemptErrorKind, AttemptTerms, Delivery, ListedModel, MalformedResponseError, Provider,
    ReportTerms, Signals, UpstreamIdentity,
};
use crate::domain::ChatRequest;

pub use completion::read_completion;
pub use endpoint::{Endpoint, InvalidEndpointError, Timeouts};
pub use reader::AnswerReader;
pub use request_form::WholeAnswers;
pub use shown_model::ShownModel;

use deadlines::AnswerDeadlines;
use exchange::{Exchange, read, upstream_request};
use refused_fields::RefusedFields;
use request_form::{RequestForm, RequestForms};
use whole_body::WholeBody;

/// An upstream with the chat completions API of OpenAI.
#[derive(Debug, Clone)]
pub struct OpenAi(Arc<OpenAiUpstream>);

#[derive(Debug)]
struct OpenAiUpstream {
    identity: Arc<UpstreamIdentity>,
    exchange: Exchange,
    /// The request for a streamed answer, without its body.
    chat: UpstreamRequest,
    /// Like `chat`, for a whole answer.
    whole_chat: UpstreamRequest,
    whole: WholeAnswers,
    refused_fields: RefusedFields,
    endpoint: Endpoint,
    timeouts: Timeouts,
    /// The largest event, in bytes.
    max_event: usize,
}

/// How an upstream's answers may be delivered, and how large they may be.
#[derive(Debug, Clone, Copy)]
pub struct AnswerSizes {
    /// The largest event, in bytes (`upstreams.max_event`).
    pub max_event: usize,
    pub whole: WholeAnswers,
}

/// Largest list of models, in bytes.
const LARGEST_LIST: usize = 4 << 20;

impl OpenAi {
    /// `name` is the name of the upstream in the settings; `keepalive` is how long an idle connection waits for the
    /// next request.
    pub fn new(
        name: &str,
        endpoint: Endpoint,
        timeouts: Timeouts,
        reports: ReportTerms,
        sizes: AnswerSizes,
        keepalive: Duration,
        transports: &TransportBuilder,
    ) -> Result<Self, TransportBuildError> {
        let terms = ConnectionTerms { connect_timeout: timeouts.connect, keepalive };
        let identity = UpstreamIdentity::new(name, &endpoint.url("/chat/completions"));
        let chat = |accept: &'static str| {
            let mut chat = endpoint.request(Method::POST, "/chat/completions")?;
            chat.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            chat.headers_mut().insert(ACCEPT, HeaderValue::from_static(accept));
            upstream_request(&chat)
        };
        let (chat, whole_chat) = (chat("text/event-stream")?, chat("application/json")?);
        let exchange = Exchange { transport: transports.build(chat.url(), terms)?, reports };
        Ok(Self(Arc::new(OpenAiUpstream {
            identity,
            exchange,
            chat,
            whole_chat,
            whole: sizes.whole,
            refused_fields: RefusedFields::default(),
            endpoint,
            timeouts,
            max_event: sizes.max_event,
        })))
    }
}

impl OpenAiUpstream {
    async fn send_chat(
        &self,
        request: &ChatRequest,
        terms: &AttemptTerms,
        form: RequestForm,
    ) -> Result<Response, AttemptError> {
        let chat = if form.delivery == Delivery::Whole { &self.whole_chat } else { &self.chat };
        let body = request_body::body(request, &terms.model, form);
        self.exchange.send(chat, body, &terms.sent.of_request(form.delivery)).await
    }
}

impl Provider for OpenAi {
    fn identity(&self) -> &Arc<UpstreamIdentity> {
        &self.0.identity
    }

    fn attempt(&self, request: &Arc<ChatRequest>, terms: AttemptTerms) -> Answer {
        let (this, request) = (Arc::clone(&self.0), Arc::clone(request));
        Box::pin(try_stream! {
                   let mut timer = pin!(sleep_until(Instant::now()));
                   let mut deadlines = AnswerDeadlines::new(this.timeouts, timer.as_mut());
                   let mut forms = RequestForms::new(&request, terms.delivery, this.whole);
                   let mut form = forms.first(|concession| this.refused_fields.refuses(&terms.model, concession));
                   let mut response = loop {
                       let sending = this.send_chat(&request, &terms, form);
                       let asked = match form.delivery {
                           Delivery::Stream => {
                               let sent = deadlines.await_step(sending).await;
                               sent.map_err(|timeout| AttemptError::new(timeout, terms.sent.get()))?
                           }
                           // No timeout: the head arrives only when the whole answer is complete.
                           Delivery::Whole => sending.await,
                       };
                       match asked {
                           Ok(response) => break response,
                           Err(AttemptError { kind, sent }) => {
                               form = forms.next(form, kind).map_err(|kind| AttemptError { kind, sent })?;
                           }
                       }
                   };
                   let (model, choices) = (ShownModel::of_request(&request.model, &terms.model), choices(&request));
                   drop(request);
                   let mut verdicts = Some(forms.collect_verdicts(form)).filter(|verdicts| !verdicts.is_empty());
                   let mut first = Vec::new();
                   let whole = (form.delivery == Delivery::Whole).then_some(this.whole);
                   if let Some(WholeAnswers::Allowed { max_bytes }) = whole {
                       match WholeBody::read(&mut response, max_bytes).await.map_err(AttemptError::in_response)? {
                           WholeBody::Json(json) => {
                               let mut signals = Signals::new();
                               let read = read_completion(&json, &model, &mut signals);
                               drop(json);
                               if read.is_ok() {
                                   this.refused_fields.note(&terms.model, &verdicts.take().unwrap_or_default());
                               }
                               if !signals.is_empty() {
                                   yield signals;
                               }
                               read.map_err(|error| {
        AttemptError::in_response(this.exchange.reports.reported(error, &response.headers))
        })?;
                               response.recycle();
                               return;
                           }
                           WholeBody::Other(bytes) => {
                               // The upstream streams nevertheless: from here on the timeouts of a stream apply.
                               deadlines = AnswerDeadlines::new(this.timeouts, timer.as_mut());
                               first = bytes;
                           }
                       }
                   }
                   deadlines.record_head();
                   let mut reader = AnswerReader::new(model, choices, this.max_event);
                   loop {
                       let mut signals = Signals::new();
                       let mut fed = Ok(());
                       let mut sink = |bytes: &[u8]| {
                           if fed.is_ok() {
                               fed = reader.feed(bytes, &mut signals);
                           }
                       };
                       let first = std::mem::take(&mut first);
                       let reading = async {
                           if first.is_empty() {
                               return read(&mut response, &mut sink).await;
                           }
                           sink(&first);
                           Ok(More::Maybe)
                       };
                       let read = match deadlines.await_step(reading).await {
                           Ok(Ok(More::Maybe)) => fed,
                           // The result of the bytes before the failure takes precedence.
                           _ if fed.is_err() || reader.has_ended() => fed,
                           Ok(Ok(More::None)) => {
                               let cause = "the response ended before the answer did".into();
                               reader.cut_off(AttemptErrorKind::Disconnected { cause }, &mut signals)
                           }
                           Ok(Err(error)) | Err(error) => reader.cut_off(error, &mut signals),
                       };
                       deadlines.record(&signals, &reader);
                       if !signals.is_empty() {
                           if let Some(verdicts) = verdicts.take() {
                               this.refused_fields.note(&terms.model, &verdicts);
                           }
                           yield signals;
                       }
                       read.map_err(|error| {
        AttemptError::in_response(this.exchange.reports.reported(error, &response.headers))
        })?;
                       if reader.has_ended() {
                           break;
                       }
                   }
                   // Reads the bytes after the end of the answer: only a connection whose response was read to its end can be
                   // reused.
                   while let Ok(More::Maybe) = read(&mut response, &mut |_: &[u8]| {}).await {}
                   response.recycle();
               })
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ListedModel>, AttemptErrorKind>> {
        async {
            let endpoint = self.0.endpoint.clone();
            let request = HttpRequestFactory::new(move || {
                let request = endpoint.request(Method::GET, "/models");
                async move { request.map_err(|error| OpenAIError::InvalidArgument(error.to_string())) }
            });
            let mut response = self.0.exchange.clone().oneshot(request).await.map_err(|error| error.kind)?;
            let mut body = Vec::new();
            while read(&mut response, &mut |bytes: &[u8]| body.extend_from_slice(bytes)).await? == More::Maybe {
                if body.len() > LARGEST_LIST {
                    Err(AttemptErrorKind::Malformed(MalformedResponseError::EventTooLarge))?;
                }
            }
            let models = model_list::read(&body).map_err(AttemptErrorKind::Malformed)?;
            response.recycle();
            Ok(models)
        }
        .boxed()
    }
}

/// Returns the number of choices that a request asks for.
fn choices(request: &ChatRequest) -> usize {
    usize::try_from(request.choices()).unwrap_or(usize::MAX)
}

impl From<EventTooLargeError> for AttemptErrorKind {
    fn from(_: EventTooLargeError) -> Self {
        Self::Malformed(MalformedResponseError::EventTooLarge)
    }
}
