//! The binary as a process: arguments, environment, signals and exit codes.

mod misconfigured_upstreams;
mod money;
mod operator_logs;
mod upstream_connections;
mod upstream_tls;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::sleep;

use crate::support::issuer::{AUDIENCE, ISSUER, Issuer, claims, header, hs256, now};
use crate::support::{Answer, Event, Output, Upstream, soon, text};

/// Lower case, because the scripted upstream lower-cases the request head.
const KEY: &str = "sk-hunter2-0123456789abcdef";

#[tokio::test]
async fn openapi_prints_the_document() {
    let said = WorkingDirectory::new().run(&["openapi"]).await;
    assert_eq!(
        (said.code, said.stdout.as_str(), said.stderr.as_str()),
        (Some(0), &*tokenrill::api::openapi::text(), "")
    );
}

#[tokio::test]
async fn settings_command_prints_the_example_file_or_the_reference_page() {
    let place = WorkingDirectory::new();
    for (arguments, file) in [
        (&["settings"][..], include_str!("../../tokenrill.example.toml")),
        (&["settings", "--markdown"], include_str!("../../docs/settings-reference.md")),
    ] {
        let said = place.run(arguments).await;
        assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (Some(0), file, ""), "{arguments:?}");
    }
}

#[tokio::test]
async fn check_prints_the_effective_settings_with_secrets_masked() {
    let place = WorkingDirectory::new();
    place.settings(
        "[server]\nmax_body = \"1MiB\"\n\
         [[upstreams]]\nname = \"local\"\nbase_url = \"http://127.0.0.1:1/v1\"\napi_key_env = \"LOCAL_KEY\"\n\
         headers = { X-Api-Key = \"sk-hunter2-header\" }\n",
    );
    let variables = [
        ("LOCAL_KEY", KEY),
        ("OPENAI_API_KEY", "sk-hunter2-openai"),
        ("TOKENRILL_GENERATION__HEARTBEAT", "7s"),
        ("RUST_LOG", "trace"),
    ];
    let said =
        soon(place.tokenrill(&["check"]).envs(variables).output()).await.map(ProcessOutput::from).expect("it runs");
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    for line in [
        "listen = \"127.0.0.1:8080\"",
        "max_body = \"1MiB\"",
        "heartbeat = \"7s\"",
        "api_key_env = \"LOCAL_KEY\"",
        "api_key_env = \"OPENAI_API_KEY\"",
        "X-Api-Key = \"***\"",
    ] {
        assert!(said.stdout.lines().any(|each| each == line), "{line} in {}", said.stdout);
    }
    assert!(!said.stdout.contains("hunter2"), "{}", said.stdout);
}

#[tokio::test]
async fn invalid_settings_print_one_sentence_and_exit_with_2() {
    for (settings, arguments, expected) in [
        (
            "[server]\nlisen = \"127.0.0.1:1\"",
            &["check"][..],
            "unknown setting `server.lisen` in tokenrill.toml: did you mean `server.listen`?",
        ),
        (
            "[server]\nlisen = \"127.0.0.1:1\"",
            &["serve"],
            "unknown setting `server.lisen` in tokenrill.toml: did you mean `server.listen`?",
        ),
        ("[server]\nmax_body = 4", &[], "`server.max_body` in tokenrill.toml must be a size"),
        ("[auth]\nmode = \"required\"", &["check"], "auth.mode is \"required\" and there is no key"),
        ("[auth]\nmode = \"required\"", &["serve"], "auth.mode is \"required\" and there is no key"),
        ("[auth]\nmode = \"required\"\n[auth.jwt]\nissuer = \"x\"", &["check"], "auth.jwt needs issuer, audience"),
        (
            "[auth]\nmode = \"required\"\n[auth.jwt]\nissuer = \"x\"\naudience = \"x\"\njwks_file = \"none.json\"",
            &["check"],
            "the file that auth.jwt.jwks_file names cannot be used",
        ),
        (
            "[auth]\nmode = \"required\"\n[auth.jwt]\nissuer = \"x\"\naudience = \"x\"\nsecret_env = \"NO_SECRET\"",
            &["serve"],
            "auth.jwt.secret_env names no environment variable",
        ),
        (
            "[auth.jwt]\nissuer = \"x\"\naudience = \"x\"\njwks_file = \"x\"",
            &["check"],
            "auth.api_keys or auth.jwt is set",
        ),
        ("", &["key", "new", "--name", ""], "a name has at least one character"),
        ("", &["key", "new", "--scope", "all"], "there is no scope all"),
        ("not TOML", &["check"], "tokenrill.toml is not valid TOML: fix line 1"),
        ("", &["check", "--config", "none.toml"], "cannot read the settings file none.toml"),
        ("", &["serve", "--listen", "0.0.0.0:0"], "refusing to listen on 0.0.0.0:0 without authentication"),
        ("[server]\nlisten = \"[::]:0\"", &[], "refusing to listen on [::]:0 without authentication"),
        (
            "[[upstreams]]\nname = \"local\"\nbase_url = \"http://127.0.0.1:1\"\napi_key_env = \"NO_KEY\"",
            &["serve", "--listen", "127.0.0.1:0"],
            "upstream `local` has no key: set the environment variable `NO_KEY`",
        ),
    ] {
        let place = WorkingDirectory::new();
        place.settings(settings);
        place.run(arguments).await.expect_refusal(expected);
    }
}

