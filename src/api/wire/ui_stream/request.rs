//! Requests of the AI SDK's chats.

use axum::http::HeaderMap;
use serde_json::value::RawValue;

use super::conversation::UiConversation;
use super::ui_notes::ui_notes;
use crate::api::caller::Caller;
use crate::api::parsed_request::{FieldRules, ParsedRequest, new_generation};
use crate::api::problem::{ErrorCode, FieldError, Problem};
use crate::api::wire::port::AnswerForm;
use crate::domain::json_values::unescape;
use crate::domain::{ChatKey, ChatTurn, TurnKey};
use crate::json::{JsonObject, Tree};

/// Fields of this wire alone.
const OWN: [&str; 3] = ["id", "messageId", "trigger"];
/// The longest id of a chat or a message, in bytes.
pub const LONGEST_ID: usize = 512;
/// The fewest characters of a chat's id where the id alone gives access to the chat.
const FEWEST_CHARACTERS: usize = 16;

/// The head of a request says nothing about the generation.
pub struct UiHead;

pub const fn head(_headers: &HeaderMap) -> UiHead {
    UiHead
}

pub fn form(fields: &JsonObject) -> AnswerForm {
    if fields.get("stream") == Some("false") { AnswerForm::Whole } else { AnswerForm::Stream }
}

pub fn parse(mut fields: JsonObject, caller: &Caller) -> Result<ParsedRequest, Problem> {
    let chat: Option<String> = fields.read("id");
    let Some(chat) = chat.filter(|chat| !chat.is_empty() && chat.len() <= LONGEST_ID) else {
        return Err(invalid("/id", &format!("must be the id of the chat, a text of at most {LONGEST_ID} bytes")));
    };
    check_chat_id(caller, &chat)?;
    let is_submitted = match fields.present("trigger") {
        None | Some("\"submit-message\"") => true,
        Some("\"regenerate-message\"") => false,
        Some(_) => return Err(invalid("/trigger", "must be \"submit-message\" or \"regenerate-message\"")),
    };
    if fields.present("messageId").is_some_and(|json| !json.starts_with('"')) {
        return Err(invalid("/messageId", "must be a text"));
    }
    let messages_json = fields.present("messages").unwrap_or("null").to_owned();
    let Ok(Tree::Array(messages)) = Tree::parse(&messages_json) else {
        return Err(invalid("/messages", "must be a list of messages"));
    };
    let Some(last) = messages.last() else { return Err(invalid("/messages", "must hold at least one message")) };
    let turn = TurnKey::of(last.to_json().as_bytes());
    let continues = last.as_object().filter(|last| last.text("role").is_some_and(|role| role == "assistant"));
    let continues = continues.and_then(|last| last.text("id")).map(unescape);
    if continues.as_ref().is_some_and(|id| id.len() > LONGEST_ID) {
        let pointer = format!("/messages/{}/id", messages.len() - 1);
        return Err(invalid(&pointer, &format!("must be a text of at most {LONGEST_ID} bytes")));
    }
    let converted = UiConversation::of(&messages);
    if !converted.errors.is_empty() {
        return Err(Problem::invalid(converted.errors));
    }
    for own in OWN {
        fields.remove(own);
    }
    set(&mut fields, "messages", converted.into_json());
    let mut parsed = new_generation(fields, FieldRules::Strict, caller)?;
    if let Ok(messages) = serde_json::from_str::<&RawValue>(&messages_json) {
        parsed.generation.notes = Some(ui_notes(continues, messages));
    }
    // A message has an id of its own, so an equal last message is the same request again: from another tab, or a retry.
    parsed.generation.chat = Some(ChatTurn { chat: ChatKey::of(&chat), turn: is_submitted.then_some(turn) });
    Ok(parsed)
}

/// Checks that the id of a chat is no capability that others can guess.
pub fn check_chat_id(caller: &Caller, chat: &str) -> Result<(), Problem> {
    if caller.is_anyone() && chat.chars().count() < FEWEST_CHARACTERS {
        let detail = format!(
            "Without authentication, the id of a chat gives access to it. Use a random id of at least {FEWEST_CHARACTERS} \
             characters."
        );
        return Err(Problem::new(ErrorCode::ChatIdGuessable, detail));
    }
    Ok(())
}

fn set(fields: &mut JsonObject, name: &str, json: String) {
    if let Ok(value) = RawValue::from_string(json) {
        fields.insert(name, &value);
    }
}

fn invalid(pointer: &str, detail: &str) -> Problem {
    Problem::invalid(vec![FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() }])
}
