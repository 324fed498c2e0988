//! Whole responses, and those that run in the background.

use axum::response::Response;

use super::stored_response::StoredResponse;
use crate::api::caller::Caller;
use crate::api::problem::{ErrorCode, Problem};
use crate::api::state::Api;
use crate::api::state_response::respond_in_pieces;
use crate::api::wire::port::{AnswerWait, WholeAnswer};
use crate::domain::Event;

/// Responds with the response of a generation as it stands: at its end, unless it runs in the background.
pub async fn respond(api: &Api, caller: &Caller, answer: WholeAnswer) -> Result<Response, Problem> {
    let WholeAnswer { following, connection, waited } = answer;
    if waited == AnswerWait::Displaced {
        let detail = "The service ended this request to make room for those of other callers.";
        return Err(Problem::new(ErrorCode::Cancelled, detail));
    }
    let log = following.state().await?;
    if waited == AnswerWait::Ended {
        let mut failed = None;
        log.each_entry(|entry| {
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
    let response = StoredResponse::read(log).await?;
    respond_in_pieces(api, caller, response.json(), connection).await
}
