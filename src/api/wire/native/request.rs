//! Requests on the native wire.

use axum::http::HeaderMap;

use crate::api::accept::{Accept, ResponseForm, StreamField};
use crate::api::caller::Caller;
use crate::api::extract::LastEventId;
use crate::api::parsed_request::{FieldRules, ParsedRequest, new_generation};
use crate::api::problem::Problem;
use crate::api::wire::port::AnswerForm;
use crate::domain::EventId;
use crate::generation::OnDisconnect;
use crate::json::JsonObject;

/// The head of a request.
pub struct NativeHead {
    accept: Accept,
    /// The client sent `Prefer: respond-async`.
    is_async: bool,
}

pub fn head(headers: &HeaderMap) -> Result<NativeHead, Problem> {
    let accept = Accept::of(headers);
    // Before the body is read: its `stream` cannot make an unacceptable format acceptable.
    accept.form()?;
    Ok(NativeHead { accept, is_async: prefers_async(headers) })
}

pub fn resumes_after(headers: &HeaderMap) -> Result<Option<EventId>, Problem> {
    match LastEventId::of(headers) {
        LastEventId::Absent => Ok(None),
        LastEventId::Event(id) => Ok(Some(id)),
        LastEventId::Foreign => Err(Problem::nothing_to_resume()),
    }
}

pub fn form(head: &NativeHead, fields: &JsonObject) -> Result<AnswerForm, Problem> {
    Ok(match head.accept.form_for(StreamField::of(fields))? {
        _ if head.is_async => AnswerForm::Reference,
        ResponseForm::Events => AnswerForm::Stream,
        ResponseForm::Snapshot => AnswerForm::Whole,
    })
}

pub fn parse(form: AnswerForm, fields: JsonObject, caller: &Caller) -> Result<ParsedRequest, Problem> {
    let mut parsed = new_generation(fields, FieldRules::Strict, caller)?;
    if form == AnswerForm::Reference {
        parsed.generation.on_disconnect = Some(OnDisconnect::Continue);
    }
    Ok(parsed)
}

/// Whether the client sent `Prefer: respond-async` (RFC 7240, section 4.1).
fn prefers_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split([',', ';'])).map(str::trim);
    preferences.any(|preference| preference.eq_ignore_ascii_case("respond-async"))
}
