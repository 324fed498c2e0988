//! HTTP: routes, wire formats, the OpenAPI document. The only module that knows status codes.

mod accept;
mod access;
mod admission;
mod after;
mod allowance;
mod body;
mod body_limits;
mod body_memory;
mod caller;
mod channel_body;
mod channel_query;
mod channels;
mod chat_fields;
mod client_address;
mod connection;
mod connection_list;
mod connection_record;
mod connections;
mod cors;
mod credential;
mod credential_fault;
mod csv;
mod delivered_ends;
mod denial;
mod durations;
mod embeddings;
mod error_code;
mod events_query;
mod extract;
mod gate;
mod generation_list;
mod generations;
mod headers;
mod held_json;
mod host;
mod json_body;
mod large_bodies;
mod listener_role;
mod models;
mod not_offered;
pub mod openapi;
mod operations;
mod other_replicas;
mod output_pieces;
mod pages;
mod parsed_request;
mod problem;
mod prompt_call;
mod prompts;
mod query;
#[cfg(test)]
mod ready_writes;
mod refusal;
mod refused_body;
mod refused_origins;
mod request_id;
mod serve;
mod snapshot;
mod snapshot_source;
mod sse;
mod start;
mod start_problem;
mod state;
mod state_json;
mod state_response;
mod subscriber_source;
mod tickets;
mod unknown_path;
mod upstream_error;
mod upstream_list;
mod usage_report;
mod viewer_source;
pub mod wire;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio::sync::watch;
use tower::ServiceExt;
use tower_http::cors::CorsLayer;
use tracing::Instrument;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::Account;
use crate::server::Peer;
use crate::telemetry::Metrics;
use access::Access;
use problem::{ErrorCode, Problem};
use refusal::RefusalForm;
use refused_body::RefusedBodies;
use request_id::Traced;
use unknown_path::unknown_path;
use wire::table::WIRES;

pub use admission::{Admission, Origins};
pub use body_limits::BodyLimits;
pub use body_memory::BodyMemory;
pub use client_address::TrustedProxies;
pub use connections::Connections;
pub use delivered_ends::DeliveredEnds;
pub use host::Hosts;
pub use large_bodies::LargeBodies;
pub use listener_role::ListenerRole;
pub use other_replicas::{OtherReplicas, ReplicasUnavailable};
pub use snapshot::SnapshotBody;
pub use state::{Api, ChannelTerms};

/// Returns the routes of a listener, with all layers.
pub fn router(api: Api, role: ListenerRole) -> Router {
    let layers = RouterLayers {
        // Browser pages have no reason to call operator routes, so these get no CORS headers.
        cors: (role != ListenerRole::Admin).then(|| cors::cors(api.admission.clone())),
        admission: api.admission.clone(),
        role,
        hosts: api.hosts,
        bodies: Arc::new(RefusedBodies::new(api.body)),
        metrics: Arc::clone(&api.metrics),
        without_slash: None,
    };
    let routes = match role {
        ListenerRole::Sole => documented(),
        ListenerRole::Public => caller_routes().merge(account_routes()).merge(probe_routes()),
        ListenerRole::Admin => operator_routes().merge(account_routes()).merge(probe_routes()),
    };
    let (routes, _) = routes.with_state(api).split_for_parts();
    let pages = if role == ListenerRole::Admin { Router::new() } else { pages::pages() };
    let routes = routes.merge(pages);
    let without_slash = layered(routes.clone(), layers.clone());
    layered(routes, RouterLayers { without_slash: Some(without_slash), ..layers })
}

/// Adds the layers, from the inside out: what [`respond`] does, CORS headers for pages of other origins, and what
/// [`trace`] does.
fn layered(routes: Router, layers: RouterLayers) -> Router {
    let layers = Arc::new(layers);
    let (not_found_layers, not_allowed_layers) = (Arc::clone(&layers), Arc::clone(&layers));
    let routes = routes
        .fallback(async move |request: Request| not_found(&not_found_layers, request).await)
        .method_not_allowed_fallback(async move |request: Request| {
            method_not_allowed(&not_allowed_layers, request).await
        })
        .layer(from_fn_with_state(Arc::clone(&layers), respond));
    let routes = match &layers.cors {
        Some(cors) => routes.layer(cors.clone()),
        None => routes,
    };
    routes.layer(from_fn_with_state(layers, trace))
}

/// The state that the layers around every handler share.
#[derive(Clone)]
struct RouterLayers {
    cors: Option<CorsLayer>,
    admission: watch::Receiver<Admission>,
    role: ListenerRole,
    hosts: Hosts,
    bodies: Arc<RefusedBodies>,
    metrics: Arc<Metrics>,
    /// The same routes, for paths whose trailing slash was removed. `None` in that copy.
    without_slash: Option<Router>,
}

