//! A running Tokenrill in the process of the test.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Once;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokenrill::app::{self, Kept, Listeners, Reloadable};
use tokenrill::auth::NewKey;
use tokenrill::server::{self, Threads};
use tokenrill::settings::{ApiKeySettings, AuthMode, EventLogSettings, Settings, UpstreamSettings};
use tokenrill::shutdown::Shutdown;
use tokio::task::JoinHandle;

use super::client::Answer;
use super::metrics::sum_of_series;
use super::redis_server::{RedisServer, unique_prefix};
use super::soon;

/// The ticket secret of a guarded service.
pub const TICKET_SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A service on its own port. Dropping it ends it.
pub struct Service {
    pub address: SocketAddr,
    /// The address of the operators' listener, if the settings have one; its port is replaced by a free one.
    pub admin: Option<SocketAddr>,
    pub shutdown: Shutdown,
    http: reqwest::Client,
    serving: JoinHandle<()>,
}

impl Service {
    /// Starts a service with only the embedded model.
    pub async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    /// Starts a service in front of `base_url`, which serves every model. The default model is `m`.
    pub async fn before(base_url: &str) -> Self {
        Self::with(Self::settings(base_url)).await
    }

    pub fn settings(base_url: &str) -> Settings {
        let mut settings = Settings::default();
        let upstream = UpstreamSettings::new("scripted", base_url.parse().expect("a base URL"));
        // Most tests are about one attempt; those about several set it.
        settings.upstreams.push(UpstreamSettings { max_retries: 0, ..upstream });
        settings.models.default = Some("m".to_owned());
        settings
    }

    pub async fn with(settings: Settings) -> Self {
        Self::in_environment(settings, BTreeMap::new()).await
    }

    #[expect(clippy::disallowed_methods, reason = "dropping the service ends it")]
    #[expect(clippy::unused_async, reason = "it needs a runtime, as its siblings do")]
    pub async fn in_environment(mut settings: Settings, mut environment: BTreeMap<String, String>) -> Self {
        raise_descriptor_limit();
        // Settings of the log in memory are those of a test about that log.
        let log = EventLogSettings::default();
        if tests_use_redis() && settings.event_log == log {
            RedisServer::shared().serve(&mut settings, &mut environment, &unique_prefix());
        }
        let limits = app::limits(&settings);
        let bind = || server::bind((Ipv4Addr::LOCALHOST, 0).into(), &limits).expect("a port");
        let listeners = Listeners { public: bind(), admin: settings.server.admin_listen.map(|_| bind()) };
        let address = listeners.public.local_addr().expect("an address");
        let admin = listeners.admin.as_ref().map(|admin| admin.local_addr().expect("an address"));
        let tickets = app::tickets(&settings, &environment).expect("a secret");
        let kept = Kept { tickets, issuer: None, prompts: None };
        let admission = app::admission(&settings, &environment, kept).expect("good settings");
        let reloadable = Reloadable::new(&settings, admission).expect("good prices");
        let shutdown = Shutdown::new();
        let serving = tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                app::serve(&settings, &environment, &reloadable, listeners, limits, Threads::current(), shutdown)
                    .await
                    .expect("it serves");
            }
        });
        Self { address, admin, shutdown, http: plain_client(), serving }
    }

    /// Starts a service with authentication, and a key for each name with its scopes. Returns the keys by name.
    pub async fn guarded(settings: Settings, keys: &[(&str, &[&str])]) -> (Self, BTreeMap<String, String>) {
        Self::guarded_in(settings, BTreeMap::new(), keys).await
    }

    /// Starts a service with authentication in an environment.
    pub async fn guarded_in(
        mut settings: Settings,
        mut environment: BTreeMap<String, String>,
        keys: &[(&str, &[&str])],
    ) -> (Self, BTreeMap<String, String>) {
        let mut told = BTreeMap::new();
        settings.auth.mode = Some(AuthMode::Required);
        settings.auth.ticket_secret_env = Some("TICKETS".to_owned());
        for (name, scopes) in keys {
            let NewKey { key, hash } = NewKey::random().expect("random bytes");
            let scopes = Some(scopes.iter().map(ToString::to_string).collect());
            settings.auth.api_keys.push(ApiKeySettings {
                name: (*name).to_owned(),
                hash: hash.to_string(),
                scopes,
                ..ApiKeySettings::default()
            });
            told.insert((*name).to_owned(), key);
        }
        environment.insert("TICKETS".to_owned(), TICKET_SECRET.to_owned());
        (Self::in_environment(settings, environment).await, told)
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    /// Starts a generation and reads its events.
    pub async fn generate(&self, body: &Value) -> Answer {
        Answer::to(self.generation(body).header(ACCEPT, "text/event-stream")).await
    }

    /// Returns a request for a generation, which the test completes and sends.
    pub fn generation(&self, body: &Value) -> RequestBuilder {
        self.request(Method::POST, "/v1/generations").header(CONTENT_TYPE, "application/json").body(body.to_string())
    }

    /// Returns a metric of `/metrics`, as [`sum_of_series`] does.
    pub async fn metric(&self, name: &str) -> f64 {
        sum_of_series(&self.get("/metrics").await.text().await, name)
    }

    /// Waits until a metric has a value.
    pub async fn metric_becomes(&self, name: &str, value: f64) {
        soon(async {
            while self.metric(name).await.to_bits() != value.to_bits() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Returns whether services of tests use Redis, unless a test chooses otherwise.
pub fn tests_use_redis() -> bool {
    std::env::var_os("TOKENRILL_TEST_REDIS").is_some()
}

/// The tests of attacks open thousands of sockets at both ends. Many systems allow 1,024 descriptors unless a process
/// raises its limit.
pub(super) fn raise_descriptor_limit() {
    static RAISED: Once = Once::new();
    RAISED.call_once(|| _ = rlimit::increase_nofile_limit(u64::MAX));
}

/// Returns a client without root certificates, since loading them takes longer than a short test.
fn plain_client() -> reqwest::Client {
    reqwest::Client::builder().tls_certs_only([]).build().expect("a client")
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
