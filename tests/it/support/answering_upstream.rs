//! An upstream that answers without steps of the test, for tests with many concurrent requests.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokenrill::server::{self, ListenerLimits, Threads};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The text of an answer of [`WORDS`].
pub const WORDS_TEXT: &str = "one two three four five six seven eight nine ten eleven twelve";
/// The model that answers with [`WORDS_TEXT`], one word per chunk.
pub const WORDS: &str = "words";
/// The model that answers with one word, and ends at [`AnsweringUpstream::release`].
pub const HELD: &str = "held";
/// The model that answers with [`LARGE_PIECES`] pieces of [`LARGE_PIECE`] bytes.
pub const LARGE: &str = "large";
pub const LARGE_PIECES: usize = 300;
pub const LARGE_PIECE: usize = 10_000;
/// The model that answers with a tenth of [`LARGE`].
pub const MEDIUM: &str = "medium";

/// The limit of request bodies, in bytes. The service sends no longer ones.
const MOST: usize = 64 << 20;

/// An upstream that answers each request immediately, by the name of its model.
pub struct AnsweringUpstream {
    address: SocketAddr,
    answering: Answering,
    serving: JoinHandle<()>,
}

#[derive(Clone)]
struct Answering {
    /// The number of calls by the end of their last message.
    calls: Arc<Mutex<BTreeMap<String, usize>>>,
    released: CancellationToken,
}

#[derive(Deserialize)]
struct Asked {
    model: String,
    #[serde(default)]
    stream: bool,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    content: String,
}

impl AnsweringUpstream {
    #[expect(clippy::disallowed_methods, reason = "dropping the upstream ends it")]
    #[expect(clippy::unused_async, reason = "it needs a runtime")]
    pub async fn start() -> Self {
        let limits = ListenerLimits::default();
        let listener = server::bind((Ipv4Addr::LOCALHOST, 0).into(), &limits).expect("a port");
        let address = listener.local_addr().expect("an address");
        let answering = Answering { calls: Arc::default(), released: CancellationToken::new() };
        let routes = axum::Router::new().route("/v1/chat/completions", post(answer)).with_state(answering.clone());
        let serving = server::serve(listener, routes, limits, Threads::current(), CancellationToken::new());
        Self { address, answering, serving: tokio::spawn(serving) }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Returns the number of requests whose last message ends with this text.
    pub fn calls(&self, text: &str) -> usize {
        let calls = self.answering.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.get(text).copied().unwrap_or_default()
    }

    /// Ends all current and future answers of [`HELD`].
    pub fn release(&self) {
        self.answering.released.cancel();
    }
}

impl Drop for AnsweringUpstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(answering): State<Answering>, request: Request) -> Response {
    let Ok(body) = to_bytes(request.into_body(), MOST).await else { return Response::default() };
    let asked: Asked = serde_json::from_slice(&body).expect("a chat completion with messages of text");
    let last = asked.messages.last().map_or("", |message| &message.content);
    let key: String = last.chars().skip(last.chars().count().saturating_sub(64)).collect();
    drop(body);
    *answering.calls.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    if !asked.stream {
        let message = json!({"role": "assistant", "content": WORDS_TEXT});
        let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
        let answer = json!({"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]});
        return axum::Json(answer).into_response();
    }
    let chunks: Vec<Bytes> = match asked.model.as_str() {
        WORDS => WORDS_TEXT.split_inclusive(' ').map(chunk).collect(),
        LARGE => PIECES.clone(),
        MEDIUM => PIECES[..LARGE_PIECES / 10].to_vec(),
        HELD => vec![chunk("held")],
        other => panic!("no model {other}"),
    };
    let released = answering.released.clone();
    let hold = async move {
        if asked.model == HELD {
            released.cancelled().await;
        }
        let end = json!({"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
        Bytes::from(format!("data: {end}\n\ndata: [DONE]\n\n"))
    };
    let chunks = stream::iter(chunks).chain(stream::once(hold));
    let mut response = Response::new(Body::from_stream(chunks.map(Ok::<_, Infallible>)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

/// Formatted only once, since a test measures other requests while these pieces are sent.
static PIECES: LazyLock<Vec<Bytes>> =
    LazyLock::new(|| (0..LARGE_PIECES).map(|number| chunk(&format!("{number:<LARGE_PIECE$}"))).collect());

fn chunk(text: &str) -> Bytes {
    let choices = json!([{"index": 0, "delta": {"content": text}, "finish_reason": null}]);
    let chunk = json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices});
    Bytes::from(format!("data: {chunk}\n\n"))
}
