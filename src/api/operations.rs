//! What operators and their machines ask.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{ErrorCode, Problem};
use super::state::Api;

/// That the service is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    pub status: String,
}

fn ok() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, description = "It does", body = Health)))]
pub async fn healthz() -> Json<Health> {
    ok()
}

/// Whether new generations are taken.
///
/// `503` with the reason otherwise: while the service is draining, when live generations can still be followed, and
/// while the keys of the identity provider could never be fetched. Upstreams are not asked: one that fails would take the
/// others' callers with it.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses((status = 200, description = "They are", body = Health)))]
pub async fn readyz(State(api): State<Api>) -> Result<Json<Health>, Problem> {
    if api.generations.is_draining() {
        let detail = "This service is draining. Send new requests elsewhere.";
        return Err(Problem::new(ErrorCode::ShuttingDown, detail));
    }
    if !api.admission.borrow().gate.is_ready() {
        let detail = "The keys of the identity provider have not been fetched yet. See the log.";
        return Err(Problem::new(ErrorCode::IssuerUnavailable, detail));
    }
    Ok(ok())
}

/// The figures.
///
/// In OpenMetrics text, as Prometheus scrapes it.
#[utoipa::path(get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "The figures", content((String = "application/openmetrics-text")))))]
pub async fn metrics(State(api): State<Api>) -> Response {
    let (content_type, text) = api.metrics.render();
    ([(CONTENT_TYPE, content_type)], text).into_response()
}
