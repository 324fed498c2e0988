//! The inputs with their expected results.
//!
//! The first characters of a line are its kind:
//!
//! | Line | Is |
//! | --- | --- |
//! | `== ` | the input's name; requests name it as the model |
//! | `= ` | the expected result, see [`Expected`] |
//! | `; ` | a remark |
//! | `~ calls` | the accumulation in the SDKs' examples merges these calls: do not compare theirs |
//! | `< ` | the status line, or a header; an empty value removes it |
//! | `+ ` | an event: a chunk with this delta |
//! | `. ` | an event: a chunk with this finish reason |
//! | `* ` | an event with this data |
//! | `D` | the event `[DONE]` |
//! | `\| ` | a raw line |
//! | `> ` | raw bytes without a line end |
//! | `! ` | a [`Framing`], or a step: `pause MS`, `bytes HEX`, `base64 TEXT`, `cut`, `reset`, `hold`, `pieces N`, `newline cr\|crlf` |
//!
//! `@@A*N@@` stands for N times A.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

const FILES: [&str; 8] = [
    include_str!("content.txt"),
    include_str!("reasoning.txt"),
    include_str!("tool_calls.txt"),
    include_str!("errors.txt"),
    include_str!("ends.txt"),
    include_str!("usage.txt"),
    include_str!("events.txt"),
    include_str!("bodies.txt"),
];

#[derive(Debug, Default)]
pub struct Input {
    pub name: String,
    pub expected: Expected,
    pub remark: String,
    /// The accumulation in the SDKs' examples merges these calls.
    pub calls_differ: bool,
    pub status: String,
    pub fields: Vec<(String, String)>,
    pub framing: Framing,
    pub steps: Vec<Step>,
}

/// The expected result; the defaults are those of a plain answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expected {
    pub text: String,
    pub reasoning: String,
    pub refusal: String,
    /// Id, name and arguments; `*` matches any string.
    pub calls: Vec<[String; 3]>,
    pub finish: String,
    pub finish_reason_missing: bool,
    /// Input and output tokens reported by the upstream. `None`: the figures must be marked as estimated.
    pub usage: Option<[i64; 2]>,
    /// Further members of the native usage that must have these values.
    pub kinds: Map<String, Value>,
    /// The native error code; `*` matches any.
    pub fail: Option<String>,
    /// The HTTP status on the chat wire.
    pub status: Option<u16>,
    /// `error.code` on the chat wire.
    pub code: Option<String>,
    /// Substrings of the response in every view but the snapshot.
    pub holds: Vec<String>,
    /// Substrings of the response in both chat views.
    pub chat_holds: Vec<String>,
    /// Substrings that no view may contain.
    pub lacks: Vec<String>,
}

impl Default for Expected {
    fn default() -> Self {
        Self {
            text: String::new(),
            reasoning: String::new(),
            refusal: String::new(),
            calls: Vec::new(),
            finish: "stop".to_owned(),
            finish_reason_missing: false,
            usage: None,
            kinds: Map::new(),
            fail: None,
            status: None,
            code: None,
            holds: Vec::new(),
            chat_holds: Vec::new(),
            lacks: Vec::new(),
        }
    }
}

/// Message body framing (RFC 9112, section 6).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    #[default]
    Chunked,
    Length,
    /// The body ends with the connection.
    Close,
}

#[derive(Debug, Clone)]
pub enum Step {
    Bytes(Vec<u8>),
    /// Milliseconds.
    Pause(u64),
    /// Closes the connection before the body is complete.
    Cut,
    Reset,
    /// Sends nothing more, and waits for the peer to close.
    Hold,
}

impl Input {
    pub fn all() -> Vec<Self> {
        FILES.iter().flat_map(|file| file.split("== ").skip(1)).map(Self::parse).collect()
    }

