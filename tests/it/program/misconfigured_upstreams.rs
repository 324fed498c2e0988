//! Misconfigured upstreams. Each case checks the WARN line that shows the operator the cause, and the error that
//! callers receive on both wires (upstream errors in the contract of ARCHITECTURE.md).

use reqwest::RequestBuilder;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::{Program, WorkingDirectory};
use crate::support::{Answer, Call, Upstream, case};

/// One misconfiguration.
struct Misconfigured<'a> {
    what: &'a str,
    base_url: String,
    /// `None` if no HTTP response arrives.
    refusal: Option<Refusal<'a>>,
    /// Fields of the WARN line in addition to those that every case has.
    line: Value,
    /// Members of `error` on the native wire.
    native: Value,
    /// The status on the chat wire, and members of `error` there.
    chat: (u16, Value),
}

struct Refusal<'a> {
    status: u16,
    headers: &'a str,
    body: Value,
}

/// The upstream's key, which some servers repeat in errors.
const KEY: &str = "sk-hunter2-0123456789abcdef";
/// The prompt of each request, which no log may contain.
const TEXT: &str = "the text of a caller, which belongs in no log at all";

impl Misconfigured<'_> {
    /// Answers the next call to the upstream.
    async fn refuse(&self, upstream: &Upstream) {
        let Some(Refusal { status, headers, body }) = &self.refusal else { return };
        let (html, body) = (body.as_str().is_some(), body.as_str().map_or_else(|| body.to_string(), str::to_owned));
        let content_type = if html { "text/html; charset=utf-8" } else { "application/json" };
        let mut call: Call = upstream.call().await;
        assert!(call.head.contains("/chat/completions "), "{}", call.head);
        call.refuse(*status, &format!("content-type: {content_type}\r\n{headers}"), &body).await;
    }

    async fn check(&self, upstream: &Upstream) {
        let place = WorkingDirectory::new();
        place.settings(&format!(
            "[[upstreams]]\nname = \"far\"\nbase_url = \"{}\"\napi_key_env = \"FAR_KEY\"\n",
            self.base_url
        ));
        let program = Program::start_with_json_logs(place.serve().env("FAR_KEY", KEY), &place).await;

        let body = json!({"model": "gpt-9", "input": TEXT});
        let asked = program.generate(&body);
        let (answer, ()) = tokio::join!(asked, self.refuse(upstream));
        self.assert_logged(&program, &answer).await;
        let events = answer.events().await;
        let failed = events.last().expect("an event");
        assert_eq!(failed.name, "failed", "{failed:?}");
        assert_includes(&failed.data["error"], &self.native);
        assert!(self.native.get("upstream").is_some() || failed.data["error"].get("upstream").is_none(), "{failed:?}");
        assert_eq!(failed.data.get("usage"), None, "a request that was refused has no usage");
        self.assert_hidden(&failed.block);

        for stream in [false, true] {
            let body = json!({"model": "gpt-9", "stream": stream, "messages": [{"role": "user", "content": TEXT}]});
            let asked = chat(&program, &body);
            let (answer, ()) = tokio::join!(Answer::to(asked), self.refuse(upstream));
            self.assert_logged(&program, &answer).await;
            assert_eq!(answer.status, self.chat.0, "stream: {stream}");
            let body = answer.json().await;
            assert_includes(&body["error"], &self.chat.1);
            self.assert_hidden(&body.to_string());
        }
        program.signal("TERM").await;
        let log = program.wait_for_exit().await.stderr;
        assert!(!log.contains("hunter2") && !log.contains(TEXT), "{log}");
    }

    /// Checks the WARN line of the request that `answer` belongs to.
    async fn assert_logged(&self, program: &Program, answer: &Answer) {
        let line = program.log_line("attempt failed", answer.header("x-request-id")).await;
        assert_eq!(line["level"], "WARN", "{line}");
        let url = format!("{}/chat/completions", self.base_url);
        assert_includes(&line["fields"], &json!({"upstream": "far", "url": url, "model": "gpt-9", "attempt": 1}));
        assert_includes(&line["fields"], &self.line);
    }

    /// Checks that callers do not learn the upstream's address or key.
    fn assert_hidden(&self, actual: &str) {
        let host = self.base_url.split_once("://").expect("a URL").1.split('/').next().expect("a host");
        assert!(!actual.contains(host) && !actual.contains("hunter2"), "{actual}");
    }
}

