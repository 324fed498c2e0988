//! A reconnecting client joins its generation: no second one is started, and it is never refused because of load.

use futures_util::future::join_all;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{Answer, Event, Service, Upstream, text};

fn hello() -> Value {
    json!({"input": "Hello"})
}

fn repeat(service: &Service, last_event_id: &str) -> RequestBuilder {
    service.generation(&hello()).header("last-event-id", last_event_id)
}

fn keyed(service: &Service, key: &str, body: &Value) -> RequestBuilder {
    service.generation(body).header(ACCEPT, "text/event-stream").header("idempotency-key", key)
}

fn chat(service: &Service, key: &str, body: &Value) -> RequestBuilder {
    let request = service.request(Method::POST, "/v1/chat/completions").header(CONTENT_TYPE, "application/json");
    request.header("idempotency-key", key).body(body.to_string())
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

#[tokio::test]
async fn twenty_tab_switches_cost_one_upstream_call_and_lose_nothing() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut answer = service.generate(&hello()).await;
    let mut seen = vec![answer.expect("start").await];
    let mut call = upstream.call().await;
    // Also before the first token: the tab is hidden while the model computes.
    for _ in 0..3 {
        drop(answer);
        answer = Answer::to(repeat(&service, seen[0].id.as_deref().expect("an id"))).await;
        assert_eq!((answer.status, answer.header("tokenrill-attached")), (200, "existing"));
    }
    call.ok().await;
    for number in 0..20 {
        call.text(&format!("{number} é,")).await;
        if number % 2 == 0 {
            seen.push(answer.expect("delta").await);
        }
        // Every second token is still in transit when the connection is dropped.
        drop(answer);
        let last = seen.last().and_then(|event| event.id.clone()).expect("an id");
        answer = Answer::to(repeat(&service, &last)).await;
        assert_eq!(answer.header("tokenrill-generation"), seen[0].generation());
    }
    call.finish("stop").await;
    call.done().await;
    seen.extend(answer.events().await);

    let sequences: Vec<_> = seen.iter().map(Event::sequence).collect();
    assert_eq!(sequences, (1..=22).collect::<Vec<_>>(), "each event once and in order");
    let said: Vec<_> = (0..20).map(|number| format!("{number} é,")).collect();
    assert_eq!(text(&seen), said.concat());
    assert!(!upstream.was_called(), "one upstream call");
    service.metric_becomes("tokenrill_generations_total{outcome=\"done\"}", 1.0).await;
}

#[tokio::test]
async fn request_with_last_event_id_ignores_its_body() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut answer = service.generate(&hello()).await;
    let id = answer.expect("start").await.id.expect("an id");
    let _call = upstream.call().await;
    for (what, request) in [
        ("not JSON", repeat(&service, &id).body("{")),
        ("another", repeat(&service, &id).body(r#"{"input":"Something else","model":"nobody's"}"#)),
        ("none", service.request(Method::POST, "/v1/generations").header("last-event-id", &id)),
        ("not acceptable", repeat(&service, &id).header(ACCEPT, "text/html")),
        ("with a key besides", repeat(&service, &id).header("idempotency-key", "k")),
        ("with an empty one behind it", repeat(&service, &format!("{id},"))),
        ("a list", service.generation(&hello()).header("last-event-id", format!("gen_x.1, {id}"))),
    ] {
        let again = Answer::to(request).await;
        assert_eq!((again.status, again.header("content-type")), (200, "text/event-stream"), "{what}");
        assert_eq!(again.header("tokenrill-generation"), answer.header("tokenrill-generation"), "{what}");
    }
    assert!(!upstream.was_called());

    let empty = Answer::to(service.generation(&hello()).header("last-event-id", "")).await;
    assert_ne!(empty.header("tokenrill-generation"), answer.header("tokenrill-generation"), "empty is absent");
    assert_eq!(empty.header("tokenrill-attached"), "");
    upstream.call().await;
}

#[tokio::test]
async fn unknown_last_event_id_is_refused_and_starts_nothing() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut running = service.generate(&hello()).await;
    let id = running.expect("start").await.generation().to_owned();
    let _call = upstream.call().await;
    for (last, status, code) in [
        ("gen_AAAAAAAAAAAAAAAAAAAAAA.1".to_owned(), 404, "generation_not_found"),
        (id.clone(), 404, "generation_not_found"),
        (format!("{id}."), 404, "generation_not_found"),
        (format!("{id}.01"), 404, "generation_not_found"),
        (format!("{id}.1,nonsense"), 404, "generation_not_found"),
        (format!("{id}.2"), 410, "history_lost"),
        (format!("{id}.18446744073709551615"), 410, "history_lost"),
    ] {
        let refused = Answer::to(repeat(&service, &last)).await;
        assert_eq!(refused.status, status, "{last}");
        assert_eq!(refused.json().await["code"], code, "{last}");
        let [event] = Answer::to(repeat(&service, &last).header(ACCEPT, "text/event-stream"))
            .await
            .events()
            .await
            .try_into()
            .expect("one");
        assert_eq!((event.name.as_str(), &event.data["error"]["code"]), ("failed", &json!(code)), "{last}");
        assert_eq!((event.retry, event.id), (Some(86_400_000), None), "{last}: it is delivered once and ends");
    }
    assert!(!upstream.was_called());

    let gone = Answer::to(service.request(Method::DELETE, &format!("/v1/generations/{id}"))).await;
    assert_eq!(gone.status, 204);
    assert_eq!(Answer::to(repeat(&service, &format!("{id}.1"))).await.status, 404, "erased");
}

