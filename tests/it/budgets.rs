//! Budgets of money, as callers see them: which models they may ask for, and what refuses them.

use std::collections::BTreeMap;

use reqwest::Method;
use reqwest::header::{ACCEPT, RETRY_AFTER};
use serde_json::{Value, json};
use tokenrill::auth::NewKey;
use tokenrill::domain::{Budget, BudgetPeriod, Timestamp};
use tokenrill::settings::{ApiKeySettings, AuthMode, JwtSettings, ModelPrice, Settings, UpstreamSettings};

use crate::support::issuer::{SECRET, claims, hs256, trusting};
use crate::support::{Answer, Service, Upstream};

pub fn price(input: &str, output: Option<&str>) -> ModelPrice {
    let price = |text: &str| text.parse().expect("a price");
    ModelPrice { input: Some(price(input)), output: output.map(price), ..ModelPrice::default() }
}

/// Settings with a price for the model `m`: a thousandth of a dollar for an input token, a hundredth for an output token.
fn priced(upstream: &Upstream) -> Settings {
    let prices = [("scripted/m".to_owned(), price("1000", Some("10000")))].into();
    Settings { prices, ..Service::settings(&upstream.base_url()) }
}

/// Starts a service with one key, which has a budget of so many dollars a month. Returns the key too.
pub async fn with_budget(mut settings: Settings, dollars: &str) -> (Service, String) {
    let NewKey { key, hash } = NewKey::random().expect("random bytes");
    settings.auth.mode = Some(AuthMode::Required);
    settings.auth.api_keys.push(ApiKeySettings {
        name: "web".to_owned(),
        hash: hash.to_string(),
        budget: Some(Budget { most: dollars.parse().expect("dollars"), per: BudgetPeriod::Month }),
        ..ApiKeySettings::default()
    });
    (Service::with(settings).await, key)
}

/// `Hello` and the role are 3 tokens, by the estimate of four bytes for each.
fn body(most_output: u64) -> Value {
    json!({"input": "Hello", "model": "m", "max_completion_tokens": most_output})
}

async fn generate(service: &Service, key: &str, body: &Value) -> Answer {
    Answer::to(service.generation(body).bearer_auth(key)).await
}

