use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Response,
    body::Incoming,
    header::{AUTHORIZATION, HeaderValue},
};
use serde_json::json;

use super::{
    chunk::{AnswerId, DemoChunks},
    completion::DemoCompletion,
    embeddings::EmbeddingsRequest,
    options::DemoFault,
    pace::Pace,
    refusal::DemoRefusal,
    request::{DemoDelivery, MODEL, Request},
    response::{self, DemoBody},
    stream, whole,
};

const LARGEST_BODY: usize = 16 * 1024 * 1024;
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// Creation time of the demo model in the list of models: 2026-11-21.
const MODEL_CREATED: u64 = 1_795_219_200;

/// The API: authentication and the paths.
pub(super) struct Routes {
    authorization: String,
    next_answer: AtomicU64,
}

impl Routes {
    /// Creates the routes, which require `key`. Answers are numbered from `first_answer` on.
    pub(super) fn new(key: &str, first_answer: u64) -> Self {
        Self { authorization: format!("Bearer {key}"), next_answer: AtomicU64::new(first_answer) }
    }

    pub(super) async fn answer(&self, request: hyper::Request<Incoming>) -> Response<DemoBody> {
        self.route(request).await.unwrap_or_else(|refusal| refusal.response())
    }

    async fn route(&self, request: hyper::Request<Incoming>) -> Result<Response<DemoBody>, DemoRefusal> {
        if !self.is_authorized(request.headers()) {
            return Err(DemoRefusal::Unauthenticated);
        }
        match (request.uri().path(), request.method()) {
            ("/v1/chat/completions", &Method::POST) => self.complete(&read(request.into_body()).await?).await,
            ("/v1/embeddings", &Method::POST) => embed(&read(request.into_body()).await?).await,
            ("/v1/chat/completions" | "/v1/embeddings", _) => Err(DemoRefusal::WrongMethod("POST")),
            ("/v1/models", &Method::GET) => Ok(models()),
            ("/v1/models", _) => Err(DemoRefusal::WrongMethod("GET")),
            _ => Err(DemoRefusal::NotFound),
        }
    }

    /// Compares all bytes: the duration must not depend on the key.
    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let expected = self.authorization.as_bytes();
        let given = headers.get(AUTHORIZATION).map_or(&[][..], HeaderValue::as_bytes);
        given.len() == expected.len() && expected.iter().zip(given).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }

    async fn complete(&self, body: &[u8]) -> Result<Response<DemoBody>, DemoRefusal> {
        let request = Request::parse(body)?;
        let options = &request.options;
        tokio::time::sleep(options.headers).await;
        if let Some(status) = options.status {
            return Err(DemoRefusal::RequestedStatus { status, retry_after: options.retry_after });
        }
        let id = self.next_id();
        let pace = Pace::start(options);
        match request.delivery {
            DemoDelivery::Stream | DemoDelivery::StreamWithUsage => {
                let chunks = DemoChunks::new(id, &request);
                Ok(response::event_stream(stream::body(DemoCompletion::new(&request), chunks, pace)))
            }
            DemoDelivery::Whole => match whole::completion(&request, id, pace).await {
                Ok(completion) => Ok(response::json(&completion)),
                Err(DemoFault::Fail) => Err(DemoRefusal::Failed),
                Err(DemoFault::Close | DemoFault::Stall) => Ok(Response::new(response::cut())),
            },
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a chunk's `created` is a time of day, shown and never waited for")]
    fn next_id(&self) -> AnswerId {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        AnswerId {
            number: self.next_answer.fetch_add(1, Ordering::Relaxed),
            created: now.map_or(MODEL_CREATED, |since| since.as_secs()),
        }
    }
}

/// Answers a request for embeddings. Of the options, the delay of the headers, the status and the faults have an effect.
async fn embed(body: &[u8]) -> Result<Response<DemoBody>, DemoRefusal> {
    let request = EmbeddingsRequest::parse(body)?;
    let options = &request.options;
    tokio::time::sleep(options.headers).await;
    if let Some(status) = options.status {
        return Err(DemoRefusal::RequestedStatus { status, retry_after: options.retry_after });
    }
    match options.fault() {
        None => Ok(response::json(&request.answer())),
        Some((_, DemoFault::Fail)) => Err(DemoRefusal::Failed),
        Some((_, DemoFault::Close)) => Ok(Response::new(response::cut())),
        Some((_, DemoFault::Stall)) => std::future::pending().await,
    }
}

fn models() -> Response<DemoBody> {
    let model = json!({"id": MODEL, "object": "model", "created": MODEL_CREATED, "owned_by": "tokenrill"});
    response::json(&json!({"object": "list", "data": [model]}))
}

async fn read(body: Incoming) -> Result<Bytes, DemoRefusal> {
    match tokio::time::timeout(BODY_DEADLINE, Limited::new(body, LARGEST_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(DemoRefusal::TooLarge),
        Ok(Err(_)) => Err(DemoRefusal::BrokenBody),
        Err(_) => Err(DemoRefusal::TooSlow),
    }
}
