//! Requests for chat completions.

use std::time::Duration;

use axum::http::HeaderMap;

use crate::api::caller::Caller;
use crate::api::extract::grace_header;
use crate::api::parsed_request::{FieldRules, ParsedRequest, new_generation};
use crate::api::problem::{FieldError, Problem};
use crate::api::wire::port::AnswerForm;
use crate::generation::Delivery;
use crate::json::JsonObject;
use crate::limits::WaitPolicy;

/// The head of a request.
pub struct ChatHead {
    /// The header `Tokenrill-Grace-Ms`.
    grace: Option<Duration>,
}

pub fn head(headers: &HeaderMap) -> Result<ChatHead, Problem> {
    Ok(ChatHead { grace: grace_header(headers)? })
}

pub fn form(fields: &JsonObject) -> Result<AnswerForm, Problem> {
    match fields.get("stream") {
        Some("true") => Ok(AnswerForm::Stream),
        None | Some("false" | "null") => Ok(AnswerForm::Whole),
        Some(_) => Err(field("/stream", "must be true or false")),
    }
}

pub fn parse(head: &ChatHead, form: AnswerForm, fields: JsonObject, caller: &Caller) -> Result<ParsedRequest, Problem> {
    if fields.get("input").is_some() {
        return Err(field("/input", "is not a field of chat completions: send messages"));
    }
    let mut parsed = new_generation(fields, FieldRules::Forwarding, caller)?;
    let new = &mut parsed.generation;
    new.delivery = match form {
        // Subscribers of a channel read the tokens as they arrive.
        AnswerForm::Whole if parsed.channel.is_none() => Delivery::Whole,
        _ => Delivery::Stream,
    };
    // SDKs can stop a generation only by closing the connection.
    new.grace = new.grace.or(head.grace).or(Some(Duration::ZERO));
    // SDKs do not know `queued` events. A refusal makes them wait for its `Retry-After`.
    if new.wait_policy == (WaitPolicy::Waits { at_most: None }) {
        new.wait_policy = WaitPolicy::Refuses;
    }
    Ok(parsed)
}

fn field(pointer: &str, detail: &str) -> Problem {
    Problem::invalid(vec![FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() }])
}
