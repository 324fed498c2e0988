//! Reads the error report of an upstream in any of the known shapes.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use super::echo::without_echo;
use super::mask::Masker;
pub use crate::domain::ErrorMessages;

/// The fields of an upstream's error that operators and callers can use.
///
/// Reads the shapes of OpenAI (`error`), FastAPI (`detail`), DashScope (`code` and `message`), MiniMax (`base_resp`),
/// vLLM (`object: "error"`), Anthropic (`type: "error"`), Google (a list with one error) and servers that prefix the
/// names (`error_type`, `error_message`).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ErrorReport {
    /// The provider's kind of error (`type` on the wire).
    pub kind: Option<String>,
    pub code: Option<String>,
    pub param: Option<String>,
    /// For operators; unmasked until [`ErrorReport::masked`].
    pub message: Option<String>,
    /// For callers; absent until [`ErrorReport::masked`], and if the settings hide it.
    pub public_message: Option<String>,
    /// The upstream's request id, from the response headers or the envelope of the error.
    pub request_id: Option<String>,
}

/// The codes with which providers name a fault of the request, whatever the status.
pub const REQUEST_FAULT_CODES: [&str; 5] =
    ["context_length_exceeded", "content_filter", "unsupported_value", "unsupported_parameter", "model_not_found"];
/// Longer names and codes are truncated: they go into log fields and into fields that clients compare.
const LONGEST_WORD: usize = 128;
const LONGEST_MESSAGE: usize = 500;
/// Validation errors taken from one `detail` list.
const MOST_DETAILS: usize = 4;

impl ErrorReport {
    /// Reads the body of a refusal, or the data of an event. Returns `None` for an unknown shape.
    pub fn read(json: &[u8]) -> Option<Self> {
        match parse(json)? {
            Value::Object(body) => Self::of_object(&body),
            Value::Array(items) => Self::of_object(items.first()?.as_object()?),
            _ => None,
        }
    }

    fn of_object(body: &Map<String, Value>) -> Option<Self> {
        let error = present(body, "error").or_else(|| present(body, "errors"));
        match error {
            Some(Value::Array(errors)) => {
                return errors.first().and_then(Value::as_object).map(Self::of_members);
            }
            Some(Value::Object(error)) => {
                let request_id = word(body.get("request_id"));
                return Some(Self { request_id, ..Self::of_members(error).or(Self::of_members(body)) });
            }
            Some(Value::String(message)) if !message.is_empty() => {
                return Some(Self { message: non_empty(message), ..Self::default() }.or(Self::of_members(body)));
            }
            Some(Value::Bool(false) | Value::String(_)) | None => {}
            Some(_) => return Some(Self::of_members(body)),
        }
        if let Some(Value::Object(response)) = present(body, "base_resp") {
            let code = word(response.get("status_code"));
            let failed = code.as_deref().is_some_and(|code| code != "0");
            return failed.then(|| Self { code, message: text(response.get("status_msg")), ..Self::default() });
        }
        if let Some(detail) = present(body, "detail") {
            return Some(Self::of_detail(detail));
        }
        let is_error = ["object", "type"].iter().any(|name| body.get(*name).and_then(Value::as_str) == Some("error"))
            || ["error_type", "error_message", "error_code", "error_msg"]
                .iter()
                .any(|name| present(body, name).is_some());
        // iFlytek sends code 0 for success.
        let code = word(body.get("code")).filter(|code| code != "0");
        let has_code = code.is_some() && ["message", "msg"].iter().any(|name| present(body, name).is_some());
        (is_error || has_code).then(|| Self::of_members(body))
    }

