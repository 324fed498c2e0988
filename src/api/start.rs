//! The steps of every request that starts a generation: its head is admitted, its body is parsed, and it joins an
//! existing generation or starts a new one.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::body::RequestBody;
use super::caller::Caller;
use super::connection::Connection;
use super::connection_record::ConnectionKind;
use super::connections::Arrival;
use super::extract::idempotency_key;
use super::headers::TOKENRILL_ATTACHED;
use super::json_body::JsonBytes;
use super::large_bodies::is_large;
use super::parsed_request::ParsedRequest;
use super::problem::{ErrorCode, Problem};
use super::state::Api;
use crate::domain::{AllowedModels, Claim, IdempotencyKey};
use crate::generation::{Following, NewGeneration, Origin, StartError, StartedGeneration};
use crate::json::JsonObject;
use crate::limits::RequestPermit;
use crate::telemetry::ResumedBy;

/// A request that was admitted by its head. Its body may be read.
pub struct AdmittedRequest {
    key: Option<IdempotencyKey>,
    arrival: Arrival,
    permit: RequestPermit,
}

/// A request whose body was read, with the connection on which it waits.
pub struct PendingRequest {
    claim: Option<Claim>,
    arrival: Arrival,
    permit: RequestPermit,
    connection: Option<Connection>,
    /// The kind of connection that the request becomes; `None` if it does not wait.
    kind: Option<ConnectionKind>,
}

/// A generation that the request started or joined.
pub struct AttachedGeneration {
    pub following: Following,
    pub origin: Origin,
    /// The connection of the request, if it waits.
    pub connection: Option<Connection>,
}

impl AdmittedRequest {
    /// Checks the load and reserves one request of the caller's rate, before the body is read. A retry with a known
    /// `Idempotency-Key` reserves nothing and is not refused for load.
    pub async fn admit(api: &Api, caller: &Caller, headers: &HeaderMap) -> Result<Self, Problem> {
        let key = idempotency_key(headers)?;
        if let Some(known) = &key
            && api.generations.knows(&caller.principal, known).await?
        {
            return Ok(Self { key, arrival: Arrival::Reconnecting, permit: RequestPermit::default() });
        }
        let permit = Self::admit_new(api, caller, key.as_ref()).await?;
        Ok(Self { key, arrival: Arrival::New, permit })
    }

    async fn admit_new(api: &Api, caller: &Caller, key: Option<&IdempotencyKey>) -> Result<RequestPermit, Problem> {
        if api.generations.is_draining() {
            return Err(Problem::shutting_down());
        }
        api.check_load(caller)?;
        let id = api.generations.new_id(&caller.principal, key);
        Ok(api.generations.take_request(&caller.spender, id).await?)
    }

    /// Reads the body. A large body uses up its reserved request, even if the request is refused later.
    pub async fn read(&mut self, body: &mut RequestBody<'_>, api: &Api, caller: &Caller) -> Result<JsonBytes, Problem> {
        let json = body.json(api, caller, self.arrival).await?;
        if is_large(json.len()) {
            self.permit.spend().await;
        }
        Ok(json)
    }

    /// Returns the reserved request of the caller's rate.
    pub fn into_permit(self) -> RequestPermit {
        self.permit
    }

    /// Uses up the reserved request of the caller's rate.
    pub async fn spend(mut self) {
        self.permit.spend().await;
    }

    /// Combines the admitted request with its body, which was sent to `path`, and the connection that it becomes.
    pub fn with_body(
        self,
        path: &str,
        json: &JsonBytes,
        connection: Option<Connection>,
        kind: Option<ConnectionKind>,
    ) -> PendingRequest {
        let claim = self.key.map(|key| Claim { key, request: json.fingerprint(path) });
        PendingRequest { claim, arrival: self.arrival, permit: self.permit, connection, kind }
    }
}

/// Parses the body of a request that starts a generation.
pub async fn parse(api: &Api, json: &JsonBytes) -> Result<JsonObject, Problem> {
    let body = json.clone();
    api.large_bodies.run(json.len(), move || body.request()).await
}

/// Joins the generation of the request's `Idempotency-Key`, regardless of the load. `None` if the key has none.
pub async fn join(
    api: &Api,
    caller: &Caller,
    pending: &mut PendingRequest,
) -> Result<Option<AttachedGeneration>, Problem> {
    let Some(claim) = &pending.claim else { return Ok(None) };
    let Some(following) = api.generations.claimed(&caller.principal, claim).await? else { return Ok(None) };
    api.metrics.resumed(ResumedBy::IdempotencyKey);
    let connection = pending.connect(api, caller, Arrival::Reconnecting)?;
    Ok(Some(AttachedGeneration { following, origin: Origin::Existing, connection }))
}

/// Starts a generation.
pub async fn start(
    api: &Api,
    caller: &Caller,
    parsed: ParsedRequest,
    mut pending: PendingRequest,
) -> Result<AttachedGeneration, Problem> {
    let started = start_new(api, caller, parsed, &mut pending).await;
    let (StartedGeneration { following, origin }, first) = match started {
        Ok(started) => started,
        // A concurrent request with the same key may have used up the quota. Join its generation instead of failing.
        Err(refused) => return join(api, caller, &mut pending).await?.ok_or(refused),
    };
    if origin == Origin::Existing {
        api.metrics.resumed(ResumedBy::IdempotencyKey);
    }
    // With `close-oldest`, the oldest stream is closed only now, so that no stream closes for a refused request.
    let connection = match first {
        Some(connection) => Some(connection),
        None => pending.connect(api, caller, Arrival::Reconnecting)?,
    };
    Ok(AttachedGeneration { following, origin, connection })
}

