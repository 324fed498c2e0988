//! Whole answers on the native wire: the snapshot.

use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::api::caller::Caller;
use crate::api::headers::PREFERENCE_APPLIED;
use crate::api::problem::Problem;
use crate::api::state::Api;
use crate::api::state_response;
use crate::api::wire::port::{AnswerWait, WholeAnswer};
use crate::domain::GenerationId;

/// Responds with the snapshot, or with `202` and the current one if the client does not wait. A displaced client
/// receives the state so far and can ask again.
pub async fn respond(api: &Api, caller: &Caller, answer: WholeAnswer) -> Result<Response, Problem> {
    let WholeAnswer { following, connection, waited } = answer;
    match waited {
        AnswerWait::Ended | AnswerWait::Displaced => {
            state_response::respond(api, caller, following.state().await?, connection).await
        }
        AnswerWait::Skipped => {
            let id = following.start().generation;
            let state = api.generations.inspect(&caller.principal, id).await?;
            drop(following);
            Ok(accepted(id, state_response::respond(api, caller, state, None).await?))
        }
    }
}

fn accepted(id: GenerationId, mut response: Response) -> Response {
    *response.status_mut() = StatusCode::ACCEPTED;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/generations/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
    response
}
