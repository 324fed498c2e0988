//! Extracts the path, query and headers of a request.

use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::problem::{ErrorCode, Problem};
use super::snapshot::StatusBody;
use crate::domain::{ConnectionId, EventId, GenerationId, IdempotencyKey, Listed, PromptReference, Sequence};

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

/// The query of one generation's state.
#[derive(Debug, Default)]
pub struct InspectQuery {
    /// `after=SEQ`: the last position that the caller received.
    pub after: Sequence,
    /// `wait=20s`: how long to wait for later events, at most one minute.
    pub wait: Duration,
}

/// The longest `wait`, so short that no proxy times out.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The query of the list of generations.
#[derive(Debug)]
pub struct ListQuery {
    pub status: Option<StatusBody>,
    pub cursor: Option<Listed>,
    pub limit: usize,
}

const DEFAULT_LIMIT: usize = 20;
const LARGEST_LIMIT: usize = 100;

/// The query of the list of connections.
#[derive(Debug)]
pub struct ConnectionsQuery {
    pub limit: usize,
}

const DEFAULT_CONNECTIONS: usize = 100;
const MOST_CONNECTIONS: usize = 1_000;

impl<S: Send + Sync> FromRequestParts<S> for InspectQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            after: Option<String>,
            wait: Option<String>,
            /// Accepted here because the gate reads it.
            #[serde(rename = "ticket")]
            _ticket: Option<IgnoredAny>,
        }
        let Raw { after, wait, .. } = query(parts, state, "after and wait").await?;
        let after = after.as_deref().map(sequence).transpose()?;
        Ok(Self { after: after.unwrap_or_default(), wait: longest_wait(wait.as_deref())? })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ListQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            status: Option<StatusBody>,
            cursor: Option<String>,
            limit: Option<usize>,
        }
        let Raw { status, cursor, limit } = query(parts, state, "status, cursor and limit").await?;
        let cursor = cursor.map(|cursor| cursor.parse()).transpose();
        let cursor = cursor.map_err(|_| invalid_query("cursor must be the value of next in the previous page."))?;
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=LARGEST_LIMIT).contains(&limit) {
            return Err(invalid_query(&format!("limit must be from 1 to {LARGEST_LIMIT}.")));
        }
        Ok(Self { status, cursor, limit })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ConnectionsQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            limit: Option<usize>,
        }
        let Raw { limit } = query(parts, state, "limit").await?;
        let limit = limit.unwrap_or(DEFAULT_CONNECTIONS);
        if !(1..=MOST_CONNECTIONS).contains(&limit) {
            return Err(invalid_query(&format!("limit must be from 1 to {MOST_CONNECTIONS}.")));
        }
        Ok(Self { limit })
    }
}

pub async fn query<T, S>(parts: &mut Parts, state: &S, takes: &str) -> Result<T, Problem>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    let query = Query::<T>::from_request_parts(parts, state).await;
    query.map(|Query(query)| query).map_err(|_| invalid_form(takes))
}

/// Returns the problem of a query that cannot be parsed.
pub fn invalid_form(takes: &str) -> Problem {
    invalid_query(&format!("The query is invalid. It accepts {takes}."))
}

/// Parses the parameter `wait`, clamped to `LONGEST_WAIT`; zero if absent.
pub fn longest_wait(wait: Option<&str>) -> Result<Duration, Problem> {
    Ok(wait.map(patience).transpose()?.unwrap_or_default().min(LONGEST_WAIT))
}

/// Parses a duration with its unit: `20s`, `500ms`, `1m`.
fn patience(wait: &str) -> Result<Duration, Problem> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000)];
    let millis = units.iter().find_map(|(unit, millis)| Some(digits(wait.strip_suffix(unit)?, 6)? * millis));
    let detail = "wait must be a duration with its unit, such as 20s or 500ms.";
    millis.map(Duration::from_millis).ok_or_else(|| invalid_query(detail))
}

/// Parses a whole number of at most `most` digits.
fn digits(text: &str, most: usize) -> Option<u64> {
    let valid = text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| valid)
}

pub fn sequence(after: &str) -> Result<Sequence, Problem> {
    let detail = "after must be a sequence number: the digits after the dot of an event's id.";
    after.parse().map_err(|_| invalid_query(detail))
}

pub fn invalid_query(detail: &str) -> Problem {
    Problem::new(ErrorCode::InvalidRequest, detail)
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
    fn last_event_id_is_the_last_nonempty_member_and_empty_is_absent() {
        let id = EventId { generation: GenerationId::random(), sequence: Sequence::new(3) };
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