async fn start_new(
    api: &Api,
    caller: &Caller,
    ParsedRequest { mut generation, prompt, channel }: ParsedRequest,
    pending: &mut PendingRequest,
) -> Result<(StartedGeneration, Option<Connection>), Problem> {
    if pending.arrival == Arrival::Reconnecting {
        // The key was known at admission, but its generation no longer exists, so this starts a new one.
        let key = pending.claim.as_ref().map(|claim| &claim.key);
        pending.permit = AdmittedRequest::admit_new(api, caller, key).await?;
    }
    let connection = match pending.kind {
        None => None,
        Some(_) if pending.connection.is_some() => pending.connect(api, caller, Arrival::New)?,
        Some(kind) => api.connect_before_start(caller, kind)?,
    };
    if let Some(prompt) = prompt {
        prompt.apply(&api.prompts(), &mut generation).await?;
    }
    // Cloned only if the caller may be forbidden to use the model.
    let is_restricted = caller.models != AllowedModels::All;
    let model = if is_restricted { generation.model.clone() } else { None };
    let (claim, request) = (pending.claim.clone(), std::mem::take(&mut pending.permit));
    let started = match api.generations.start(NewGeneration { request, claim, ..generation }).await {
        Ok(started) => started,
        // Boxed, because it is rare and would enlarge the future of every request.
        Err(error) => return Err(Box::pin(refusal(api, caller, model.as_deref(), error)).await),
    };
    if let (Some(channel), Origin::New) = (&channel, started.origin) {
        let pages = started.following.whole_log();
        let generation = started.following.start().generation;
        api.channels.carry(channel, &caller.spender.account, generation, pages);
    }
    if started.origin == Origin::New {
        // Yields so that the generation's task sends the upstream request before the response is built. Must be the
        // last await: if the client disconnects here, the task that copies the answer into the channel is already
        // running.
        yield_now().await;
    }
    Ok((started, connection))
}

impl PendingRequest {
    /// Returns the connection on which the request waits.
    fn connect(&mut self, api: &Api, caller: &Caller, arrival: Arrival) -> Result<Option<Connection>, Problem> {
        match (self.kind, self.connection.take()) {
            (None, _) => Ok(None),
            (Some(kind), Some(connection)) if connection.set_kind(kind) => Ok(Some(connection)),
            // The body's connection was displaced in the meantime, or there was none.
            (Some(kind), _) => api.connect(caller, arrival, kind).map(Some),
        }
    }
}

/// Returns the problem of a request for `model`, or for the default one. Names what the caller may use instead.
pub async fn refusal(api: &Api, caller: &Caller, model: Option<&str>, error: StartError) -> Problem {
    match error {
        StartError::ModelForbidden => model_forbidden(model),
        StartError::ModelNotFound => model_not_found(api, caller).await,
        error => error.into(),
    }
}

/// How long a refusal waits for the upstreams' lists of models.
const LIST_TIMEOUT: Duration = Duration::from_secs(1);
/// The maximum number of models that a refusal names.
const MOST_NAMED: usize = 10;
/// The maximum number of characters of a model's name in a refusal.
const LONGEST_NAME: usize = 100;

/// Returns a problem that names models that the caller may use, if the lists are available within the timeout.
async fn model_not_found(api: &Api, caller: &Caller) -> Problem {
    let models = timeout(LIST_TIMEOUT, api.generations.models()).await.unwrap_or_default();
    let allowed = models.iter().map(|model| model.id.as_str()).filter(|id| caller.models.allow(id));
    let fit = |id: &&str| id.len() <= LONGEST_NAME || id.chars().count() <= LONGEST_NAME;
    // One more than is named, to detect that there are more.
    let allowed: Vec<_> = allowed.filter(fit).take(MOST_NAMED + 1).collect();
    let named = allowed.iter().take(MOST_NAMED).map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    let detail = match allowed.len() {
        0 => "No upstream serves this model. GET /v1/models lists the models.".to_owned(),
        1..=MOST_NAMED => format!("No upstream serves this model. You may use {named}."),
        _ => format!("No upstream serves this model. You may use {named} and others that GET /v1/models lists."),
    };
    Problem::new(ErrorCode::ModelNotFound, detail)
}

fn model_forbidden(model: Option<&str>) -> Problem {
    let named = match model {
        Some(model) if model.chars().count() <= LONGEST_NAME => format!("the model `{model}`"),
        Some(_) => "this model".to_owned(),
        None => "the default model".to_owned(),
    };
    let detail = format!("Your credential does not permit {named}. GET /v1/models lists the models that it permits.");
    Problem::new(ErrorCode::Forbidden, detail)
}

/// Inserts `Tokenrill-Attached` if the request joined an existing generation.
pub fn insert_attached(response: &mut Response, origin: Origin) {
    if origin == Origin::Existing {
        response.headers_mut().insert(TOKENRILL_ATTACHED, HeaderValue::from_static("existing"));
    }
}
