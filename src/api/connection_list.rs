//! Lists and closes requests in flight, for operators: `/v1/connections`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::connection_record::{ConnectionKind, ConnectionKindBody, ConnectionRecord};
use super::durations::millis;
use super::extract::ConnectionPath;
use super::other_replicas::ReplicasUnavailable;
use super::problem::Problem;
use super::query::{ApiQuery, PageLimit, QueryParameters};
use super::state::Api;
use crate::domain::{Account, ConnectionId};

/// The requests in flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionList {
    /// The connections, newest first.
    pub data: Vec<ConnectionBody>,
    /// The number of all connections.
    pub total: u64,
    /// The replica that responds, whose connections these are.
    #[schema(example = "rep_AAAAAAAAAAAAAAAAAAAAAA")]
    pub replica: String,
}

/// One request in flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Connection)]
pub struct ConnectionBody {
    #[schema(example = "conn_AAAAAAAAAAAAAAAAAAAAAA")]
    pub id: String,
    pub kind: ConnectionKindBody,
    /// The caller: the name of a key, or a token's subject. Absent if the caller is not authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The token's issuer, if `principal` is a token's subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The client's address, if the caller is not authenticated; of an IPv6 address the first 64 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// When it was opened (RFC 3339, UTC).
    #[schema(format = "date-time")]
    pub since: String,
    /// Milliseconds since the last write; heartbeats count as writes.
    pub idle_ms: u64,
    /// The number of events that were sent, `queued` events included.
    pub events: u64,
    /// Bytes that were written, heartbeats included.
    pub bytes: u64,
}

/// The query of the list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConnectionsQuery {
    /// The maximum number of connections; default 100
    #[serde(default)]
    #[param(inline)]
    limit: PageLimit<100, 1_000>,
}

impl QueryParameters for ConnectionsQuery {
    fn accepted() -> String {
        "limit".to_owned()
    }
}

/// List the requests in flight.
///
/// Event streams, requests that wait for JSON, and requests whose body is not complete: those of the replica that
/// responds.
#[utoipa::path(
    get,
    path = "/v1/connections",
    operation_id = "list_connections",
    tag = "operations",
    params(ConnectionsQuery),
    responses((status = 200, description = "The connections", body = ConnectionList)),
)]
pub async fn list(
    State(api): State<Api>,
    _: Caller,
    ApiQuery(ConnectionsQuery { limit }): ApiQuery<ConnectionsQuery>,
) -> Json<ConnectionList> {
    let (records, total) = api.connections.list(limit.get());
    let data = records.iter().map(|(record, kind)| connection_body(record, *kind)).collect();
    Json(ConnectionList { data, total: total as u64, replica: api.metrics.replica().to_string() })
}

/// Close a connection.
///
/// An event stream is closed without its end, so a browser reconnects by itself unless it is then refused. A request
/// that waits for JSON receives the state so far; a request whose body is not complete is refused. The connection may be
/// one of another replica.
#[utoipa::path(
    delete,
    path = "/v1/connections/{id}",
    operation_id = "close_connection",
    tag = "operations",
    params(("id" = String, Path, description = "The connection's id", example = "conn_AAAAAAAAAAAAAAAAAAAAAA")),
    responses((status = 204, description = "The connection is being closed")),
)]
pub async fn close(
    State(api): State<Api>,
    _: Caller,
    ConnectionPath(id): ConnectionPath,
) -> Result<StatusCode, Problem> {
    if api.connections.close(id) || is_closed_elsewhere(&api, id).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::connection_not_found())
}

/// Closes the connection if another replica has it. Returns whether one has.
async fn is_closed_elsewhere(api: &Api, id: ConnectionId) -> Result<bool, Problem> {
    let Some(replicas) = &api.other_replicas else { return Ok(false) };
    replicas.close_connection(id).await.map_err(|ReplicasUnavailable| Problem::replicas_unavailable())
}

fn connection_body(record: &ConnectionRecord, kind: ConnectionKind) -> ConnectionBody {
    let address = match &record.account {
        Account::Address(address) => Some(address.to_string()),
        Account::Principal(_) | Account::Service => None,
    };
    ConnectionBody {
        id: record.id.to_string(),
        kind: kind.into(),
        principal: record.principal.name().map(str::to_owned),
        issuer: record.principal.issuer().map(str::to_owned),
        address,
        since: record.since.to_string(),
        idle_ms: millis(record.idle()),
        events: record.events(),
        bytes: record.bytes(),
    }
}
