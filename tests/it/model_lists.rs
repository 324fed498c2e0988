//! Long lists of models.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, Service, Upstream, text};

const MANY: usize = 60_000;

#[tokio::test]
async fn list_of_60_000_models_is_fetched_once_and_truncated_and_each_model_is_usable() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    // The models that the upstream lists, in another order, and as many that it does not list.
    settings.upstreams[0].models = (0..2 * MANY).rev().map(|number| format!("model-{number:06}")).collect();
    let (service, keys) = Service::guarded(settings, &[("all", &["generate"])]).await;
    let entries: Vec<_> = (0..MANY).map(|number| json!({"id": format!("model-{number:06}")})).collect();
    let list = json!({"object": "list", "data": entries}).to_string();
    let get = |path: &str| service.request(Method::GET, path).bearer_auth(&keys["all"]);

    let (answers, ()) = tokio::join!(join_all((0..20).map(|_| Answer::to(get("/v1/models")))), async {
        upstream.call().await.json(&list).await;
    });
    for answer in answers {
        let models = answer.json().await["data"].as_array().expect("a list").len();
        assert_eq!(models, 10_000);
    }
    assert!(!upstream.was_called());
    assert_eq!(Answer::to(get("/v1/models/model-000000")).await.json().await["id"], "model-000000");
    assert_eq!(Answer::to(get("/v1/models/model-x")).await.status, 404);

    let ask = |model: &str| service.generation(&json!({"input": "x", "model": model})).bearer_auth(&keys["all"]);
    let (answer, ()) = tokio::join!(Answer::to(ask("model-119999")), async {
        upstream.call().await.answer(&["used"]).await;
    });
    assert_eq!(text(&answer.events().await), "used");
    let unknown = Answer::to(ask("model-x")).await;
    assert_eq!(unknown.status, 404);
    let detail = unknown.json().await["detail"].to_string();
    assert!(detail.contains("`demo`, `model-000000`") && detail.contains("and others"), "{detail}");
}
