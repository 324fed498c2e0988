//! Whole responses, and those that run in the background.

use axum::response::Response;

use super::stored_response::StoredResponse;
use crate::api::caller::Caller;
use crate::api::held_json::held_json;
use crate::api::problem::{ErrorCode, Problem};
use crate::api::state::Api;
use crate::api::wire::port::{AnswerWait, WholeAnswer};
use crate::domain::Event;

/// Responds with the response of a generation as it stands: at its end, unless it runs in the background.
pub async fn respond(api: &Api, caller: &Caller, answer: WholeAnswer) -> Result<Response, Problem> {
    let WholeAnswer { following, connection, waited } = answer;
    if waited == AnswerWait::Displaced {
        let detail = "The service ended this request to make room for those of other callers. The model was stopped.";
        return Err(Problem::new(ErrorCode::Cancelled, detail));
    }
    let state = api.generations.inspect(&caller.principal, following.start().generation).await?;
    if waited == AnswerWait::Ended {
        let mut failed = None;
        state
            .each_entry(|entry| {
                if let Event::Failed(failure) = &entry.event {
                    failed = Some(failure.clone());
                }
            })
            .await
            .map_err(|_| Problem::history_lost())?;
        if let Some(failed) = failed {
            return Err(Problem::from(&*failed));
        }
    }
    let pieces = StoredResponse::read(state).await?.json().await?;
    // The answer was billed, so it is not refused for its memory.
    let memory = api.body_memory.hold(&caller.spender.account, pieces.iter().map(bytes::Bytes::len).sum()).ok();
    Ok(held_json(pieces, (connection, memory)))
}