#[tokio::test]
async fn non_loopback_address_is_served_with_explicit_auth_mode_none() {
    let place = WorkingDirectory::new();
    place.settings("[auth]\nmode = \"none\"\n");
    let program = Program::start(&mut place.tokenrill(&["serve", "--listen", "0.0.0.0:0"]), &place).await;
    assert!(program.address.ip().is_unspecified());
    assert_eq!(program.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn address_in_use_prints_one_sentence_and_exits_with_2() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let said = WorkingDirectory::new().run(&["serve", "--listen", &address]).await;
    said.expect_refusal(&format!("cannot listen on {address} ("));
    assert!(said.stderr.contains("--listen") && said.stdout.is_empty(), "{}", said.stderr);
}

#[tokio::test]
async fn printed_curl_command_works() {
    let place = WorkingDirectory::new();
    let program = Program::start(&mut place.serve(), &place).await;
    let base = format!("http://{}", program.address);
    for page in [format!("{base}/"), format!("{base}/docs")] {
        assert!(program.greeting.split_whitespace().any(|word| word == page), "{page} in {}", program.greeting);
        assert_eq!(Answer::to(program.http.get(page)).await.status, 200);
    }
    let line =
        program.greeting.lines().find_map(|line| line.trim_start().strip_prefix("try it")).expect("a line to try");
    let output =
        soon(place.command("sh").args(["-c", line.trim()]).output()).await.map(ProcessOutput::from).expect("sh runs");
    assert_eq!(output.code, Some(0), "{line}: {}", output.stderr);
    let events = Event::all(&output.stdout);
    let (first, last) = (&events[0], &events[events.len() - 1]);
    assert_eq!((first.name.as_str(), last.name.as_str()), ("start", "done"));
    assert!(!text(&events).is_empty());
}

#[tokio::test]
async fn signal_without_live_generations_exits_immediately() {
    for signal in ["TERM", "INT"] {
        let place = WorkingDirectory::new();
        let program = Program::start(&mut place.serve(), &place).await;
        // The idle connection stays open and must not delay the exit.
        assert_eq!(program.get("/healthz").await.status, 200);
        program.signal(signal).await;
        let said = program.wait_for_exit().await;
        assert_eq!(said.code, Some(0), "{}", said.stderr);
    }
}

#[tokio::test]
async fn signal_right_after_the_greeting_is_handled() {
    let place = WorkingDirectory::new();
    let program = Program::start(&mut place.serve(), &place).await;
    program.signal("TERM").await;
    let said = program.wait_for_exit().await;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

#[tokio::test]
async fn live_generation_completes_before_shutdown() {
    let (place, upstream) = (WorkingDirectory::new(), Upstream::start().await);
    let program = Program::start(place.serve().env("OPENAI_BASE_URL", upstream.base_url()), &place).await;
    let mut answer = program.generate(&json!({"input": "Hello", "model": "m"})).await;
    let start = answer.expect("start").await;
    let mut call = upstream.call().await;
    call.ok().await;
    call.text("Hel").await;
    answer.expect("delta").await;

    program.drain().await;
    assert_eq!(program.get("/healthz").await.status, 200);
    for accept in ["application/json", "text/event-stream"] {
        let refused =
            Answer::to(program.generation(&json!({"input": "Hello", "model": "m"})).header(ACCEPT, accept)).await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, "5"));
        let problem = match accept {
            "text/event-stream" => refused.events().await.remove(0).data["error"].clone(),
            _ => refused.json().await,
        };
        assert_eq!((&problem["code"], &problem["retryable"]), (&json!("shutting_down"), &json!(true)));
    }
    // A reconnecting viewer is still served.
    let path = format!("/v1/generations/{}/events", start.generation());
    let again =
        Answer::to(program.http.get(program.url(&path)).header("last-event-id", start.id.expect("an id"))).await;

    call.text("lo").await;
    call.finish("stop").await;
    call.done().await;
    for viewer in [answer, again] {
        let events = viewer.events().await;
        assert!(text(&events).ends_with("lo"));
        assert_eq!(events.last().map(|event| event.name.as_str()), Some("done"));
    }
    assert!(!upstream.was_called(), "nothing new was started");
    let said = program.wait_for_exit().await;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

#[tokio::test]
async fn generation_that_outlives_the_shutdown_grace_fails_as_retryable() {
    let place = WorkingDirectory::new();
    let program = Program::start(place.serve().env("TOKENRILL_SERVER__SHUTDOWN_GRACE", "1s"), &place).await;
    let mut answer = program.stalled().await;
    program.signal("TERM").await;
    expect_shutting_down(&mut answer).await;
    let said = program.wait_for_exit().await;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

/// Half of the answers complete within the grace and the others fail with `shutting_down`. The `retry` times that
/// viewers receive are spread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_drains_a_thousand_live_streams() {
    const EACH: usize = 500;
    let (place, upstream) = (WorkingDirectory::new(), Upstream::start().await);
    place.settings("[server]\nshutdown_grace = \"20s\"\n");
    let program = Program::start(place.serve().env("OPENAI_BASE_URL", upstream.base_url()), &place).await;
    let begin = async |model: &str| {
        let mut viewer = program.generate(&json!({"input": "Hello", "model": model})).await;
        let start = viewer.expect("start").await;
        (start, viewer)
    };
    let (mut viewers, calls) = tokio::join!(join_all((0..EACH).map(|_| begin("m"))), async {
        let mut calls = Vec::new();
        while calls.len() < EACH {
            calls.push(upstream.call().await);
        }
        calls
    });
    viewers.extend(join_all((0..EACH).map(|_| begin("demo?stall_at=1&rate=max"))).await);
    program.drain().await;
    let (start, _) = &viewers[EACH];
    let last = start.id.clone().expect("an id");
    let mut back = Answer::to(program.generation(&json!({})).header("last-event-id", last)).await;
    let first = back.expect("delta").await;
    assert!((1_000..5_000).contains(&first.retry.expect("a time")), "a client that reconnects now gets a longer delay");

    let ends = viewers.into_iter().map(|(_, mut viewer)| async move {
        let mut events = Vec::new();
        while let Some(event) = viewer.next().await {
            events.push(event);
        }
        events
    });
    let answers = calls.into_iter().map(|mut call| async move {
        call.answer(&["word "; 15]).await;
        call
    });
    let (ends, _calls) = tokio::join!(join_all(ends), join_all(answers));
    let mut waits = BTreeSet::new();
    for (events, at) in ends.into_iter().zip(0..) {
        let terminal = |event: &Event| ["done", "failed"].contains(&event.name.as_str());
        assert_eq!(events.iter().position(terminal), Some(events.len() - 1), "one terminal event, last");
        let deltas = events.iter().filter(|event| event.name == "delta").count();
        let last = events.last().expect("an ending");
        if at < EACH {
            assert_eq!((deltas, last.name.as_str()), (15, "done"));
        } else {
            assert_eq!((deltas, &last.data["error"]["code"]), (1, &json!("shutting_down")));
            assert_eq!(last.data["error"]["retryable"], true);
        }
        let told = events.iter().filter_map(|event| {
            let line = event.block.lines().next().and_then(|line| line.strip_prefix("retry: "));
            line.and_then(|wait| wait.parse::<u64>().ok())
        });
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), 1, "once each: {events:?}");
        assert!((1_000..5_000).contains(&told[0]));
        waits.extend(told);
    }
    assert!(waits.len() > EACH, "spread out: {}", waits.len());
    drop(back);
    let ended = program.wait_for_exit().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for once in ["a stream began", "a stream ended"] {
        assert_eq!(ended.stderr.matches(once).count(), 2 * EACH + 1, "{once}");
    }
}

