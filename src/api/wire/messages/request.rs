//! Requests for a message.

use std::time::Duration;

use axum::http::HeaderMap;

use super::chat_form::{ConvertedRequest, convert};
use crate::api::caller::Caller;
use crate::api::extract::grace_header;
use crate::api::parsed_request::{FieldRules, ParsedRequest, new_generation};
use crate::api::problem::{FieldError, Problem};
use crate::api::wire::port::AnswerForm;
use crate::json::JsonObject;
use crate::limits::WaitPolicy;

/// The head of a request.
#[derive(Default)]
pub struct MessagesHead {
    /// The header `Tokenrill-Grace-Ms`.
    grace: Option<Duration>,
}

pub fn head(headers: &HeaderMap) -> Result<MessagesHead, Problem> {
    Ok(MessagesHead { grace: grace_header(headers)? })
}

pub fn form(fields: &JsonObject) -> Result<AnswerForm, Problem> {
    match fields.get("stream") {
        Some("true") => Ok(AnswerForm::Stream),
        None | Some("false" | "null") => Ok(AnswerForm::Whole),
        Some(_) => Err(field("/stream", "must be true or false")),
    }
}

pub fn parse(head: &MessagesHead, fields: &JsonObject, caller: &Caller) -> Result<ParsedRequest, Problem> {
    let ConvertedRequest { chat, form } = convert(fields).map_err(Problem::invalid)?;
    let mut parsed = new_generation(chat, FieldRules::Forwarding, caller)?;
    let new = &mut parsed.generation;
    // SDKs can stop a generation only by closing the connection.
    new.grace = new.grace.or(head.grace).or(Some(Duration::ZERO));
    // SDKs do not know `queued` events. A refusal makes them wait for its `Retry-After`.
    if new.wait_policy == (WaitPolicy::Waits { at_most: None }) {
        new.wait_policy = WaitPolicy::Refuses;
    }
    match (&parsed.prompt, &form.uncarried) {
        (Some(_), Some(uncarried)) => {
            return Err(field(&format!("/{}", uncarried.field), "cannot be combined with a prompt"));
        }
        // The messages of a prompt are chat messages.
        (Some(_), None) => {
            let (most, _) = caller.spender.most(new.model.as_deref().unwrap_or_default());
            new.fields.set("max_completion_tokens", &most.map_or(form.limit, |most| most.min(form.limit)));
        }
        (None, _) => new.messages_form = Some(form),
    }
    Ok(parsed)
}

fn field(pointer: &str, detail: &str) -> Problem {
    Problem::invalid(vec![FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() }])
}