#[tokio::test]
async fn post_that_resumes_after_the_end_gets_an_end_stream_once_and_then_204() {
    let service = Service::start().await;
    let events = service.generate(&json!({"input": "Hello", "model": "demo?tokens=2&rate=max"})).await.events().await;
    let last = events.last().and_then(|event| event.id.clone()).expect("an id");
    let first = Answer::to(repeat(&service, &last)).await;
    assert_eq!((first.status, first.header("content-type")), (200, "text/event-stream"));
    assert_eq!(first.text().await, ": end\nretry: 86400000\n");
    for _ in 0..2 {
        let again = Answer::to(repeat(&service, &last)).await;
        assert_eq!((again.status, again.text().await.as_str()), (204, ""));
    }
    let path = format!("/v1/generations/{}/events", events[0].generation());
    let get = Answer::to(service.request(Method::GET, &path).header("last-event-id", &last)).await;
    assert_eq!(get.status, 204);
}

#[tokio::test]
async fn two_hundred_concurrent_requests_with_one_key_share_one_upstream_call() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let answers = join_all((0..200).map(|_| Answer::to(keyed(&service, "twins", &hello())))).await;
    let joined = answers.iter().filter(|answer| answer.header("tokenrill-attached") == "existing").count();
    assert_eq!(joined, 199, "one of them started it");
    let mut call = upstream.call().await;
    call.answer(&["Zür", "ich ", "東京"]).await;
    let streams = join_all(answers.into_iter().map(Answer::text)).await;
    assert!(streams[0].contains("東京") && streams[0].contains("event: done"), "{}", streams[0]);
    assert!(streams.iter().all(|stream| *stream == streams[0]), "200 identical streams");
    assert!(!upstream.was_called(), "one upstream call");
    service.metric_becomes("tokenrill_generations_total{outcome=\"done\"}", 1.0).await;
    service.metric_becomes("tokenrill_viewers_live", 0.0).await;
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn idempotency_key_names_its_generation_until_that_is_erased() {
    let service = Service::start().await;
    let body = json!({"input": "Hello", "model": "demo?tokens=3&rate=max"});
    let first = Answer::to(keyed(&service, "k", &body)).await;
    let id = first.header("tokenrill-generation").to_owned();
    let events = first.events().await;

    let again = Answer::to(keyed(&service, "k", &body)).await;
    assert_eq!((again.header("tokenrill-attached"), again.header("tokenrill-generation")), ("existing", id.as_str()));
    assert_eq!(again.events().await, events, "from the beginning");
    let whole = Answer::to(keyed(&service, "k", &body).header(ACCEPT, "application/json")).await;
    assert_eq!(whole.header("tokenrill-generation"), id.as_str(), "Accept names events, which take precedence");
    let whole = service.generation(&body).header("idempotency-key", "k").header(ACCEPT, "application/json");
    assert_eq!(Answer::to(whole).await.json().await["id"], id.as_str());
    let async_ = keyed(&service, "k", &body).header("prefer", "respond-async");
    let async_ = Answer::to(async_).await;
    assert_eq!((async_.status, async_.header("location")), (202, format!("/v1/generations/{id}").as_str()));

    let other = Answer::to(keyed(&service, "l", &body)).await;
    assert_ne!(other.header("tokenrill-generation"), id.as_str());
    Answer::to(service.request(Method::DELETE, &format!("/v1/generations/{id}"))).await;
    let anew = Answer::to(keyed(&service, "k", &body)).await;
    assert_eq!(anew.header("tokenrill-attached"), "");
    assert_ne!(anew.header("tokenrill-generation"), id.as_str());
}

