//! What every request that may start a generation does first: looks whether it is a repeat.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::body::JsonBytes;
use super::chat::Asked;
use super::extract::Caller;
use super::problem::{ErrorCode, Problem};
use super::state::Api;
use crate::domain::{AllowedModels, Claim, IdempotencyKey};
use crate::generation::{NewGeneration, Origin, StartError, Started};
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
        // Copied only where the caller may be refused it.
        let is_restricted = caller.models != AllowedModels::All;
        let model = if is_restricted { generation.model.clone() } else { None };
        let started = match api.generations.start(NewGeneration { claim: claim.clone(), ..generation }).await {
            Ok(started) => started,
            Err(StartError::ModelForbidden) => return Err(model_forbidden(model.as_deref())),
            // Boxed, because it is rare and would enlarge the future of every request.
            Err(StartError::ModelNotFound) => return Err(Box::pin(model_not_found(api, caller)).await),
            Err(error) => return Err(error.into()),
        };
        if let (Some(channel), Origin::New) = (&channel, started.origin) {
            let pages = started.following.beside();
            let generation = started.following.start().generation;
            api.channels.carry(channel, &caller.spender.account, generation, pages).await;
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

/// How long a refusal waits for the upstreams' lists of models.
const LISTING: Duration = Duration::from_secs(1);
/// Models that a refusal names.
const MOST_NAMED: usize = 10;
/// Characters of a model's name in a refusal.
const LONGEST_NAME: usize = 100;

/// Names the models that the caller may use, as far as they are known soon.
async fn model_not_found(api: &Api, caller: &Caller) -> Problem {
    let models = timeout(LISTING, api.generations.models()).await.unwrap_or_default();
    let allowed = models.iter().map(|model| model.id.as_str()).filter(|id| caller.models.allow(id));
    let allowed: Vec<_> = allowed.filter(|id| id.chars().count() <= LONGEST_NAME).collect();
    let named = allowed.iter().take(MOST_NAMED).map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    let detail = match allowed.len() {
        0 => "No upstream serves this model. GET /v1/models lists the models.".to_owned(),
        1..=MOST_NAMED => format!("No upstream serves this model. You may use {named}."),
        more => format!(
            "No upstream serves this model. You may use {named} and {} more, which GET /v1/models lists.",
            more - MOST_NAMED
        ),
    };
    Problem::new(ErrorCode::ModelNotFound, detail)
}

fn model_forbidden(model: Option<&str>) -> Problem {
    let named = match model {
        Some(model) if model.chars().count() <= LONGEST_NAME => format!("the model `{model}`"),
        Some(_) => "this model".to_owned(),
        None => "the default model".to_owned(),
    };
    let detail = format!("Your credential does not permit {named}. GET /v1/models lists those that it permits.");
    Problem::new(ErrorCode::Forbidden, detail)
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
