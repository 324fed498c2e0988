//! Token usage: every generation is counted once, however it ends.

use reqwest::Method;
use serde_json::{Value, json};
use tokenrill::settings::{ModelPrice, Settings};

use crate::support::{Answer, Call, Service, Upstream};

const SENTENCE: &str = "The quick brown fox jumps over the lazy dog.";

/// Starts a generation of `model` that sends [`SENTENCE`]. The test ends it.
async fn start_generation(service: &Service, upstream: &Upstream, model: &str) -> (Answer, String, Call) {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "Hello"}]});
    let mut viewer = service.generate(&body).await;
    let id = viewer.expect("start").await.generation().to_owned();
    let mut call = upstream.call().await;
    call.ok().await;
    for word in SENTENCE.split_inclusive(' ') {
        call.text(word).await;
        viewer.expect("delta").await;
    }
    (viewer, id, call)
}

/// Ends a generation as `ending` says: by a stop, a lost upstream, or the end of the answer.
async fn end(service: &Service, id: &str, mut call: Call, ending: &str) {
    match ending {
        "cancelled" => {
            Answer::to(service.request(Method::POST, &format!("/v1/generations/{id}/cancel"))).await;
        }
        "failed" => drop(call),
        _ => {
            call.finish("stop").await;
            call.done().await;
        }
    }
}

#[tokio::test]
async fn usage_of_an_early_end_is_estimated_in_tokens_not_in_chunks() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    for ending in ["cancelled", "failed", "done"] {
        let (mut viewer, id, call) = start_generation(&service, &upstream, "gpt-4o-mini").await;
        end(&service, &id, call, ending).await;
        let event = viewer.expect(ending).await;
        // The counts that OpenAI reports for this prompt and this text.
        assert_eq!(event.data["usage"], json!({"input_tokens": 8, "output_tokens": 10, "estimated": true}), "{ending}");
        let snapshot = service.get(&format!("/v1/generations/{id}")).await.json().await;
        assert_eq!(snapshot["usage"], event.data["usage"]);
    }
    assert_eq!(service.metric("tokenrill_tokens_total{type=\"output\"}").await.to_bits(), 30f64.to_bits());
}

#[tokio::test]
async fn large_chunk_counts_as_more_than_one_token() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut viewer = service.generate(&json!({"input": "Hello", "model": "gpt-4o"})).await;
    let mut call = upstream.call().await;
    call.ok().await;
    call.delta(json!({"reasoning_content": SENTENCE})).await;
    call.text(&format!("{SENTENCE} ").repeat(100)).await;
    call.finish("stop").await;
    call.done().await;
    viewer.expect("start").await;
    viewer.expect("reasoning").await;
    viewer.expect("delta").await;
    let usage: Value = viewer.expect("done").await.data["usage"].clone();
    assert!((1005..=1020).contains(&usage["output_tokens"].as_u64().expect("a number")), "{usage}");
}

#[tokio::test]
async fn usage_reported_by_the_upstream_is_kept_after_a_stop() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let (mut viewer, id, mut call) = start_generation(&service, &upstream, "m").await;
    // Some servers report the usage so far with each chunk.
    call.data(json!({"choices": [{"index": 0, "delta": {"content": "x"}}], "usage": {"prompt_tokens": 21, "completion_tokens": 34}})).await;
    viewer.expect("delta").await;
    Answer::to(service.request(Method::POST, &format!("/v1/generations/{id}/cancel"))).await;
    let ended = viewer.expect("cancelled").await;
    assert_eq!(ended.data["usage"], json!({"input_tokens": 21, "output_tokens": 34, "estimated": false}));
}

