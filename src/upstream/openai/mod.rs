//! The adapter for OpenAI-compatible endpoints. It uses the configuration and request types of async-openai, and reads
//! the responses itself.
//!
//! The streams of async-openai are not used: they run through an unbounded channel, take an interrupted answer for a
//! complete one, and drop unknown fields.

mod choice;
mod chunk;
mod chunk_piece;
mod completion;
mod embeddings;
mod event;
mod message;
mod model_list;
mod normalizer;
mod reader;
mod refused_fields;
mod request_body;
mod request_form;
mod sdk_request;
mod shown_model;
mod tool_calls;
mod usage;
mod whole_body;

use std::pin::pin;
use std::sync::Arc;

use async_stream::try_stream;
use futures_util::future::{BoxFuture, FutureExt};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt;

use super::answer_parser::{AnswerParser, drain, next_signals};
use super::deadlines::{AnswerDeadlines, Timeouts};
use super::endpoint::Endpoint;
use super::exchange::{Exchange, read_to_end};
use super::transport::{ConnectionTerms, Response, TransportBuildError, TransportBuilder, UpstreamRequest};
use super::unsupported_field::UnsupportedFieldError;
use super::{
    Answer, AttemptError, AttemptErrorKind, AttemptTerms, CacheKeys, Delivery, EmbeddingTerms, Embeddings, ListedModel,
    Provider, ReportTerms, Signals, UpstreamIdentity,
};
use crate::domain::{ChatRequest, EmbeddingRequest};

pub use completion::read_completion;
pub use reader::AnswerReader;
pub use request_form::WholeAnswers;
pub use shown_model::ShownModel;

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
    /// The request for embeddings, without its body.
    embeddings: UpstreamRequest,
    terms: ChatTerms,
    refused_fields: RefusedFields,
    endpoint: Endpoint,
    timeouts: Timeouts,
}

/// What the requests to an upstream have, how its answers may be delivered, and how large they may be.
#[derive(Debug, Clone, Copy)]
pub struct ChatTerms {
    /// The largest event, in bytes (`upstreams.max_event`).
    pub max_event: usize,
    pub whole: WholeAnswers,
    pub cache_keys: CacheKeys,
}

/// Largest list of models, in bytes.
const LARGEST_LIST: usize = 4 << 20;

impl OpenAi {
    /// `name` is the name of the upstream in the settings.
    pub fn new(
        name: &str,
        endpoint: Endpoint,
        timeouts: Timeouts,
        reports: ReportTerms,
        terms: ChatTerms,
        connections: ConnectionTerms,
        transports: &TransportBuilder,
    ) -> Result<Self, TransportBuildError> {
        let identity = UpstreamIdentity::new(name, &endpoint.url("/chat/completions"));
        let post = |path: &str, accept: &'static str| {
            let headers = [(CONTENT_TYPE, "application/json"), (ACCEPT, accept)];
            let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
            endpoint.request(Method::POST, path, headers)
        };
        let chat = post("/chat/completions", "text/event-stream")?;
        let whole_chat = post("/chat/completions", "application/json")?;
        let embeddings = post("/embeddings", "application/json")?;
        let exchange = Exchange { transport: transports.build(chat.url(), connections)?, reports };
        Ok(Self(Arc::new(OpenAiUpstream {
            identity,
            exchange,
            chat,
            whole_chat,
            embeddings,
            terms,
            refused_fields: RefusedFields::default(),
            endpoint,
            timeouts,
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
        let body = request_body::body(request, terms, form);
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
                   if let Some(uncarried) = request.messages_form.as_ref().and_then(|form| form.uncarried.as_ref()) {
                       Err(UnsupportedFieldError::from(uncarried).into_attempt_error())?;
                   }
                   let mut timer = pin!(sleep_until(Instant::now()));
                   let mut deadlines = AnswerDeadlines::new(this.timeouts, timer.as_mut());
                   let mut forms = RequestForms::new(&request, terms.delivery, this.terms.whole);
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
                   let whole = (form.delivery == Delivery::Whole).then_some(this.terms.whole);
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
                   let mut reader = AnswerReader::new(model, choices, this.terms.max_event);
                   while !reader.has_ended() {
                       let first = std::mem::take(&mut first);
                       let (signals, read) = next_signals(&mut response, first, &mut reader, &mut deadlines).await;
                       if !signals.is_empty() {
                           if let Some(verdicts) = verdicts.take() {
                               this.refused_fields.note(&terms.model, &verdicts);
                           }
                           yield signals;
                       }
                       read.map_err(|error| {
        AttemptError::in_response(this.exchange.reports.reported(error, &response.headers))
        })?;
                   }
                   drain(response).await;
               })
    }

    fn embed(
        &self,
        request: &Arc<EmbeddingRequest>,
        terms: EmbeddingTerms,
    ) -> BoxFuture<'static, Result<Embeddings, AttemptError>> {
        Arc::clone(&self.0).embed(Arc::clone(request), terms).boxed()
    }

    fn cache_keys(&self) -> CacheKeys {
        self.0.terms.cache_keys
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ListedModel>, AttemptErrorKind>> {
        async {
            let request = sdk_request::get(&self.0.endpoint, "/models");
            let mut response = self.0.exchange.clone().oneshot(request).await.map_err(|error| error.kind)?;
            let body = read_to_end(&mut response, LARGEST_LIST).await?;
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
