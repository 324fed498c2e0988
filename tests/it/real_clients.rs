//! Clients and upstreams of others' making. `make test` installs them; without them these tests fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::Method;
use serde_json::json;
use tokenrill::settings::{Settings, Upstream};
use tokio::process::{Child, Command};

use crate::support::{Answer, Service, text};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn installed(path: &str) -> PathBuf {
    let path = root().join(path);
    assert!(path.exists(), "{} is missing: run `make test`, which installs it", path.display());
    path
}

#[tokio::test]
async fn the_playground_works_in_chromium() {
    installed("tests/clients/node_modules/playwright-core");
    let service = Service::start().await;
    let screenshot = root().join("target/playground.png");
    let output = Command::new("node")
        .arg(root().join("tests/clients/playground.mjs"))
        .arg(format!("http://{}", service.address))
        .arg(&screenshot)
        .kill_on_drop(true)
        .output()
        .await
        .expect("node runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

/// LiteLLM's proxy with canned answers: another's HTTP and another's framing.
struct LiteLlm {
    base_url: String,
    key: String,
    _process: Child,
}

impl LiteLlm {
    async fn start() -> Self {
        let program = installed(".venv/bin/litellm");
        let port = free_port();
        let key = format!("sk-{}", tokenrill::domain::GenerationId::random());
        let process = Command::new(program)
            .arg("--config")
            .arg(root().join("tests/clients/litellm.yaml"))
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .env("LITELLM_MASTER_KEY", &key)
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
        tokio::time::timeout(std::time::Duration::from_mins(2), this.ready()).await.expect("LiteLLM is ready in time");
        this
    }

    async fn ready(&self) {
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(200));
        loop {
            pause.tick().await;
            let asked = reqwest::get(format!("{}/health/liveliness", self.base_url)).await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
        }
    }

    async fn behind_tokenrill(&self) -> Service {
        let mut upstream = Upstream::new("litellm", format!("{}/v1", self.base_url).parse().expect("a base URL"));
        upstream.api_key_env = Some("LITELLM_KEY".to_owned());
        let settings = Settings { upstreams: vec![upstream], ..Settings::default() };
        Service::in_environment(settings, BTreeMap::from([("LITELLM_KEY".to_owned(), self.key.clone())])).await
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[tokio::test]
async fn an_engine_that_is_not_ours_answers_through_the_service() {
    let litellm = LiteLlm::start().await;
    let service = litellm.behind_tokenrill().await;

    let events = service.generate(&json!({"model": "mock-hello", "input": "Hello"})).await.events().await;
    let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!((names[0], names[names.len() - 1]), ("start", "done"), "{names:?}");
    let answer = text(&events);
    assert!(answer.starts_with("Hello from LiteLLM. ") && answer.ends_with("this text comes back whole."), "{answer}");
    assert!(answer.contains("a family 👩‍👩‍👧 and") && answer.contains("你好，世界") && answer.contains("🇳🇴"), "{answer}");
    assert!(events.len() > 20, "token by token");
    let done = &events[events.len() - 1].data;
    assert_eq!((&done["finish_reason"], &done["usage"]["estimated"]), (&json!("stop"), &json!(false)));

    let path = format!("/v1/generations/{}", events[0].generation());
    assert_eq!(service.get(&path).await.json().await["text"], answer.as_str());
    assert_eq!(service.get(&format!("{path}/events")).await.events().await, events);

    let refused = service.generate(&json!({"model": "mock-rate-limit", "input": "Hello"})).await.events().await;
    let refused = &refused[refused.len() - 1];
    assert_eq!((refused.name.as_str(), &refused.data["error"]["code"]), ("failed", &json!("upstream_rate_limited")));

    let models = Answer::to(service.request(Method::GET, "/v1/models")).await.json().await;
    let models: Vec<_> = models["data"].as_array().expect("data").iter().map(|model| model["id"].clone()).collect();
    assert_eq!(models[0], "demo");
    assert!(models.contains(&json!("mock-hello")), "{models:?}");
}
