//! A running Tokenrill.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Once;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokenrill::app::{self, Kept, Listeners};
use tokenrill::auth::NewKey;
use tokenrill::server::{self, Threads};
use tokenrill::settings::{ApiKey, AuthMode, Settings, Upstream};
use tokenrill::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::client::Answer;
use super::metrics::sum_of_series;
use super::soon;

/// Under which a guarded service signs its tickets.
pub const TICKET_SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A service of the test's own, on a port of its own; dropping it ends it.
pub struct Service {
    pub address: SocketAddr,
    /// That of the operators' listener, where the settings name one; the port is the test's own.
    pub admin: Option<SocketAddr>,
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
        raise_descriptor_limit();
        let limits = app::limits(&settings);
        let bind = || server::bind((Ipv4Addr::LOCALHOST, 0).into(), &limits).expect("a port");
        let listeners = Listeners { public: bind(), admin: settings.server.admin_listen.map(|_| bind()) };
        let address = listeners.public.local_addr().expect("an address");
        let admin = listeners.admin.as_ref().map(|admin| admin.local_addr().expect("an address"));
        let tickets = app::tickets(&settings, &environment).expect("a secret");
        let kept = Kept { tickets, issuer: None, prompts: None };
        let (_, admission) = watch::channel(app::admission(&settings, &environment, kept).expect("good settings"));
        let shutdown = Shutdown::new();
        let serving = tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                app::serve(&settings, &environment, admission, listeners, limits, Threads::current(), shutdown)
                    .await
                    .expect("it serves");
            }
        });
        Self { address, admin, shutdown, http: plain_client(), serving }
    }

    /// With authentication, and a key for each of these names with these scopes; the keys by name.
    pub async fn guarded(mut settings: Settings, keys: &[(&str, &[&str])]) -> (Self, BTreeMap<String, String>) {
        let mut told = BTreeMap::new();
        settings.auth.mode = Some(AuthMode::Required);
        settings.auth.ticket_secret_env = Some("TICKETS".to_owned());
        for (name, scopes) in keys {
            let NewKey { key, hash } = NewKey::random().expect("random bytes");
            let scopes = Some(scopes.iter().map(ToString::to_string).collect());
            settings.auth.api_keys.push(ApiKey {
                name: (*name).to_owned(),
                hash: hash.to_string(),
                scopes,
                ..ApiKey::default()
            });
            told.insert((*name).to_owned(), key);
        }
        let environment = BTreeMap::from([("TICKETS".to_owned(), TICKET_SECRET.to_owned())]);
        (Self::in_environment(settings, environment).await, told)
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

    /// A metric of `/metrics`, as [`sum_of_series`] finds it.
    pub async fn metric(&self, name: &str) -> f64 {
        sum_of_series(&self.get("/metrics").await.text().await, name)
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

/// The attacks hold thousands of sockets at both ends; many systems allow 1,024 descriptors unless a process asks for more.
pub(super) fn raise_descriptor_limit() {
    static RAISED: Once = Once::new();
    RAISED.call_once(|| _ = rlimit::increase_nofile_limit(u64::MAX));
}

/// Without root certificates, whose reading takes longer than a short test.
fn plain_client() -> reqwest::Client {
    reqwest::Client::builder().tls_certs_only([]).build().expect("a client")
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