    fn of_members(members: &Map<String, Value>) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| word(members.get(*name)));
        let message =
            ["message", "msg", "error_message", "error_msg", "detail"].iter().find_map(|name| text(members.get(*name)));
        Self {
            // The `type` of an envelope is `error`, which names no kind.
            kind: first(&["type", "error_type", "status"]).filter(|kind| kind != "error"),
            code: first(&["code", "error_code"]).or_else(|| word(present(members, "details")?.get("error_code"))),
            param: first(&["param"]),
            message,
            ..Self::default()
        }
    }

    /// Reads FastAPI's `detail`. Of a list item only `loc`, `msg` and `type` are used: `input` and `ctx` repeat the
    /// request.
    fn of_detail(detail: &Value) -> Self {
        match detail {
            Value::String(message) => Self { message: non_empty(message), ..Self::default() },
            Value::Object(members) => Self::of_object(members).unwrap_or_else(|| Self::of_members(members)),
            Value::Array(items) => {
                let items: Vec<_> = items.iter().filter_map(Value::as_object).take(MOST_DETAILS).collect();
                let place = |item: &Map<String, Value>| {
                    let parts = item.get("loc")?.as_array()?.iter().filter_map(|part| word(Some(part)));
                    Some(parts.collect::<Vec<_>>().join("."))
                };
                let sentence = |item: &&Map<String, Value>| {
                    let message = text(item.get("msg"))?;
                    Some(place(item).map_or_else(|| message.clone(), |place| format!("{place}: {message}")))
                };
                let message = items.iter().filter_map(sentence).collect::<Vec<_>>().join("; ");
                let first = items.first();
                Self {
                    kind: first.and_then(|item| word(item.get("type"))),
                    param: first.and_then(|item| place(item)),
                    message: non_empty(&message),
                    ..Self::default()
                }
            }
            _ => Self::default(),
        }
    }

    /// Fills missing fields from `other`.
    fn or(self, other: Self) -> Self {
        Self {
            kind: self.kind.or(other.kind),
            code: self.code.or(other.code),
            param: self.param.or(other.param),
            message: self.message.or(other.message),
            ..self
        }
    }

    /// Returns whether the code names a fault of the request.
    pub fn is_request_fault(&self) -> bool {
        self.code.as_deref().is_some_and(|code| REQUEST_FAULT_CODES.contains(&code))
    }

    /// Masks secrets in the texts for operators, and addresses too in those for callers. Removes text that repeats
    /// `request`, the body of the request.
    #[must_use]
    pub fn masked(self, masker: &Masker, request: &[u8], messages: ErrorMessages) -> Self {
        let message = self.message.as_deref().map(|message| without_echo(message, request));
        let public_message = match messages {
            ErrorMessages::Pass => {
                message.as_deref().map(|message| truncate(&masker.for_callers(message), LONGEST_MESSAGE))
            }
            ErrorMessages::Hide => None,
        };
        let mask = |word: Option<String>| word.map(|word| masker.for_callers(&without_echo(&word, request)));
        Self {
            kind: mask(self.kind),
            code: mask(self.code),
            param: mask(self.param),
            message: message.map(|message| truncate(&masker.for_operators(&message), LONGEST_MESSAGE)),
            public_message,
            request_id: self.request_id.map(|id| truncate(&masker.for_operators(&id), LONGEST_WORD)),
        }
    }
}

/// Parses the JSON, and retries without surrogate escapes: a server may have truncated a message in the middle of a
/// surrogate pair.
fn parse(json: &[u8]) -> Option<Value> {
    let json = String::from_utf8_lossy(json);
    serde_json::from_str(&json).ok().or_else(|| serde_json::from_str(&without_surrogates(&json)).ok())
}

fn without_surrogates(json: &str) -> Cow<'_, str> {
    let mut parts = json.split("\\ud");
    let Some(first) = parts.next() else { return Cow::Borrowed(json) };
    let is_half = |part: &&str| {
        part.as_bytes().first().is_some_and(|byte| matches!(byte, b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F'))
    };
    let rest = parts.map(|part| match Some(part).filter(is_half).and_then(|part| part.get(3..)) {
        Some(rest) => format!("\\ufffd{rest}"),
        None => format!("\\ud{part}"),
    });
    Cow::Owned(std::iter::once(first.to_owned()).chain(rest).collect())
}

fn present<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).filter(|value| !value.is_null())
}

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => non_empty(text),
        // Some servers nest the message in an object.
        Value::Object(members) => text(members.get("message").or_else(|| members.get("msg"))),
        _ => None,
    }
}

