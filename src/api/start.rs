//! What every request that may start a generation does first: looks whether it is a repeat.

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use tokio::task::yield_now;

use super::body::JsonBytes;
use super::chat::Asked;
use super::extract::Caller;
use super::problem::{ErrorCode, Problem};
use super::state::Api;
use crate::domain::{Claim, IdempotencyKey};
use crate::generation::{NewGeneration, Origin, Started};
use crate::server::Load;
use crate::telemetry::ResumedBy;

/// Joins the generation that `key` names, whatever the load; else reads what is asked for, and starts it.
pub async fn start_or_join(
    api: &Api,
    caller: &Caller,
    path: &str,
    key: Option<IdempotencyKey>,
    body: &JsonBytes,
    read: impl FnOnce() -> Result<Asked, Problem>,
) -> Result<Started, Problem> {
    let claim = key.map(|key| Claim { key, request: body.fingerprint(path) });
    if let Some(claim) = &claim
        && let Some(following) = api.generations.claimed(&caller.principal, claim).await?
    {
        api.metrics.resumed(ResumedBy::IdempotencyKey);
        return Ok(Started { following, origin: Origin::Existing });
    }
    let started = async {
        check_load(api, caller.load)?;
        let Asked { mut generation, prompt, channel } = read()?;
        if let Some(prompt) = prompt {
            // Before there is any work in it.
            if api.generations.is_draining() {
                return Err(Problem::shutting_down());
            }
            prompt.apply(&api.prompts(), &mut generation).await?;
        }
        let started = api.generations.start(NewGeneration { claim: claim.clone(), ..generation }).await?;
        if let (Some(channel), Origin::New) = (&channel, started.origin) {
            let pages = started.following.beside();
            api.channels.carry(channel, started.following.start().generation, pages).await;
        }
        if started.origin == Origin::New {
            // The model is asked first, and the answer made while it thinks. Last of all: who has gone by then has
            // begun all of it.
            yield_now().await;
        }
        Ok(started)
    };
    let started = match (started.await, &claim) {
        // Its twin, which came in the same moment, may have taken what there was: then it joins that.
        (Err(refused), Some(claim)) => match api.generations.claimed(&caller.principal, claim).await? {
            Some(following) => Ok(Started { following, origin: Origin::Existing }),
            None => Err(refused),
        },
        (started, _) => started,
    };
    if started.as_ref().is_ok_and(|started| started.origin == Origin::Existing) {
        api.metrics.resumed(ResumedBy::IdempotencyKey);
    }
    started
}

/// Whether a new generation may begin on this connection. Whoever comes back has no business here.
pub fn check_load(api: &Api, load: Load) -> Result<(), Problem> {
    if load == Load::Normal {
        return Ok(());
    }
    api.metrics.refused("connections");
    Err(Problem::new(ErrorCode::Overloaded, "As many connections are open as may be. Try again in a few seconds."))
}

/// `Tokenrill-Attached: existing` on the answer to a request that started nothing.
pub const TOKENRILL_ATTACHED: HeaderName = HeaderName::from_static("tokenrill-attached");

pub fn tell_origin(response: &mut Response, origin: Origin) {
    if origin == Origin::Existing {
        response.headers_mut().insert(TOKENRILL_ATTACHED, HeaderValue::from_static("existing"));
    }
}
