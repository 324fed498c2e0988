//! A caller that takes as much of each resource as the service gives it, and tries for more.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Protocol;
use crate::support::answering_upstream::{HELD, LARGE, MEDIUM, WORDS};
use crate::support::{SlowReader, slow_http2_client};

const GENERATIONS: &str = "/v1/generations";
const STREAM: &str = "text/event-stream";
const KIB: usize = 1 << 10;
/// How long a task holds its resources before it begins again.
const HOLD: Duration = Duration::from_secs(5);
/// Generations of the attacker that no client follows.
const UNFOLLOWED: usize = 3;

// The bytes of request bodies are shared, because other tests measure the memory of this process.

static BLANK: LazyLock<Bytes> = LazyLock::new(|| vec![b' '; 64 * KIB].into());
static TOO_LARGE: LazyLock<Bytes> = LazyLock::new(|| vec![b' '; 4096 * KIB].into());
static SMALL_VALUES: LazyLock<Bytes> = LazyLock::new(|| {
    let values = "0,".repeat(512 * KIB);
    format!(r#"{{"input":"x","model":"{HELD}","grace_ms":0,"vendor":[{values}0]}}"#).into()
});

/// An attack, which one task of an attacker repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attack {
    /// Withholds the last byte of a body of this many bytes.
    UnfinishedBody(usize),
    /// Withholds the end of a body of this many bytes, sent in the smallest chunks.
    SmallChunks(usize),
    /// Sends a mebibyte of small values, waits for a slot and disconnects when it has one.
    WaitInLine,
    /// Renders a prompt with large variables.
    Prompt,
    LongPoll,
    /// Waits for the JSON of an answer that does not end.
    JsonWait,
    /// Reads nothing of a large state.
    SlowState,
    /// Reads nothing of a large state that it polls for.
    SlowPoll,
    /// Reads nothing of a large `snapshot` event.
    SlowSnapshot,
    /// Reads nothing of a large event stream.
    SlowEvents,
    /// Reads nothing of a channel.
    SlowSubscriber,
    PublishIntoNewChannels,
    PublishIntoOneChannel,
    /// Requests large answers with new idempotency keys, each repeated once.
    LargeAnswers,
    MediumAnswers,
    /// Starts generations with `respond-async`.
    UnfollowedGenerations,
    /// Sends bodies above `server.max_body`.
    RefusedBodies,
}

/// Whether a request had the effect that its attack needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Admitted,
    Refused,
}

/// One account, with its clients for both protocols.
pub struct Attacker {
    address: SocketAddr,
    account: String,
    clients: [reqwest::Client; 2],
    slow_client: reqwest::Client,
    /// Pause between two requests of one task, because other tests need the machine's cores too.
    pace: Duration,
    stop: CancellationToken,
    /// While true, tasks start nothing new and hold their resources.
    is_paused: watch::Sender<bool>,
    /// The generation of its newest large answer.
    large: Mutex<Option<String>>,
    /// Its running generations, oldest first.
    running: Mutex<VecDeque<String>>,
    number: AtomicUsize,
    /// Attacks that have had their effect at least once.
    admitted: Mutex<BTreeSet<Attack>>,
}

impl Attacker {
    /// `account` is the address that the trusted proxy states.
    pub fn new(address: SocketAddr, account: &str, pace: Duration) -> Arc<Self> {
        let protocols = Protocol::BOTH;
        Arc::new(Self {
            address,
            account: account.to_owned(),
            clients: protocols.map(Protocol::client),
            slow_client: slow_http2_client(),
            pace,
            stop: CancellationToken::new(),
            is_paused: watch::Sender::new(false),
            large: Mutex::default(),
            running: Mutex::default(),
            number: AtomicUsize::new(0),
            admitted: Mutex::default(),
        })
    }

    /// Repeats an attack until [`stop`](Self::stop).
    pub async fn repeat(self: Arc<Self>, attack: Attack, protocol: Protocol) {
        let waves = async {
            loop {
                if self.wave(attack, protocol).await == Outcome::Admitted {
                    lock(&self.admitted).insert(attack);
                }
                self.hold(self.pace).await;
            }
        };
        _ = self.stop.run_until_cancelled(waves).await;
    }