#[tokio::test]
async fn tokens_saved_by_a_stop_are_reported() {
    let service = Service::start().await;
    let saved = "tokenrill_tokens_saved_total";
    assert_eq!(service.metric(saved).await.to_bits(), 0f64.to_bits());
    service.generate(&json!({"input": "Hello", "model": "demo?tokens=200&rate=max"})).await.events().await;
    let mut viewer = service.generate(&json!({"input": "Hello", "model": "demo?stall_at=5&rate=max"})).await;
    let id = viewer.expect("start").await.generation().to_owned();
    for _ in 0..5 {
        viewer.expect("delta").await;
    }
    Answer::to(service.request(Method::POST, &format!("/v1/generations/{id}/cancel"))).await;
    let spent = viewer.expect("cancelled").await.data["usage"]["output_tokens"].as_f64().expect("a number");
    assert!((3.0..=8.0).contains(&spent), "{spent}");
    service.metric_becomes(saved, 200.0 - spent).await;
}

/// Settings with prices of the model `m`, in dollars for a million tokens.
fn priced(upstream: &Upstream) -> Settings {
    let price = |text: &str| Some(text.parse().expect("a price"));
    let price = ModelPrice {
        input: price("2"),
        cache_read: price("0.5"),
        output: price("10"),
        reasoning: price("20"),
        ..ModelPrice::default()
    };
    Settings { prices: [("scripted/m".to_owned(), price)].into(), ..Service::settings(&upstream.base_url()) }
}

/// The usage that a server reports, and what it costs at the prices of [`priced`].
const REPORTED: &str = r#"{"choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":400},"completion_tokens_details":{"reasoning_tokens":30}}}"#;
/// Millionths: 600 * 2 + 400 * 0.5 + 20 * 10 + 30 * 20.
const REPORTED_COST: &str = "0.0022";

#[tokio::test]
async fn cost_is_in_the_last_event_the_snapshot_and_the_metric_of_each_ending() {
    let upstream = Upstream::start().await;
    let service = Service::with(priced(&upstream)).await;
    for ending in ["done", "cancelled", "failed"] {
        let (mut viewer, id, mut call) = start_generation(&service, &upstream, "m").await;
        call.data(REPORTED).await;
        // The upstream's usage has been read once this has arrived.
        call.text("!").await;
        viewer.expect("delta").await;
        end(&service, &id, call, ending).await;
        let event = viewer.expect(ending).await;
        assert_eq!(event.data["cost"].to_string(), REPORTED_COST, "{ending}: {}", event.data);
        let snapshot = service.get(&format!("/v1/generations/{id}")).await.text().await;
        assert!(snapshot.contains(&format!(",\"cost\":{REPORTED_COST},")), "{snapshot}");
    }
    let cost = service.metric("tokenrill_cost_usd_total{upstream=\"scripted\"}").await;
    assert_eq!(cost.to_bits(), 0.0066_f64.to_bits(), "{cost}");
}

#[tokio::test]
async fn cost_of_an_unpriced_model_is_absent_and_counted() {
    let upstream = Upstream::start().await;
    let service = Service::with(priced(&upstream)).await;
    let (mut viewer, id, mut call) = start_generation(&service, &upstream, "other").await;
    call.finish("stop").await;
    call.done().await;
    assert_eq!(viewer.expect("done").await.data.get("cost"), None);
    let snapshot = service.get(&format!("/v1/generations/{id}")).await.json().await;
    assert_eq!((snapshot.get("cost"), &snapshot["status"]), (None, &json!("done")));
    let unpriced = service.metric("tokenrill_unpriced_generations_total{upstream=\"scripted\"}").await;
    assert_eq!(unpriced.to_bits(), 1f64.to_bits());
}

#[tokio::test]
async fn refused_request_has_no_cost_and_is_not_counted_as_unpriced() {
    let upstream = Upstream::start().await;
    let service = Service::with(priced(&upstream)).await;
    let mut viewer = service.generate(&json!({"input": "Hello", "model": "m"})).await;
    viewer.expect("start").await;
    upstream.call().await.refuse(401, "content-type: application/json\r\n", r#"{"error":{"message":"no"}}"#).await;
    let failed = viewer.expect("failed").await;
    assert_eq!((failed.data.get("cost"), failed.data.get("usage")), (None, None));
    let metrics = service.get("/metrics").await.text().await;
    for name in ["tokenrill_cost_usd_total{", "tokenrill_unpriced_generations_total{"] {
        assert!(!metrics.contains(name), "{name}: {metrics}");
    }
}
