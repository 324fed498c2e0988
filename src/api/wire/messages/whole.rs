//! Whole messages.

use std::sync::Arc;

use axum::response::Response;
use tokio::task::yield_now;

use super::whole_message::WholeMessage;
use crate::api::caller::Caller;
use crate::api::held_json::held_json;
use crate::api::problem::{ErrorCode, Problem};
use crate::api::state::Api;
use crate::api::wire::port::{AnswerWait, WholeAnswer};
use crate::domain::Event;

/// Responds with the message of a generation that has ended.
pub async fn respond(api: &Api, caller: &Caller, answer: WholeAnswer) -> Result<Response, Problem> {
    let WholeAnswer { mut following, connection: Some(connection), waited: AnswerWait::Ended } = answer else {
        let detail = "The service ended this request to make room for those of other callers. The model was stopped.";
        return Err(Problem::new(ErrorCode::Cancelled, detail));
    };
    let mut message = WholeMessage::new(Arc::clone(following.start()));
    while let Some(page) = following.next_page().await {
        let page = page.map_err(|_| Problem::history_lost())?;
        for entry in &page {
            match &entry.event {
                Event::Start(_) => {}
                Event::Chunk(chunk) => message.apply(chunk),
                Event::Restart(_) => message = WholeMessage::new(Arc::clone(following.start())),
                Event::Done(done) => {
                    let json = message
                        .into_json(done)
                        .map_err(|error| Problem::new(ErrorCode::UpstreamMalformed, error.error.message))?;
                    // The answer was billed, so it is not refused for its memory.
                    let memory = api.body_memory.hold(&caller.spender.account, json.len()).ok();
                    return Ok(held_json(vec![json.into()], (connection, memory)));
                }
                Event::Cancelled(_) => {
                    return Err(Problem::new(ErrorCode::Cancelled, "The generation was cancelled before its end."));
                }
                Event::Failed(failed) => return Err(Problem::from(&**failed)),
            }
        }
        // Merging a long answer takes a while: other requests of this thread are served in between.
        yield_now().await;
    }
    Err(Problem::history_lost())
}
