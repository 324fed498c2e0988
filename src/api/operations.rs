//! Health, readiness and metrics, for operators and their probes.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{ErrorCode, Problem};
use super::state::Api;

/// The status of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    pub status: String,
}

fn ok() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

/// Check that the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "operations",
    responses((status = 200, description = "The process is alive", body = Health)))]
pub async fn healthz() -> Json<Health> {
    ok()
}

/// Check that new generations are accepted.
///
/// Responds with `503` and the reason while the service is draining (live generations can still be followed), while the
/// event log does not respond, and until the keys of the identity provider have been fetched for the first time. Upstreams are not checked, because one that
/// fails would make the service unavailable to callers of the others.
#[utoipa::path(get, path = "/readyz", tag = "operations",
    responses((status = 200, description = "New generations are accepted", body = Health)))]
pub async fn readyz(State(api): State<Api>) -> Result<Json<Health>, Problem> {
    if api.generations.is_draining() {
        let detail = "This service is draining. Send new requests elsewhere.";
        return Err(Problem::new(ErrorCode::ShuttingDown, detail));
    }
    if api.generations.check_log().await.is_err() {
        return Err(Problem::event_log_unavailable());
    }
    if !api.admission.borrow().gate.is_ready() {
        let detail = "The keys of the identity provider have not been fetched yet. See the log.";
        return Err(Problem::new(ErrorCode::IssuerUnavailable, detail));
    }
    Ok(ok())
}

/// Show the metrics.
///
/// OpenMetrics text, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "The metrics", content((String = "application/openmetrics-text")))))]
pub async fn metrics(State(api): State<Api>) -> Response {
    let (content_type, text) = api.metrics.render();
    ([(CONTENT_TYPE, content_type)], text).into_response()
}
