//! LiteLLM's proxy as an upstream: a server with its own HTTP stack and its own framing.

use std::collections::BTreeMap;
use std::time::Duration;

use tokenrill::settings::{Settings, UpstreamSettings};
use tokio::process::{Child, Command};

use super::{Output, Service, free_port, installed, root, within};

/// LiteLLM spends a quarter of a minute on imports on an idle machine.
const START: Duration = Duration::from_mins(4);

/// A running LiteLLM. Dropping it ends the process; a test that panics shows its last output.
pub struct LiteLlm {
    base_url: String,
    key: String,
    process: Child,
    _output: Output,
}

impl LiteLlm {
    /// Starts LiteLLM with its canned answers.
    pub async fn start() -> Self {
        Self::before("http://127.0.0.1:9/v1").await
    }

    /// Starts LiteLLM in front of `base_url`, whose model `demo` it serves as `litellm/demo`.
    pub async fn before(base_url: &str) -> Self {
        let program = installed(".venv/bin/litellm");
        let port = free_port();
        let key = format!("sk-{}", tokenrill::domain::GenerationId::random());
        let output = Output::of("LiteLLM");
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
            .env("PYTHONUNBUFFERED", "1")
            .stdout(output.stream())
            .stderr(output.stream())
            .kill_on_drop(true)
            .spawn()
            .expect("LiteLLM starts");
        let mut this = Self { base_url: format!("http://127.0.0.1:{port}"), key, process, _output: output };
        within(START, this.wait_until_ready()).await;
        this
    }

    async fn wait_until_ready(&mut self) {
        let mut pause = tokio::time::interval(Duration::from_millis(200));
        loop {
            pause.tick().await;
            let response = reqwest::get(format!("{}/health/liveliness", self.base_url)).await;
            if response.is_ok_and(|response| response.status().is_success()) {
                return;
            }
            let ended = self.process.try_wait().expect("a status");
            assert_eq!(ended, None, "LiteLLM ended before it was ready");
        }
    }

    /// Starts a service with this upstream after those of the settings.
    pub async fn behind_tokenrill(&self, settings: Settings) -> Service {
        let mut upstream =
            UpstreamSettings::new("litellm", format!("{}/v1", self.base_url).parse().expect("a base URL"));
        upstream.api_key_env = Some("LITELLM_KEY".to_owned());
        // When its client disconnects, LiteLLM cancels the upstream request only if that is streamed.
        upstream.always_stream = true;
        let upstreams = settings.upstreams.iter().cloned().chain([upstream]).collect();
        let settings = Settings { upstreams, ..settings };
        Service::in_environment(settings, BTreeMap::from([("LITELLM_KEY".to_owned(), self.key.clone())])).await
    }
}
