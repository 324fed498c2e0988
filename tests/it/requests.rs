//! The exact bytes that an upstream receives, and the requests that are refused before it is called.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use futures_util::future::{Either, select};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokenrill::settings::Settings;

use crate::support::{Answer, Call, Service, Upstream};

const CHAT: &str = "/v1/chat/completions";
const NATIVE: &str = "/v1/generations";
const WHOLE: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;

async fn post(service: &Service, path: &str, body: &str) -> Answer {
    let request = service.request(Method::POST, path).header(CONTENT_TYPE, "application/json");
    Answer::to(request.body(body.to_owned())).await
}

/// Answers as a stream or as JSON, as requested, and closes the connection.
async fn reply(mut call: Call) {
    if call.body["stream"] == true {
        call.answer(&["Hello"]).await;
    } else {
        call.json(WHOLE).await;
    }
}

/// The body that the upstream receives if the service receives this body.
async fn forwarded_by(settings: impl FnOnce(&mut Settings), path: &str, body: &str) -> String {
    let upstream = Upstream::start().await;
    let mut with = Service::settings(&upstream.base_url());
    settings(&mut with);
    let service = Service::with(with).await;
    let (answer, raw_body) = tokio::join!(post(&service, path, body), async {
        let call = upstream.call().await;
        let raw_body = call.raw_body.clone();
        reply(call).await;
        raw_body
    });
    assert_eq!(answer.status, 200, "{body}");
    let text = answer.text().await;
    assert!(text.contains("Hello"), "{text}");
    raw_body
}

async fn forwarded(path: &str, body: &str) -> String {
    forwarded_by(|_| {}, path, body).await
}

/// The status and the error of a request that must not reach the upstream.
async fn refused(path: &str, body: &str) -> (u16, Value) {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let answer = post(&service, path, body).await;
    let status = answer.status;
    let refusal = answer.json().await;
    assert!(!upstream.was_called(), "{body}");
    (status, refusal)
}

fn limit(settings: &mut Settings) {
    settings.limits.each.max_output_tokens = NonZeroU32::new(100);
}

#[tokio::test]
async fn chat_request_reaches_the_upstream_byte_for_byte() {
    let sent = concat!(
        r#"{"temperature":1.0,"top_p":1e0,"seed":123456789012345678901234567890,"logit_bias":{"50256": -100},"#,
        r#""messages":[ {"role":"critic","content":"\u00e9\/ \ud83d\ude00 é","name":null,"name":"x"},{"content":{"a":[1.50]},"role":"user"} ],"#,
        r#""model":"m","unknown":{"b":0.10,"a":-0},"max_tokens":-1}"#
    );
    let expected = sent.replace("\"max_tokens\":-1}", "\"max_tokens\":-1,\"stream\":false}");
    assert_eq!(forwarded(CHAT, sent).await, expected);
}

#[tokio::test]
async fn overwritten_fields_keep_the_callers_order() {
    let sent = r#"{"stream":true,"stream_options":{"include_obfuscation": false},"messages":[{"role":"user"}],"model":"m","grace_ms":0}"#;
    let expected = r#"{"stream":true,"stream_options":{"include_obfuscation":false,"include_usage":true},"messages":[{"role":"user"}],"model":"m"}"#;
    assert_eq!(forwarded(CHAT, sent).await, expected);
}

#[tokio::test]
async fn extra_body_store_and_metadata_arrive_as_sent_on_the_chat_wire() {
    for members in [
        r#""extra_body":{"google": {"thinking_config": {"include_thoughts": true}}}"#,
        r#""store":true,"metadata":{"customer":"12"}"#,
        r#""store":false,"metadata":{"customer": 12}"#,
    ] {
        let sent = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{members}}}"#);
        let expected = format!("{},\"stream\":false}}", sent.strip_suffix('}').expect("an object"));
        assert_eq!(forwarded(CHAT, &sent).await, expected);
    }
}

#[tokio::test]
async fn native_request_strips_our_fields_and_passes_unknown_fields_on() {
    let sent = r#"{"input":"hi","store":true,"metadata":{"a":"b"},"on_disconnect":"continue","grace_ms":5,"nobody_knows":1.0,"stream":true}"#;
    let expected = r#"{"model":"m","nobody_knows":1.0,"messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true}}"#;
    assert_eq!(forwarded(NATIVE, sent).await, expected);
}

