//! A client that parses event streams by the rules of the HTML Standard (section 9.2.6).

use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use super::soon;

/// A response of the service, read as far as the test requested.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    response: Response,
    unread: Vec<u8>,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: Value,
    pub id: Option<String>,
    pub retry: Option<u64>,
    /// The lines of its block as received, including comments.
    pub block: String,
}

impl Answer {
    pub async fn to(request: RequestBuilder) -> Self {
        let response = soon(request.send()).await.expect("an answer");
        Self { status: response.status().as_u16(), headers: response.headers().clone(), response, unread: Vec::new() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header in ASCII"))
    }

    /// Returns the rest of the body, which must end cleanly.
    pub async fn text(self) -> String {
        let rest = soon(self.response.text()).await.expect("a clean end");
        String::from_utf8(self.unread).expect("UTF-8") + &rest
    }

    pub async fn json(self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// Returns the response, for the test to read its body.
    pub fn into_body(self) -> Response {
        self.response
    }

    /// Waits until the unread body begins with `text`, and leaves it unread.
    pub async fn starts_with(&mut self, text: &str) {
        while self.unread.len() < text.len() {
            self.unread.extend_from_slice(&soon(self.response.chunk()).await.expect("no cut").expect("more"));
        }
        assert!(self.unread.starts_with(text.as_bytes()), "{:?}", String::from_utf8_lossy(&self.unread));
    }

    /// Returns the next event; `None` at the clean end.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Some(Event::read(&String::from_utf8(block).expect("UTF-8")));
            }
            let Some(bytes) = soon(self.response.chunk()).await.expect("a clean end") else {
                assert!(self.unread.is_empty(), "cut off: {:?}", String::from_utf8_lossy(&self.unread));
                return None;
            };
            self.unread.extend_from_slice(&bytes);
        }
    }

    /// Returns the next event, which must have this name.
    pub async fn expect(&mut self, name: &str) -> Event {
        let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before {name}"));
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    /// Returns all events to the clean end.
    pub async fn events(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

impl Event {
    /// Parses the events of a complete stream.
    pub fn all(stream: &str) -> Vec<Self> {
        assert!(stream.ends_with("\n\n"), "cut off: {stream:?}");
        stream.split_inclusive("\n\n").map(Self::read).collect()
    }

    fn read(block: &str) -> Self {
        assert!(!block.contains('\r'), "LF only: {block:?}");
        // A draining service sends `retry` between two blocks.
        let own = block.strip_prefix("retry: ").and_then(|rest| rest.split_once('\n')).map_or(block, |(_, rest)| rest);
        let field = |name: &str| {
            let mut values = own.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let value = values.next();
            assert_eq!(values.next(), None, "one {name} in a block: {block}");
            value
        };
        let data = field("data").unwrap_or_else(|| panic!("no block without data: {block:?}"));
        Self {
            // The default name of an event (WHATWG HTML, section 9.2.6).
            name: field("event").unwrap_or("message").to_owned(),
            data: serde_json::from_str(data).expect("JSON in data"),
            id: field("id").map(str::to_owned),
            retry: field("retry").map(|retry| retry.parse().expect("digits")),
            block: block.to_owned(),
        }
    }

    /// Returns the position in the log: the part of the id after the dot.
    pub fn sequence(&self) -> u64 {
        let id = self.id.as_deref().expect("an id");
        id.rsplit_once('.').and_then(|(_, sequence)| sequence.parse().ok()).expect("a sequence")
    }

    pub fn generation(&self) -> &str {
        self.id.as_deref().and_then(|id| id.split_once('.')).expect("an id").0
    }
}

/// Returns the text of the answer, the concatenation of its deltas.
pub fn text(events: &[Event]) -> String {
    events
        .iter()
        .filter(|event| event.name == "delta")
        .map(|event| event.data["text"].as_str().expect("text"))
        .collect()
}
