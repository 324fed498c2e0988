//! Error responses of the Messages API, as JSON or as an event.

use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use super::error_body::MessagesError;
use crate::api::caller::Caller;
use crate::api::headers::REQUEST_ID;
use crate::api::problem::ProblemBody;
use crate::api::wire::frames::Frames;
use crate::api::wire::port::{RefusalBody, RefusalFormat};
use crate::api::wire::retry_headers::insert_retry_headers;

pub fn refusal(problem: &ProblemBody, format: RefusalFormat) -> RefusalBody {
    let words = problem.upstream.as_ref();
    let message = words.and_then(|words| words.message.clone()).unwrap_or_else(|| problem.detail.clone());
    let own = || problem.reason.map_or_else(|| problem.code.name(), |reason| reason.name().to_owned());
    let code = words.and_then(|words| words.code.clone()).unwrap_or_else(own);
    let request_id = Some(problem.request_id.clone());
    let error = MessagesError { request_id, ..MessagesError::new(problem.status, code, message) };
    match format {
        RefusalFormat::Json => RefusalBody {
            content_type: "application/json",
            bytes: serde_json::to_vec(&error).unwrap_or_default().into(),
        },
        RefusalFormat::Event => {
            let mut frames = Frames::default();
            let mut block = frames.event("error");
            block.data().json(&error);
            block.end_with_data();
            RefusalBody::event(frames.take())
        }
    }
}

/// Names the request where Anthropic's SDKs read it.
pub fn insert_request_id(response: &mut Response, caller: &Caller) {
    if let Ok(id) = HeaderValue::from_str(&caller.request_id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
}

pub fn refusal_headers(problem: &ProblemBody, headers: &mut HeaderMap) {
    insert_retry_headers(problem, headers);
    if let Ok(id) = HeaderValue::from_str(&problem.request_id) {
        headers.insert(REQUEST_ID, id);
    }
}
