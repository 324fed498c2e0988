//! A running Tokenrill.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokenrill::api::{Api, BodyLimits, Hosts};
use tokenrill::domain::Principal;
use tokenrill::event_log::{Memory, MemoryLimits};
use tokenrill::generation::{Generations, Limits, OnDisconnect};
use tokenrill::settings::{Settings, Upstream};
use tokenrill::shutdown::Shutdown;
use tokenrill::telemetry::Metrics;
use tokenrill::upstream::{Endpoint, ModelPattern, OpenAi, Router, Timeouts};
use tokenrill::{api, app, server};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::client::Answer;
use super::soon;

/// A service of the test's own, on a port of its own; dropping it ends it.
pub struct Service {
    pub address: SocketAddr,
    pub shutdown: Shutdown,
    http: reqwest::Client,
    serving: JoinHandle<()>,
}

impl Service {
    /// With the embedded model alone.
    pub async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    /// In front of `base_url`, which serves every model, `m` by default.
    pub async fn before(base_url: &str) -> Self {
        Self::with(Self::settings(base_url)).await
    }

    pub fn settings(base_url: &str) -> Settings {
        let mut settings = Settings::default();
        settings.upstreams.push(Upstream::new("scripted", base_url.parse().expect("a base URL")));
        settings.models.default = Some("m".to_owned());
        settings
    }

    pub async fn with(settings: Settings) -> Self {
        Self::in_environment(settings, BTreeMap::new()).await
    }

    #[expect(clippy::disallowed_methods, reason = "dropping the service ends it")]
    #[expect(clippy::unused_async, reason = "it needs a runtime, as its siblings do")]
    pub async fn in_environment(settings: Settings, environment: BTreeMap<String, String>) -> Self {
        let limits = app::limits(&settings);
        let listener = server::bind((Ipv4Addr::LOCALHOST, 0).into(), &limits).expect("a port");
        let address = listener.local_addr().expect("an address");
        let shutdown = Shutdown::new();
        let serving = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { app::serve(&settings, &environment, listener, limits, shutdown).await.expect("it serves") }
        });
        Self { address, shutdown, http: reqwest::Client::new(), serving }
    }

    /// In front of `base_url`, for callers whom something in front has authenticated: whoever the header
    /// `x-tenant` names is that principal.
    #[expect(clippy::disallowed_methods, reason = "dropping the service ends it")]
    #[expect(clippy::unused_async, reason = "it needs a runtime, as its siblings do")]
    pub async fn for_tenants(base_url: &str) -> Self {
        let settings = Self::settings(base_url);
        let time = settings.generation.max_duration;
        let timeouts = Timeouts { connect: time, head: time, first_token: time, idle: time };
        let endpoint = Endpoint::new(base_url, None, HeaderMap::new()).expect("an endpoint");
        let provider = Arc::new(OpenAi::new(endpoint, timeouts).expect("a client"));
        let metrics = Metrics::new();
        let memory = Memory::new(MemoryLimits { total: 64 << 20, generation: 4 << 20, retention: time });
        let limits = Limits { max_duration: time, on_disconnect: OnDisconnect::Cancel, grace: Duration::ZERO };
        let router = Router::new(provider.clone(), vec![(vec![ModelPattern::new("*")], provider)], Some("m".into()));
        let tasks = TaskTracker::new();
        let api = api::router(Api {
            generations: Generations::new(Arc::new(memory), router, limits, Arc::clone(&metrics), tasks),
            metrics,
            hosts: Hosts::Any,
            ends_told: Arc::default(),
            heartbeat: time,
            head_wait: time,
            body: BodyLimits { size: 1 << 20, time },
        });
        let api = api.layer(from_fn(async |mut request: Request, next: Next| {
            let tenant = request.headers().get("x-tenant").and_then(|name| name.to_str().ok().map(str::to_owned));
            request.extensions_mut().insert(tenant.map_or(Principal::Anonymous, |name| Principal::Named(name.into())));
            next.run(request).await
        }));
        let limits = app::limits(&settings);
        let listener = server::bind((Ipv4Addr::LOCALHOST, 0).into(), &limits).expect("a port");
        let address = listener.local_addr().expect("an address");
        let shutdown = Shutdown::new();
        let stop = shutdown.closing_token();
        let serving = tokio::spawn(server::serve(listener, api, limits, stop));
        Self { address, shutdown, http: reqwest::Client::new(), serving }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    /// Starts a generation and follows its events.
    pub async fn generate(&self, body: &Value) -> Answer {
        Answer::to(self.generation(body).header(ACCEPT, "text/event-stream")).await
    }

    /// A request for a generation, for the test to complete.
    pub fn generation(&self, body: &Value) -> RequestBuilder {
        self.request(Method::POST, "/v1/generations").header(CONTENT_TYPE, "application/json").body(body.to_string())
    }

    /// A figure of `/metrics`, such as `tokenrill_viewers_live`.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.text().await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|figure| figure.parse().ok()).unwrap_or_else(|| panic!("no figure {name} in {text}"))
    }

    /// Waits until a figure has a value.
    pub async fn metric_becomes(&self, name: &str, value: f64) {
        soon(async {
            while self.metric(name).await.to_bits() != value.to_bits() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
