//! The embedded model `demo`: an OpenAI-compatible model server on a loopback socket, without a key to buy and
//! without a network. The rest of the program reaches it through the same HTTP client as any other upstream, so what
//! is rehearsed against it is the real path.
//!
//! ```text
//! routes ── request ── options        what was asked, of the API and in the model's name
//!    ├───── refusal                   every answer that is not 200, in OpenAI's shape
//!    └───── completion ── answer      what happens, in order; what is said
//!              ├──── stream ── chunk ── logprobs    told token by token
//!              └──── whole                          told at once
//! ```

mod answer;
mod chunk;
mod completion;
mod logprobs;
mod options;
mod pace;
mod refusal;
mod request;
mod routes;
mod stream;
mod whole;

use std::{
    convert::Infallible,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use routes::Routes;

/// Longer than the transport keeps a connection to this server, so that the server never closes one on which the next
/// request is just leaving.
const IDLE: Duration = Duration::from_mins(5);

/// What `accept` waits after a failure, which is most often a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The running model server. Its `Debug` hides the key.
pub struct Demo {
    /// Where it listens: `127.0.0.1` and a port that the system chose.
    pub address: SocketAddr,
    /// The API key, made anew in each process, so that the loopback port is no open door to other local users.
    pub key: String,
}

impl Demo {
    /// What a client is configured with, for example `http://127.0.0.1:40123/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

impl fmt::Debug for Demo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demo").field("address", &self.address).field("key_bytes", &self.key.len()).finish()
    }
}

/// Starts the model server. It serves `POST /v1/chat/completions` and `GET /v1/models` over HTTP/1.1 until `stop` is
/// cancelled, which cuts the answers that are still under way. All its tasks are on `tasks`: one that accepts, and one
/// for each connection. An answer lives inside its connection's task and ends with the connection.
///
/// # Errors
///
/// If no loopback port can be bound or the system has no random bytes.
pub async fn start(tasks: &TaskTracker, stop: CancellationToken) -> io::Result<Demo> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let demo = Demo { address: listener.local_addr()?, key: format!("demo-{:032x}", u128::from_ne_bytes(random()?)) };
    let routes = Arc::new(Routes::new(&demo.key, u64::from_ne_bytes(random()?)));
    tasks.spawn(accept(listener, routes, tasks.clone(), stop));
    Ok(demo)
}

fn random<const BYTES: usize>() -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

async fn accept(listener: TcpListener, routes: Arc<Routes>, tasks: TaskTracker, stop: CancellationToken) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((socket, _)) => {
                let conversation = converse(socket, Arc::clone(&routes));
                tasks.spawn(stop.clone().run_until_cancelled_owned(conversation));
            }
            Err(error) => {
                warn!(%error, "the demo model could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(socket: TcpStream, routes: Arc<Routes>) {
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, "a connection to the demo model keeps Nagle's delay");
    }
    let service = service_fn(|request| async { Ok::<_, Infallible>(routes.answer(request).await) });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(socket), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "a connection to the demo model ended early");
    }
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "the server under test writes ASCII there")]
mod tests {
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A running demo model, and what its tasks are on.
    struct Rehearsal {
        demo: Demo,
        tasks: TaskTracker,
        stop: CancellationToken,
    }

    /// What came back on a connection, as far as it was read.
    struct Answer {
        status: u16,
        head: String,
        body: String,
        /// Whether the body has its last chunk.
        complete: bool,
    }

    impl Rehearsal {
        async fn new() -> Self {
            let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
            let demo = start(&tasks, stop.clone()).await.unwrap();
            Self { demo, tasks, stop }
        }

        async fn connect(&self, request: &str) -> TcpStream {
            let mut socket = TcpStream::connect(self.demo.address).await.unwrap();
            socket.write_all(request.as_bytes()).await.unwrap();
            socket
        }

        fn get(&self, path: &str) -> String {
            format!("GET {path} HTTP/1.1\r\nhost: demo\r\nauthorization: Bearer {}\r\n\r\n", self.demo.key)
        }