#[tokio::test]
async fn without_free_descriptors_running_streams_continue_and_new_connections_get_503() {
    let place = WorkingDirectory::new();
    let mut command = place.command("prlimit");
    command.args(["--nofile=80:80", env!("CARGO_BIN_EXE_tokenrill"), "serve", "--listen", "127.0.0.1:0"]);
    let program = Program::start(&mut command, &place).await;
    program.wait_for_log("fewer open files are allowed", 1).await;
    let mut viewer = program.generate(&json!({"input": "Hello", "model": "demo?tokens=30&rate=20"})).await;
    viewer.expect("start").await;
    // The first delta shows that the upstream connection is open, which takes two descriptors after `start`.
    viewer.expect("delta").await;
    let mut crowd = Vec::new();
    for _ in 0..150 {
        crowd.push(soon(TcpStream::connect(program.address)).await.expect("a connection"));
    }
    program.wait_for_log("cannot accept connections", 1).await;
    let mut refused = 0;
    soon(async {
        while refused == 0 {
            for client in &crowd {
                let mut head = [0; 64];
                let read = client.try_read(&mut head);
                refused += usize::from(read.is_ok_and(|read| head[..read].starts_with(b"HTTP/1.1 503 ")));
            }
            sleep(POLL).await;
        }
    })
    .await;
    let mut deltas = 1;
    while let Some(event) = viewer.next().await {
        deltas += usize::from(event.name == "delta");
    }
    assert_eq!(deltas, 30, "a running stream loses nothing");
    drop(crowd);
    // A new connection for each request, because the connection of the viewer is still open.
    let is_healthy = async || {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        client.get(program.url("/healthz")).send().await.is_ok_and(|answer| answer.status() == 200)
    };
    soon(async { while !is_healthy().await {} }).await;
    program.signal("TERM").await;
    assert_eq!(program.wait_for_exit().await.code, Some(0));
}

