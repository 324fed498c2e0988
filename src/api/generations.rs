//! The native resource: `/v1/generations`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::accept::{Accept, ResponseForm, StreamField};
use super::allowance;
use super::body::RequestBody;
use super::caller::Caller;
use super::connection_record::ConnectionKind;
use super::connections::Arrival;
use super::extract::{EventsQuery, Format, GenerationPath, InspectQuery, LastEventId, Replay};
use super::headers::PREFERENCE_APPLIED;
use super::openapi::NewGenerationBody;
use super::problem::{ErrorCode, FieldError, Problem};
use super::refusal::Dialect;
use super::snapshot::SnapshotBody;
use super::snapshot_source::SnapshotSource;
use super::sse::{ended, event_stream, name_generation};
use super::start::{self, AdmittedRequest, AttachedGeneration, insert_attached};
use super::state::Api;
use super::state_json::StateJson;
use super::state_response::respond;
use super::viewer_source::ViewerSource;
use super::wire::native::encoder::NativeEncoder;
use super::wire::openai_chat::encoder::{BlockIds, ChatEncoder};
use crate::domain::{EventId, GenerationId, Sequence, TooMuch};
use crate::generation::{FollowError, OnDisconnect, Origin, StartError};
use crate::telemetry::ResumedBy;

/// Start a generation.
///
/// The response is an event stream if `Accept` names `text/event-stream`; else the snapshot at the end if it names
/// `application/json`; else the snapshot if `stream` is `false`; else an event stream. With `Prefer: respond-async`
/// (RFC 7240) it is `202` with the current snapshot, and the generation continues without a viewer.
///
/// When the generation has had no viewer for the grace, it ends as `cancelled` and the model stops, unless
/// `on_disconnect` is `continue`.
///
/// A request with `Last-Event-ID` does not start a generation: it resumes the generation of that event after the event,
/// and its body is ignored. A request with a used `Idempotency-Key` follows the generation that the key started, from
/// the beginning; with another body it is refused. Both responses have the header `Tokenrill-Attached: existing`. A key
/// is kept as long as its generation.
#[utoipa::path(
    post,
    path = "/v1/generations",
    operation_id = "create_generation",
    tag = "generations",
    params(
        ("Prefer" = Option<String>, Header, description = "`respond-async`: respond at once and run without a viewer"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client received; the events after it are sent"),
        ("Idempotency-Key" = Option<String>, Header, description = "A unique key for this request, so that a retry starts no second generation: 1 to 255 visible ASCII characters"),
    ),
    request_body = NewGenerationBody,
    responses(
        (status = 200, description = "The events, or the snapshot at the end", content(("text/event-stream"), (SnapshotBody = "application/json")),
            headers(("Tokenrill-Generation" = String, description = "The generation's id"), ("Tokenrill-Attached" = String, description = "`existing` if the request joined a generation and started none"))),
        (status = 202, description = "Started; `Location` is the path to inspect it", body = SnapshotBody,
            headers(("Location" = String, description = "Path of the generation"), ("Tokenrill-Generation" = String, description = "The generation's id"))),
        (status = 204, description = "`Last-Event-ID` is that of the terminal event, and an earlier request has received the end of the stream"),
    ),
)]
pub async fn create(State(api): State<Api>, caller: Caller, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut body = RequestBody::new(&head.headers, body, api.body);
    let outcome = match LastEventId::of(&head.headers) {
        LastEventId::Absent => start(&api, &caller, &head.headers, &mut body).await,
        LastEventId::Event(id) => resume(&api, &caller, id).await,
        LastEventId::Foreign => Err(Problem::nothing_to_resume()),
    };
    body.discard(&api, &caller).await;
    let mut response = outcome.unwrap_or_else(|problem| api.refuse(&caller, problem));
    let model = response.extensions_mut().remove::<ChosenModel>();
    let model = model.as_ref().map(|ChosenModel(model)| model.as_str());
    allowance::insert_headers(&mut response, &api, &caller, model, Dialect::Native);
    response
}

/// The model of a generation, in the extensions of the response that names it.
#[derive(Clone)]
struct ChosenModel(String);

