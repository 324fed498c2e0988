//! Models that stand for several targets: which target or key gets a request after which failure, and what callers and
//! operators see of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokenrill::settings::{AliasSettings, BreakerSettings, Settings, UpstreamSettings};

use crate::support::answering_upstream::{HELD, WORDS, WORDS_TEXT};
use crate::support::{Answer, AnsweringUpstream, Call, Service, Upstream, text};

const SHORT: Duration = Duration::from_millis(200);

fn alias(fields: &str) -> AliasSettings {
    toml::from_str(fields).expect("an alias")
}

/// Settings with upstreams named `a`, `b` and so on, and the model `fast` with these fields.
fn settings(base_urls: &[String], fast: &str) -> Settings {
    let mut settings = Settings::default();
    for (name, base_url) in ["a", "b", "c"].iter().zip(base_urls) {
        let upstream = UpstreamSettings::new(name, base_url.parse().expect("a base URL"));
        settings.upstreams.push(UpstreamSettings { max_retries: 1, models: vec!["none".to_owned()], ..upstream });
    }
    settings.models.aliases.insert("fast".to_owned(), alias(fast));
    settings
}

async fn refused(mut call: Call, status: u16, headers: &str, code: &str) {
    call.refuse(status, headers, &json!({"error": {"message": "words", "code": code}}).to_string()).await;
}

#[tokio::test]
async fn alias_is_listed_and_its_targets_get_their_own_names_and_parameters() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let fast = "targets = [{ target = \"a/one\", parameters = { temperature = 0.2, top_k = 5 } }, \"b/org/two\"]";
    let service = Service::with(settings(&[a.base_url(), b.base_url()], fast)).await;
    let body = json!({"input": "Hello", "model": "fast", "temperature": 1});
    let answering = async {
        let call = a.call().await;
        assert_eq!((&call.body["model"], &call.body["temperature"]), (&json!("one"), &json!(0.2)));
        assert_eq!(call.body["top_k"], 5);
        refused(call, 502, "", "bad_gateway").await;
        let mut call = b.call().await;
        assert_eq!((&call.body["model"], &call.body["temperature"]), (&json!("org/two"), &json!(1)));
        assert_eq!(call.body.get("top_k"), None, "the parameters of one target do not reach another");
        call.answer(&["Hello"]).await;
    };
    let (answer, ()) = tokio::join!(service.generate(&body), answering);
    assert_eq!(text(&answer.events().await), "Hello");
    let listing = async {
        for upstream in [&a, &b] {
            let mut call = upstream.call().await;
            call.json(r#"{"object":"list","data":[]}"#).await;
        }
    };
    let (list, ()) = tokio::join!(service.get("/v1/models"), listing);
    let list = list.json().await;
    let names: Vec<_> = list["data"].as_array().expect("a list").iter().map(|model| &model["id"]).collect();
    assert!(names.contains(&&json!("fast")), "{names:?}");
    let fast = service.get("/v1/models/fast").await.json().await;
    assert_eq!(fast["owned_by"], "tokenrill");
}

/// The bodies of 20 conversations of two turns each.
fn conversation(number: usize, turn: usize) -> Value {
    let mut messages = vec![json!({"role": "user", "content": format!("Topic {number}")})];
    for turn in 1..turn {
        messages.push(json!({"role": "assistant", "content": "Answer"}));
        messages.push(json!({"role": "user", "content": format!("Topic {number} again, {turn}")}));
    }
    json!({"messages": messages})
}

#[tokio::test]
async fn conversations_stay_with_their_key_while_it_is_healthy_and_fail_over_when_it_is_refused() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.upstreams[0].api_key_envs = vec!["KEY_1".to_owned(), "KEY_2".to_owned()];
    let environment = [("KEY_1", "sk-one"), ("KEY_2", "sk-two")];
    let environment = environment.map(|(name, key)| (name.to_owned(), key.to_owned())).into_iter().collect();
    let service = Service::in_environment(settings, environment).await;
    let key_of = async |number: usize, turn: usize| {
        let answering = async {
            let mut call = upstream.call().await;
            let key = if call.head.contains("bearer sk-one") { 1 } else { 2 };
            call.answer(&["Answer"]).await;
            key
        };
        let body = conversation(number, turn);
        let (answer, key) = tokio::join!(service.generate(&body), answering);
        assert_eq!(text(&answer.events().await), "Answer");
        key
    };
    let mut keys = BTreeMap::new();
    for number in 0..20 {
        keys.insert(number, key_of(number, 1).await);
    }
    for turn in 2..4 {
        for number in 0..20 {
            assert_eq!(key_of(number, turn).await, keys[&number], "conversation {number}, turn {turn}");
        }
    }
    let first = keys.values().filter(|key| **key == 1).count();
    assert!((8..=12).contains(&first), "{first} of 20 use the first key");

    let of_first = *keys.iter().find(|(_, key)| **key == 1).expect("a conversation").0;
    let answering = async {
        refused(upstream.call().await, 401, "", "invalid_api_key").await;
        let mut call = upstream.call().await;
        assert!(call.head.contains("bearer sk-two"));
        call.answer(&["Answer"]).await;
    };
    let body = conversation(of_first, 4);
    let (answer, ()) = tokio::join!(service.generate(&body), answering);
    assert_eq!(text(&answer.events().await), "Answer");
    for number in 0..20 {
        assert_eq!(key_of(number, 5).await, 2, "the refused key rests");
    }
    let status = service.get("/v1/upstreams").await.json().await;
    let keys = &status["data"][1]["keys"];
    assert!(keys[0]["rest_ms"].as_u64().is_some_and(|rest| rest > 200_000), "{status}");
    assert_eq!(keys[1], json!({"number": 2}));
    service.metric_becomes(r#"tokenrill_upstream_resting_keys{upstream="scripted"}"#, 1.0).await;
    assert!(!status.to_string().contains("sk-"));
}

