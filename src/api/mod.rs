//! HTTP: routes, wire formats, the OpenAPI document. The only room that knows a status code.

mod accept;
mod access;
mod allowance;
mod body;
mod channel_body;
mod channel_query;
mod channels;
mod chat;
mod chat_completions;
mod client_address;
mod connection;
mod connection_list;
mod cors;
mod credential;
mod ends_told;
mod error_code;
mod extract;
mod gate;
mod generation_list;
mod generations;
mod host;
mod models;
mod openai_error;
pub mod openapi;
mod operations;
mod pages;
mod problem;
mod prompt_call;
mod prompts;
mod refusal;
mod request_id;
mod snapshot;
mod sse;
mod start;
mod state;
mod subscribing;
mod tickets;
mod viewing;
pub mod wire;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio::sync::watch;
use tower_http::cors::CorsLayer;
use tracing::Instrument;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::telemetry::Metrics;
use access::Access;
use problem::{ErrorCode, Problem};
use refusal::RefusalForm;
use request_id::Traced;

pub use body::BodyLimits;
pub use client_address::TrustedProxies;
pub use connection::Connections;
pub use cors::Origins;
pub use ends_told::EndsTold;
pub use host::Hosts;
pub use snapshot::SnapshotBody;
pub use state::{Admission, Api, ChannelTerms};

/// Through which listener a request comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The only one.
    Sole,
    /// That of everybody, where operators have one of their own.
    Public,
    /// That of operators (`server.admin_listen`).
    Admin,
}

/// Every route of a door, and every layer.
pub fn router(api: Api, door: Door) -> Router {
    // No page has business with operators' routes.
    let cors = (door != Door::Admin).then(|| cors::cors(api.admission.clone()));
    let (hosts, admission, metrics) = (api.hosts, api.admission.clone(), Arc::clone(&api.metrics));
    let layers = Arc::new(Layers { cors, admission, door, hosts, metrics });
    let routes = match door {
        Door::Sole => documented(),
        Door::Public => for_callers().merge(for_machines()),
        Door::Admin => for_operators().merge(for_machines()),
    };
    let (routes, _) = routes.with_state(api).split_for_parts();
    let pages = if door == Door::Admin { Router::new() } else { pages::pages() };
    routes
        .merge(pages)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(layers, answered))
}

/// What is looked at before a handler.
struct Layers {
    cors: Option<CorsLayer>,
    admission: watch::Receiver<Admission>,
    door: Door,
    hosts: Hosts,
    metrics: Arc<Metrics>,
}

/// From the outside in: every answer has its request id and security headers, pages of other origins are told whether
/// they may read it, problems get their bodies, who calls by a foreign name or may not is refused, a panic becomes a
/// problem.
///
/// One layer, since each that axum wraps around another is allocated for each request. What comes before a handler and
/// what comes after it are functions apart, since a future that waits for another holds it, and is copied with it.
async fn answered(State(layers): State<Arc<Layers>>, mut request: Request, next: Next) -> Response {
    let traced = Traced::note(&mut request);
    let span = traced.span();
    async {
        let mut response = match &layers.cors {
            Some(cors) if cors::is_of_a_page(&request) => {
                cors::with_cors(cors, request, |request| answer(&layers, request, next)).await
            }
            Some(_) => cors::without_cors(answer(&layers, request, next).await),
            None => answer(&layers, request, next).await,
        };
        pages::secure(&mut response);
        traced.finish(&mut response, &layers.metrics);
        response
    }
    .instrument(span)
    .await
}

async fn answer(layers: &Layers, request: Request, next: Next) -> Response {
    let (form, access) = (RefusalForm::of(&request), gate::access(&request));
    let mut response = match let_in(layers, access, request).await {
        Ok(request) => {
            let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            answered.unwrap_or_else(|_| defect(&layers.metrics))
        }
        Err(problem) => problem.into_response(),
    };
    if response.extensions().get::<Problem>().is_some_and(|problem| problem.code == ErrorCode::HistoryLost) {
        layers.metrics.history_lost();
    }
    if access != Access::Public {
        gate::keep_out_of_caches(&mut response);
    }
    form.write_refusal(response)
}

async fn let_in(layers: &Layers, access: Access, request: Request) -> Result<Request, Problem> {
    host::check(layers.hosts, &request)?;
    gate::admit(&layers.admission, layers.door, access, request).await
}

/// The routes of the OpenAPI document; a route cannot be in the one and not in the other.
fn documented() -> OpenApiRouter<Api> {
    for_callers().merge(for_machines()).merge(for_operators())
}

fn for_callers() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(generations::create, generation_list::list))
        .routes(routes!(generations::show, generations::erase))
        .routes(routes!(generations::events))
        .routes(routes!(generations::cancel))
        .routes(routes!(channels::publish, channels::subscribe))
        .routes(routes!(channels::show))
        .routes(routes!(prompts::list))
        .routes(routes!(prompts::show))
        .routes(routes!(tickets::create))
        .routes(routes!(chat_completions::create))
        .routes(routes!(models::list))
        .routes(routes!(models::show))
}

fn for_machines() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(operations::healthz)).routes(routes!(operations::readyz))
}

fn for_operators() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(operations::metrics))
        .routes(routes!(connection_list::list))
        .routes(routes!(connection_list::close))
        .routes(routes!(prompts::render))
}

async fn not_found() -> Problem {
    Problem::new(ErrorCode::RouteNotFound, "There is nothing at this path. The OpenAPI document lists what there is.")
}

async fn method_not_allowed(request: Request) -> Problem {
    Problem::new(
        ErrorCode::MethodNotAllowed,
        format!("This path does not take {}. See the header Allow.", request.method()),
    )
}

fn defect(metrics: &Metrics) -> Response {
    metrics.panicked();
    Problem::new(ErrorCode::Internal, "This service has a defect. Report the request id to its operator.")
        .into_response()
}