/// Gives each request an id and each response its security headers, and logs the request. A path may end in a slash.
async fn trace(State(layers): State<Arc<RouterLayers>>, mut request: Request, next: Next) -> Response {
    if let Some(routes) = &layers.without_slash
        && request.extensions().get::<MatchedPath>().is_none()
        && let Some(uri) = without_slash(request.uri())
    {
        *request.uri_mut() = uri;
        let routes = routes.clone();
        let Ok(response) = Box::pin(routes.oneshot(request)).await;
        return response;
    }
    let traced = Traced::note(&mut request);
    let span = traced.span();
    async {
        let mut response = next.run(request).await;
        pages::secure(&mut response);
        traced.finish(&mut response, &layers.metrics);
        response
    }
    .instrument(span)
    .await
}

/// Checks `Host` and the credential, turns panics into problems, and writes the bodies of problems.
///
/// These are one layer, because axum allocates each layer for each request.
async fn respond(State(layers): State<Arc<RouterLayers>>, request: Request, next: Next) -> Response {
    let (form, access) = (RefusalForm::of(&request), gate::access(&request));
    let (mut head, body) = request.into_parts();
    let mut response = match admit(&layers, access, &mut head).await {
        Ok(()) => {
            let request = Request::from_parts(head, body);
            let response = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            response.unwrap_or_else(|_| defect(&layers.metrics))
        }
        Err(problem) => {
            // Boxed to keep this future small, because few requests are refused here.
            Box::pin(layers.discard(head, body)).await;
            problem.into_response()
        }
    };
    if response.extensions().get::<Problem>().is_some_and(|problem| problem.code == ErrorCode::HistoryLost) {
        layers.metrics.history_lost();
    }
    if access != Access::Public {
        gate::forbid_caching(&mut response);
    }
    form.write_refusal(response)
}

async fn admit(layers: &RouterLayers, access: Access, head: &mut Parts) -> Result<(), Problem> {
    host::check(layers.hosts, head)?;
    gate::admit(&layers.admission, (layers.role, layers.hosts), access, head).await
}

impl RouterLayers {
    /// Discards the body of a request that is refused before a handler runs.
    async fn discard(&self, head: Parts, body: Body) {
        let client = self.admission.borrow().proxies.client(&head);
        let client = client.or_else(|| head.extensions.get::<Peer>().map(|peer| peer.0.ip()));
        let Some(client) = client else { return };
        self.bodies.discard(&head, body, Account::of_address(client)).await;
    }
}

/// Returns the URI without its trailing slash. `None` for `/`, and if the path does not end in exactly one slash.
fn without_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path().strip_suffix('/').filter(|path| !path.is_empty() && !path.ends_with('/'))?;
    let path = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

/// Returns all routes. The OpenAPI document is generated from the same list.
fn documented() -> OpenApiRouter<Api> {
    caller_routes().merge(account_routes()).merge(probe_routes()).merge(operator_routes())
}

fn caller_routes() -> OpenApiRouter<Api> {
    let wires = WIRES.iter().fold(OpenApiRouter::new(), |routes, wire| routes.merge((wire.routes)()));
    wires
        .routes(routes!(generation_list::list))
        .routes(routes!(generations::show, generations::erase))
        .routes(routes!(generations::events))
        .routes(routes!(generations::cancel))
        .routes(routes!(channels::publish, channels::subscribe))
        .routes(routes!(channels::show))
        .routes(routes!(prompts::list))
        .routes(routes!(prompts::show))
        .routes(routes!(tickets::create))
        .routes(routes!(embeddings::create))
        .routes(routes!(models::list))
        .routes(routes!(models::show))
}

/// Routes for callers about their account, and for operators about all accounts.
fn account_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(usage_report::sum))
}

fn probe_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(operations::healthz)).routes(routes!(operations::readyz))
}

fn operator_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(operations::metrics))
        .routes(routes!(upstream_list::list))
        .routes(routes!(connection_list::list))
        .routes(routes!(connection_list::close))
        .routes(routes!(prompts::render))
}

async fn not_found(layers: &RouterLayers, request: Request) -> Problem {
    let (head, body) = request.into_parts();
    let problem = unknown_path(&head);
    Box::pin(layers.discard(head, body)).await;
    problem
}

async fn method_not_allowed(layers: &RouterLayers, request: Request) -> Problem {
    let (head, body) = request.into_parts();
    let detail =
        format!("This path does not accept {}. The header Allow lists the methods that it accepts.", head.method);
    Box::pin(layers.discard(head, body)).await;
    Problem::new(ErrorCode::MethodNotAllowed, detail)
}

fn defect(metrics: &Metrics) -> Response {
    metrics.panicked();
    Problem::new(ErrorCode::Internal, "This service has a defect. Report the request id to its operator.")
        .into_response()
}