#[tokio::test]
async fn turns_of_a_conversation_have_one_prompt_cache_key_where_the_upstream_takes_it() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let mut settings = settings(&[a.base_url(), b.base_url()], "targets = [\"a/model-a\", \"b/model-b\"]");
    settings.upstreams[0].prompt_cache_key = Some(true);
    settings.upstreams[0].models = vec!["plain".to_owned()];
    settings.models.aliases.insert("spread".to_owned(), alias("targets = [\"a/model-a\"]\naffinity = false"));
    let service = Service::with(settings).await;
    let key_of = async |model: &str, mut body: Value| {
        body["model"] = json!(model);
        let answering = async {
            let mut call = a.call().await;
            let key = call.body.get("prompt_cache_key").cloned();
            call.answer(&["Answer"]).await;
            key
        };
        let (answer, key) = tokio::join!(service.generate(&body), answering);
        assert_eq!(text(&answer.events().await), "Answer");
        key
    };
    for model in ["fast", "plain"] {
        let first = key_of(model, conversation(1, 1)).await;
        let digits = first.as_ref().and_then(Value::as_str).expect("a text");
        assert!(digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digits}");
        assert_eq!(key_of(model, conversation(1, 2)).await, first, "the second turn");
        assert_ne!(key_of(model, conversation(2, 1)).await, first, "another conversation");
        let mut own = conversation(1, 1);
        own["prompt_cache_key"] = json!("own");
        assert_eq!(key_of(model, own).await, Some(json!("own")));
    }
    assert_eq!(key_of("spread", conversation(1, 1)).await, None, "without affinity");

    let mut body = conversation(1, 1);
    body["model"] = json!("fast");
    let answering = async {
        refused(a.call().await, 401, "", "invalid_api_key").await;
        let mut call = b.call().await;
        assert_eq!(call.body.get("prompt_cache_key"), None, "the other upstream may refuse it");
        call.answer(&["Answer"]).await;
    };
    let (answer, ()) = tokio::join!(service.generate(&body), answering);
    assert_eq!(text(&answer.events().await), "Answer");
}

#[tokio::test]
async fn killed_target_fails_its_live_answers_and_all_arriving_ones_are_answered_by_the_other() {
    const STREAMS: usize = 100;
    let (a, b) = (AnsweringUpstream::start().await, AnsweringUpstream::start().await);
    let mut settings = settings(&[a.base_url(), b.base_url()], "targets = [\"a/words\", \"b/words\"]");
    settings.models.aliases.insert("held".to_owned(), alias("targets = [\"a/held\"]"));
    settings
        .models
        .aliases
        .insert("even".to_owned(), alias("targets = [\"a/words\", \"b/words\"]\nstrategy = \"weighted\""));
    let service = Service::with(settings).await;
    let ask = async |model: &str, number: usize| {
        let body = json!({"input": format!("Hello {number}"), "model": model});
        let mut answer = service.generate(&body).await;
        answer.expect("start").await;
        answer
    };
    let mut live = join_all((0..STREAMS).map(|number| ask("held", number))).await;
    join_all(live.iter_mut().map(|answer| answer.expect("delta"))).await;
    drop(a);
    let arriving = (0..STREAMS).map(async |number| {
        let model = if number % 2 == 0 { "fast" } else { "even" };
        ask(model, number).await.events().await
    });
    let (arriving, ended) = tokio::join!(join_all(arriving), join_all(live.into_iter().map(Answer::events)));
    for events in arriving {
        assert_eq!(events.last().map(|event| event.name.as_str()), Some("done"));
        assert_eq!(text(&events), WORDS_TEXT);
    }
    for events in ended {
        let last = events.last().expect("an end");
        assert_eq!((last.name.as_str(), &last.data["error"]["code"]), ("failed", &json!("upstream_disconnected")));
    }
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
    let status = service.get("/v1/upstreams").await.json().await;
    assert_eq!(status["data"][1]["connections"], "open", "{status}");
    assert_eq!(status["data"][2]["connections"], "closed");
    let names: BTreeSet<_> = [HELD, WORDS].into();
    assert!(
        status["data"][1]["models"]
            .as_array()
            .expect("models")
            .iter()
            .all(|model| { names.contains(model["model"].as_str().expect("a name")) && model["in_flight"] == 0 })
    );
}

