//! Whole answers as UI messages.

use axum::response::Response;
use serde_json::{Value, json};
use tokio::task::yield_now;

use super::ui_message::UiMessage;
use super::ui_notes::message_id;
use crate::api::caller::Caller;
use crate::api::held_json::json_response;
use crate::api::problem::{ErrorCode, Problem};
use crate::api::state::Api;
use crate::api::wire::port::{AnswerWait, WholeAnswer};
use crate::domain::{Event, Start};

/// Responds with the message of a generation that has ended.
pub async fn respond(api: &Api, caller: &Caller, answer: WholeAnswer) -> Result<Response, Problem> {
    let WholeAnswer { mut following, connection, waited: AnswerWait::Ended } = answer else {
        let detail = "The service ended this request to make room for those of other callers.";
        return Err(Problem::new(ErrorCode::Cancelled, detail));
    };
    let mut message = UiMessage::default();
    while let Some(page) = following.next_page().await {
        for entry in &page.map_err(|_| Problem::history_lost())? {
            message.apply(entry);
            if entry.event.is_terminal() {
                following.end_was_sent();
            }
            match &entry.event {
                Event::Done(_) => {
                    let message = assistant_message(following.start(), &message.into_parts());
                    return json_response(api, caller, &message, connection);
                }
                Event::Cancelled(_) => {
                    return Err(Problem::new(ErrorCode::Cancelled, "The generation was cancelled before its end."));
                }
                Event::Failed(failed) => return Err(Problem::from(&**failed)),
                Event::Start(_) | Event::Chunk(_) | Event::Restart(_) => {}
            }
        }
        // Reading a long answer takes a while: other requests of this thread are served in between.
        yield_now().await;
    }
    Err(Problem::history_lost())
}

/// Returns the message of the assistant with these parts.
pub fn assistant_message(start: &Start, parts: &[Value]) -> Value {
    json!({"id": message_id(start), "role": "assistant", "parts": parts})
}