#[tokio::test]
async fn second_signal_exits_immediately() {
    let place = WorkingDirectory::new();
    // A grace of one hour: only the second signal can end the process within this test.
    let program = Program::start(place.serve().env("TOKENRILL_SERVER__SHUTDOWN_GRACE", "1h"), &place).await;
    let mut answer = program.stalled().await;
    program.drain().await;
    program.signal("TERM").await;
    expect_shutting_down(&mut answer).await;
    let said = program.wait_for_exit().await;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

#[tokio::test]
async fn openai_variables_configure_an_upstream_and_only_it_receives_the_key() {
    for level in ["debug", "trace"] {
        let (place, upstream) = (WorkingDirectory::new(), Upstream::start().await);
        let base_url = upstream.base_url();
        let variables = [("OPENAI_BASE_URL", base_url.as_str()), ("OPENAI_API_KEY", KEY), ("RUST_LOG", level)];
        let checked =
            soon(place.tokenrill(&["check"]).envs(variables).output()).await.map(ProcessOutput::from).expect("it runs");
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);

        let program = Program::start(place.serve().envs(variables), &place).await;
        // The upstream repeats the key in its refusal, as some do.
        let answer = program.generate(&json!({"input": "Hello", "model": "m"})).await;
        let headers = "content-type: application/json\r\nconnection: close\r\n";
        upstream.call().await.refuse(401, headers, &json!({"error": {"message": KEY}}).to_string()).await;
        let refused = answer.text().await;
        assert!(refused.contains("upstream_auth"), "{refused}");

        let answer = program.generate(&json!({"input": "Hello", "model": "m"})).await;
        let mut call = upstream.call().await;
        let authorization: Vec<_> = call.head.lines().filter(|line| line.starts_with("authorization:")).collect();
        assert_eq!(authorization, [format!("authorization: bearer {KEY}")]);
        assert_eq!(call.body["model"], "m");
        call.answer(&["Hello"]).await;
        let answered = answer.text().await;
        assert!(answered.contains("event: done"), "{answered}");
        let metrics = program.get("/metrics").await.text().await;

        program.signal("TERM").await;
        let said = program.wait_for_exit().await;
        assert!(said.stderr.contains("DEBUG"), "the log was on");
        for text in [checked.stdout, checked.stderr, answered, refused, metrics, said.stdout, said.stderr] {
            assert_eq!(text.lines().find(|line| line.contains("hunter2")), None, "{level}");
        }
    }
}

/// Runs a whole scenario, then searches all responses, output and logs for every credential.
#[tokio::test]
async fn new_key_works_once_in_the_settings_and_no_credential_is_logged() {
    const SECRET: &str = "hunter2-hunter2-hunter2-hunter2-hunter2";
    const TOKENS: &str = "hunter3-hunter3-hunter3-hunter3-hunter3";
    for level in ["info", "trace"] {
        let (place, upstream) = (WorkingDirectory::new(), Upstream::start().await);
        let made = place.run(&["key", "new", "--name", "w\"b", "--scope", "generate", "--scope", "follow"]).await;
        assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""));
        let key = made.stdout.lines().find_map(|line| line.trim().strip_prefix("trk_")).expect("a key");
        let key = format!("trk_{key}");
        let (_, settings) = made.stdout.split_once("[[auth").expect("what to write");
        let operator = place.run(&["key", "new", "--name", "operator", "--scope", "admin"]).await.stdout;
        let (_, more) = operator.split_once("[[auth").expect("what to write");
        let operator = operator.lines().find_map(|line| line.trim().strip_prefix("trk_")).expect("a key");
        let operator = format!("trk_{operator}");
        let jwt = format!("issuer = {ISSUER:?}\naudience = {AUDIENCE:?}\nsecret_env = \"TOKENS\"");
        place.settings(&format!(
            "[auth]\nmode = \"required\"\ncookie = \"session\"\nticket_secret_env = \"TICKETS\"\n[auth.jwt]\n{jwt}\n[[auth{settings}\n[[auth{more}"
        ));
        let token = hs256(TOKENS.as_bytes(), &json!({"alg": "HS256"}), &claims(&json!({"sub": "canary-subject"})));
        let expired = hs256(TOKENS.as_bytes(), &json!({"alg": "HS256"}), &claims(&json!({"exp": now() - 60})));
        let base_url = upstream.base_url();
        let variables = [
            ("OPENAI_BASE_URL", base_url.as_str()),
            ("OPENAI_API_KEY", KEY),
            ("TICKETS", SECRET),
            ("TOKENS", TOKENS),
            ("RUST_LOG", level),
        ];
        let checked =
            soon(place.tokenrill(&["check"]).envs(variables).output()).await.map(ProcessOutput::from).expect("it runs");
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        let program = Program::start(place.serve().envs(variables), &place).await;

        let line =
            program.greeting.lines().find_map(|line| line.trim_start().strip_prefix("try it")).expect("a line to try");
        let output = soon(place.command("sh").args(["-c", line.trim()]).env("KEY", &key).output()).await;
        let tried = output.map(ProcessOutput::from).expect("sh runs");
        assert!(tried.stdout.contains("event: done"), "{line}: {}", tried.stdout);

        let body = json!({"input": "Hello", "model": "m"});
        let answer = Answer::to(program.generation(&body).bearer_auth(&key)).await;
        let id = answer.header("tokenrill-generation").to_owned();
        let mut call = upstream.call().await;
        call.answer(&["Hello"]).await;
        let mut said = vec![answer.text().await];
        assert!(!call.head.contains("trk_"), "a caller's key is not forwarded");
        let ticket = program.http.post(program.url("/v1/tickets")).bearer_auth(&key);
        let asked = json!({"resource": "generation", "id": id});
        let ticket = Answer::to(ticket.header(CONTENT_TYPE, "application/json").body(asked.to_string())).await;
        let url = ticket.json().await["url"].as_str().expect("a URL").to_owned();
        said.push(program.get(&url).await.text().await);
        assert!(said[1].contains("event: done"), "{}", said[1]);

        for request in [
            program.http.get(program.url("/metrics")).bearer_auth(&operator),
            program.http.get(program.url("/v1/connections")).bearer_auth(&operator),
            program.http.get(program.url("/v1/generations")).bearer_auth(&token),
            program.http.get(program.url("/v1/generations")).header("cookie", format!("session={token}")),
        ] {
            let answer = Answer::to(request).await;
            assert_eq!(answer.status, 200);
            said.push(answer.text().await);
        }
        // Refused: unknown, truncated or expired credentials, cookies without `Origin`, an invalid ticket, missing
        // scopes, a key in place of a cursor.
        let wrong = key.replace("trk_", "trk_f");
        let cut = &key[..key.len() - 1];
        for request in [
            program.generation(&body).bearer_auth(&wrong),
            program.generation(&body).header("x-api-key", cut),
            program.generation(&body).bearer_auth(&expired),
            program.generation(&body).bearer_auth(&token[..token.len() - 1]),
            program.generation(&body).header("cookie", format!("session={token}")),
            program.generation(&body).header("cookie", format!("session={expired}")),
            program.http.get(program.url(&format!("{url}x"))),
            program.http.delete(program.url(&format!("/v1/generations/{id}"))).bearer_auth(&key),
            program.http.get(program.url("/metrics")).bearer_auth(&key),
            program.http.get(program.url(&format!("/v1/generations?cursor={key}"))).bearer_auth(&key),
        ] {
            let answer = Answer::to(request).await;
            assert!((400..404).contains(&answer.status), "{}", answer.status);
            said.push(answer.text().await);
        }
        program.signal("TERM").await;
        let ended = program.wait_for_exit().await;
        assert_eq!(ended.stderr.matches("a caller was refused").count(), 9, "one log line for each: {}", ended.stderr);
        said.extend([checked.stdout, checked.stderr, tried.stderr, ended.stdout, ended.stderr]);
        let ticket = url.split_once("ticket=").expect("a ticket").1;
        let tokens = [&token, &expired].into_iter().flat_map(|token| token.split('.').skip(1));
        let credentials =
            [KEY, SECRET, TOKENS, &key[21..37], &key[48..], ticket, &ticket[..40], &operator[21..37], "hunter2"];
        let credentials: Vec<_> = credentials.into_iter().chain(tokens).collect();
        for text in said {
            for credential in &credentials {
                assert_eq!(text.lines().find(|line| line.contains(credential)), None, "{level}: {credential}");
            }
        }
    }
}