    /// Starts nothing new and holds its resources, until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.is_paused.send_replace(true);
    }

    pub fn resume(&self) {
        self.is_paused.send_replace(false);
    }

    async fn hold(&self, time: Duration) {
        sleep(time).await;
        _ = self.is_paused.subscribe().wait_for(|is_paused| !is_paused).await;
    }

    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Returns which of these attacks have not had their effect yet.
    pub fn lacks(&self, attacks: impl IntoIterator<Item = Attack>) -> Vec<Attack> {
        let admitted = lock(&self.admitted);
        attacks.into_iter().filter(|attack| !admitted.contains(attack)).collect()
    }

    async fn wave(&self, attack: Attack, protocol: Protocol) -> Outcome {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        match attack {
            Attack::UnfinishedBody(bytes) => {
                let request = self.post(protocol, GENERATIONS).header("content-length", bytes);
                let pieces = std::iter::repeat_n(BLANK.clone(), bytes / BLANK.len() - 1);
                let sent = stream::iter(pieces.chain([BLANK.slice(1..)]));
                self.held_open(request.body(unfinished(sent))).await
            }
            Attack::SmallChunks(bytes) => {
                let chunk = protocol.smallest_chunk();
                let sent = stream::iter(std::iter::repeat_n(BLANK.slice(..chunk), bytes / chunk));
                self.held_open(self.post(protocol, GENERATIONS).body(unfinished(sent))).await
            }
            Attack::WaitInLine => {
                match self.post(protocol, GENERATIONS).header(ACCEPT, STREAM).body(SMALL_VALUES.clone()).send().await {
                    Ok(response) => read_until_first_token(response).await,
                    Err(_) => Outcome::Refused,
                }
            }
            Attack::Prompt => {
                let text =
                    if number.is_multiple_of(2) { json!("x".repeat(1_000 * KIB)) } else { json!(vec![0; 60_000]) };
                let prompt = json!({"id": "summarise", "variables": {"text": text}});
                let read = self.read_answer(protocol, json!({"prompt": prompt, "model": WORDS}), number).await;
                read.map_or(Outcome::Refused, |_| Outcome::Admitted)
            }
            Attack::LongPoll => {
                let Some(running) = lock(&self.running).back().cloned() else { return Outcome::Refused };
                self.held_open(self.request(
                    protocol,
                    Method::GET,
                    &format!("{GENERATIONS}/{running}?after=2&wait=60s"),
                ))
                .await
            }
            Attack::JsonWait => {
                let body = json!({"input": "wait", "model": HELD}).to_string();
                let key = format!("wait-{}", number / 1_000);
                let request = self.post(protocol, GENERATIONS).header(ACCEPT, "application/json");
                self.held_open(request.header("idempotency-key", key).body(body)).await
            }
            Attack::SlowState => self.slow_read(protocol, "").await,
            Attack::SlowPoll => self.slow_read(protocol, "?after=1&wait=30s").await,
            Attack::SlowSnapshot => self.slow_read(protocol, "/events?replay=snapshot").await,
            Attack::SlowEvents => self.slow_read(protocol, "/events").await,
            Attack::SlowSubscriber => {
                let path = format!("/v1/channels/one-{}/events?history=100", self.account);
                self.held_unread(protocol, &path).await
            }
            Attack::PublishIntoNewChannels => self.publish(protocol, &format!("new-{}-{number}", self.account)).await,
            Attack::PublishIntoOneChannel => self.publish(protocol, &format!("one-{}", self.account)).await,
            Attack::LargeAnswers => self.large_answer(protocol, LARGE, number).await,
            Attack::MediumAnswers => self.large_answer(protocol, MEDIUM, number).await,
            Attack::UnfollowedGenerations => self.unfollowed_generation(protocol).await,
            Attack::RefusedBodies => {
                // If the service refuses the body before it is sent, the client may see the connection close first.
                _ = self.post(protocol, GENERATIONS).body(TOO_LARGE.clone()).send().await;
                Outcome::Admitted
            }
        }
    }

    async fn slow_read(&self, protocol: Protocol, tail: &str) -> Outcome {
        let Some(large) = lock(&self.large).clone() else { return Outcome::Refused };
        self.held_unread(protocol, &format!("{GENERATIONS}/{large}{tail}")).await
    }

    async fn publish(&self, protocol: Protocol, channel: &str) -> Outcome {
        let event = json!({"data": "x".repeat(60_000)}).to_string();
        let published = self.post(protocol, &format!("/v1/channels/{channel}/events")).body(event).send().await;
        published.map_or(Outcome::Refused, |response| Outcome::of(&response))
    }

    async fn large_answer(&self, protocol: Protocol, model: &str, number: usize) -> Outcome {
        let mut outcome = Outcome::Refused;
        for _ in 0..2 {
            let id = self.read_answer(protocol, json!({"input": "x", "model": model}), number).await;
            if id.is_some() {
                *lock(&self.large) = id;
                outcome = Outcome::Admitted;
            }
        }
        outcome
    }

    /// Follows an answer to its end; returns its generation, if the request was admitted.
    async fn read_answer(&self, protocol: Protocol, body: Value, number: usize) -> Option<String> {
        let request = self.post(protocol, GENERATIONS).header(ACCEPT, STREAM).body(body.to_string());
        let mut response = request.header("idempotency-key", format!("answer-{number}")).send().await.ok()?;
        let id = generation(&response);
        while response.chunk().await.ok()?.is_some() {}
        id
    }

    async fn unfollowed_generation(&self, protocol: Protocol) -> Outcome {
        let request = self.post(protocol, GENERATIONS).header("prefer", "respond-async");
        let response = request.body(json!({"input": "x", "model": HELD}).to_string()).send().await;
        let Some(id) = response.ok().and_then(|response| generation(&response)) else {
            return Outcome::Refused;
        };
        let oldest = {
            let mut running = lock(&self.running);
            running.push_back(id);
            if running.len() > UNFOLLOWED { running.pop_front() } else { None }
        };
        if let Some(oldest) = oldest {
            _ = self.post(protocol, &format!("{GENERATIONS}/{oldest}/cancel")).send().await;
        }
        self.hold(HOLD / 5).await;
        Outcome::Admitted
    }

    fn post(&self, protocol: Protocol, path: &str) -> RequestBuilder {
        self.request(protocol, Method::POST, path).header(CONTENT_TYPE, "application/json")
    }

    fn request(&self, protocol: Protocol, method: Method, path: &str) -> RequestBuilder {
        self.from(&self.clients[protocol as usize], method, path)
    }

    /// Leaves a response unread for [`HOLD`].
    async fn held_unread(&self, protocol: Protocol, path: &str) -> Outcome {
        let request = self.from(&self.slow_client, Method::GET, path).header(ACCEPT, "*/*");
        let reader = match protocol {
            Protocol::Http1 => SlowReader::http1(request).await.ok(),
            Protocol::Http2 => SlowReader::http2(request).await.ok(),
        };
        let Some(SlowReader { status: 200, .. }) = &reader else { return Outcome::Refused };
        self.hold(HOLD).await;
        Outcome::Admitted
    }

    /// Waits for the response for [`HOLD`].
    async fn held_open(&self, request: RequestBuilder) -> Outcome {
        tokio::select! {
            response = request.send() => response.map_or(Outcome::Refused, |response| Outcome::of(&response)),
            () = self.hold(HOLD) => Outcome::Admitted,
        }
    }

    fn from(&self, client: &reqwest::Client, method: Method, path: &str) -> RequestBuilder {
        client.request(method, format!("http://{}{path}", self.address)).header("x-forwarded-for", &self.account)
    }
}

/// A body that sends these bytes and then never ends.
fn unfinished(sent: impl futures_util::Stream<Item = Bytes> + Send + 'static) -> reqwest::Body {
    reqwest::Body::wrap_stream(sent.chain(stream::pending()).map(Ok::<_, io::Error>))
}

/// Reads until the first token, which shows that the generation has its slot, then disconnects.
async fn read_until_first_token(mut response: Response) -> Outcome {
    let (outcome, mut read) = (Outcome::of(&response), Vec::new());
    while let Ok(Some(bytes)) = response.chunk().await {
        read.extend_from_slice(&bytes);
        if String::from_utf8_lossy(&read).contains("event: delta") {
            break;
        }
    }
    outcome
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outcome {
    fn of(response: &Response) -> Self {
        if response.status().is_success() { Self::Admitted } else { Self::Refused }
    }
}

fn generation(response: &Response) -> Option<String> {
    if !response.status().is_success() {
        return None;
    }
    response.headers().get("tokenrill-generation")?.to_str().ok().map(str::to_owned)
}
