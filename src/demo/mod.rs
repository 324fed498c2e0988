//! The embedded model `demo`: an OpenAI-compatible model server on a loopback socket, which needs no purchased key and
//! no network. The rest of the program reaches it through the same HTTP client as any other upstream, so tests against
//! it use the real path.
//!
//! ```text
//! routes ── request ── options             the request's body, and the options in the model's name
//!    ├───── embeddings                     vectors of hashed words
//!    ├───── refusal                        every response other than 200, in OpenAI's shape
//!    ├───── response                       the bodies of all responses
//!    └───── completion ── answer ── token  the events in order; the texts; their tokens
//!              ├──── stream ── chunk ── logprobs    streamed token by token
//!              └──── whole                          sent as one object
//! ```

mod answer;
mod chunk;
mod completion;
mod embeddings;
mod logprobs;
mod options;
mod pace;
mod refusal;
mod request;
mod response;
mod routes;
mod stream;
mod token;
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

/// Longer than the transport keeps an idle connection to this server. Otherwise the server could close a connection on
/// which the next request has just been sent.
const IDLE: Duration = Duration::from_mins(5);

/// Pause after a failed `accept`, which usually lacks file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The running model server. Its `Debug` hides the key.
pub struct Demo {
    /// The listening address: `127.0.0.1` and a port that the system chose.
    pub address: SocketAddr,
    /// The API key, generated at each start. It keeps other local users from using the loopback port.
    pub key: String,
}

impl Demo {
    /// Returns the base URL for a client, for example `http://127.0.0.1:40123/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

impl fmt::Debug for Demo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demo").field("address", &self.address).field("key_bytes", &self.key.len()).finish()
    }
}