#[tokio::test]
async fn caller_with_a_budget_may_only_ask_for_models_whose_every_target_is_priced() {
    let upstream = Upstream::start().await;
    let mut settings = priced(&upstream);
    settings.prices.insert("half".to_owned(), price("1", None));
    let other = UpstreamSettings::new("other", upstream.base_url().parse().expect("a base URL"));
    settings.upstreams.push(other);
    let alias = |targets: &str| toml::from_str(&format!("targets = {targets}")).expect("an alias");
    settings.models.aliases.insert("mixed".to_owned(), alias(r#"["scripted/m", "other/m"]"#));
    settings.models.aliases.insert("whole".to_owned(), alias(r#"["scripted/m", "scripted/m"]"#));
    let (service, key) = with_budget(settings, "1000").await;
    for model in ["unknown", "half", "mixed", "demo"] {
        let refused = generate(&service, &key, &json!({"input": "Hello", "model": model})).await;
        assert_eq!(refused.status, 403, "{model}");
        let problem = refused.json().await;
        assert_eq!((&problem["code"], &problem["retryable"]), (&json!("model_unpriced"), &json!(false)), "{model}");
    }
    for model in ["m", "whole"] {
        let mut viewer = generate(&service, &key, &json!({"input": "Hello", "model": model})).await;
        viewer.expect("start").await;
        upstream.call().await.answer(&["Hi"]).await;
        viewer.expect("delta").await;
        viewer.expect("done").await;
    }
}

/// A budget of 0.1 dollars, of which 0.044 are left.
async fn used() -> (Upstream, Service, String) {
    let upstream = Upstream::start().await;
    let (service, key) = with_budget(priced(&upstream), "0.1").await;
    let mut viewer = generate(&service, &key, &body(5)).await;
    viewer.expect("start").await;
    let mut call = upstream.call().await;
    call.ok().await;
    call.text("Hi").await;
    call.finish("stop").await;
    call.data(json!({"choices": [], "usage": {"prompt_tokens": 6, "completion_tokens": 5}})).await;
    call.done().await;
    viewer.expect("delta").await;
    assert_eq!(viewer.expect("done").await.data["cost"].to_string(), "0.056");
    (upstream, service, key)
}

#[tokio::test]
async fn refusal_names_what_is_left_and_the_reset_and_is_not_retried_on_any_wire() {
    let (_upstream, service, key) = used().await;
    let reset = BudgetPeriod::Month.end(Timestamp::now()).to_string().replace(".000Z", "Z");
    let detail = format!(
        "This request may cost 0.053 US dollars, and 0.044 of your budget of 0.1 per month are left. The budget is whole \
         again at {reset}. Until then, send requests with a shorter prompt, a lower limit of output tokens or a cheaper \
         model."
    );
    let native = || service.request(Method::POST, "/v1/generations").json(&body(5)).bearer_auth(&key);
    let problem = Answer::to(native().header(ACCEPT, "application/json")).await;
    assert_eq!((problem.status, problem.header("content-type")), (429, "application/problem+json"));
    assert!(problem.headers.get(RETRY_AFTER).is_none());
    let problem = problem.json().await;
    assert_eq!((&problem["code"], &problem["retryable"]), (&json!("budget_exceeded"), &json!(false)));
    assert_eq!((&problem["detail"], problem.get("retry_after_ms")), (&json!(detail), None));

    let event = Answer::to(native().header(ACCEPT, "text/event-stream")).await;
    assert_eq!(event.status, 429);
    let text = event.text().await;
    assert!(text.starts_with("event: failed\ndata: {"), "{text}");
    assert!(text.contains("\nretry: 86400000\n") && !text.contains("\nid:"), "{text}");

    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_completion_tokens": 5});
    for accept in ["application/json", "text/event-stream"] {
        let request = service.request(Method::POST, "/v1/chat/completions").json(&chat).bearer_auth(&key);
        let refused = Answer::to(request.header(ACCEPT, accept)).await;
        assert_eq!((refused.status, refused.header("x-should-retry")), (429, "false"), "{accept}");
        assert!(refused.headers.get(RETRY_AFTER).is_none() && refused.headers.get("retry-after-ms").is_none());
        let text = refused.text().await;
        let error: Value = serde_json::from_str(text.trim_start_matches("data: ").trim()).expect("JSON");
        let error = &error["error"];
        assert_eq!((&error["code"], &error["message"]), (&json!("budget_exceeded"), &json!(detail)), "{accept}");
        assert_eq!(error["type"], "insufficient_quota", "{accept}");
    }
}

#[tokio::test]
async fn request_that_fits_is_admitted_and_one_that_is_refused_reserves_nothing() {
    let (upstream, service, key) = used().await;
    for _ in 0..3 {
        assert_eq!(generate(&service, &key, &body(5)).await.status, 429);
    }
    // 0.003 for the prompt and 0.04 for the answer.
    let mut viewer = generate(&service, &key, &body(4)).await;
    viewer.expect("start").await;
    let mut call = upstream.call().await;
    assert_eq!(generate(&service, &key, &body(1)).await.status, 429, "the rest is reserved");
    // A refusal by the upstream is not billed.
    call.refuse(401, "content-type: application/json\r\n", r#"{"error":{"message":"no"}}"#).await;
    drop(call);
    viewer.expect("failed").await;
    let mut viewer = generate(&service, &key, &body(4)).await;
    let id = viewer.expect("start").await.generation().to_owned();
    let mut call = upstream.call().await;
    call.ok().await;
    call.data(json!({"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}})).await;
    call.text("Hi").await;
    viewer.expect("delta").await;
    let path = format!("/v1/generations/{id}/cancel");
    Answer::to(service.request(Method::POST, &path).bearer_auth(&key)).await;
    viewer.expect("cancelled").await;
    // 0.024 were used, 0.02 are left.
    assert_eq!(generate(&service, &key, &body(2)).await.status, 429);
    assert_eq!(generate(&service, &key, &body(1)).await.status, 200);
}

#[tokio::test]
async fn budget_in_the_limits_claim_of_a_token_applies_to_its_subject() {
    let upstream = Upstream::start().await;
    let auth = trusting(JwtSettings {
        secret_env: Some("TOKENS".to_owned()),
        limits_claim: Some("limits".to_owned()),
        ..JwtSettings::default()
    })
    .auth;
    let settings = Settings { auth, ..priced(&upstream) };
    let environment = BTreeMap::from([("TOKENS".to_owned(), SECRET.to_owned())]);
    let service = Service::in_environment(settings, environment).await;
    let token = |subject: &str, limits: Value| {
        let claims = claims(&json!({"sub": subject, "limits": limits}));
        hs256(SECRET.as_bytes(), &json!({"alg": "HS256"}), &claims)
    };
    let budget = |dollars: f64| json!({"requests_per_minute": 100, "budget": {"usd": dollars, "per": "day"}});
    let refused = generate(&service, &token("ann", budget(0.052)), &body(5)).await;
    assert_eq!((refused.status, refused.json().await["code"].clone()), (429, json!("budget_exceeded")));
    assert_eq!(generate(&service, &token("ann", budget(0.06)), &body(5)).await.status, 200);
    assert_eq!(generate(&service, &token("ann", budget(0.06)), &body(5)).await.status, 429, "the same subject");
    assert_eq!(generate(&service, &token("bob", budget(0.06)), &body(5)).await.status, 200, "another one");
    assert_eq!(generate(&service, &token("ann", json!({})), &body(5)).await.status, 200, "no budget");
    for unreadable in [json!({"budget": 5}), json!({"budget": {"usd": 0, "per": "day"}}), json!({"budget": {"usd": 1}})]
    {
        assert_eq!(
            generate(&service, &token("ann", unreadable), &body(5)).await.status,
            401,
            "must not lift the budget"
        );
    }
}
