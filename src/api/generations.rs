//! The native resource: `/v1/generations`.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::accept::{Accept, Form};
use super::body::RequestBody;
use super::chat::new_generation;
use super::extract::{EventsQuery, Format, GenerationPath, LastEventId};
use super::openapi::NewGenerationBody;
use super::problem::{ErrorCode, Problem};
use super::snapshot::SnapshotBody;
use super::sse::{ended, event_stream, name_generation};
use super::state::Api;
use super::wire::openai_chat::Ids;
use super::wire::{Native, OpenAiChat};
use crate::domain::{EventId, GenerationId, RequestId, Sequence};
use crate::generation::{FollowError, OnDisconnect, StartError};

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Start a generation.
///
/// The answer is an event stream, unless `Accept` names `application/json` and not
/// `text/event-stream`: then it waits for the end and is the snapshot. With `Prefer: respond-async`
/// (RFC 7240) it is `202` with the snapshot at once, and the generation runs on without a viewer.
///
/// When the last viewer disconnects, the generation ends as `cancelled` and the model stops, unless
/// `on_disconnect` is `continue`. There is no grace yet: a `grace_ms` above 0 counts as 0.
///
/// A request with `Last-Event-ID` starts nothing: it follows the generation that the id names, after
/// that event, and its body is ignored.
#[utoipa::path(
    post,
    path = "/v1/generations",
    operation_id = "create_generation",
    tag = "generations",
    params(
        ("Prefer" = Option<String>, Header, description = "`respond-async`: answer at once, run without a viewer"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client has; what follows it is sent"),
    ),
    request_body = NewGenerationBody,
    responses(
        (status = 200, description = "The events, or the snapshot at the end", content(("text/event-stream"), (SnapshotBody = "application/json")),
            headers(("Tokenrill-Generation" = String, description = "The generation's id"))),
        (status = 202, description = "Started; `Location` is where it is inspected", body = SnapshotBody,
            headers(("Location" = String, description = "Path of the generation"), ("Tokenrill-Generation" = String, description = "The generation's id"))),
    ),
)]
pub async fn create(State(api): State<Api>, request_id: RequestId, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let mut body = RequestBody::new(&head.headers, body, api.body);
    let answer = answer(&api, request_id, &head.headers, &mut body).await;
    body.discard().await;
    answer
}

async fn answer(
    api: &Api,
    request_id: RequestId,
    headers: &HeaderMap,
    body: &mut RequestBody<'_>,
) -> Result<Response, Problem> {
    match LastEventId::of(headers) {
        LastEventId::Absent => {}
        LastEventId::Foreign => return Err(Problem::generation_not_found()),
        LastEventId::Event(id) => {
            return match api.generations.follow(id.generation, id.sequence).await {
                Ok(following) => Ok(event_stream(following, Native, api.heartbeat)),
                Err(FollowError::AtEnd) => Ok(ended(id.generation)),
                Err(error) => Err(error.into()),
            };
        }
    }
    let form = Accept::of(headers).form()?;
    let at_once = prefers_async(headers);
    let mut new = new_generation(body.json_object().await?, request_id)?;
    if at_once {
        new.on_disconnect = Some(OnDisconnect::Continue);
    }
    let started = api.generations.start(new).await?;
    if at_once {
        drop(started.following);
        return accepted(api, started.id).await;
    }
    match form {
        Form::Events => Ok(event_stream(started.following, Native, api.heartbeat)),
        Form::Snapshot => {
            let snapshot = started.following.finish().await.map_err(|_| Problem::history_lost())?;
            let mut response = Json(SnapshotBody::from(snapshot)).into_response();
            name_generation(&mut response, started.id);
            Ok(response)
        }
    }
}

async fn accepted(api: &Api, id: GenerationId) -> Result<Response, Problem> {
    let snapshot = inspect(api, id).await?;
    let mut response = (StatusCode::ACCEPTED, snapshot).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/generations/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
    name_generation(&mut response, id);
    Ok(response)
}