#[tokio::test]
async fn sighup_applies_keys_and_origins_together_or_not_at_all() {
    const PAGE: &str = "https://app.example";
    let (place, mut keys) = (WorkingDirectory::new(), Vec::new());
    for name in ["web", "web", "web"] {
        let made = place.run(&["key", "new", "--name", name]).await.stdout;
        let key = made.lines().find_map(|line| line.trim().strip_prefix("trk_")).expect("a key");
        keys.push((format!("trk_{key}"), made.split_once("[[").expect("what to write").1.to_owned()));
    }
    let write = |origin: &str, key: &str| {
        place.settings(&format!("[cors]\norigins = [{origin:?}]\n[auth]\nmode = \"required\"\n[[{key}"));
    };
    let status = async |program: &Program, key: &str| {
        let answer =
            Answer::to(program.http.get(program.url("/v1/models")).bearer_auth(key).header("origin", PAGE)).await;
        (answer.status, answer.header("access-control-allow-origin").to_owned())
    };
    write("http://localhost:*", &keys[0].1);
    let program = Program::start(&mut place.serve(), &place).await;
    assert_eq!(status(&program, &keys[0].0).await, (200, String::new()));
    let body = json!({"input": "Hello", "model": "demo?stall_at=1&rate=max"});
    let mut running = Answer::to(program.generation(&body).bearer_auth(&keys[0].0)).await;
    running.expect("start").await;
    running.expect("delta").await;
    let id = running.header("tokenrill-generation").to_owned();

    write(PAGE, &keys[1].1);
    program.signal("HUP").await;
    program.wait_for_log("were read again", 1).await;
    assert_eq!(status(&program, &keys[0].0).await, (401, PAGE.to_owned()), "withdrawn");
    assert_eq!(status(&program, &keys[1].0).await, (200, PAGE.to_owned()));

    // A valid key together with an invalid setting: neither takes effect.
    let wrong = [
        ("not an origin", keys[2].1.clone()),
        ("http://localhost:*", keys[2].1.replace("hash = \"", "hash = \"x")),
        ("http://localhost:*", format!("{}\n[server]\nlisen = 1", keys[2].1)),
        ("http://localhost:*", format!("{}\nscopes = [\"everything\"]", keys[2].1)),
    ];
    for (times, (origin, key)) in (1..).zip(&wrong) {
        write(origin, key);
        program.signal("HUP").await;
        program.wait_for_log("nothing was changed", times).await;
        assert_eq!(status(&program, &keys[1].0).await, (200, PAGE.to_owned()));
        assert_eq!(status(&program, &keys[2].0).await.0, 401);
    }
    place.settings("[auth]\nmode = \"required\"\n");
    program.signal("HUP").await;
    program.wait_for_log("were read again", 2).await;
    assert_eq!(status(&program, &keys[1].0).await.0, 401, "the last key was removed");
    write(PAGE, &keys[1].1);
    program.signal("HUP").await;
    program.wait_for_log("were read again", 3).await;
    place.settings("[auth]\nmode = \"none\"\n");
    program.signal("HUP").await;
    program.wait_for_log("auth.mode cannot be changed by a reload", 1).await;
    assert_eq!(status(&program, &keys[2].0).await.0, 401);

    // The running generation continues, and its owner can stop it with the new key.
    let stop = program.http.post(program.url(&format!("/v1/generations/{id}/cancel"))).bearer_auth(&keys[1].0);
    assert_eq!(Answer::to(stop).await.status, 200);
    running.expect("cancelled").await;
}