async fn start(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    body: &mut RequestBody<'_>,
) -> Result<Response, Problem> {
    let accept = Accept::of(headers);
    // Before the body is read: its `stream` cannot make an unacceptable format acceptable.
    accept.form()?;
    let at_once = prefers_async(headers);
    let mut admitted = AdmittedRequest::admit(api, caller, headers).await?;
    let json = admitted.read(body, api, caller).await?;
    let fields = start::parse(api, &json).await?;
    let form = accept.form_for(StreamField::of(&fields))?;
    let kind = match form {
        _ if at_once => None,
        ResponseForm::Events => Some(ConnectionKind::ResumableStream),
        ResponseForm::Snapshot => Some(ConnectionKind::Wait),
    };
    let mut pending = admitted.with_body("/v1/generations", &json, body.take_connection(), kind);
    // Frees the body's memory before the request waits for the answer.
    drop(json);
    let attached = if let Some(attached) = start::join(api, caller, &mut pending).await? {
        attached
    } else {
        let mut parsed = start::check(api, caller, fields, Dialect::Native).await?;
        if at_once {
            parsed.generation.on_disconnect = Some(OnDisconnect::Continue);
        }
        start::start(api, caller, parsed, pending).await?
    };
    let AttachedGeneration { mut following, origin, connection } = attached;
    let (id, model) = (following.start().generation, following.start().model.clone());
    let mut response = match (form, connection) {
        (ResponseForm::Events, Some(connection)) => {
            event_stream(api.stream(following, NativeEncoder::new(id), connection))
        }
        (_, None) => {
            let state = api.generations.inspect(&caller.principal, id).await?;
            drop(following);
            accepted(id, respond(api, caller, state, None).await?)
        }
        (ResponseForm::Snapshot, Some(connection)) => {
            tokio::select! {
                biased;
                () = following.ended() => {}
                // Displaced: the client receives the state so far and can ask again.
                () = connection.closed() => {}
            }
            respond(api, caller, following.state(), Some(connection)).await?
        }
    };
    name_generation(&mut response, id);
    insert_attached(&mut response, origin);
    response.extensions_mut().insert(ChosenModel(model));
    Ok(response)
}

/// Resumes after an event. A client that lost its connection repeats its whole request. It is never refused for load
/// and never starts a second generation.
async fn resume(api: &Api, caller: &Caller, last: EventId) -> Result<Response, Problem> {
    let mut response = match api.generations.follow(&caller.principal, last.generation, last.sequence).await {
        Ok(following) => {
            api.metrics.resumed(ResumedBy::LastEventId);
            event_stream(api.stream(
                following,
                NativeEncoder::new(last.generation),
                api.connect(caller, Arrival::Reconnecting, ConnectionKind::ResumableStream)?,
            ))
        }
        Err(FollowError::AtEnd) if api.delivered_ends.note(last.generation) => StatusCode::NO_CONTENT.into_response(),
        Err(FollowError::AtEnd) => ended(last.generation),
        Err(error) => return Err(error.into()),
    };
    insert_attached(&mut response, Origin::Existing);
    Ok(response)
}

fn accepted(id: GenerationId, mut response: Response) -> Response {
    *response.status_mut() = StatusCode::ACCEPTED;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/generations/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
    response
}

/// Follow a generation.
///
/// Sends every event after a position, then each new one, until the terminal event. The position is `Last-Event-ID`,
/// else `after`, else the beginning. Any number of viewers may follow at the same time.
#[utoipa::path(
    get,
    path = "/v1/generations/{id}/events",
    operation_id = "follow_generation",
    tag = "generations",
    params(
        ("id" = String, Path, description = "The generation's id", example = "gen_AAAAAAAAAAAAAAAAAAAAAA"),
        ("after" = Option<u64>, Query, description = "The sequence number after which to start: the digits after the dot of an event's id"),
        ("format" = Option<Format>, Query, description = "The wire format: `native`, or `openai` for OpenAI's chunks"),
        ("replay" = Option<Replay>, Query, description = "`snapshot`: a stream from the beginning has one event `snapshot` in place of the past events; native format only"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client received; takes precedence over `after`"),
    ),
    responses(
        (status = 200, description = "The events", content(("text/event-stream")),
            headers(("Tokenrill-Generation" = String, description = "The generation's id"))),
        (status = 204, description = "The position is that of the terminal event: no event will follow. Stops an `EventSource` from reconnecting"),
    ),
)]
pub async fn events(
    State(api): State<Api>,
    caller: Caller,
    GenerationPath(id): GenerationPath,
    EventsQuery { after, format, replay }: EventsQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Accept::of(&headers).events()?;
    let last = LastEventId::of(&headers);
    let has_a_position = last != LastEventId::Absent || after.is_some_and(|after| after > Sequence::START);
    let arrival = if has_a_position { Arrival::Reconnecting } else { Arrival::New };
    let resumed_by = if last == LastEventId::Absent { ResumedBy::After } else { ResumedBy::LastEventId };
    let after = match last {
        LastEventId::Absent => after.unwrap_or(Sequence::START),
        LastEventId::Event(EventId { generation, sequence }) if generation == id => sequence,
        LastEventId::Event(_) | LastEventId::Foreign => return Err(Problem::nothing_to_resume()),
    };
    let connect = || api.connect(&caller, arrival, ConnectionKind::ResumableStream);
    // A client with a position has received the events before it, so it needs no snapshot.
    if replay == Replay::Snapshot && after == Sequence::START {
        let (state, following) = api.generations.follow_from_snapshot(&caller.principal, id).await?;
        api.metrics.resumed(ResumedBy::Snapshot);
        let connection = connect()?;
        let outline = state.outline().await.map_err(|_| Problem::history_lost())?;
        let position = EventId { generation: id, sequence: outline.position };
        let viewer = ViewerSource::new(following, NativeEncoder::new(id));
        let source = SnapshotSource::new(StateJson::new(state, &outline), position, viewer);
        return Ok(event_stream(api.event_stream(source, connection)));
    }
    let following = api.generations.follow(&caller.principal, id, after).await;
    if has_a_position && following.is_ok() {
        api.metrics.resumed(resumed_by);
    }
    match following {
        Ok(following) => Ok(match format {
            Format::Native => event_stream(api.stream(following, NativeEncoder::new(id), connect()?)),
            Format::OpenAi => {
                let encoder = ChatEncoder::new(Arc::clone(following.start()), BlockIds::Present);
                event_stream(api.stream(following, encoder, connect()?))
            }
        }),
        Err(FollowError::AtEnd) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) => Err(error.into()),
    }
}

