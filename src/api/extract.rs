//! Extracts the path and headers of a request.

use std::time::Duration;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use super::problem::{ErrorCode, Problem};
use super::query::digits;
use crate::domain::{ConnectionId, EventId, GenerationId, IdempotencyKey, PromptReference};

/// The generation in the path. A malformed id is refused like an unknown one.
pub struct GenerationPath(pub GenerationId);

impl<S: Send + Sync> FromRequestParts<S> for GenerationPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(text)| text.parse().ok());
        id.map(Self).ok_or_else(Problem::generation_not_found)
    }
}

/// The connection in the path.
pub struct ConnectionPath(pub ConnectionId);

impl<S: Send + Sync> FromRequestParts<S> for ConnectionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(text)| text.parse().ok());
        id.map(Self).ok_or_else(Problem::connection_not_found)
    }
}

/// The prompt in the path.
pub struct PromptPath(pub PromptReference);

impl<S: Send + Sync> FromRequestParts<S> for PromptPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let reference = path.ok().and_then(|Path(text)| text.parse().ok());
        reference.map(Self).ok_or_else(Problem::prompt_not_found)
    }
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Reads `Idempotency-Key`, which identifies retries of a request.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().and_then(|text| text.parse().ok()).filter(|_| values.next().is_none());
    key.map(Some).ok_or_else(|| {
        let detail = "The Idempotency-Key is invalid. Send exactly one, of 1 to 255 visible ASCII characters.";
        Problem::new(ErrorCode::InvalidRequest, detail)
    })
}

const GRACE_MS: HeaderName = HeaderName::from_static("tokenrill-grace-ms");

/// Reads `Tokenrill-Grace-Ms`: the field `grace_ms` for clients that cannot add fields to the body.
pub fn grace_header(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let Some(value) = headers.get(GRACE_MS) else { return Ok(None) };
    let grace = value.to_str().ok().and_then(|text| digits(text, 15)).map(Duration::from_millis);
    let detail = "Tokenrill-Grace-Ms must be a whole number of milliseconds.";
    grace.map(Some).ok_or_else(|| Problem::new(ErrorCode::InvalidRequest, detail))
}

/// `Last-Event-ID`, which a client sends when it reconnects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastEventId {
    /// Absent, or empty: some clients send an empty one before their first event.
    Absent,
    Event(EventId),
    /// Present, but not an id of this service.
    Foreign,
}

pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

impl LastEventId {
    /// Reads the last member of the list that is not empty (RFC 9110, section 5.6.1, permits empty ones). The header is
    /// a list if a client sets it, its library adds another, and both are joined with a comma.
    pub fn of(headers: &HeaderMap) -> Self {
        let Some(last) = last_event_id(headers) else { return Self::Absent };
        match std::str::from_utf8(last).ok().and_then(|text| text.parse().ok()) {
            Some(id) => Self::Event(id),
            None => Self::Foreign,
        }
    }
}

/// Returns the last member of the `Last-Event-ID` list that is not empty.
pub fn last_event_id(headers: &HeaderMap) -> Option<&[u8]> {
    let values = headers.get_all(LAST_EVENT_ID).iter();
    let mut members = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    members.rfind(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventPosition, Sequence};

    fn last(values: &[&str]) -> LastEventId {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(LAST_EVENT_ID, value.parse().expect("a header value"));
        }
        LastEventId::of(&headers)
    }

    #[test]
    fn last_event_id_is_the_last_nonempty_member_and_empty_is_absent() {
        let position = EventPosition::first(Sequence::new(3));
        let id = EventId { generation: GenerationId::random(), position };
        assert_eq!(last(&[]), LastEventId::Absent);
        assert_eq!(last(&[""]), LastEventId::Absent);
        assert_eq!(last(&[&id.to_string()]), LastEventId::Event(id));
        assert_eq!(last(&[&format!("old, {id}")]), LastEventId::Event(id));
        assert_eq!(last(&["old", &id.to_string()]), LastEventId::Event(id));
        assert_eq!(last(&[&format!("{id},")]), LastEventId::Event(id));
        assert_eq!(last(&[&id.to_string(), " "]), LastEventId::Event(id));
        assert_eq!(last(&[" , "]), LastEventId::Absent);
        assert_eq!(last(&["99999999999999999999"]), LastEventId::Foreign);
        assert_eq!(last(&["ü"]), LastEventId::Foreign);
    }
}