/// A directory of prompts is accepted or refused as a whole: by `check`, at startup and at a reload.
#[tokio::test]
async fn invalid_prompt_is_reported_by_file_and_line() {
    const GOOD: &str = "+++\ndescription = \"Greets.\"\n+++\n# user\n\nHello\n";
    let place = WorkingDirectory::new();
    let write = |name: &str, text: &str| fs::write(place.0.join("prompts").join(name), text).expect("written");
    fs::create_dir(place.0.join("prompts")).expect("a directory");
    for (text, told) in [
        (GOOD.replace("Hello", "Hello {{ name }}"), "prompts/bad.md:6: "),
        (GOOD.replace("Hello", "{% if %}"), "prompts/bad.md:6: "),
        (GOOD.replace("Hello", "{{ 1 | nobodys }}"), "prompts/bad.md:6: "),
        (GOOD.replace("Hello", "{% include \"_none.md\" %}"), "prompts/bad.md:6: "),
        (GOOD.replace("description", "descripton"), "prompts/bad.md:2: "),
        (GOOD.replace("# user", "# User"), "prompts/bad.md:4: "),
        ("Hello".to_owned(), "prompts/bad.md:1: "),
    ] {
        write("bad.md", &text);
        write("good.md", GOOD);
        for arguments in [&["check"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            place.run(arguments).await.expect_refusal(told);
        }
    }
    fs::remove_file(place.0.join("prompts/bad.md")).expect("removed");
    place.settings("[prompts]\ndirectory = \"prompts\"\n");
    let program = Program::start(&mut place.serve(), &place).await;
    let prompts = async || {
        let listed = program.get("/v1/prompts").await.json().await;
        let named = |prompt: &Value| (prompt["id"].clone(), prompt["version"].clone());
        listed["data"].as_array().expect("a list").iter().map(named).collect::<Vec<_>>()
    };
    let before = prompts().await;
    assert_eq!(before.len(), 1);
    // One valid and one invalid prompt: neither takes effect.
    write("good.md", &GOOD.replace("Hello", "Good evening"));
    write("new.md", &GOOD.replace("Hello", "{{ oops"));
    program.signal("HUP").await;
    program.wait_for_log("nothing was changed", 1).await;
    program.wait_for_log("prompts/new.md:6", 1).await;
    assert_eq!(prompts().await, before);
    write("new.md", GOOD);
    program.signal("HUP").await;
    program.wait_for_log("were read again", 1).await;
    let after = prompts().await;
    assert_eq!(after.len(), 2);
    assert_ne!(after[0].1, before[0].1, "another text is another version");
    let pinned = format!("/v1/prompts/good@{}", before[0].1.as_str().expect("a version"));
    assert_eq!(program.get(&pinned).await.status, 404);
    let asked = json!({"prompt": {"id": "new"}, "model": "demo?tokens=1&rate=max"});
    assert_eq!(program.generate(&asked).await.status, 200);
    // If the directory is missing at a reload, the old prompts stay.
    fs::rename(place.0.join("prompts"), place.0.join("elsewhere")).expect("renamed");
    place.settings("");
    program.signal("HUP").await;
    program.wait_for_log("nothing was changed", 2).await;
    assert_eq!(prompts().await, after);
}

/// Without `prompts.directory` the program serves its starter set.
#[tokio::test]
async fn without_a_prompt_directory_the_starter_set_is_served() {
    let place = WorkingDirectory::new();
    let program = Program::start(&mut place.serve(), &place).await;
    let listed = program.get("/v1/prompts").await.json().await;
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(6));
    place.settings("[prompts]\ndirectory = \"nowhere\"\n");
    place.run(&["check"]).await.expect_refusal("nowhere: ");
}

