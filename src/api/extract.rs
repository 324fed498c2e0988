//! Reads what a request says beside its fields.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::problem::{ErrorCode, FieldError, Problem};
use crate::domain::{EventId, GenerationId, RequestId, Sequence};

/// The generation that the path names. A text that is no id names no generation.
pub struct GenerationPath(pub GenerationId);

impl<S: Send + Sync> FromRequestParts<S> for GenerationPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(text)| text.parse().ok());
        id.map(Self).ok_or_else(Problem::generation_not_found)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or_else(Self::random))
    }
}

/// `Last-Event-ID`, as a client sends it when it connects again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastEventId {
    /// Not sent, or empty, which some clients send before they have seen an event.
    Absent,
    Event(EventId),
    /// Sent, and no id of ours.
    Foreign,
}

pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

impl LastEventId {
    /// A list's last member counts: a client that sets the header itself and a library that adds its
    /// own are joined with a comma.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut values =
            headers.get_all(LAST_EVENT_ID).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let last = values.next_back().map(<[u8]>::trim_ascii).filter(|value| !value.is_empty());
        let Some(last) = last else { return Self::Absent };
        match std::str::from_utf8(last).ok().and_then(|text| text.parse().ok()) {
            Some(id) => Self::Event(id),
            None => Self::Foreign,
        }
    }
}

/// `?after=SEQ`, for clients that can set no header.
#[derive(Debug, Default)]
pub struct After(pub Option<Sequence>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AfterQuery {
    after: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for After {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<AfterQuery>::from_request_parts(parts, state).await;
        let Ok(Query(AfterQuery { after })) = query else {
            return Err(invalid_query("The query takes one parameter: after."));
        };
        let Some(after) = after else { return Ok(Self(None)) };
        let sequence = after
            .parse()
            .map_err(|_| invalid_query("after is a sequence number: the digits after the dot of an event's id."))?;
        Ok(Self(Some(sequence)))
    }
}

fn invalid_query(detail: &str) -> Problem {
    Problem::new(ErrorCode::InvalidRequest, detail)
}

/// The limits of a request's body.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Bytes (`server.max_body`).
    pub size: usize,
    /// From the head to the last byte.
    pub time: Duration,
}

/// Reads a JSON object from the body. Deeper than 128 levels is refused, as `serde_json` does.
pub async fn json_object(request: Request, limits: BodyLimits) -> Result<Map<String, Value>, Problem> {
    if !is_json(request.headers()) {
        let detail = "Send the body as JSON with the header Content-Type: application/json.";
        return Err(Problem::new(ErrorCode::UnsupportedMediaType, detail));
    }
    let body = read(request, limits).await?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => {
            Err(Problem::invalid(vec![FieldError { pointer: String::new(), detail: "must be a JSON object".into() }]))
        }
        Err(error) => {
            // The parser's words name a position and a rule, never a value of the caller's.
            let detail = format!(
                "Send valid JSON, as UTF-8: it breaks off or errs at line {}, column {}.",
                error.line(),
                error.column()
            );
            Err(Problem::new(ErrorCode::InvalidJson, detail))
        }
    }
}

async fn read(request: Request, limits: BodyLimits) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(ErrorCode::BodyTooLarge, format!("Send at most {} bytes.", limits.size));
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    // Before the first byte is read: a client that waits for `100 Continue` then sends none.
    if length.is_some_and(|length| length > limits.size) {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), limits.size).collect();
    match timeout(limits.time, body).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(ErrorCode::InvalidJson, "Send the whole body: it broke off.")),
        Err(_) => Err(Problem::new(
            ErrorCode::RequestTimeout,
            format!("Send the whole body within {} s.", limits.time.as_secs()),
        )),
    }
}

/// Only `application/json`, so that a page of a foreign origin cannot post here without a preflight.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(values: &[&str]) -> LastEventId {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(LAST_EVENT_ID, value.parse().expect("a header value"));
        }
        LastEventId::of(&headers)
    }

    #[test]
    fn the_last_of_a_list_counts_and_empty_is_absent() {
        let id = EventId { generation: GenerationId::random(), sequence: Sequence::new(3) };
        assert_eq!(last(&[]), LastEventId::Absent);
        assert_eq!(last(&[""]), LastEventId::Absent);
        assert_eq!(last(&[&id.to_string()]), LastEventId::Event(id));
        assert_eq!(last(&[&format!("old, {id}")]), LastEventId::Event(id));
        assert_eq!(last(&["old", &id.to_string()]), LastEventId::Event(id));
        assert_eq!(last(&["99999999999999999999"]), LastEventId::Foreign);
        assert_eq!(last(&["ü"]), LastEventId::Foreign);
    }
}
