//! Reads what a request says beside its fields.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use serde::Deserialize;
use utoipa::ToSchema;

use super::problem::{ErrorCode, Problem};
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

/// The query of an event stream.
#[derive(Debug, Default)]
pub struct EventsQuery {
    /// `after=SEQ`, for clients that can set no header.
    pub after: Option<Sequence>,
    /// `format=native|openai`: the wire.
    pub format: Format,
}

/// The wires in which a generation can be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Named events.
    #[default]
    Native,
    /// OpenAI's chunks, with ids.
    OpenAi,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQuery {
    after: Option<String>,
    #[serde(default)]
    format: Format,
}

impl<S: Send + Sync> FromRequestParts<S> for EventsQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<RawQuery>::from_request_parts(parts, state).await;
        let Ok(Query(RawQuery { after, format })) = query else {
            return Err(invalid_query("The query takes after and format, which is native or openai."));
        };
        let after = after
            .map(|after| after.parse())
            .transpose()
            .map_err(|_| invalid_query("after is a sequence number: the digits after the dot of an event's id."))?;
        Ok(Self { after, format })
    }
}

fn invalid_query(detail: &str) -> Problem {
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