#[tokio::test]
async fn sighup_applies_limits_and_keeps_the_usage() {
    let place = WorkingDirectory::new();
    let write =
        |limit: u32| place.settings(&format!("[auth]\nmode = \"none\"\n[limits]\nrequests_per_minute = {limit}\n"));
    write(2);
    let program = Program::start(&mut place.serve(), &place).await;
    let body = json!({"input": "Hello", "model": "demo?tokens=1&rate=max"});
    let status = async || program.generate(&body).await.status;
    assert_eq!([status().await, status().await, status().await], [200, 200, 429]);
    write(600);
    program.signal("HUP").await;
    program.wait_for_log("were read again", 1).await;
    // The old limit is used up. The new limit refills ten requests per second.
    soon(async { while status().await != 200 {} }).await;
}

#[tokio::test]
async fn refused_origin_is_logged_once_per_minute() {
    let place = WorkingDirectory::new();
    let program = Program::start(&mut place.serve(), &place).await;
    let own = program.url("");
    for origin in ["https://app.example", "https://app.example", &own, "http://localhost:5173", "https://other.example"]
    {
        let request = program.http.get(program.url("/v1/models")).header("origin", origin);
        assert_eq!(Answer::to(request).await.status, 200);
    }
    program.wait_for_log("other.example", 1).await;
    let log = fs::read_to_string(&program.stderr).expect("UTF-8");
    let lines: Vec<_> = log.lines().filter(|line| line.contains("add the origin to cors.origins")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].contains("WARN") && lines[0].contains("https://app.example"), "{}", lines[0]);
}

#[tokio::test]
async fn sighup_without_changes_is_logged_and_the_service_keeps_running() {
    let place = WorkingDirectory::new();
    let program = Program::start(&mut place.serve(), &place).await;
    for times in 1..=2 {
        program.signal("HUP").await;
        program.wait_for_log("nothing to reload, since the settings are unchanged", times).await;
    }
    assert_eq!(program.get("/healthz").await.status, 200);
    // Limits are reloaded also without auth.mode and prompts.directory.
    place.settings("[limits]\nrequests_per_minute = 1\n");
    program.signal("HUP").await;
    program.wait_for_log("were read again", 1).await;
    program.wait_for_log("limits.requests_per_minute", 1).await;
    let body = json!({"input": "Hello", "model": "demo?tokens=1&rate=max"});
    assert_eq!([program.generate(&body).await.status, program.generate(&body).await.status], [200, 429]);
}

