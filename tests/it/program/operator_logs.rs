//! JSON logs and `tokenrill check --upstreams`.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use super::{ProcessOutput, Program, WorkingDirectory};
use crate::support::{Answer, Output, Upstream, soon};

impl Program {
    /// Starts with `telemetry.log_format = "json"`, with which nothing is printed to standard output.
    pub(super) async fn start_with_json_logs(command: &mut Command, _place: &WorkingDirectory) -> Self {
        let output = Output::of("the program");
        let stderr = output.path().to_owned();
        command.env("TOKENRILL_TELEMETRY__LOG_FORMAT", "json").stdout(Stdio::piped()).stderr(output.stream());
        let mut process = command.spawn().expect("it starts");
        let stdout = tokio::io::BufReader::new(process.stdout.take().expect("a pipe"));
        let address = soon(async {
            loop {
                let text = fs::read_to_string(&stderr).expect("UTF-8");
                assert!(process.try_wait().expect("a status").is_none(), "it ended: {text}");
                if let Some(line) = log_lines(&text).iter().find(|line| line["fields"]["message"] == "listening") {
                    break line["fields"]["address"].as_str().expect("an address").parse().expect("an address");
                }
                tokio::task::yield_now().await;
            }
        });
        let address = address.await;
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { address, greeting: String::new(), http, stdout, stderr, _output: output, process }
    }