/// Follow a generation.
///
/// Every event after a position, then each new one, until the terminal event. The position is
/// `Last-Event-ID`, else `after`, else the beginning. Any number of viewers may follow at once.
#[utoipa::path(
    get,
    path = "/v1/generations/{id}/events",
    operation_id = "follow_generation",
    tag = "generations",
    params(
        ("id" = String, Path, description = "The generation's id", example = "gen_AAAAAAAAAAAAAAAAAAAAAA"),
        ("after" = Option<u64>, Query, description = "The sequence number after which to begin: what stands behind the dot of an event's id"),
        ("format" = Option<Format>, Query, description = "The wire: `native`, or `openai` for OpenAI's chunks"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client has; wins over `after`"),
    ),
    responses(
        (status = 200, description = "The events", content(("text/event-stream")),
            headers(("Tokenrill-Generation" = String, description = "The generation's id"))),
        (status = 204, description = "The position is the terminal event's: nothing will follow. Stops an `EventSource` for good"),
    ),
)]
pub async fn events(
    State(api): State<Api>,
    GenerationPath(id): GenerationPath,
    EventsQuery { after, format }: EventsQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Accept::of(&headers).events()?;
    let after = match LastEventId::of(&headers) {
        LastEventId::Absent => after.unwrap_or(Sequence::START),
        LastEventId::Event(EventId { generation, sequence }) if generation == id => sequence,
        LastEventId::Event(_) | LastEventId::Foreign => return Err(Problem::generation_not_found()),
    };
    match api.generations.follow(id, after).await {
        Ok(following) => Ok(match format {
            Format::Native => event_stream(following, Native, api.heartbeat),
            Format::OpenAi => {
                let format = OpenAiChat { usage: following.start().usage, ids: Ids::Present };
                event_stream(following, format, api.heartbeat)
            }
        }),
        Err(FollowError::AtEnd) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) => Err(error.into()),
    }
}

/// Inspect a generation.
///
/// Its status and what has come of the answer so far.
#[utoipa::path(
    get,
    path = "/v1/generations/{id}",
    operation_id = "inspect_generation",
    tag = "generations",
    params(("id" = String, Path, description = "The generation's id", example = "gen_AAAAAAAAAAAAAAAAAAAAAA")),
    responses((status = 200, description = "The snapshot", body = SnapshotBody)),
)]
pub async fn show(State(api): State<Api>, GenerationPath(id): GenerationPath) -> Result<Json<SnapshotBody>, Problem> {
    inspect(&api, id).await
}

/// Stop a generation.
///
/// Every viewer receives `cancelled`, and the model stops. One that has ended stays as it ended. The
/// body, if any, is not read, so that `fetch(..., {keepalive: true})` can send this while a page unloads.
#[utoipa::path(
    post,
    path = "/v1/generations/{id}/cancel",
    operation_id = "cancel_generation",
    tag = "generations",
    params(("id" = String, Path, description = "The generation's id", example = "gen_AAAAAAAAAAAAAAAAAAAAAA")),
    responses((status = 200, description = "The snapshot, after the stop", body = SnapshotBody)),
)]
pub async fn cancel(State(api): State<Api>, GenerationPath(id): GenerationPath) -> Result<Json<SnapshotBody>, Problem> {
    let snapshot = api.generations.stop(id).await.ok_or_else(Problem::generation_not_found)?;
    Ok(Json(snapshot.into()))
}

/// Stop and erase a generation.
///
/// As `cancel`; its record is then gone, and every later request for it is `404`.
#[utoipa::path(
    delete,
    path = "/v1/generations/{id}",
    operation_id = "erase_generation",
    tag = "generations",
    params(("id" = String, Path, description = "The generation's id", example = "gen_AAAAAAAAAAAAAAAAAAAAAA")),
    responses((status = 204, description = "Erased")),
)]
pub async fn erase(State(api): State<Api>, GenerationPath(id): GenerationPath) -> Result<StatusCode, Problem> {
    api.generations.erase(id).await.ok_or_else(Problem::generation_not_found)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn inspect(api: &Api, id: GenerationId) -> Result<Json<SnapshotBody>, Problem> {
    let snapshot = api.generations.inspect(id).await.ok_or_else(Problem::generation_not_found)?;
    Ok(Json(snapshot.into()))
}

/// `Prefer: respond-async` (RFC 7240, section 4.1).
fn prefers_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split([',', ';'])).map(str::trim);
    preferences.any(|preference| preference.eq_ignore_ascii_case("respond-async"))
}

impl From<FollowError> for Problem {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::NotFound => Self::generation_not_found(),
            FollowError::HistoryLost | FollowError::AtEnd => Problem::history_lost(),
        }
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Draining => {
                Self::new(ErrorCode::ShuttingDown, "This service is restarting. Try again in a few seconds.")
            }
            StartError::ModelRequired => {
                Self::new(ErrorCode::ModelRequired, "Name a model in the field model: GET /v1/models lists them.")
            }
            StartError::ModelNotFound => Self::new(
                ErrorCode::ModelNotFound,
                "No upstream serves this model. GET /v1/models lists those there are.",
            ),
            StartError::Full => Self::new(
                ErrorCode::Overloaded,
                "This service is out of memory for answers. Try again in a few seconds.",
            ),
        }
    }
}