/// Checks the expected members. `null` means that a member is absent or null; a text that ends in `…` is a prefix.
fn assert_includes(actual: &Value, expected: &Value) {
    for (name, value) in expected.as_object().expect("an object") {
        let begins = value.as_str().and_then(|text| text.strip_suffix('…'));
        match (begins, actual[name].as_str()) {
            (Some(begin), Some(text)) => assert!(text.starts_with(begin), "{name}: {actual}"),
            _ => assert_eq!(actual[name], *value, "{name}: {actual}"),
        }
    }
}

fn chat(program: &Program, body: &Value) -> RequestBuilder {
    let request = program.http.post(program.url("/v1/chat/completions"));
    request.header(CONTENT_TYPE, "application/json").body(body.to_string())
}

fn error(message: &str, kind: &str, code: &str, param: Option<&str>) -> Value {
    let code = Some(code).filter(|code| !code.is_empty());
    json!({"error": {"message": message, "type": kind, "code": code, "param": param}})
}

#[tokio::test]
async fn base_url_without_v1_is_reported_as_misconfigured_not_as_unknown_model() {
    let upstream = Upstream::start().await;
    let misconfigured = Misconfigured {
        what: "no /v1",
        base_url: format!("http://{}", upstream.address),
        refusal: Some(Refusal { status: 404, headers: "", body: json!("<html><h1>404 page not found</h1></html>") }),
        line: json!({"status": 404, "code": "upstream_misconfigured", "upstream_code": null, "said": null}),
        native: json!({"code": "upstream_misconfigured", "status": 502, "retryable": false}),
        chat: (502, json!({"code": "upstream_misconfigured", "param": null})),
    };
    case(misconfigured.what, misconfigured.check(&upstream)).await;
}

#[tokio::test]
async fn refused_upstream_credentials_are_logged_and_hidden_from_callers() {
    let upstream = Upstream::start().await;
    let unverified = "Your organization must be verified to use this model.";
    for misconfigured in [
        Misconfigured {
            what: "a wrong key",
            base_url: upstream.base_url(),
            refusal: Some(Refusal {
                status: 401,
                headers: "x-request-id: req_upstream_1\r\n",
                body: error(
                    &format!("Incorrect API key provided: {KEY}."),
                    "invalid_request_error",
                    "invalid_api_key",
                    None,
                ),
            }),
            line: json!({
                "status": 401, "code": "upstream_auth", "upstream_type": "invalid_request_error",
                "upstream_code": "invalid_api_key", "upstream_request_id": "req_upstream_1",
                "said": "Incorrect API key provided: …",
            }),
            native: json!({"code": "upstream_auth", "status": 502, "retryable": false}),
            chat: (502, json!({"code": "upstream_auth"})),
        },
        Misconfigured {
            what: "forbidden",
            base_url: upstream.base_url(),
            refusal: Some(Refusal {
                status: 403,
                headers: "",
                body: error(unverified, "invalid_request_error", "", None),
            }),
            line: json!({"status": 403, "code": "upstream_auth", "upstream_code": null, "said": unverified}),
            native: json!({"code": "upstream_auth", "status": 502}),
            chat: (502, json!({"code": "upstream_auth"})),
        },
    ] {
        case(misconfigured.what, misconfigured.check(&upstream)).await;
    }
}