#[tokio::test]
async fn open_breaker_is_shown_and_its_only_target_is_asked_all_the_same() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.upstreams[0].breaker = BreakerSettings { failures: 2, open: Duration::from_mins(1) };
    let service = Service::with(settings).await;
    let body = json!({"input": "Hello"});
    for _ in 0..3 {
        let asking = service.generate(&body);
        let (answer, ()) =
            tokio::join!(asking, async { refused(upstream.call().await, 500, "", "server_error").await });
        assert_eq!(answer.events().await.last().map(|event| event.name.clone()).as_deref(), Some("failed"));
    }
    let breaker = async || service.get("/v1/upstreams").await.json().await["data"][1]["models"][0]["breaker"].clone();
    assert_eq!(breaker().await, "open");
    let answering = async { upstream.call().await.answer(&["Hello"]).await };
    let (answer, ()) = tokio::join!(service.generate(&body), answering);
    assert_eq!(text(&answer.events().await), "Hello");
    assert_eq!(breaker().await, "closed");
}

#[tokio::test]
async fn stop_while_the_first_target_is_silent_closes_it_and_asks_no_other() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let fast = "targets = [\"a/one\", \"b/two\"]\nfirst_token_timeout = \"10s\"";
    let service = Service::with(settings(&[a.base_url(), b.base_url()], fast)).await;
    let mut answer = service.generate(&json!({"input": "Hello", "model": "fast"})).await;
    let id = answer.expect("start").await.generation().to_owned();
    let mut call = a.call().await;
    call.ok().await;
    service.request(Method::POST, &format!("/v1/generations/{id}/cancel")).send().await.expect("a stop");
    call.closed().await;
    assert_eq!(answer.events().await.last().map(|event| event.name.clone()).as_deref(), Some("cancelled"));
    tokio::time::sleep(SHORT).await; // Nothing can signal a request that is not made.
    assert!(!b.was_called());
}

#[tokio::test]
async fn hedge_answers_beside_a_silent_target_which_is_closed_and_both_are_accounted() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let fast = "targets = [\"a/one\", \"b/two\"]\nhedge = { after = \"100ms\", budget = 1 }";
    let service = Service::with(settings(&[a.base_url(), b.base_url()], fast)).await;
    let mut answer = service.generate(&json!({"input": "Hello", "model": "fast"})).await;
    answer.expect("start").await;
    let mut silent = a.call().await;
    silent.ok().await;
    let mut hedge = b.call().await;
    hedge.ok().await;
    hedge.text("Hello").await;
    silent.closed().await;
    hedge.finish("stop").await;
    hedge.done().await;
    let events = answer.events().await;
    assert_eq!((text(&events).as_str(), events.last().map(|event| event.name.as_str())), ("Hello", Some("done")));
    let repeated = r#"tokenrill_upstream_repeated_attempts_total{upstream="b",model="two",reason="hedge"}"#;
    assert!((service.metric(repeated).await - 1.0).abs() < f64::EPSILON);
    let usage = service.get("/v1/usage?by=upstream").await.json().await;
    let outcomes: Vec<_> =
        [&usage["data"][0], &usage["data"][1]].map(|row| (&row["upstream"], &row["cancelled"], &row["done"])).into();
    assert_eq!(outcomes, [(&json!("a"), &json!(1), &json!(0)), (&json!("b"), &json!(0), &json!(1))]);
    assert_eq!(usage["data"][0]["output_tokens"], 0, "only the prompt of the replaced attempt is counted");
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn stop_during_a_hedge_closes_both_attempts() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let fast = "targets = [\"a/one\", \"b/two\"]\nhedge = { after = \"100ms\", budget = 1 }";
    let service = Service::with(settings(&[a.base_url(), b.base_url()], fast)).await;
    let mut answer = service.generate(&json!({"input": "Hello", "model": "fast"})).await;
    let id = answer.expect("start").await.generation().to_owned();
    let mut calls = [a.call().await, b.call().await];
    for call in &mut calls {
        call.ok().await;
    }
    service.request(Method::POST, &format!("/v1/generations/{id}/cancel")).send().await.expect("a stop");
    for call in &mut calls {
        call.closed().await;
    }
    assert_eq!(answer.events().await.last().map(|event| event.name.clone()).as_deref(), Some("cancelled"));
    assert!(!a.was_called() && !b.was_called());
}