#[tokio::test]
async fn idempotency_key_with_another_body_returns_422() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut first = Answer::to(keyed(&service, "k", &hello())).await;
    first.expect("start").await;
    let mut call = upstream.call().await;
    for other in [json!({"input": "Hello "}), json!({"input": "Hello", "temperature": 1}), json!({"nonsense": 1})] {
        let refused = service.generation(&other).header("idempotency-key", "k");
        let refused = Answer::to(refused).await;
        assert_eq!(refused.status, 422);
        let problem = refused.json().await;
        assert_eq!((&problem["code"], &problem["retryable"]), (&json!("idempotency_conflict"), &json!(false)));
    }
    let elsewhere = json!({"messages": [{"role": "user", "content": "Hello"}]});
    let refused = Answer::to(chat(&service, "k", &elsewhere)).await;
    assert_eq!((refused.status, refused.header("x-should-retry")), (422, "false"));
    assert_eq!(refused.json().await["error"]["code"], "idempotency_conflict");
    assert!(!upstream.was_called());
    call.answer(&["Hel", "lo"]).await;
    assert_eq!(text(&first.events().await), "Hello");
}

#[tokio::test]
async fn refused_request_leaves_its_idempotency_key_free() {
    let service = Service::start().await;
    let refused = Answer::to(keyed(&service, "k", &json!({"input": "x", "model": "nobody's"}))).await;
    assert_eq!(refused.status, 404);
    let good = json!({"input": "x", "model": "demo?tokens=1&rate=max"});
    assert_eq!(Answer::to(keyed(&service, "k", &good)).await.status, 200);
}