    fn parse(text: &str) -> Self {
        let (name, rest) = text.split_once('\n').expect("a name");
        let mut input = Self { name: name.to_owned(), status: "HTTP/1.1 200 OK".to_owned(), ..Self::default() };
        input.fields.push(("content-type".to_owned(), "text/event-stream".to_owned()));
        let mut script = Script::default();
        let mut pieces = usize::MAX;
        for line in rest.lines().filter(|line| !line.is_empty()) {
            let (kind, value) = line.split_once(' ').unwrap_or((line, ""));
            match kind {
                "=" => input.expected = serde_json::from_str(&expand(value)).expect("an expected result"),
                ";" => format!("{} {value}", input.remark).trim().clone_into(&mut input.remark),
                "~" => input.calls_differ = value == "calls",
                "<" if value.starts_with("HTTP/") => value.clone_into(&mut input.status),
                "<" => input.field(value),
                "!" => match value.split_once(' ').unwrap_or((value, "")) {
                    ("length", _) => input.framing = Framing::Length,
                    ("close", _) => input.framing = Framing::Close,
                    ("pieces", size) => pieces = size.parse().expect("a size"),
                    (step, value) => script.step(step, value),
                },
                _ => script.line(kind, value),
            }
        }
        input.steps = script.into_steps(pieces);
        input
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').expect("a field");
        self.fields.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }
}

/// Expands `@@A*N@@`.
fn expand(text: &str) -> String {
    let Some((before, rest)) = text.split_once("@@A*") else { return text.to_owned() };
    let (times, after) = rest.split_once("@@").expect("its end");
    [before, &"A".repeat(times.parse().expect("a number")), &expand(after)].concat()
}

/// A partially parsed body.
#[derive(Default)]
struct Script {
    steps: Vec<Step>,
    newline: Option<&'static str>,
}

impl Script {
    fn line(&mut self, kind: &str, value: &str) {
        let choice = |delta: Value, reason: Value| {
            let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
            json!({"id": "c1", "object": "chat.completion.chunk", "created": 1_740_000_000, "model": "m", "choices": [choice]})
        };
        match kind {
            "+" => self.event(choice(serde_json::from_str(&expand(value)).expect("a delta"), Value::Null)),
            "." => self.event(choice(json!({}), json!(value))),
            "*" => self.event(value),
            "D" => self.event("[DONE]"),
            "|" => self.text(&format!("{value}\n")),
            ">" => self.text(value),
            other => panic!("a line of no kind: {other:?} {value}"),
        }
    }

    fn event(&mut self, data: impl std::fmt::Display) {
        self.text(&format!("data: {data}\n\n"));
    }

    fn text(&mut self, text: &str) {
        let text = self.newline.map_or_else(|| text.to_owned(), |newline| text.replace('\n', newline));
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match self.steps.last_mut() {
            Some(Step::Bytes(last)) => last.extend_from_slice(bytes),
            _ => self.steps.push(Step::Bytes(bytes.to_vec())),
        }
    }

    fn step(&mut self, step: &str, value: &str) {
        match step {
            "pause" => self.steps.push(Step::Pause(value.parse().expect("milliseconds"))),
            "cut" => self.steps.push(Step::Cut),
            "reset" => self.steps.push(Step::Reset),
            "hold" => self.steps.push(Step::Hold),
            "newline" => self.newline = Some(if value == "cr" { "\r" } else { "\r\n" }),
            "bytes" => {
                let bytes = value.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("a byte"));
                self.bytes(&bytes.collect::<Vec<_>>());
            }
            "base64" => self.bytes(&STANDARD.decode(value).expect("base64")),
            other => panic!("no such step: {other}"),
        }
    }

    fn into_steps(self, pieces: usize) -> Vec<Step> {
        let cut = |step| match step {
            Step::Bytes(bytes) => bytes.chunks(pieces).map(|piece| Step::Bytes(piece.to_vec())).collect(),
            step => vec![step],
        };
        self.steps.into_iter().flat_map(cut).collect()
    }
}