#[tokio::test]
async fn max_tokens_of_minus_one_is_replaced_if_a_limit_applies() {
    for (members, expected) in [
        (r#""max_tokens":-1"#, r#""max_tokens":100,"stream":false"#),
        (r#""max_completion_tokens":-1"#, r#""max_completion_tokens":100,"stream":false"#),
        (r#""max_tokens":99.0"#, r#""max_tokens":99.0,"stream":false"#),
        (r#""top_k":1"#, r#""top_k":1,"stream":false,"max_completion_tokens":100"#),
    ] {
        let sent = format!(r#"{{"model":"m","messages":[{{"role":"user"}}],{members}}}"#);
        assert_eq!(forwarded_by(limit, CHAT, &sent).await, sent.replace(members, expected));
    }
}

#[tokio::test]
async fn limit_applies_inside_extra_body() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    limit(&mut settings);
    let service = Service::with(settings).await;
    for inner in [r#"{"max_tokens":101}"#, r#"{"max_completion_tokens":1e3}"#, r#"{"max_tokens":-1}"#] {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user"}}],"extra_body":{inner}}}"#);
        assert_eq!(post(&service, CHAT, &body).await.status, 400, "{inner}");
    }
    assert!(!upstream.was_called());
}

/// Names from which servers read how many tokens or choices they may generate.
const LIMITS: [&str; 27] = [
    "max_completion_tokens",
    "max_tokens",
    "maxTokens",
    "max_output_tokens",
    "maxOutputTokens",
    "max_new_tokens",
    "max_length",
    "max_gen_len",
    "max_tokens_to_sample",
    "maxTokenCount",
    "n_predict",
    "num_predict",
    "tokens_to_generate",
    "request_output_len",
    "min_tokens",
    "min_new_tokens",
    "min_length",
    "n",
    "best_of",
    "candidate_count",
    "candidateCount",
    "num_return_sequences",
    "num_generations",
    "numResults",
    "num_beams",
    "beam_width",
    "maxCompletionTokens",
];

/// Names by which a caller could direct this service or its upstream to another server.
const BLOCKED: [&str; 25] = [
    "allowed_model_region",
    "api_base",
    "api_key",
    "api_type",
    "api_version",
    "base_url",
    "callbacks",
    "custom_llm_provider",
    "default_headers",
    "default_query",
    "extra_headers",
    "extra_query",
    "fallbacks",
    "headers",
    "litellm_params",
    "model_list",
    "organization",
    "proxies",
    "proxy",
    "router_settings",
    "user_config",
    "aws_region_name",
    "azure_endpoint",
    "vertex_project",
    "watsonx_url",
];

/// Positions of a member: the text before and after it, and the pointer of its object.
const POSITIONS: [(&str, &str, &str); 6] = [
    ("", "", ""),
    (r#""extra_body":{"#, "}", "/extra_body"),
    (r#""options":{"#, "}", "/options"),
    (r#""extra_body":{"options":{"#, "}}", "/extra_body/options"),
    (r#""generationConfig":{"#, "}", "/generationConfig"),
    (r#""sampling_params":{"#, "}", "/sampling_params"),
];

/// The name with its last letter escaped: every parser reads the same name.
fn escaped(name: &str) -> String {
    let (start, last) = name.split_at(name.len() - 1);
    format!("{start}\\u{:04x}", last.as_bytes()[0])
}

fn body_with(members: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user"}}],{members}}}"#)
}

/// The status of a request, and the body that reaches the upstream, if any.
async fn passed_on(service: &Service, upstream: &Upstream, path: &str, body: &str) -> (u16, Option<Value>) {
    let (mut answered, mut called) = (Box::pin(post(service, path, body)), Box::pin(upstream.call()));
    let (answer, call) = match select(&mut answered, &mut called).await {
        Either::Left((answer, _)) if answer.status != 200 => return (answer.status, None),
        // The head of an event stream is sent before the upstream is called.
        Either::Left((answer, _)) => (Some(answer), called.await),
        Either::Right((call, _)) => (None, call),
    };
    let received = call.body.clone();
    reply(call).await;
    let answer = match answer {
        Some(answer) => answer,
        None => answered.await,
    };
    (answer.status, Some(received))
}

#[tokio::test]
async fn every_spelling_of_a_limit_is_checked_as_the_upstream_reads_it() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    limit(&mut settings);
    settings.limits.each.max_choices = NonZeroU32::new(2);
    let service = Service::with(settings).await;
    for path in [CHAT, NATIVE] {
        for (before, after, pointer) in POSITIONS {
            if path == NATIVE && pointer.starts_with("/extra_body") {
                continue;
            }
            for name in LIMITS {
                for spelling in [name.to_owned(), escaped(name)] {
                    let sent = |members: &str| body_with(&format!("{before}{members}{after}"));
                    let text = format!(r#""{spelling}":"101""#);
                    let twice = format!(r#""{name}":1,"{spelling}":101"#);
                    for members in [format!(r#""{spelling}":101"#), text, twice] {
                        let answer = post(&service, path, &sent(&members)).await;
                        let (status, refusal) = (answer.status, answer.text().await);
                        assert!(status == 400 && refusal.contains(pointer), "{path} {members} in {pointer}: {refusal}");
                    }
                    let body = sent(&format!(r#""{spelling}":1"#));
                    let (status, received) = passed_on(&service, &upstream, path, &body).await;
                    let received = received.expect("it is asked");
                    assert_eq!(
                        (status, received.pointer(&format!("{pointer}/{name}"))),
                        (200, Some(&json!(1))),
                        "{body}"
                    );
                }
            }
        }
    }
    assert!(!upstream.was_called());
}

#[tokio::test]
async fn every_spelling_of_a_limit_passes_unchanged_without_a_limit() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    for name in LIMITS {
        for (before, after, pointer) in POSITIONS {
            let body = body_with(&format!(r#"{before}"{}":5000{after}"#, escaped(name)));
            let (status, received) = passed_on(&service, &upstream, CHAT, &body).await;
            let received = received.expect("it is asked");
            assert_eq!((status, received.pointer(&format!("{pointer}/{name}"))), (200, Some(&json!(5000))), "{body}");
        }
    }
}

#[tokio::test]
async fn blocked_names_are_refused_in_every_spelling_except_inside_options() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    for path in [CHAT, NATIVE] {
        for name in BLOCKED {
            for spelling in [name.to_owned(), escaped(name)] {
                for (before, after) in [("", ""), (r#""extra_body":{"#, "}")] {
                    let body = body_with(&format!(r#"{before}"{spelling}":"x"{after}"#));
                    assert_eq!(post(&service, path, &body).await.status, 400, "{path} {body}");
                }
                // In `options`, which is Ollama's, no gateway reads these names.
                let twice = body_with(&format!(r#""options":{{"{name}":"x","{spelling}":"y"}}"#));
                assert_eq!(post(&service, path, &twice).await.status, 400, "{path} {twice}");
                let once = body_with(&format!(r#""options":{{"{spelling}":"x"}}"#));
                let (_, received) = passed_on(&service, &upstream, path, &once).await;
                assert_eq!(received.expect("it is asked")["options"], json!({name: "x"}), "{path} {once}");
            }
        }
        let body = r#"{"mode\u006c":"other","messages":[{"role":"user"}]}"#;
        let (_, received) = passed_on(&service, &upstream, path, body).await;
        assert_eq!(received.expect("it is asked")["model"], "other");
    }
}

#[tokio::test]
async fn duplicate_member_is_refused_with_its_pointer_on_both_wires() {
    for (members, pointer) in [
        (r#""model":"m","model":"n""#, "/model"),
        (r#""model":"m","mode\u006c":"n""#, "/model"),
        (r#""stream_options":{"include_usage":true,"include_usage":false}"#, "/stream_options/include_usage"),
        (r#""options":{"num_predict":1,"num_\u0070redict":2}"#, "/options/num_predict"),
    ] {
        for path in [CHAT, NATIVE] {
            let (status, refusal) = refused(path, &format!(r#"{{"messages":[{{"role":"user"}}],{members}}}"#)).await;
            assert_eq!(status, 400, "{members}");
            assert!(refusal.to_string().contains(pointer), "{refusal}");
        }
    }
    let (status, refusal) = refused(CHAT, r#"{"messages":[{"role":"user"}],"extra_body":{"n":1,"n":2}}"#).await;
    assert!(status == 400 && refusal.to_string().contains("/extra_body/n"), "{refusal}");
    assert_eq!(refused(NATIVE, r#"{"input":"a","input":"b"}"#).await.1["code"], "invalid_request");
}

#[tokio::test]
async fn misspelled_field_is_refused_only_on_the_native_wire() {
    let (status, refusal) = refused(NATIVE, r#"{"input":"hi","grcae_ms":5}"#).await;
    assert_eq!((status, &refusal["code"]), (400, &json!("invalid_request")));
    assert!(refusal["detail"].as_str().expect("a detail").contains("grace_ms"), "{refusal}");
    let sent = r#"{"model":"m","messages":[{"role":"user"}],"grcae_ms":5}"#;
    assert!(forwarded(CHAT, sent).await.contains("\"grcae_ms\":5"));
}

#[tokio::test]
async fn requests_that_no_provider_accepts_are_refused() {
    for (body, pointer) in [
        (r#"{"messages":["hi"]}"#, "/messages/0"),
        (r#"{"messages":[{"content":"hi"}]}"#, "/messages/0/role"),
        (r#"{"messages":[{"role":"user"}],"max_tokens":-2}"#, "/max_tokens"),
        (r#"{"messages":[{"role":"user"}],"extra_body":{"api_base":"http://x"}}"#, "/extra_body"),
    ] {
        for path in [CHAT, NATIVE] {
            let (status, refusal) = refused(path, body).await;
            assert!(status == 400 && refusal.to_string().contains(pointer), "{path} {body}: {refusal}");
        }
    }
}

#[tokio::test]
async fn stream_false_on_the_native_wire_means_json() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let answering = async {
        let call = upstream.call().await;
        assert_eq!(call.body["stream"], true, "the native wire streams upstream");
        reply(call).await;
    };
    let (answer, ()) = tokio::join!(post(&service, NATIVE, r#"{"input":"hi","stream":false}"#), answering);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.json().await["text"], "Hello");
}

#[tokio::test]
async fn query_of_the_base_url_is_appended_to_the_request_path() {
    let upstream = Upstream::start().await;
    let service = Service::before(&format!("{}?api-version=2024-10-21", upstream.base_url())).await;
    let asked = async {
        let call = upstream.call().await;
        let line = call.head.lines().next().unwrap_or_default().to_owned();
        reply(call).await;
        line
    };
    let body = r#"{"messages":[{"role":"user"}]}"#;
    let (answer, line) = tokio::join!(post(&service, CHAT, body), asked);
    assert_eq!(answer.status, 200);
    assert_eq!(line, "post /v1/chat/completions?api-version=2024-10-21 http/1.1");
}

/// An upstream that refuses some requests, with the requests that it received.
struct RefusingUpstream {
    service: Service,
    asked: Arc<Mutex<Vec<Value>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for RefusingUpstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl RefusingUpstream {
    /// `status` is the status of the refusals.
    #[expect(clippy::disallowed_methods, reason = "aborted on drop")]
    async fn start(
        settings: impl FnOnce(&mut Settings),
        status: u16,
        refuses: impl Fn(&Value) -> bool + Send + 'static,
    ) -> Self {
        let upstream = Upstream::start().await;
        let mut with = Service::settings(&upstream.base_url());
        settings(&mut with);
        let service = Service::with(with).await;
        let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
        let serving = tokio::spawn({
            let asked = Arc::clone(&asked);
            async move {
                while let Some(mut call) = upstream.next_call().await {
                    asked.lock().expect("a lock").push(call.body.clone());
                    if refuses(&call.body) {
                        let body = r#"{"error":{"message":"Extra inputs are not permitted"}}"#;
                        call.refuse(status, "connection: close\r\ncontent-type: application/json\r\n", body).await;
                    } else {
                        reply(call).await;
                    }
                }
            }
        });
        Self { service, asked, serving }
    }

    async fn ask(&self, path: &str, body: &str) -> (u16, String) {
        let answer = post(&self.service, path, body).await;
        (answer.status, answer.text().await)
    }

    /// Removes and returns the request bodies received since the last call.
    fn take_requests(&self) -> Vec<Value> {
        std::mem::take(&mut *self.asked.lock().expect("a lock"))
    }
}

const PLAIN: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const STREAMED: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}"#;

fn has(field: &'static str) -> impl Fn(&Value) -> bool {
    move |body| body.get(field).is_some()
}

#[tokio::test]
async fn refused_stream_options_are_dropped_and_remembered() {
    let picky = RefusingUpstream::start(|_| {}, 422, has("stream_options")).await;
    let (status, text) = picky.ask(CHAT, STREAMED).await;
    assert!(status == 200 && text.ends_with("data: [DONE]\n\n"), "{text}");
    let asked = picky.take_requests();
    assert_eq!(asked.iter().map(has("stream_options")).collect::<Vec<_>>(), [true, false]);
    assert_eq!(asked[1]["stream"], true);
    assert_eq!(picky.ask(NATIVE, r#"{"input":"hi"}"#).await.0, 200);
    assert_eq!(picky.take_requests().iter().map(has("stream_options")).collect::<Vec<_>>(), [false]);
    // The caller's own stream_options are sent, and their refusal is returned to the caller.
    let own =
        r#"{"model":"m","messages":[{"role":"user"}],"stream":true,"stream_options":{"include_usage":true},"n":1}"#;
    let status = picky.ask(CHAT, own).await.0;
    assert!(matches!(status, 400 | 422), "{status}");
    assert_eq!(picky.take_requests().iter().map(has("stream_options")).collect::<Vec<_>>(), [true]);
}

#[tokio::test]
async fn refused_stream_is_retried_without_streaming_and_remembered_unless_requested_by_the_caller() {
    let picky = RefusingUpstream::start(|_| {}, 400, |body| body["stream"] == true).await;
    let streams = |asked: Vec<Value>| asked.iter().map(|body| body["stream"] == true).collect::<Vec<_>>();
    let (status, text) = picky.ask(CHAT, STREAMED).await;
    assert!(status == 200 && text.contains("Hello") && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(streams(picky.take_requests()).last(), Some(&false));
    // The caller had requested the stream: the service remembered nothing.
    let (status, text) = picky.ask(NATIVE, r#"{"input":"hi"}"#).await;
    assert!(status == 200 && text.contains("event: delta\ndata: {\"text\":\"Hello\"}"), "{text}");
    let asked = streams(picky.take_requests());
    assert!(asked[0] && asked.last() == Some(&false), "{asked:?}");
    for body in [r#"{"input":"hi"}"#, r#"{"input":"ho"}"#] {
        assert_eq!(picky.ask(NATIVE, body).await.0, 200);
        assert_eq!(streams(picky.take_requests()), [false], "learned");
    }
}

#[tokio::test]
async fn refused_max_completion_tokens_is_retried_as_max_tokens_and_never_dropped() {
    let picky = RefusingUpstream::start(limit, 422, has("max_completion_tokens")).await;
    let names = ["max_completion_tokens", "max_tokens"];
    let limits =
        |asked: Vec<Value>| asked.iter().map(|body| names.map(|name| body.get(name).cloned())).collect::<Vec<_>>();
    assert_eq!(picky.ask(CHAT, PLAIN).await.0, 200);
    assert_eq!(limits(picky.take_requests()), [[Some(json!(100)), None], [None, Some(json!(100))]]);
    assert_eq!(picky.ask(CHAT, PLAIN).await.0, 200);
    assert_eq!(limits(picky.take_requests()), [[None, Some(json!(100))]], "learned");

    let picky = RefusingUpstream::start(limit, 400, |body| {
        body.get("max_completion_tokens").or(body.get("max_tokens")).is_some()
    });
    let picky = picky.await;
    let (status, text) = picky.ask(CHAT, PLAIN).await;
    assert!(status == 502 && text.contains("upstream_misconfigured"), "{status} {text}");
    assert_eq!(picky.take_requests().len(), 2);
}

#[tokio::test]
async fn limit_sent_by_the_caller_is_not_renamed() {
    let picky = RefusingUpstream::start(limit, 422, has("max_completion_tokens")).await;
    let body = r#"{"model":"m","messages":[{"role":"user"}],"max_completion_tokens":5}"#;
    assert_eq!(picky.ask(CHAT, body).await.0, 422);
    assert_eq!(picky.take_requests().len(), 1);
    assert_eq!(picky.ask(CHAT, PLAIN).await.0, 200);
    assert_eq!(picky.take_requests().len(), 2, "no refusal was remembered");
}

#[tokio::test]
async fn other_upstream_refusals_are_not_retried() {
    for status in [401, 404, 429, 500, 503] {
        let picky = RefusingUpstream::start(limit, status, |_| true).await;
        assert!(picky.ask(CHAT, STREAMED).await.0 >= 400);
        assert_eq!(picky.take_requests().len(), 1, "{status}");
    }
}