        fn post(&self, body: &str) -> String {
            let (key, length) = (&self.demo.key, body.len());
            format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: demo\r\nauthorization: Bearer {key}\r\n\
                 connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            )
        }

        fn ask(&self, model: &str, fields: &Value) -> String {
            let mut body = json!({"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": true});
            body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            self.post(&body.to_string())
        }

        async fn answer(&self, request: &str) -> Answer {
            let mut bytes = Vec::new();
            self.connect(request).await.read_to_end(&mut bytes).await.unwrap();
            Answer::parse(&String::from_utf8(bytes).unwrap())
        }

        async fn told(&self, model: &str) -> Answer {
            self.answer(&self.ask(model, &json!({}))).await
        }

        /// Waits until no connection is left, which leaves the task that accepts.
        async fn all_connections_ended(&self) {
            let ended = async {
                while self.tasks.len() > 1 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), ended).await.expect("a connection's task is left");
        }
    }

    impl Answer {
        fn parse(text: &str) -> Self {
            let (head, mut rest) = text.split_once("\r\n\r\n").expect("a whole head");
            let head = head.to_ascii_lowercase();
            let (mut body, mut complete) = (String::new(), true);
            if head.contains("transfer-encoding: chunked") {
                complete = text.ends_with("\r\n0\r\n\r\n");
                while let Some((size, chunk)) = rest.split_once("\r\n") {
                    let size = usize::from_str_radix(size, 16).unwrap();
                    body += &chunk[..size];
                    rest = &chunk[size + 2..];
                }
            } else {
                body += rest;
            }
            Self { status: head[9..12].parse().unwrap(), head, body, complete }
        }

        fn events(&self) -> Vec<&str> {
            let events = self.body.split_terminator("\n\n");
            events.map(|event| event.strip_prefix("data: ").expect("nothing but data lines")).collect()
        }

        /// The chunks, without what ends the stream.
        fn chunks(&self) -> Vec<Value> {
            let events = self.events().into_iter().filter(|event| *event != "[DONE]");
            events.map(|event| serde_json::from_str(event).unwrap()).collect()
        }

        fn json(&self) -> Value {
            serde_json::from_str(&self.body).unwrap()
        }
    }

    /// The values of one field of the delta, over all chunks.
    fn deltas<'a>(chunks: &'a [Value], field: &str) -> Vec<&'a str> {
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][field].as_str()).collect()
    }

    #[tokio::test]
    async fn the_models() {
        let rehearsal = Rehearsal::new().await;
        let request = rehearsal.get("/v1/models").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        let answer = rehearsal.answer(&request).await;
        assert_eq!(answer.status, 200);
        let models = answer.json();
        assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("demo")));
        assert_eq!(models["data"][0]["owned_by"], "tokenrill");
        assert_eq!(rehearsal.demo.base_url(), format!("http://{}/v1", rehearsal.demo.address));
    }

    #[tokio::test]
    async fn a_stream_has_a_role_its_tokens_one_finish_reason_and_done() {
        let rehearsal = Rehearsal::new().await;
        let answer = rehearsal.told("demo?tokens=5&rate=max").await;
        assert_eq!((answer.status, answer.complete), (200, true));
        assert!(answer.head.contains("content-type: text/event-stream"), "{}", answer.head);
        assert_eq!(answer.events().last(), Some(&"[DONE]"));
        let chunks = answer.chunks();
        assert_eq!(chunks.len(), 1 + 5 + 1);
        assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
        assert_eq!(chunks[6]["choices"][0]["finish_reason"], "stop");
        for chunk in &chunks {
            assert_eq!((&chunk["id"], &chunk["created"]), (&chunks[0]["id"], &chunks[0]["created"]));
            assert_eq!(chunk["model"], "demo?tokens=5&rate=max", "the name as asked");
        }
    }

    #[tokio::test]
    async fn the_whole_answer_equals_the_streamed_one() {
        let rehearsal = Rehearsal::new().await;
        let streamed = rehearsal.told("demo?rate=max").await;
        let whole = rehearsal.answer(&rehearsal.ask("demo?rate=max", &json!({"stream": false}))).await.json();
        assert_eq!(whole["choices"][0]["message"]["content"], deltas(&streamed.chunks(), "content").concat());
    }

    #[tokio::test]
    async fn usage_comes_where_asked() {
        let rehearsal = Rehearsal::new().await;
        let fields = json!({"stream_options": {"include_usage": true}});
        let answer = rehearsal.answer(&rehearsal.ask("demo?tokens=4&reasoning=2&rate=max", &fields)).await;
        let chunks = answer.chunks();
        let usage = chunks.last().unwrap();
        assert_eq!(usage["choices"], json!([]));
        assert_eq!(usage["usage"]["completion_tokens"], 6);
        assert_eq!(usage["usage"]["completion_tokens_details"]["reasoning_tokens"], 2);
        assert_eq!(deltas(&chunks, "reasoning_content").len(), 2);
    }

    #[tokio::test]
    async fn a_tool_is_called_in_fragments() {
        let rehearsal = Rehearsal::new().await;
        let chunks = rehearsal.told("demo?tool=weather&rate=max").await.chunks();
        let calls: Vec<_> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]).collect();
        assert_eq!(calls[1]["function"]["name"], "weather");
        assert!(calls[1]["id"].as_str().unwrap().starts_with("call_demo_"));
        let arguments: String = calls.iter().filter_map(|call| call["function"]["arguments"].as_str()).collect();
        assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), json!({"city": "Zürich", "unit": "celsius"}));
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    }

    #[tokio::test]
    async fn fail_at_ends_with_an_error_and_close_at_without_an_end() {
        let rehearsal = Rehearsal::new().await;
        let failed = rehearsal.told("demo?fail_at=3&rate=max").await;
        assert!(failed.complete);
        let events = failed.events();
        assert_eq!(events.len(), 1 + 3 + 1);
        assert!(events[4].starts_with(r#"{"error":{"message":"#), "{}", events[4]);

        let closed = rehearsal.told("demo?close_at=3&rate=max").await;
        assert!(!closed.complete);
        assert_eq!(closed.events().len(), 1 + 3);
    }

    #[tokio::test]
    async fn a_whole_answer_fails_with_a_status_or_without_any() {
        let rehearsal = Rehearsal::new().await;
        let whole = json!({"stream": false});
        let failed = rehearsal.answer(&rehearsal.ask("demo?fail_at=3&rate=max", &whole)).await;
        assert_eq!((failed.status, &failed.json()["error"]["code"]), (500, &json!("demo_failure")));

        let mut bytes = Vec::new();
        let mut socket = rehearsal.connect(&rehearsal.ask("demo?close_at=3&rate=max", &whole)).await;
        socket.read_to_end(&mut bytes).await.unwrap();
        assert!(bytes.is_empty(), "{bytes:?}");
    }

    #[tokio::test]
    async fn a_client_that_closes_ends_its_answer_wherever_it_is() {
        let rehearsal = Rehearsal::new().await;
        for (model, fields, until) in [
            ("demo?stall_at=3&rate=max", json!({}), Some(1 + 3)),
            ("demo?rate=1000&tokens=100000", json!({}), Some(1 + 3)),
            ("demo?first_token=1h", json!({}), Some(0)),
            ("demo?headers=1h", json!({}), None),
            ("demo?stall_at=3&rate=max", json!({"stream": false}), None),
        ] {
            let mut socket = rehearsal.connect(&rehearsal.ask(model, &fields)).await;
            if let Some(events) = until {
                let mut seen = String::new();
                while !seen.contains("\r\n\r\n") || seen.matches("data: ").count() < events {
                    let mut bytes = [0; 4096];
                    let read = socket.read(&mut bytes).await.unwrap();
                    assert_ne!(read, 0, "{model} ended: {seen}");
                    seen += &String::from_utf8_lossy(&bytes[..read]);
                }
            }
            while rehearsal.tasks.len() < 2 {
                tokio::task::yield_now().await;
            }
            drop(socket);
            rehearsal.all_connections_ended().await;
        }
    }

    #[tokio::test]
    async fn a_status_refuses() {
        let rehearsal = Rehearsal::new().await;
        let answer = rehearsal.told("demo?status=429&retry_after=3").await;
        assert_eq!((answer.status, &answer.json()["error"]["type"]), (429, &json!("rate_limit_error")));
        assert!(answer.head.contains("retry-after: 3"), "{}", answer.head);

        let answer = rehearsal.told("demo?status=503").await;
        assert_eq!((answer.status, &answer.json()["error"]["type"]), (503, &json!("server_error")));
    }

    #[tokio::test]
    async fn a_bad_option_is_named_with_the_known_ones() {
        let rehearsal = Rehearsal::new().await;
        let answer = rehearsal.told("demo?speed=9").await;
        assert_eq!(answer.status, 400);
        let error = &answer.json()["error"];
        assert_eq!((&error["code"], &error["param"]), (&json!("invalid_demo_option"), &json!("model")));
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("`speed`") && message.contains("first_token"), "{message}");
    }

    #[tokio::test]
    async fn what_cannot_be_served_has_its_status() {
        let rehearsal = Rehearsal::new().await;
        let close = |request: String| request.replace("host: demo", "host: demo\r\nconnection: close");
        let ours = rehearsal.get("/v1/models");
        for (request, status) in [
            (close(ours.replace("Bearer demo-", "Bearer Demo-")), 401),
            (close(ours.replace("authorization", "x-authorization")), 401),
            (close(rehearsal.get("/v1/embeddings")), 404),
            (close(ours.replace("GET", "DELETE")), 405),
            (close(rehearsal.get("/v1/chat/completions")), 405),
            (rehearsal.post("{"), 400),
            (rehearsal.post(r#"{"model":"demo","messages":[null]}"#), 400),
            (rehearsal.post(r#"{"model":"gpt","messages":[]}"#), 404),
        ] {
            let answer = rehearsal.answer(&request).await;
            assert_eq!(answer.status, status, "{request}");
            let error = &answer.json()["error"];
            assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
            assert!(error.get("param").is_some() && error.get("code").is_some(), "{error}");
        }
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_too_large() {
        let rehearsal = Rehearsal::new().await;
        let request = rehearsal.post(&" ".repeat(16 * 1024 * 1024 + 1));
        assert_eq!(rehearsal.answer(&request).await.status, 413);
        let request = rehearsal.post(&" ".repeat(16 * 1024 * 1024));
        assert_eq!(rehearsal.answer(&request).await.status, 400, "just as large as allowed, but no JSON");
    }

    #[tokio::test]
    async fn a_connection_serves_several_requests() {
        let rehearsal = Rehearsal::new().await;
        let mut socket = rehearsal.connect(&rehearsal.get("/v1/models")).await;
        for _ in 0..2 {
            let mut seen = String::new();
            while !seen.ends_with("]}") {
                let mut bytes = [0; 4096];
                let read = socket.read(&mut bytes).await.unwrap();
                assert_ne!(read, 0, "closed: {seen}");
                seen += &String::from_utf8_lossy(&bytes[..read]);
            }
            socket.write_all(rehearsal.get("/v1/models").as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn stopping_ends_every_task() {
        let rehearsal = Rehearsal::new().await;
        let mut socket = rehearsal.connect(&rehearsal.ask("demo?stall_at=1&rate=max", &json!({}))).await;
        socket.read_u8().await.unwrap();
        rehearsal.stop.cancel();
        rehearsal.tasks.close();
        tokio::time::timeout(Duration::from_secs(10), rehearsal.tasks.wait()).await.expect("a task is left");
    }

    #[tokio::test]
    async fn the_key_is_new_each_time_and_not_shown() {
        let (one, other) = (Rehearsal::new().await, Rehearsal::new().await);
        assert_ne!(one.demo.key, other.demo.key);
        assert!(!format!("{:?}", one.demo).contains(&one.demo.key));
    }
}
