//! Third-party clients and upstreams. `make test` installs them; without them these tests fail.

use reqwest::Method;
use serde_json::json;
use tokenrill::settings::{Settings, UpstreamSettings};
use tokio::process::Command;

use crate::support::{Answer, LiteLlm, Service, installed, root, succeeds, text};

#[tokio::test]
async fn the_playground_works_in_chromium() {
    installed("tests/clients/node_modules/playwright-core");
    let service = Service::start().await;
    let screenshot = root().join("target/playground.png");
    let mut playground = Command::new("node");
    playground
        .arg(root().join("tests/clients/playground.mjs"))
        .arg(format!("http://{}", service.address))
        .arg(&screenshot);
    succeeds(&mut playground).await;
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn litellm_as_upstream_answers_through_the_service() {
    let litellm = LiteLlm::start().await;
    let service = litellm.behind_tokenrill(Settings::default()).await;

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

#[tokio::test]
async fn litellm_answers_as_the_last_target_of_a_model() {
    let litellm = LiteLlm::start().await;
    let dead = UpstreamSettings::new("dead", "http://127.0.0.1:1/v1".parse().expect("a base URL"));
    let mut settings = Settings { upstreams: vec![dead], ..Settings::default() };
    let chain = r#"targets = ["dead/any", "litellm/mock-rate-limit", "litellm/mock-hello"]"#;
    settings.models.aliases.insert("chain".to_owned(), toml::from_str(chain).expect("an alias"));
    let service = litellm.behind_tokenrill(settings).await;

    let events = service.generate(&json!({"model": "chain", "input": "Hello"})).await.events().await;
    let answer = text(&events);
    assert!(answer.starts_with("Hello from LiteLLM. ") && answer.ends_with("this text comes back whole."), "{answer}");
    let status = service.get("/v1/upstreams").await.json().await;
    let [_, dead, litellm] = status["data"].as_array().expect("a list").as_slice() else { panic!("{status}") };
    assert_eq!((&dead["name"], &litellm["name"]), (&json!("dead"), &json!("litellm")));
    let models: Vec<_> = litellm["models"].as_array().expect("models").iter().map(|model| &model["model"]).collect();
    assert_eq!(models, ["mock-hello", "mock-rate-limit"]);
}