    /// Waits for a log line of this request with this message and returns it.
    pub(super) async fn log_line(&self, message: &str, request_id: &str) -> Value {
        soon(async {
            loop {
                let lines = log_lines(&fs::read_to_string(&self.stderr).expect("UTF-8"));
                let is_of_request = |line: &&Value| {
                    [&line["fields"]["request_id"], &line["span"]["request_id"]].iter().any(|id| *id == request_id)
                };
                let line = lines.iter().filter(is_of_request).find(|line| line["fields"]["message"] == message);
                if let Some(line) = line {
                    break line.clone();
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

/// Complete lines only, because the last may be partly written.
fn log_lines(text: &str) -> Vec<Value> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
}

#[tokio::test]
async fn log_starts_with_version_settings_upstreams_and_authentication() {
    let place = WorkingDirectory::new();
    place.settings(
        "[[upstreams]]\nname = \"near\"\nbase_url = \"http://127.0.0.1:1\"\nmodels = [\"a\", \"b-*\"]\napi_key_env = \"NEAR_KEY\"\n\
         [[upstreams]]\nname = \"doubled\"\nbase_url = \"http://127.0.0.1:1/v1/chat/completions\"\n\
         [models.\"fast\"]\ntargets = [\"near/a\", \"doubled/b\"]\n",
    );
    let program = Program::start_with_json_logs(place.serve().env("NEAR_KEY", "sk-hunter2-near"), &place).await;
    program.signal("TERM").await;
    let ProcessOutput { code, stdout, stderr } = program.wait_for_exit().await;
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "in JSON the greeting is a log line");
    assert!(!stderr.contains("hunter2"), "{stderr}");
    let lines = log_lines(&stderr);
    let has = |fields: Value| {
        let wanted = fields.as_object().expect("an object");
        let found = lines.iter().any(|line| wanted.iter().all(|(name, value)| line["fields"][name] == *value));
        assert!(found, "{fields}: {stderr}");
    };
    has(
        json!({"message": "starting", "version": env!("CARGO_PKG_VERSION"), "settings": "tokenrill.toml", "authentication": "none, loopback only"}),
    );
    has(
        json!({"message": "upstream configured", "upstream": "near", "base_url": "http://127.0.0.1:1", "models": "a, b-*", "key": "NEAR_KEY"}),
    );
    has(json!({"message": "upstream configured", "upstream": "doubled", "models": "*", "key": "none"}));
    has(json!({"message": "model configured", "model": "fast", "targets": "near/a, doubled/b"}));
    has(json!({"upstream": "near", "message": "base_url has no path: most servers have their API below /v1"}));
    has(
        json!({"upstream": "doubled", "message": "base_url ends in /chat/completions: leave that out, it is appended to base_url"}),
    );
    assert!(lines.iter().any(|line| line["fields"]["message"] == "listening"), "{stderr}");
}

#[tokio::test]
async fn access_log_has_route_status_and_time_and_unknown_paths() {
    let place = WorkingDirectory::new();
    let program = Program::start_with_json_logs(&mut place.serve(), &place).await;
    for (path, route, logged) in [
        ("/chat/completions?key=hunter2", "unmatched", json!("/chat/completions")),
        ("/v1/models", "/v1/models", Value::Null),
    ] {
        let answer = program.get(path).await;
        let status = answer.status;
        let line = program.log_line("request", answer.header("x-request-id")).await;
        assert_eq!((&line["span"]["route"], &line["fields"]["path"]), (&json!(route), &logged), "{line}");
        assert_eq!((&line["span"]["method"], &line["fields"]["status"]), (&json!("GET"), &json!(status)), "{line}");
        assert!(line["fields"]["head_ms"].is_u64(), "{line}");
        assert_eq!(line["spans"], Value::Null, "the span is logged once: {line}");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(program.get(path).await.status, 200);
    }
    program.signal("TERM").await;
    let said = program.wait_for_exit().await;
    assert!(!said.stderr.contains("healthz") && !said.stderr.contains("hunter2"), "{}", said.stderr);
}

#[tokio::test]
async fn failed_generation_is_logged_with_its_api_error_code() {
    let place = WorkingDirectory::new();
    let program = Program::start_with_json_logs(&mut place.serve(), &place).await;
    let answer = program.generate(&json!({"input": "Hello", "model": "demo?status=503"})).await;
    let request_id = answer.header("x-request-id").to_owned();
    answer.events().await;
    let line = program.log_line("generation ended", &request_id).await;
    let fields = [&line["fields"]["outcome"], &line["fields"]["code"]];
    assert_eq!(fields, [&json!("failed"), &json!("upstream_overloaded")], "{line}");
}

#[tokio::test]
async fn check_upstreams_prints_one_line_per_upstream_and_exits_with_2_if_one_fails() {
    let (upstream, place) = (Upstream::start().await, WorkingDirectory::new());
    let good = format!("[[upstreams]]\nname = \"good\"\nbase_url = \"{}\"\nmodels = [\"a*\"]\n", upstream.base_url());
    let list = async || {
        let mut call = upstream.call().await;
        assert!(call.head.starts_with("get /v1/models "), "{}", call.head);
        call.refuse(200, "content-type: application/json\r\n", r#"{"data":[{"id":"a1"},{"id":"b"},{"id":"a2"}]}"#)
            .await;
    };

    place.settings(&good);
    let (said, ()) = tokio::join!(place.run(&["check", "--upstreams"]), list());
    let line = format!("upstream good {}/models: ok, 3 models, 2 of them match its `models`", upstream.base_url());
    assert_eq!((said.code, said.stderr.as_str(), said.stdout.lines().last()), (Some(0), "", Some(line.as_str())));

    let html = Upstream::start().await;
    place.settings(&format!(
        "{good}[[upstreams]]\nname = \"bare\"\nbase_url = \"http://{}\"\n\
         [[upstreams]]\nname = \"down\"\nbase_url = \"http://127.0.0.1:1/v1\"\n",
        html.address
    ));
    let refuses = async {
        html.call().await.refuse(404, "content-type: text/html\r\n", "<html>Not Found</html>").await;
    };
    let (said, (), ()) = tokio::join!(place.run(&["check", "--upstreams"]), list(), refuses);
    assert_eq!(said.code, Some(2), "{}", said.stdout);
    let bare = format!("http://{}/models", html.address);
    for begin in [
        line.clone(),
        format!(
            "upstream bare {bare}: failed: status 404, there is no model list at {bare}: does base_url end in /v1?"
        ),
        "upstream down http://127.0.0.1:1/v1/models: failed: no connection: ".to_owned(),
    ] {
        assert!(said.stdout.lines().any(|line| line.starts_with(&begin)), "{begin}: {}", said.stdout);
    }
    for line in ["tokenrill: warning: upstream bare: base_url has no path", "tokenrill: 2 of 3 upstreams failed"] {
        assert!(said.stderr.lines().any(|each| each.starts_with(line)), "{line}: {}", said.stderr);
    }
}

#[tokio::test]
async fn failed_model_list_is_logged_once_with_upstream_and_cause() {
    let (upstream, place) = (Upstream::start().await, WorkingDirectory::new());
    place.settings(&format!("[[upstreams]]\nname = \"odd\"\nbase_url = \"{}\"\n", upstream.base_url()));
    let program = Program::start_with_json_logs(&mut place.serve(), &place).await;
    let refuses = async { upstream.call().await.refuse(500, "", "").await };
    let (list, ()) = tokio::join!(program.get("/v1/models"), refuses);
    assert_eq!(list.json().await["data"].as_array().expect("a list").len(), 1, "demo alone");
    for _ in 0..5 {
        Answer::to(program.http.get(program.url("/v1/models"))).await;
    }
    program.signal("TERM").await;
    let lines = log_lines(&program.wait_for_exit().await.stderr);
    let failures: Vec<_> = lines.iter().filter(|line| line["fields"]["message"] == "listing models failed").collect();
    assert_eq!(failures.len(), 1, "{failures:?}");
    let fields = &failures[0]["fields"];
    let url = format!("{}/models", upstream.base_url());
    assert_eq!(
        [&fields["upstream"], &fields["url"], &fields["cause"]],
        [&json!("odd"), &json!(url), &json!("status 500")]
    );
}
