//! The native resource: `/v1/generations/{id}`.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::accept::Accept;
use super::after::After;
use super::caller::Caller;
use super::connection_record::ConnectionKind;
use super::connections::Arrival;
use super::events_query::{EventsQuery, Replay};
use super::extract::{GenerationPath, LastEventId};
use super::problem::Problem;
use super::query::{ApiQuery, QueryParameters, wait};
use super::snapshot::SnapshotBody;
use super::snapshot_source::SnapshotSource;
use super::sse::event_stream;
use super::state::Api;
use super::state_json::state_json;
use super::state_response::respond;
use super::viewer_source::ViewerSource;
use super::wire::native::encoder::NativeEncoder;
use crate::domain::{EventId, EventPosition};
use crate::generation::FollowError;
use crate::telemetry::ResumedBy;

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
        EventsQuery,
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
    ApiQuery(EventsQuery { after, format, replay, .. }): ApiQuery<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Accept::of(&headers).events()?;
    let last = LastEventId::of(&headers);
    let after = After::position(after, id)?;
    let has_a_position = last != LastEventId::Absent || after != EventPosition::START;
    let arrival = if has_a_position { Arrival::Reconnecting } else { Arrival::New };
    let resumed_by = if last == LastEventId::Absent { ResumedBy::After } else { ResumedBy::LastEventId };
    let after = match last {
        LastEventId::Absent => after,
        LastEventId::Event(EventId { generation, position }) if generation == id => position,
        LastEventId::Event(_) | LastEventId::Foreign => return Err(Problem::nothing_to_resume()),
    };
    let connect = || api.connect(&caller, arrival, ConnectionKind::ResumableStream);
    // A client with a position has received the events before it, so it needs no snapshot.
    if replay == Replay::Snapshot && after == EventPosition::START {
        let (state, following) = api.generations.follow_from_snapshot(&caller.principal, id).await?;
        api.metrics.resumed(ResumedBy::Snapshot);
        let connection = connect()?;
        let outline = state.outline().await.map_err(|_| Problem::history_lost())?;
        let position = EventId { generation: id, position: outline.position };
        let viewer = ViewerSource::new(following, NativeEncoder::new(id));
        let source = SnapshotSource::new(state_json(&state, &outline), position, viewer);
        return Ok(event_stream(api.event_stream(source, connection)));
    }
    let following = api.generations.follow(&caller.principal, id, after).await;
    if has_a_position && following.is_ok() {
        api.metrics.resumed(resumed_by);
    }
    match following {
        Ok(following) => Ok((format.wire().follow)(&api, following, connect()?)),
        Err(FollowError::AtEnd) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) => Err(error.into()),
    }
}

/// The query of a generation's state.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InspectQuery {
    /// The position up to which the caller has the answer: `last_event_id`, or the part of it after the generation's
    /// id; default 0
    #[serde(default, deserialize_with = "After::read")]
    #[param(inline)]
    after: Option<After>,
    /// The longest time to wait for events after `after`, with its unit, such as `20s`; at most `60s`. Default: no wait
    #[serde(default, deserialize_with = "wait")]
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,6}(ms|s|m)$", example = "2s")]
    wait: Duration,
    /// Accepted here because the gate reads it.
    #[serde(rename = "ticket")]
    #[param(ignore)]
    _ticket: Option<IgnoredAny>,
}

impl QueryParameters for InspectQuery {
    fn accepted() -> String {
        "after and wait".to_owned()
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
        InspectQuery,
    ),
    responses((status = 200, description = "The snapshot", body = SnapshotBody)),
)]
pub async fn show(
    State(api): State<Api>,
    caller: Caller,
    GenerationPath(id): GenerationPath,
    ApiQuery(InspectQuery { after, wait, .. }): ApiQuery<InspectQuery>,
) -> Result<Response, Problem> {
    let after = After::position(after, id)?;
    // A request that does not wait is answered at once, so it does not count as a connection.
    let connection = if wait.is_zero() {
        None
    } else {
        let arrival = if after == EventPosition::START { Arrival::New } else { Arrival::Reconnecting };
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