/// Returns a name or a code; a number is converted to text.
fn word(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(word) => non_empty(word).map(|word| truncate(&word, LONGEST_WORD)),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn non_empty(text: &str) -> Option<String> {
    Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Escapes control characters, which could forge a log line, and truncates the text to `most` bytes.
fn truncate(text: &str, most: usize) -> String {
    let escaped: String = text
        .chars()
        .flat_map(|char| if char.is_control() { char.escape_default().collect() } else { vec![char] })
        .collect();
    match escaped.get(..escaped.floor_char_boundary(most)) {
        Some(beginning) if beginning.len() < escaped.len() => format!("{beginning}…"),
        _ => escaped,
    }
}

/// Prints only the length of the message, because the texts may be unmasked.
impl fmt::Debug for ErrorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorReport")
            .field("message_bytes", &self.message.as_ref().map(String::len))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<[Option<String>; 4]> {
        ErrorReport::read(json.as_bytes()).map(|report| [report.kind, report.code, report.param, report.message])
    }

    #[expect(clippy::unnecessary_wraps, reason = "compared with what was read")]
    fn words(words: [&str; 4]) -> Option<[Option<String>; 4]> {
        Some(words.map(|word| Some(word).filter(|word| !word.is_empty()).map(str::to_owned)))
    }

    #[test]
    fn every_known_error_shape_is_read() {
        for (json, expected) in [
            (r#"{"error":{"message":"m","type":"t","param":"p","code":"c"}}"#, ["t", "c", "p", "m"]),
            (r#"{"error":{"message":"m","code":400}}"#, ["", "400", "", "m"]),
            (r#"{"error":"m"}"#, ["", "", "", "m"]),
            (r#"{"error":"m","code":"c"}"#, ["", "c", "", "m"]),
            (r#"{"type":"error","error":{"type":"t","message":"m"},"request_id":"r"}"#, ["t", "", "", "m"]),
            (
                r#"{"type":"error","error":{"type":"t","message":"m","details":{"error_code":"c"}}}"#,
                ["t", "c", "", "m"],
            ),
            (r#"{"error":{"message":"m","details":[{"error_code":"c"}]}}"#, ["", "", "", "m"]),
            (r#"{"object":"error","message":"m","type":"t","code":404}"#, ["t", "404", "", "m"]),
            (r#"{"detail":"m"}"#, ["", "", "", "m"]),
            (
                r#"{"detail":[{"type":"missing","loc":["body","messages",0],"msg":"Field required","input":"secret"}]}"#,
                ["missing", "", "body.messages.0", "body.messages.0: Field required"],
            ),
            (r#"{"detail":{"error":{"message":"m"}}}"#, ["", "", "", "m"]),
            (r#"{"error_type":"t","error_message":"m","choices":null}"#, ["t", "", "", "m"]),
            (r#"{"base_resp":{"status_code":1004,"status_msg":"m"}}"#, ["", "1004", "", "m"]),
            (r#"{"code":"Throttling","message":"m"}"#, ["", "Throttling", "", "m"]),
            (
                r#"[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]"#,
                ["INVALID_ARGUMENT", "400", "", "m"],
            ),
            (r#"{"errors":[{"message":"m"}]}"#, ["", "", "", "m"]),
            (r#"{"error":{"message":"cut \ud83d"}}"#, ["", "", "", "cut \u{fffd}"]),
        ] {
            assert_eq!(read(json), words(expected), "{json}");
        }
    }

    #[test]
    fn json_without_an_error_is_no_report() {
        for json in [
            "",
            "<html>404</html>",
            "null",
            "[]",
            r#"{"choices":[],"error":null}"#,
            r#"{"id":"c","object":"chat.completion.chunk","choices":[]}"#,
            r#"{"base_resp":{"status_code":0,"status_msg":""},"choices":[]}"#,
            r#"{"error":false}"#,
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn control_characters_are_escaped_and_a_long_message_is_truncated() {
        let message = format!("a\nb{}", "x".repeat(2_000));
        let report = ErrorReport { message: Some(message), ..ErrorReport::default() };
        let masked = report.masked(&Masker::default(), b"", ErrorMessages::Pass);
        let message = masked.message.expect("a message");
        assert!(message.starts_with("a\\nb") && message.len() < 510, "{message}");
        assert!(
            !format!("{:?}", ErrorReport { message: Some("secret".into()), ..ErrorReport::default() })
                .contains("secret")
        );
    }
}