/// A generation that the upstream refused frees its key, so that a client can retry. A key stays in use once the
/// upstream may have billed the request.
#[tokio::test]
async fn key_is_free_after_a_refusal_and_kept_once_the_upstream_may_have_billed() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let body = json!({"messages": [{"role": "user", "content": "Hello"}]});
    let (refused, ()) = tokio::join!(Answer::to(chat(&service, "k", &body)), async {
        upstream.call().await.refuse(429, "retry-after: 1\r\n", "").await;
    });
    assert_eq!((refused.status, refused.header("x-should-retry")), (429, "true"));
    service.metric_becomes("tokenrill_generations_live", 0.0).await;

    // The client disconnects before the first token. Chat completions have no grace, and the prompt may have been
    // billed.
    let mut call = tokio::select! {
        _ = Answer::to(chat(&service, "abandoned", &body)) => panic!("it is answered before the model speaks"),
        call = upstream.call() => call,
    };
    call.closed().await;
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
    let repeat = Answer::to(chat(&service, "abandoned", &body)).await;
    assert_eq!(repeat.status, 409, "the response is of the ended generation");
    assert!(!upstream.was_called());

    // The upstream connection is lost after the request was sent: the error asks for a new key.
    let (lost, ()) = tokio::join!(Answer::to(chat(&service, "lost", &body)), async {
        let mut call = upstream.call().await;
        call.ok().await;
        call.fin().await;
    });
    let problem = lost.text().await;
    assert!(problem.contains("upstream_disconnected") && problem.contains("Send a new key"), "{problem}");
    let repeat = Answer::to(chat(&service, "lost", &body)).await;
    assert_eq!((repeat.status, repeat.header("x-should-retry")), (502, "false"));
    assert!(!upstream.was_called());

    let (answer, ()) = tokio::join!(Answer::to(chat(&service, "k", &body)), async {
        upstream.call().await.answer(&["Hel", "lo"]).await;
    });
    assert_eq!((answer.status, answer.header("tokenrill-attached")), (200, ""));
    let again = Answer::to(chat(&service, "k", &body)).await;
    assert_eq!(
        (again.status, again.header("tokenrill-attached")),
        (200, "existing"),
        "the key of a billed answer stays claimed"
    );
    assert_eq!(again.json().await["choices"][0]["message"]["content"], "Hello");

    // A stop is not a failure, however early: the key stays in use.
    let first = Answer::to(keyed(&service, "stopped", &hello())).await;
    let id = first.header("tokenrill-generation").to_owned();
    let _call = upstream.call().await;
    Answer::to(service.request(Method::POST, &format!("/v1/generations/{id}/cancel"))).await;
    assert_eq!(names(&first.events().await), ["start", "cancelled"]);
    let again = Answer::to(keyed(&service, "stopped", &hello())).await;
    assert_eq!(names(&again.events().await), ["start", "cancelled"]);
    assert!(!upstream.was_called());
}

#[tokio::test]
async fn concurrent_chat_completions_with_one_key_share_one_upstream_call() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    for (key, stream) in [("streamed", true), ("whole", false)] {
        let body = json!({"messages": [{"role": "user", "content": "Hello"}], "stream": stream});
        let twins = join_all((0..20).map(|_| Answer::to(chat(&service, key, &body))));
        let model = async {
            let mut call = upstream.call().await;
            call.answer(&["Hel", "lo"]).await;
        };
        let (answers, ()) = tokio::join!(twins, model);
        let joined = answers.iter().filter(|answer| answer.header("tokenrill-attached") == "existing").count();
        assert_eq!(joined, 19, "{key}");
        let texts = join_all(answers.into_iter().map(Answer::text)).await;
        assert!(texts[0].contains("lo") && texts.iter().all(|text| *text == texts[0]), "{key}: {}", texts[0]);
        assert!(!upstream.was_called(), "{key}");
    }
}

#[tokio::test]
async fn reconnects_are_served_while_the_service_drains() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut first = Answer::to(keyed(&service, "k", &hello())).await;
    let start = first.expect("start").await;
    let mut call = upstream.call().await;
    service.shutdown.begin_drain();
    while service.get("/readyz").await.status == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(service.generate(&hello()).await.status, 503, "nothing new");
    let by_id = Answer::to(repeat(&service, start.id.as_deref().expect("an id"))).await;
    let by_key = Answer::to(keyed(&service, "k", &hello())).await;
    assert_eq!((by_id.status, by_key.status), (200, 200));
    drop(first);
    call.answer(&["Hel", "lo"]).await;
    assert_eq!(names(&by_id.events().await), ["delta", "delta", "done"]);
    assert_eq!(text(&by_key.events().await), "Hello");
}

#[tokio::test]
async fn reconnects_are_served_while_memory_is_full() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.event_log.memory.max_bytes = "34KiB".parse().expect("a size");
    let service = Service::with(settings).await;
    let mut first = Answer::to(keyed(&service, "k", &hello())).await;
    let start = first.expect("start").await;
    let mut viewers = Vec::new();
    let full = loop {
        let answer = service.generate(&hello()).await;
        if answer.status != 200 {
            break answer;
        }
        viewers.push(answer);
    };
    assert_eq!(full.status, 503);
    assert_eq!(Answer::to(repeat(&service, start.id.as_deref().expect("an id"))).await.status, 200);
    assert_eq!(Answer::to(keyed(&service, "k", &hello())).await.status, 200);
}
