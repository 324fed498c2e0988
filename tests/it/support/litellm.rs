//! LiteLLM's proxy: another's HTTP and another's framing, as an upstream.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use tokenrill::settings::{Settings, Upstream};
use tokio::process::{Child, Command};

use super::{Service, installed, root};

/// A running LiteLLM; dropping it ends it.
pub struct LiteLlm {
    base_url: String,
    key: String,
    _process: Child,
}

impl LiteLlm {
    /// With its canned answers.
    pub async fn start() -> Self {
        Self::before("http://127.0.0.1:9/v1").await
    }

    /// In front of `base_url`, whose model `demo` it serves as `litellm/demo`.
    pub async fn before(base_url: &str) -> Self {
        let program = installed(".venv/bin/litellm");
        let port = free_port();
        let key = format!("sk-{}", tokenrill::domain::GenerationId::random());
        let process = Command::new(program)
            .arg("--config")
            .arg(root().join("tests/clients/litellm.yaml"))
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .env("LITELLM_MASTER_KEY", &key)
            .env("LITELLM_UPSTREAM", base_url)
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            .env("LITELLM_TELEMETRY", "False")
            .env("DISABLE_ADMIN_UI", "True")
            .env("NO_DOCS", "True")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("LiteLLM starts");
        let this = Self { base_url: format!("http://127.0.0.1:{port}"), key, _process: process };
        tokio::time::timeout(Duration::from_mins(2), this.ready()).await.expect("LiteLLM is ready in time");
        this
    }

    async fn ready(&self) {
        let mut pause = tokio::time::interval(Duration::from_millis(200));
        loop {
            pause.tick().await;
            let asked = reqwest::get(format!("{}/health/liveliness", self.base_url)).await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
        }
    }

    /// A service with this upstream.
    pub async fn behind_tokenrill(&self, settings: Settings) -> Service {
        let mut upstream = Upstream::new("litellm", format!("{}/v1", self.base_url).parse().expect("a base URL"));
        upstream.api_key_env = Some("LITELLM_KEY".to_owned());
        let settings = Settings { upstreams: vec![upstream], ..settings };
        Service::in_environment(settings, BTreeMap::from([("LITELLM_KEY".to_owned(), self.key.clone())])).await
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