#[tokio::test]
async fn sighup_logs_the_changed_settings_that_need_a_restart() {
    let place = WorkingDirectory::new();
    let write = |port: u16, more: &str| {
        let upstream = format!("[[upstreams]]\nname = \"stub\"\nbase_url = \"http://127.0.0.1:{port}/v1\"\n");
        place.settings(&format!("{more}{upstream}headers = {{ X-Key = \"hunter2{port}\" }}\n"));
    };
    write(1, "");
    let program = Program::start(&mut place.serve(), &place).await;
    for times in 1..=2 {
        write(2, "[server]\nmax_body = \"1MiB\"\n[cors]\norigins = [\"https://app.example\"]\n");
        program.signal("HUP").await;
        let waiting =
            "not applied before a restart: server.max_body, upstreams[stub].base_url, upstreams[stub].headers";
        program.wait_for_log(waiting, times).await;
    }
    program.wait_for_log("cors.origins", 1).await;
    assert_eq!(program.get("/healthz").await.status, 200);
    write(1, "");
    program.signal("HUP").await;
    program.wait_for_log("were read again", 2).await;
    let log = fs::read_to_string(&program.stderr).expect("UTF-8");
    assert_eq!(log.matches("not applied before a restart").count(), 2, "no generation waits: {log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn sighup_refetches_issuer_keys_and_a_new_issuer_must_be_reachable() {
    let (place, server, old, new) = (WorkingDirectory::new(), Upstream::start().await, Issuer::new(), Issuer::new());
    let made = place.run(&["key", "new", "--name", "web"]).await.stdout;
    let key = made.lines().find_map(|line| line.trim().strip_prefix("trk_")).expect("a key");
    let (key, entry) = (format!("trk_{key}"), made.split_once("[[").expect("what to write").1.to_owned());
    let write = |audience: &str, key: &str| {
        place.settings(&format!(
            "[auth]\nmode = \"required\"\n[auth.jwt]\nissuer = {ISSUER:?}\naudience = {audience:?}\njwks_url = \"http://{}/\"\n{key}",
            server.address
        ));
    };
    write(AUDIENCE, "");
    let checked = place.run(&["check"]).await;
    assert_eq!((checked.code, server.was_called()), (Some(0), false), "a check fetches nothing");
    let program = Program::start(&mut place.serve(), &place).await;
    let publish = async |status: u16, issuer: &Issuer| server.call().await.refuse(status, "", &issuer.jwks()).await;
    let with = async |credential: &str| {
        Answer::to(program.http.get(program.url("/v1/models")).bearer_auth(credential)).await.status
    };
    let of = |issuer: &Issuer| issuer.es256(&header("ES256", "ec"), &claims(&json!({})));
    publish(200, &old).await;
    assert_eq!((with(&of(&old)).await, with(&of(&new)).await), (200, 401));
    assert_eq!(with(&key).await, 401);

    // The same issuer is unreachable: other changes still take effect, and its last keys stay valid.
    write(AUDIENCE, &format!("[[{entry}"));
    program.signal("HUP").await;
    publish(500, &new).await;
    program.wait_for_log("were read again", 1).await;
    assert_eq!((with(&of(&old)).await, with(&key).await), (200, 200));
    program.signal("HUP").await;
    publish(200, &new).await;
    program.wait_for_log("were read again", 2).await;
    soon(async { while with(&of(&new)).await != 200 {} }).await;
    assert_eq!(with(&of(&old)).await, 401);

    // A new issuer must be reachable.
    write("else", "");
    program.signal("HUP").await;
    publish(500, &new).await;
    program.wait_for_log("nothing was changed", 1).await;
    assert_eq!((with(&of(&new)).await, with(&key).await), (200, 200));
    program.signal("HUP").await;
    publish(200, &new).await;
    program.wait_for_log("were read again", 3).await;
    assert_eq!((with(&of(&new)).await, with(&key).await), (401, 401));
}

async fn expect_shutting_down(answer: &mut Answer) {
    let failed = answer.expect("failed").await;
    let error = &failed.data["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!("shutting_down"), &json!(true)));
    assert_eq!(answer.next().await, None);
}

/// The working directory of one test, removed on drop.
struct WorkingDirectory(PathBuf);

impl WorkingDirectory {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("program-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn settings(&self, text: &str) {
        fs::write(self.0.join("tokenrill.toml"), text).expect("written");
    }

    /// A command in this directory. Its environment contains only `PATH`, and it is killed on drop.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.0).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command
    }

    fn tokenrill(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_tokenrill"));
        command.args(arguments);
        command
    }

    fn serve(&self) -> Command {
        self.tokenrill(&["serve", "--listen", "127.0.0.1:0"])
    }

    async fn run(&self, arguments: &[&str]) -> ProcessOutput {
        soon(self.tokenrill(arguments).output()).await.map(ProcessOutput::from).expect("it runs")
    }
}

impl Drop for WorkingDirectory {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Output and exit code of a process that has ended.
struct ProcessOutput {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<std::process::Output> for ProcessOutput {
    fn from(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl ProcessOutput {
    fn expect_refusal(&self, sentence: &str) {
        let Self { code, stdout, stderr } = self;
        assert_eq!((*code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.starts_with(&format!("tokenrill: {sentence}")), "{stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    }
}

/// Poll interval: short enough for a test, without loading the machine that runs the process.
const POLL: Duration = Duration::from_millis(5);

/// The service as a process, killed on drop. A test that panics shows the last log lines.
struct Program {
    address: SocketAddr,
    /// The text that it printed when it began to listen.
    greeting: String,
    http: reqwest::Client,
    stdout: BufReader<ChildStdout>,
    stderr: PathBuf,
    _output: Output,
    process: Child,
}

impl Program {
    async fn start(command: &mut Command, _place: &WorkingDirectory) -> Self {
        let output = Output::of("the program");
        let stderr = output.path().to_owned();
        let mut process = command.stdout(Stdio::piped()).stderr(output.stream()).spawn().expect("it starts");
        let mut stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut greeting = String::new();
        while !greeting.contains("curl ") {
            let read = soon(stdout.read_line(&mut greeting)).await.expect("UTF-8");
            assert_ne!(read, 0, "it ended: {greeting}");
        }
        let address = greeting.split_whitespace().find_map(|word| word.strip_prefix("http://")?.parse().ok());
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { address: address.expect("an address"), greeting, http, stdout, stderr, _output: output, process }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::to(self.http.get(self.url(path))).await
    }

    fn generation(&self, body: &Value) -> RequestBuilder {
        self.http.post(self.url("/v1/generations")).header(CONTENT_TYPE, "application/json").body(body.to_string())
    }

    async fn generate(&self, body: &Value) -> Answer {
        Answer::to(self.generation(body)).await
    }

    /// A generation that has sent one delta and then stalls.
    async fn stalled(&self) -> Answer {
        let mut answer = self.generate(&json!({"input": "Hello", "model": "demo?stall_at=1&rate=max"})).await;
        answer.expect("start").await;
        answer.expect("delta").await;
        answer
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.stderr).expect("UTF-8")
    }

    /// Waits until the log contains this text this many times.
    async fn wait_for_log(&self, what: &str, times: usize) {
        soon(async {
            while self.log().matches(what).count() < times {
                sleep(POLL).await;
            }
        })
        .await;
    }

    async fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id().expect("it runs"));
        let sent = soon(Command::new("sh").args(["-c", &kill]).status()).await.expect("sh runs");
        assert!(sent.success());
    }

    /// Sends SIGTERM and waits until `/readyz` reports the shutdown.
    async fn drain(&self) {
        self.signal("TERM").await;
        soon(async {
            while self.get("/readyz").await.status != 503 {
                sleep(POLL).await;
            }
        })
        .await;
    }

    /// Waits until the process has exited.
    async fn wait_for_exit(mut self) -> ProcessOutput {
        let code = soon(self.process.wait()).await.expect("a status").code();
        let mut stdout = self.greeting;
        soon(self.stdout.read_to_string(&mut stdout)).await.expect("UTF-8");
        ProcessOutput { code, stdout, stderr: fs::read_to_string(&self.stderr).expect("UTF-8") }
    }
}
