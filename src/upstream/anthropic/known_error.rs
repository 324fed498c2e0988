//! Codes for errors that Anthropic names only in its message.

use super::super::{AttemptErrorKind, ErrorReport};

/// The beginnings of messages about a prompt that does not fit into the model's context window.
const CONTEXT_LENGTH: [&str; 2] = ["prompt is too long", "input length and `max_tokens` exceed context limit"];

/// Adds the code that clients know, if the message has one of the known meanings and the report has no code.
pub fn with_code(mut report: ErrorReport) -> ErrorReport {
    let message = report.message.as_deref().unwrap_or_default();
    if report.code.is_none() && CONTEXT_LENGTH.iter().any(|beginning| message.starts_with(beginning)) {
        report.code = Some("context_length_exceeded".to_owned());
    }
    report
}

/// Adds the code to the report of a refusal.
pub fn with_code_of_refusal(error: AttemptErrorKind) -> AttemptErrorKind {
    match error {
        AttemptErrorKind::Refused { status, retry_after, report } => {
            let report = report.map(|report| Box::new(with_code(*report)));
            AttemptErrorKind::Refused { status, retry_after, report }
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompt_that_is_too_long_has_the_code_that_clients_know() {
        let code = |json: &str| with_code(ErrorReport::read(json.as_bytes()).expect("an error")).code;
        let error = |message: &str| format!(r#"{{"type":"error","error":{{"type":"t","message":"{message}"}}}}"#);
        let known = Some("context_length_exceeded".to_owned());
        assert_eq!(code(&error("prompt is too long: 208310 tokens > 200000 maximum")), known);
        assert_eq!(code(&error("input length and `max_tokens` exceed context limit: 1 + 2 > 2")), known);
        assert_eq!(code(&error("max_tokens: 1 > 0")), None);
    }
}
