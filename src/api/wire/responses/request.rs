//! Requests for responses.

use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::chat_fields::convert;
use super::earlier::Earlier;
use super::input_items::ItemMessages;
use super::members::value;
use super::response_notes::ResponseInput;
use super::unsupported;
use crate::api::caller::Caller;
use crate::api::extract::grace_header;
use crate::api::parsed_request::{FieldRules, ParsedRequest, new_generation};
use crate::api::problem::Problem;
use crate::api::state::Api;
use crate::api::wire::port::AnswerForm;
use crate::domain::{Notes, UsageRequest};
use crate::generation::OnDisconnect;
use crate::json::JsonObject;
use crate::limits::WaitPolicy;

/// The head of a request, and what its body refers to.
#[derive(Default)]
pub struct ResponsesHead {
    /// The header `Tokenrill-Grace-Ms`.
    grace: Option<Duration>,
    earlier: Earlier,
}

pub fn head(headers: &HeaderMap) -> Result<ResponsesHead, Problem> {
    Ok(ResponsesHead { grace: grace_header(headers)?, earlier: Earlier::default() })
}

pub fn form(fields: &JsonObject) -> Result<AnswerForm, Problem> {
    match (fields.get("stream"), fields.get("background")) {
        (Some("true"), _) => Ok(AnswerForm::Stream),
        (None | Some("false" | "null"), Some("true")) => Ok(AnswerForm::Reference),
        (None | Some("false" | "null"), _) => Ok(AnswerForm::Whole),
        (Some(_), _) => Err(unsupported::invalid("/stream", "must be true or false")),
    }
}

/// Loads what the body refers to.
pub async fn resolve(
    api: &Api,
    caller: &Caller,
    head: ResponsesHead,
    fields: &JsonObject,
) -> Result<ResponsesHead, Problem> {
    Ok(ResponsesHead { earlier: Earlier::load(api, caller, fields).await?, ..head })
}

/// Returns the bytes of a request and of what it refers to.
pub fn parse_len(head: &ResponsesHead, fields: &JsonObject) -> usize {
    fields.text_len() + head.earlier.size
}

pub fn parse(mut head: ResponsesHead, fields: &JsonObject, caller: &Caller) -> Result<ParsedRequest, Problem> {
    // The new fields have the texts of the request and of what it refers to, and count as memory of the caller.
    let memory = (fields.clone(), head.earlier.memory.take());
    let mut chat = convert(fields, JsonObject::holding(memory))?;
    let is_background = fields.get("background") == Some("true");
    if is_background && fields.get("store") == Some("false") {
        return Err(unsupported::value("/store", "must be true for a response in the background"));
    }
    let (notes, conversation) = conversation(head.earlier, fields)?;
    if conversation.is_empty() && fields.present("prompt").is_none() {
        return Err(unsupported::invalid("/input", "must hold an item that the model reads"));
    }
    let instructions = value(fields, "instructions")?;
    let instructions = instructions.map(|instructions| json!({"role": "system", "content": instructions}));
    chat.set("messages", &instructions.into_iter().chain(conversation).collect::<Vec<_>>());
    if let Some(metadata) = value(fields, "metadata")? {
        chat.set("metadata", &metadata);
    }
    let mut parsed = new_generation(chat, FieldRules::Strict, caller)?;
    let new = &mut parsed.generation;
    new.usage = UsageRequest::Asked;
    // SDKs can stop a generation only by closing the connection.
    new.grace = new.grace.or(head.grace).or(Some(Duration::ZERO));
    if is_background {
        new.on_disconnect = Some(OnDisconnect::Continue);
    } else if new.wait_policy == (WaitPolicy::Waits { at_most: None }) {
        // SDKs do not expect to wait. A refusal makes them wait for its `Retry-After`.
        new.wait_policy = WaitPolicy::Refuses;
    }
    new.notes = Some(notes);
    Ok(parsed)
}

/// Returns what is kept of the input, and the chat messages of the conversation.
fn conversation(earlier: Earlier, fields: &JsonObject) -> Result<(Notes, Vec<Value>), Problem> {
    let mut messages = ItemMessages::after(&earlier.conversation);
    let mut items = Vec::new();
    for (at, item) in input(fields)?.into_iter().enumerate() {
        let item = earlier.resolve(&item).cloned().unwrap_or(item);
        messages.add(&item, &format!("/input/{at}"))?;
        // A reference that is left names reasoning, which no model is sent.
        if item.get("type").is_none_or(|kind| kind != "item_reference") {
            items.push(item);
        }
    }
    let messages = messages.into_messages();
    Ok((ResponseInput { earlier: earlier.conversation, items }.notes(fields), messages))
}

/// Returns the input items. A text is the message of a user.
fn input(fields: &JsonObject) -> Result<Vec<Value>, Problem> {
    match value(fields, "input")? {
        Some(Value::String(text)) => {
            Ok(vec![json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})])
        }
        Some(Value::Array(items)) if items.is_empty() => {
            Err(unsupported::invalid("/input", "must hold at least one item"))
        }
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(unsupported::invalid("/input", "must be a text or a list of items")),
        None if fields.present("prompt").is_some() || fields.present("previous_response_id").is_some() => {
            Ok(Vec::new())
        }
        None => Err(unsupported::missing("/input", "is missing: send a text or a list of items")),
    }
}