#[tokio::test]
async fn upstream_errors_that_callers_can_fix_are_passed_through() {
    let upstream = Upstream::start().await;
    let kind = "invalid_request_error";
    for (what, message, code, param) in [
        (
            "an unsupported parameter",
            "Unsupported value: 'temperature' does not support 0.2 with this model.",
            "unsupported_value",
            Some("temperature"),
        ),
        (
            "the context length",
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
            "context_length_exceeded",
            Some("messages"),
        ),
    ] {
        let misconfigured = Misconfigured {
            what,
            base_url: upstream.base_url(),
            refusal: Some(Refusal { status: 400, headers: "", body: error(message, kind, code, param) }),
            line: json!({
                "status": 400, "code": "upstream_rejected", "upstream_type": kind, "upstream_code": code,
                "upstream_param": param, "said": message,
            }),
            native: json!({
                "code": "upstream_rejected", "status": 400, "retryable": false,
                "upstream": {"status": 400, "type": kind, "code": code, "param": param, "message": message},
            }),
            chat: (400, json!({"message": message, "type": kind, "code": code, "param": param})),
        };
        case(what, misconfigured.check(&upstream)).await;
    }
}

#[tokio::test]
async fn exhausted_upstream_quota_is_not_retryable() {
    let upstream = Upstream::start().await;
    let said = "You exceeded your current quota, please check your plan and billing details.";
    let misconfigured = Misconfigured {
        what: "an exhausted quota",
        base_url: upstream.base_url(),
        refusal: Some(Refusal {
            status: 429,
            headers: "",
            body: error(said, "insufficient_quota", "insufficient_quota", None),
        }),
        line: json!({
            "status": 429, "code": "upstream_rate_limited", "upstream_type": "insufficient_quota",
            "upstream_code": "insufficient_quota", "said": said,
        }),
        native: json!({"code": "upstream_rate_limited", "status": 429, "retryable": false}),
        chat: (429, json!({})),
    };
    case(misconfigured.what, async {
        let place = WorkingDirectory::new();
        place.settings(&format!("[[upstreams]]\nname = \"far\"\nbase_url = \"{}\"\n", upstream.base_url()));
        let program = Program::start_with_json_logs(&mut place.serve(), &place).await;
        let body = json!({"model": "gpt-9", "messages": [{"role": "user", "content": TEXT}]});
        let asked = chat(&program, &body);
        let (answer, ()) = tokio::join!(Answer::to(asked), misconfigured.refuse(&upstream));
        misconfigured.assert_logged(&program, &answer).await;
        assert_eq!((answer.status, answer.header("x-should-retry")), (429, "false"));

        let body = json!({"model": "gpt-9", "input": TEXT});
        let asked = program.generate(&body);
        let (answer, ()) = tokio::join!(asked, misconfigured.refuse(&upstream));
        let events = answer.events().await;
        assert_includes(&events.last().expect("an event").data["error"], &misconfigured.native);
    })
    .await;
}

#[tokio::test]
async fn each_connection_failure_is_logged_with_its_cause() {
    // Accepts connections but does not speak TLS.
    let plain = Upstream::start().await;
    let responding = async {
        loop {
            plain.respond_in_the_clear().await;
        }
    };
    let checked = async {
        for (what, base_url, cause) in [
            ("a closed port", "http://127.0.0.1:1/v1".to_owned(), "connection refused…"),
            ("an unknown host", "http://no-such-host.invalid/v1".to_owned(), "no such host…"),
            ("TLS to plain HTTP", format!("https://{}/v1", plain.address), "…"),
        ] {
            let misconfigured = Misconfigured {
                what,
                base_url,
                refusal: None,
                line: json!({"code": "upstream_unreachable", "status": null, "said": null, "cause": cause}),
                native: json!({"code": "upstream_unreachable", "status": 502}),
                chat: (502, json!({"code": "upstream_unreachable"})),
            };
            case(what, misconfigured.check(&plain)).await;
        }
    };
    tokio::select! {
        () = checked => {}
        () = responding => {}
    }
}