/// Inspect a generation.
///
/// Returns its status and its answer so far. With `after` and `wait` the response is sent when there are events after
/// that position, when the generation has ended, or when the wait expires: for clients that cannot read event streams.
/// A client that waits counts as a viewer.
#[utoipa::path(
    get,
    path = "/v1/generations/{id}",
    operation_id = "inspect_generation",
    tag = "generations",
    params(
        ("id" = String, Path, description = "The generation's id", example = "gen_AAAAAAAAAAAAAAAAAAAAAA"),
        ("after" = Option<u64>, Query, description = "The `last_sequence` that the caller received; default 0"),
        ("wait" = Option<String>, Query, description = "The longest time to wait for events after `after`, with its unit, such as `20s`; at most `60s`. Default: no wait", example = "2s"),
    ),
    responses((status = 200, description = "The snapshot", body = SnapshotBody)),
)]
pub async fn show(
    State(api): State<Api>,
    caller: Caller,
    GenerationPath(id): GenerationPath,
    InspectQuery { after, wait }: InspectQuery,
) -> Result<Response, Problem> {
    // A request that does not wait is answered at once, so it does not count as a connection.
    let connection = if wait.is_zero() {
        None
    } else {
        let arrival = if after > Sequence::START { Arrival::Reconnecting } else { Arrival::New };
        Some(api.connect(&caller, arrival, ConnectionKind::Wait)?)
    };
    let displaced = async {
        match &connection {
            Some(connection) => connection.closed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        waited = api.generations.wait_for_more(&caller.principal, id, after, wait) => waited?,
        () = displaced => {}
    }
    let state = api.generations.inspect(&caller.principal, id).await?;
    respond(&api, &caller, state, connection).await
}

/// Stop a generation.
///
/// Every viewer receives `cancelled`, and the model stops. A generation that has ended does not change. The request's
/// body is not read, so that `fetch(..., {keepalive: true})` can send this while a page unloads.
#[utoipa::path(
    post,
    path = "/v1/generations/{id}/cancel",
    operation_id = "cancel_generation",
    tag = "generations",
    params(("id" = String, Path, description = "The generation's id", example = "gen_AAAAAAAAAAAAAAAAAAAAAA")),
    responses((status = 200, description = "The snapshot, after the stop", body = SnapshotBody)),
)]
pub async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    GenerationPath(id): GenerationPath,
) -> Result<Response, Problem> {
    let state = api.generations.stop(&caller.principal, id).await?;
    respond(&api, &caller, state, None).await
}

/// Stop and erase a generation.
///
/// Stops it like `cancel` and erases its record. Every later request for it is `404`.
#[utoipa::path(
    delete,
    path = "/v1/generations/{id}",
    operation_id = "erase_generation",
    tag = "generations",
    params(("id" = String, Path, description = "The generation's id", example = "gen_AAAAAAAAAAAAAAAAAAAAAA")),
    responses((status = 204, description = "Erased")),
)]
pub async fn erase(
    State(api): State<Api>,
    caller: Caller,
    GenerationPath(id): GenerationPath,
) -> Result<StatusCode, Problem> {
    api.generations.erase(&caller.principal, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether the client sent `Prefer: respond-async` (RFC 7240, section 4.1).
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
            StartError::Draining => Self::shutting_down(),
            StartError::ModelRequired => {
                Self::new(ErrorCode::ModelRequired, "Send a model in the field model: GET /v1/models lists them.")
            }
            StartError::ModelNotFound => Self::new(
                ErrorCode::ModelNotFound,
                "No upstream serves this model. GET /v1/models lists the available ones.",
            ),
            StartError::ModelForbidden => Self::forbidden(),
            StartError::TooMuch(TooMuch { field, demand }) => {
                Self::invalid(vec![FieldError { pointer: format!("/{field}"), detail: demand.to_string() }])
            }
            StartError::Exceeded(exceeded, left) => Self::exceeded(exceeded, left),
            StartError::Full => Self::new(
                ErrorCode::Overloaded,
                "This service is out of memory for answers. Try again in a few seconds.",
            ),
            StartError::Conflict(_) => Self::new(
                ErrorCode::IdempotencyConflict,
                "This Idempotency-Key was used for another request. Send a new key with each new request.",
            ),
            StartError::Lost(lost) => Self::answer_lost(lost.usage),
            StartError::TooManyTombstones(wait) => Self::too_many_lost_answers(wait),
            StartError::Gone(error) => error.into(),
        }
    }
}
