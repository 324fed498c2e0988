//! A caller that makes ordinary requests, one after another, and checks that each response is complete.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Protocol;
use crate::support::answering_upstream::{WORDS, WORDS_TEXT};
use crate::support::{Answer, AnsweringUpstream, Event, text};

const GENERATIONS: &str = "/v1/generations";
const STREAM: &str = "text/event-stream";
/// Earlier answers that each round reads again.
const READ_AGAIN: usize = 5;

/// One caller, with its own address and its own clients for both protocols.
pub struct OrdinaryCaller<'a> {
    address: SocketAddr,
    account: String,
    clients: [reqwest::Client; 2],
    upstream: &'a AnsweringUpstream,
    answers: Vec<FinishedAnswer>,
    /// Times from the request to the first token, of each answer that was followed from its start.
    pub first_tokens: Vec<Duration>,
}

struct FinishedAnswer {
    id: String,
    key: String,
    body: Value,
}

impl<'a> OrdinaryCaller<'a> {
    /// `account` is the address that the trusted proxy states.
    pub fn new(address: SocketAddr, account: &str, upstream: &'a AnsweringUpstream) -> Self {
        let clients = [Protocol::Http1, Protocol::Http2].map(Protocol::client);
        Self { address, account: account.to_owned(), clients, upstream, answers: Vec::new(), first_tokens: Vec::new() }
    }

    /// Makes each kind of request once. Rounds alternate between the protocols.
    pub async fn round(&mut self) {
        self.keyed_answer().await;
        self.whole_chat().await;
        self.channel().await;
        for answer in self.answers.iter().take(1).chain(self.answers.iter().rev().take(READ_AGAIN)) {
            self.check_state(answer).await;
        }
    }

    /// Asserts that each answer is readable and that a repeat of its request attaches to it.
    pub async fn check_all(&self) {
        for answer in &self.answers {
            self.check_state(answer).await;
            self.check_repeat(answer).await;
        }
    }

    /// Follows an answer, resumes it from its middle in both ways, and repeats its request.
    pub async fn keyed_answer(&mut self) {
        let key = format!("{}-{}", self.account, self.answers.len());
        let body = json!({"input": key, "model": WORDS});
        let asked = Instant::now();
        let mut stream = admitted(self.keyed(&key, &body).header(ACCEPT, STREAM)).await;
        let mut events = vec![stream.expect("start").await, stream.expect("delta").await];
        self.first_tokens.push(asked.elapsed());
        events.extend(stream.events().await);
        assert_eq!(text(&events), WORDS_TEXT, "every token of {key}");
        assert_eq!(events.last().map(|event| event.name.as_str()), Some("done"), "{key}");

        let id = events[0].generation().to_owned();
        let middle = events.len() / 2;
        let last = events[middle].id.clone().expect("an id");
        let follow = self.request(Method::GET, &format!("{GENERATIONS}/{id}/events"));
        for request in [follow, self.keyed(&key, &body)] {
            let resumed = admitted(request.header(ACCEPT, STREAM).header("last-event-id", &last)).await;
            let rest: Vec<Event> = resumed.events().await;
            let told = |events: &[Event]| -> Vec<_> {
                events.iter().map(|event| (event.name.clone(), event.data.clone(), event.id.clone())).collect()
            };
            assert_eq!(told(&rest), told(&events[middle + 1..]), "{key}");
        }
        let answer = FinishedAnswer { id, key, body };
        self.check_repeat(&answer).await;
        self.answers.push(answer);
    }

    async fn check_repeat(&self, FinishedAnswer { id, key, body }: &FinishedAnswer) {
        let repeated = admitted(self.keyed(key, body).header(ACCEPT, STREAM)).await;
        let attached = (repeated.header("tokenrill-attached"), repeated.header("tokenrill-generation"));
        assert_eq!(attached, ("existing", id.as_str()), "{key}");
        assert_eq!(text(&repeated.events().await), WORDS_TEXT, "{key}");
        assert_eq!(self.upstream.calls(key), 1, "{key} was sent to the upstream once");
    }

    async fn check_state(&self, answer: &FinishedAnswer) {
        let state = admitted(self.request(Method::GET, &format!("{GENERATIONS}/{}", answer.id))).await.json().await;
        assert_eq!(state["text"], WORDS_TEXT, "{}", answer.key);
    }

    async fn whole_chat(&self) {
        let body = json!({"model": WORDS, "messages": [{"role": "user", "content": "whole"}]});
        let request = self.request(Method::POST, "/v1/chat/completions").header(CONTENT_TYPE, "application/json");
        let answer = admitted(request.body(body.to_string())).await.json().await;
        assert_eq!(answer["choices"][0]["message"]["content"], WORDS_TEXT, "{answer}");
    }

    /// Publishes into its own channel, and receives the event as a subscriber and from the history.
    async fn channel(&self) {
        let number = json!(self.answers.len());
        let path = format!("/v1/channels/room-{}/events", self.account);
        let subscribe =
            |query: &str| admitted(self.request(Method::GET, &format!("{path}{query}")).header(ACCEPT, STREAM));
        let mut subscriber = subscribe("").await;
        subscriber.expect("connected").await;
        let event = json!({"event": "said", "data": number}).to_string();
        let publish = self.request(Method::POST, &path).header(CONTENT_TYPE, "application/json").body(event);
        admitted(publish).await;
        assert_eq!(subscriber.expect("said").await.data, number);
        let mut late = subscribe("?history=3").await;
        late.expect("connected").await;
        // `expect` fails on a `gap`.
        while late.expect("said").await.data != number {}
    }

    fn keyed(&self, key: &str, body: &Value) -> RequestBuilder {
        let request = self.request(Method::POST, GENERATIONS).header(CONTENT_TYPE, "application/json");
        request.header("idempotency-key", key).body(body.to_string())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let client = &self.clients[self.answers.len() % self.clients.len()];
        client.request(method, format!("http://{}{path}", self.address)).header("x-forwarded-for", &self.account)
    }
}

/// Sends a request and returns its response; panics unless it is 200.
async fn admitted(request: RequestBuilder) -> Answer {
    let answer = Answer::to(request).await;
    match answer.status {
        200 => answer,
        status => panic!("{status}: {}", answer.text().await),
    }
}
