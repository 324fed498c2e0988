//! A client that reads event streams as the HTML Standard says (section 9.2.6).

use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use super::soon;

/// An answer of the service, read as far as the test has asked.
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
    /// The lines of its block as they came, comments included.
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

    /// The rest of the body, which must come to a clean end.
    pub async fn text(self) -> String {
        let rest = soon(self.response.text()).await.expect("a clean end");
        String::from_utf8(self.unread).expect("UTF-8") + &rest
    }

    pub async fn json(self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// What comes of the body, for the test to read.
    pub fn into_body(self) -> Response {
        self.response
    }

    /// Waits until the body begins like this; it stays unread.
    pub async fn starts_with(&mut self, text: &str) {
        while self.unread.len() < text.len() {
            self.unread.extend_from_slice(&soon(self.response.chunk()).await.expect("no cut").expect("more"));
        }
        assert!(self.unread.starts_with(text.as_bytes()), "{:?}", String::from_utf8_lossy(&self.unread));
    }

    /// The next event; `None` at the clean end.
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

    /// The next event, which must be this one.
    pub async fn expect(&mut self, name: &str) -> Event {
        let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before {name}"));
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    /// All events to the clean end.
    pub async fn events(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

impl Event {
    /// The events of a whole stream.
    pub fn all(stream: &str) -> Vec<Self> {
        assert!(stream.ends_with("\n\n"), "cut off: {stream:?}");
        stream.split_inclusive("\n\n").map(Self::read).collect()
    }

    fn read(block: &str) -> Self {
        assert!(!block.contains('\r'), "LF only: {block:?}");
        // What is told between two blocks, while a service drains.
        let own = block.strip_prefix("retry: ").and_then(|rest| rest.split_once('\n')).map_or(block, |(_, rest)| rest);
        let field = |name: &str| {
            let mut values = own.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let value = values.next();
            assert_eq!(values.next(), None, "one {name} in a block: {block}");
            value
        };
        let data = field("data").unwrap_or_else(|| panic!("no block without data: {block:?}"));
        Self {
            // As a browser names what has no name (WHATWG HTML, section 9.2.6).
            name: field("event").unwrap_or("message").to_owned(),
            data: serde_json::from_str(data).expect("JSON in data"),
            id: field("id").map(str::to_owned),
            retry: field("retry").map(|retry| retry.parse().expect("digits")),
            block: block.to_owned(),
        }
    }

    /// The position in its log: what stands behind the dot of its id.
    pub fn sequence(&self) -> u64 {
        let id = self.id.as_deref().expect("an id");
        id.rsplit_once('.').and_then(|(_, sequence)| sequence.parse().ok()).expect("a sequence")
    }

    pub fn generation(&self) -> &str {
        self.id.as_deref().and_then(|id| id.rsplit_once('.')).expect("an id").0
    }
}

/// The answer's text, put together from its deltas.
pub fn text(events: &[Event]) -> String {
    events
        .iter()
        .filter(|event| event.name == "delta")
        .map(|event| event.data["text"].as_str().expect("text"))
        .collect()
}
