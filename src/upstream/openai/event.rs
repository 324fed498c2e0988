//! Classifies the data of an upstream's event: an answer, a failure, or nothing.

use super::super::{AttemptErrorKind, ErrorReport};
use super::chunk_piece::MALFORMED;
use super::usage;
use crate::json::{Object, Tree};

/// The data of one event, or a whole JSON body.
#[derive(Debug, Default)]
pub struct EventData {
    /// Absent if the event is empty or only reports a failure.
    pub chunk: Option<Object>,
    /// The content of `chunk` is valid even if the answer has failed.
    pub failure: Option<Box<ErrorReport>>,
}

/// The meaning of the name of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEventName {
    Error,
    /// No name, or one without a meaning.
    Other,
}

/// The members that identify an answer without content.
const ANSWER: [&str; 6] = ["choices", "usage", "id", "object", "created", "model"];

impl StreamEventName {
    pub fn of(name: &[u8]) -> Self {
        if name == b"error" { Self::Error } else { Self::Other }
    }
}

impl EventData {
    /// Returns an error if the data is neither an answer nor a known error shape.
    pub fn read(named: StreamEventName, text: &str) -> Result<Self, AttemptErrorKind> {
        let text = text.trim();
        if named == StreamEventName::Error {
            let words = || ErrorReport { message: Some(text.to_owned()), ..ErrorReport::default() };
            return Ok(Self::failure(ErrorReport::read(text.as_bytes()).unwrap_or_else(words)));
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        match Tree::parse(text).map_err(|_| MALFORMED)? {
            Tree::Object(chunk) => Self::of_object(chunk, text),
            // Google sends a list with one error.
            Tree::Array(_) => ErrorReport::read(text.as_bytes()).map(Self::failure).ok_or(MALFORMED),
            other if other.is_null() => Ok(Self::default()),
            _ => Err(MALFORMED),
        }
    }

    fn failure(report: ErrorReport) -> Self {
        Self { chunk: None, failure: Some(Box::new(report)) }
    }

    fn of_object(chunk: Object, text: &str) -> Result<Self, AttemptErrorKind> {
        let choices = chunk.get("choices").and_then(Tree::as_array);
        if choices.is_some_and(|choices| !choices.is_empty()) || usage::find(&chunk).is_some() {
            let failure = find_failure(&chunk, text).map(Box::new);
            return Ok(Self { chunk: Some(chunk), failure });
        }
        let words = || {
            let words = ["message", "msg"].iter().find_map(|name| chunk.text(name))?;
            let message = Some(crate::domain::Escaped::from_stored(words).unescape().into_owned());
            let is_success = chunk.present("code").is_some();
            (!is_success).then(|| ErrorReport { message, ..ErrorReport::default() })
        };
        if let Some(report) = ErrorReport::read(text.as_bytes()).or_else(words) {
            return Ok(Self::failure(report));
        }
        if ANSWER.iter().any(|name| chunk.get(name).is_some()) {
            return Ok(Self { chunk: Some(chunk), failure: None });
        }
        let is_ping = chunk.text("type").is_some_and(|kind| kind == "ping");
        if is_ping || chunk.is_empty() { Ok(Self::default()) } else { Err(MALFORMED) }
    }
}

/// Returns the error that an answer contains.
fn find_failure(chunk: &Object, text: &str) -> Option<ErrorReport> {
    let choices = chunk.get("choices").and_then(Tree::as_array);
    let failed = choices.into_iter().flatten().filter_map(Tree::as_object).find(|choice| {
        choice.text("finish_reason").is_some_and(|reason| reason == "error") || is_truthy(choice.get("error"))
    });
    let response = chunk.get("base_resp").and_then(Tree::as_object);
    let status = response.and_then(|response| response.get("status_code"));
    let has_failed = failed.is_some()
        || is_truthy(chunk.get("error"))
        || chunk.text("object").is_some_and(|object| object == "error")
        || is_truthy(status);
    has_failed.then(|| {
        let of_choice = || ErrorReport::read(failed?.to_json().as_bytes());
        let unnamed = || ErrorReport { message: Some("finish_reason: error".to_owned()), ..ErrorReport::default() };
        ErrorReport::read(text.as_bytes()).or_else(of_choice).unwrap_or_else(unnamed)
    })
}

/// Returns whether a value is truthy, as the SDKs evaluate `error`.
fn is_truthy(value: Option<&Tree>) -> bool {
    match value {
        None => false,
        Some(Tree::Text(text)) => !text.is_empty(),
        Some(Tree::Literal(literal)) => !matches!(literal.as_str(), "null" | "false" | "0"),
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Kind {
        Nothing,
        Answer,
        Failure,
        FailedAnswer,
        Malformed,
    }

    fn kind(named: StreamEventName, text: &str) -> Kind {
        match EventData::read(named, text) {
            Ok(EventData { chunk: None, failure: None }) => Kind::Nothing,
            Ok(EventData { chunk: Some(_), failure: None }) => Kind::Answer,
            Ok(EventData { chunk: None, failure: Some(_) }) => Kind::Failure,
            Ok(EventData { chunk: Some(_), failure: Some(_) }) => Kind::FailedAnswer,
            Err(_) => Kind::Malformed,
        }
    }

    #[test]
    fn each_event_is_an_answer_a_failure_or_nothing() {
        for (expected, texts) in [
            (Kind::Nothing, vec!["", " ", "null", "{}", r#"{"type":"ping"}"#]),
            (
                Kind::Answer,
                vec![
                    r#"{"choices":[{"delta":{}}]}"#,
                    r#"{"choices":[]}"#,
                    r#"{"choices":null,"id":"c"}"#,
                    r#"{"id":"","model":"","prompt_filter_results":[]}"#,
                    r#"{"usage":{"prompt_tokens":1}}"#,
                    r#"{"usage":{"prompt_tokens":1},"message":"x"}"#,
                    r#"{"error":null,"choices":[{}]}"#,
                    r#"{"base_resp":{"status_code":0,"status_msg":""},"choices":[{}]}"#,
                    r#"{"code":0,"message":"Success","choices":[{}]}"#,
                    r#"{"code":0,"message":"Success","choices":[]}"#,
                    r#"{"choices":[{"message":{"content":"a"}}],"detail":"d"}"#,
                ],
            ),
            (
                Kind::Failure,
                vec![
                    r#"{"error":{"message":"m"}}"#,
                    r#"{"error":"m"}"#,
                    r#"{"detail":"m"}"#,
                    r#"{"detail":[{"loc":["body"],"msg":"m","type":"t"}]}"#,
                    r#"{"choices":null,"error_type":"t","error_message":"m"}"#,
                    r#"{"id":"c","choices":[],"message":"m"}"#,
                    r#"{"message":"m"}"#,
                    r#"{"id":"c","choices":null,"base_resp":{"status_code":1004,"status_msg":"m"}}"#,
                    r#"{"code":"Throttling","message":"m","request_id":"r"}"#,
                    r#"{"error_code":17,"error_msg":"m"}"#,
                    r#"{"errors":[{"message":"m","code":1}],"success":false}"#,
                    r#"{"object":"error","message":"m"}"#,
                    r#"[{"error":{"code":400,"message":"m"}}]"#,
                    r#"{"error":{"message":"cut \ud83d"}}"#,
                ],
            ),
            (
                Kind::FailedAnswer,
                vec![
                    r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#,
                    r#"{"choices":[{"delta":{}}],"error":{"message":"m"}}"#,
                    r#"{"choices":[{"delta":{},"error":{"message":"m","code":502}}]}"#,
                    r#"{"choices":[{}],"base_resp":{"status_code":1004,"status_msg":"m"}}"#,
                ],
            ),
            (Kind::Malformed, vec!["{", "[]", "42", "\"words\"", "words", r#"{"x":1}"#, "{}{}", "<html>"]),
        ] {
            for text in texts {
                assert_eq!(kind(StreamEventName::Other, text), expected, "{text}");
            }
        }
    }

    #[test]
    fn event_named_error_is_a_failure_whatever_its_data() {
        for text in ["", "Internal Server Error", r#"{"detail":"m"}"#, r#"{"choices":[{"delta":{"content":"a"}}]}"#] {
            assert_eq!(kind(StreamEventName::of(b"error"), text), Kind::Failure, "{text}");
        }
        assert_eq!(kind(StreamEventName::of(b"message"), "null"), Kind::Nothing);
    }

    #[test]
    fn failure_keeps_the_message_of_the_upstream() {
        let message = |text: &str| EventData::read(StreamEventName::Other, text).ok()?.failure?.message;
        assert_eq!(message(r#"{"message":"a \"b\""}"#).as_deref(), Some("a \"b\""));
        assert_eq!(message(r#"{"choices":[{"error":{"message":"m"},"finish_reason":"error"}]}"#).as_deref(), Some("m"));
    }
}