/// Starts the model server. It serves `POST /v1/chat/completions`, `POST /v1/embeddings` and `GET /v1/models` over HTTP/1.1 until `stop` is
/// cancelled, which aborts the running answers. `tasks` tracks all its tasks: one that accepts, and one for each
/// connection. An answer runs inside the task of its connection and ends with the connection.
///
/// # Errors
///
/// Returns an error if no loopback port can be bound or the system has no random bytes.
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
                let serving = serve_socket(socket, Arc::clone(&routes));
                tasks.spawn(stop.clone().run_until_cancelled_owned(serving));
            }
            Err(error) => {
                warn!(%error, "the demo model could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_socket(socket: TcpStream, routes: Arc<Routes>) {
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, "could not set TCP_NODELAY on a connection to the demo model");
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

    /// A running demo model and its tasks.
    struct RunningDemo {
        demo: Demo,
        tasks: TaskTracker,
        stop: CancellationToken,
    }

    /// The response on a connection, as far as it was read.
    struct Answer {
        status: u16,
        head: String,
        body: String,
        /// Whether the body has its last chunk.
        complete: bool,
    }

    impl RunningDemo {
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

        async fn stream_answer(&self, model: &str) -> Answer {
            self.answer(&self.ask(model, &json!({}))).await
        }

        /// Waits until all connections have ended and only the accepting task remains.
        async fn wait_for_connections_to_end(&self) {
            let ended = async {
                while self.tasks.len() > 1 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), ended).await.expect("a connection's task still runs");
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

        /// Returns the chunks, without `[DONE]`.
        fn chunks(&self) -> Vec<Value> {
            let events = self.events().into_iter().filter(|event| *event != "[DONE]");
            events.map(|event| serde_json::from_str(event).unwrap()).collect()
        }

        fn json(&self) -> Value {
            serde_json::from_str(&self.body).unwrap()
        }
    }

    /// Returns the values of one field of the delta, over all chunks.
    fn deltas<'a>(chunks: &'a [Value], field: &str) -> Vec<&'a str> {
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][field].as_str()).collect()
    }

    #[tokio::test]
    async fn models_list_contains_the_demo_model() {
        let server = RunningDemo::new().await;
        let request = server.get("/v1/models").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        let answer = server.answer(&request).await;
        assert_eq!(answer.status, 200);
        let models = answer.json();
        assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("demo")));
        assert_eq!(models["data"][0]["owned_by"], "tokenrill");
        assert_eq!(server.demo.base_url(), format!("http://{}/v1", server.demo.address));
    }

    #[tokio::test]
    async fn stream_has_a_role_its_tokens_one_finish_reason_and_done() {
        let server = RunningDemo::new().await;
        let answer = server.stream_answer("demo?tokens=5&rate=max").await;
        assert_eq!((answer.status, answer.complete), (200, true));
        assert!(answer.head.contains("content-type: text/event-stream"), "{}", answer.head);
        assert_eq!(answer.events().last(), Some(&"[DONE]"));
        let chunks = answer.chunks();
        assert_eq!(chunks.len(), 1 + 5 + 1);
        assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
        assert_eq!(chunks[6]["choices"][0]["finish_reason"], "stop");
        for chunk in &chunks {
            assert_eq!((&chunk["id"], &chunk["created"]), (&chunks[0]["id"], &chunks[0]["created"]));
            assert_eq!(chunk["model"], "demo?tokens=5&rate=max", "the requested name");
        }
    }

    #[tokio::test]
    async fn whole_answer_equals_the_streamed_answer() {
        let server = RunningDemo::new().await;
        let streamed = server.stream_answer("demo?rate=max").await;
        let whole = server.answer(&server.ask("demo?rate=max", &json!({"stream": false}))).await.json();
        assert_eq!(whole["choices"][0]["message"]["content"], deltas(&streamed.chunks(), "content").concat());
    }

    #[tokio::test]
    async fn requested_usage_is_sent() {
        let server = RunningDemo::new().await;
        let fields = json!({"stream_options": {"include_usage": true}});
        let answer = server.answer(&server.ask("demo?tokens=4&reasoning=2&rate=max", &fields)).await;
        let chunks = answer.chunks();
        let usage = chunks.last().unwrap();
        assert_eq!(usage["choices"], json!([]));
        assert_eq!(usage["usage"]["completion_tokens"], 6);
        assert_eq!(usage["usage"]["completion_tokens_details"]["reasoning_tokens"], 2);
        assert_eq!(deltas(&chunks, "reasoning_content").len(), 2);
    }

    #[tokio::test]
    async fn tool_option_streams_a_call_in_fragments() {
        let server = RunningDemo::new().await;
        let chunks = server.stream_answer("demo?tool=weather&rate=max").await.chunks();
        let calls: Vec<_> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]).collect();
        assert_eq!(calls[1]["function"]["name"], "weather");
        assert!(calls[1]["id"].as_str().unwrap().starts_with("call_demo_"));
        let arguments: String = calls.iter().filter_map(|call| call["function"]["arguments"].as_str()).collect();
        assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), json!({"city": "Zürich", "unit": "celsius"}));
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    }

    #[tokio::test]
    async fn fail_at_ends_with_an_error_and_close_at_without_an_end() {
        let server = RunningDemo::new().await;
        let failed = server.stream_answer("demo?fail_at=3&rate=max").await;
        assert!(failed.complete);
        let events = failed.events();
        assert_eq!(events.len(), 1 + 3 + 1);
        assert!(events[4].starts_with(r#"{"error":{"message":"#), "{}", events[4]);

        let closed = server.stream_answer("demo?close_at=3&rate=max").await;
        assert!(!closed.complete);
        assert_eq!(closed.events().len(), 1 + 3);
    }

    #[tokio::test]
    async fn whole_answer_fails_with_500_or_a_closed_connection() {
        let server = RunningDemo::new().await;
        let whole = json!({"stream": false});
        let failed = server.answer(&server.ask("demo?fail_at=3&rate=max", &whole)).await;
        assert_eq!((failed.status, &failed.json()["error"]["code"]), (500, &json!("demo_failure")));

        let mut bytes = Vec::new();
        let mut socket = server.connect(&server.ask("demo?close_at=3&rate=max", &whole)).await;
        socket.read_to_end(&mut bytes).await.unwrap();
        assert!(bytes.is_empty(), "{bytes:?}");
    }

    #[tokio::test]
    async fn client_disconnect_ends_its_answer_in_every_phase() {
        let server = RunningDemo::new().await;
        for (model, fields, until) in [
            ("demo?stall_at=3&rate=max", json!({}), Some(1 + 3)),
            ("demo?rate=1000&tokens=100000", json!({}), Some(1 + 3)),
            ("demo?first_token=1h", json!({}), Some(0)),
            ("demo?headers=1h", json!({}), None),
            ("demo?stall_at=3&rate=max", json!({"stream": false}), None),
        ] {
            let mut socket = server.connect(&server.ask(model, &fields)).await;
            if let Some(events) = until {
                let mut seen = String::new();
                while !seen.contains("\r\n\r\n") || seen.matches("data: ").count() < events {
                    let mut bytes = [0; 4096];
                    let read = socket.read(&mut bytes).await.unwrap();
                    assert_ne!(read, 0, "{model} ended: {seen}");
                    seen += &String::from_utf8_lossy(&bytes[..read]);
                }
            }
            while server.tasks.len() < 2 {
                tokio::task::yield_now().await;
            }
            drop(socket);
            server.wait_for_connections_to_end().await;
        }
    }

    #[tokio::test]
    async fn status_option_refuses_the_request() {
        let server = RunningDemo::new().await;
        let answer = server.stream_answer("demo?status=429&retry_after=3").await;
        assert_eq!((answer.status, &answer.json()["error"]["type"]), (429, &json!("rate_limit_error")));
        assert!(answer.head.contains("retry-after: 3"), "{}", answer.head);

        let answer = server.stream_answer("demo?status=503").await;
        assert_eq!((answer.status, &answer.json()["error"]["type"]), (503, &json!("server_error")));
    }

    #[tokio::test]
    async fn unknown_option_returns_400_with_the_known_options() {
        let server = RunningDemo::new().await;
        let answer = server.stream_answer("demo?speed=9").await;
        assert_eq!(answer.status, 400);
        let error = &answer.json()["error"];
        assert_eq!((&error["code"], &error["param"]), (&json!("invalid_demo_option"), &json!("model")));
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("`speed`") && message.contains("first_token"), "{message}");
    }

    #[tokio::test]
    async fn invalid_request_returns_its_status() {
        let server = RunningDemo::new().await;
        let close = |request: String| request.replace("host: demo", "host: demo\r\nconnection: close");
        let ours = server.get("/v1/models");
        for (request, status) in [
            (close(ours.replace("Bearer demo-", "Bearer Demo-")), 401),
            (close(ours.replace("authorization", "x-authorization")), 401),
            (close(server.get("/v1/embeddings")), 405),
            (close(server.get("/v1/files")), 404),
            (close(ours.replace("GET", "DELETE")), 405),
            (close(server.get("/v1/chat/completions")), 405),
            (server.post("{"), 400),
            (server.post(r#"{"model":"demo","messages":[null]}"#), 400),
            (server.post(r#"{"model":"gpt","messages":[]}"#), 404),
        ] {
            let answer = server.answer(&request).await;
            assert_eq!(answer.status, status, "{request}");
            let error = &answer.json()["error"];
            assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
            assert!(error.get("param").is_some() && error.get("code").is_some(), "{error}");
        }
    }

    #[tokio::test]
    async fn body_above_the_limit_returns_413() {
        let server = RunningDemo::new().await;
        let request = server.post(&" ".repeat(16 * 1024 * 1024 + 1));
        assert_eq!(server.answer(&request).await.status, 413);
        let request = server.post(&" ".repeat(16 * 1024 * 1024));
        assert_eq!(server.answer(&request).await.status, 400, "as large as the limit, but not JSON");
    }

    #[tokio::test]
    async fn connection_serves_several_requests() {
        let server = RunningDemo::new().await;
        let mut socket = server.connect(&server.get("/v1/models")).await;
        for _ in 0..2 {
            let mut seen = String::new();
            while !seen.ends_with("]}") {
                let mut bytes = [0; 4096];
                let read = socket.read(&mut bytes).await.unwrap();
                assert_ne!(read, 0, "closed: {seen}");
                seen += &String::from_utf8_lossy(&bytes[..read]);
            }
            socket.write_all(server.get("/v1/models").as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn stopping_ends_every_task() {
        let server = RunningDemo::new().await;
        let mut socket = server.connect(&server.ask("demo?stall_at=1&rate=max", &json!({}))).await;
        socket.read_u8().await.unwrap();
        server.stop.cancel();
        server.tasks.close();
        tokio::time::timeout(Duration::from_secs(10), server.tasks.wait()).await.expect("a task still runs");
    }

    #[tokio::test]
    async fn key_differs_between_starts_and_is_not_printed() {
        let (one, other) = (RunningDemo::new().await, RunningDemo::new().await);
        assert_ne!(one.demo.key, other.demo.key);
        assert!(!format!("{:?}", one.demo).contains(&one.demo.key));
    }
}
