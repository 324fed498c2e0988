//! Selects the response format that a request accepts.

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderValue};

use super::problem::{ErrorCode, Problem};
use crate::json::JsonObject;

/// The media ranges of a request's `Accept` header (RFC 9110, section 12.5.1); empty if there is no such header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept(Vec<String>);

/// The two response formats of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseForm {
    /// A stream of its events.
    Events,
    /// Its snapshot, as JSON.
    Snapshot,
}

/// The field `stream` of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamField {
    Absent,
    True,
    False,
}

impl StreamField {
    /// Reads the field. A value that is not a boolean reads as `Absent`; the check of the body refuses it.
    pub fn of(fields: &JsonObject) -> Self {
        match fields.get("stream") {
            Some("true") => Self::True,
            Some("false") => Self::False,
            _ => Self::Absent,
        }
    }
}

const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";

impl Accept {
    pub fn of(headers: &HeaderMap) -> Self {
        Self::of_values(headers.get_all(ACCEPT))
    }

    /// Parses the values of the `Accept` header.
    pub fn of_values<'a>(values: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        let values = values.into_iter().filter_map(|value| value.to_str().ok());
        let ranges = values.flat_map(|value| value.split(',')).filter(|range| !is_refused(range));
        let essences = ranges.map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        Self(essences.filter(|essence| !essence.is_empty()).collect())
    }

    /// Whether the header names `text/event-stream` explicitly.
    pub fn names_event_stream(&self) -> bool {
        self.has(EVENTS)
    }

    /// Whether the header names `text/csv` explicitly.
    pub fn names_csv(&self) -> bool {
        self.has("text/csv")
    }

    /// Selects the format of the response to a request without a body.
    pub fn form(&self) -> Result<ResponseForm, Problem> {
        self.form_for(StreamField::Absent)
    }

    /// Selects events if the header names `text/event-stream`, else JSON if it names `application/json`. If a wildcard
    /// or an absent header covers events, selects JSON if `stream` is `false` and events otherwise.
    pub fn form_for(&self, stream: StreamField) -> Result<ResponseForm, Problem> {
        if self.names_event_stream() {
            return Ok(ResponseForm::Events);
        }
        if self.has(JSON) {
            return Ok(ResponseForm::Snapshot);
        }
        match self.0.is_empty() || self.has("*/*") || self.has("text/*") {
            true if stream == StreamField::False => Ok(ResponseForm::Snapshot),
            true => Ok(ResponseForm::Events),
            false if self.has("application/*") => Ok(ResponseForm::Snapshot),
            false => Err(not_acceptable("text/event-stream or application/json")),
        }
    }

    /// Checks that the client accepts events, for a resource without a JSON format.
    pub fn events(&self) -> Result<(), Problem> {
        match self.0.is_empty() || [EVENTS, "text/*", "*/*"].iter().any(|range| self.has(range)) {
            true => Ok(()),
            false => Err(not_acceptable("text/event-stream")),
        }
    }

    fn has(&self, range: &str) -> bool {
        self.0.iter().any(|accepted| accepted == range)
    }
}

fn is_refused(range: &str) -> bool {
    let mut parameters = range.split(';').skip(1).map(str::trim);
    parameters.any(|parameter| {
        let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
        weight.is_some_and(|weight| weight.parse::<f32>() == Ok(0.0))
    })
}

fn not_acceptable(offered: &str) -> Problem {
    Problem::new(
        ErrorCode::NotAcceptable,
        format!("Accept permits no available format. Send an Accept header that names {offered}, or none."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &str) -> Option<ResponseForm> {
        let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().expect("a header value"))]);
        Accept::of(&headers).form().ok()
    }

    #[test]
    fn stream_false_selects_json_if_accept_names_neither_format() {
        for (accept, stream, expected) in [
            ("text/event-stream", StreamField::False, ResponseForm::Events),
            ("application/json", StreamField::True, ResponseForm::Snapshot),
            ("*/*", StreamField::False, ResponseForm::Snapshot),
            ("*/*", StreamField::True, ResponseForm::Events),
            ("text/*", StreamField::False, ResponseForm::Snapshot),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().expect("a header value"))]);
            assert_eq!(Accept::of(&headers).form_for(stream).ok(), Some(expected), "{accept} {stream:?}");
        }
        assert_eq!(Accept::of(&HeaderMap::new()).form_for(StreamField::False).ok(), Some(ResponseForm::Snapshot));
    }

    #[test]
    fn named_format_is_selected_and_events_are_the_default() {
        for (accept, expected) in [
            ("text/event-stream", Some(ResponseForm::Events)),
            ("application/json, text/event-stream", Some(ResponseForm::Events)),
            ("application/json", Some(ResponseForm::Snapshot)),
            ("Application/JSON;q=0.9, */*;q=0.1", Some(ResponseForm::Snapshot)),
            ("*/*", Some(ResponseForm::Events)),
            ("text/html, */*;q=0.8", Some(ResponseForm::Events)),
            ("text/*", Some(ResponseForm::Events)),
            ("application/*", Some(ResponseForm::Snapshot)),
            ("", Some(ResponseForm::Events)),
            ("text/html", None),
            ("image/png, text/csv", None),
            ("text/event-stream;q=0, application/json", Some(ResponseForm::Snapshot)),
            ("text/event-stream; q=0.0", Some(ResponseForm::Events)),
        ] {
            assert_eq!(form(accept), expected, "{accept}");
        }
        assert_eq!(Accept::of(&HeaderMap::new()).form().ok(), Some(ResponseForm::Events));
    }
}
