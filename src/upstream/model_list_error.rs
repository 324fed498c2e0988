//! The error of listing an upstream's models, as a phrase for operators.

use std::fmt;

use super::{AttemptErrorKind, ErrorReport, MalformedResponseError, Phase, UpstreamIdentity};

/// A failed request for an upstream's list of models. Displays what failed and what to check, as one phrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelListError {
    url: String,
    error: AttemptErrorKind,
}

impl ModelListError {
    pub fn new(upstream: &UpstreamIdentity, error: AttemptErrorKind) -> Self {
        Self { url: list_url(upstream), error }
    }

    /// Returns the URL of the list, without its query.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns what to check if there is no list.
    fn hint(&self) -> &'static str {
        if self.url.ends_with("/v1/models") {
            "check the host and path of base_url"
        } else {
            "does base_url end in /v1?"
        }
    }
}

/// Returns the URL of an upstream's list of models, without its query.
pub fn list_url(upstream: &UpstreamIdentity) -> String {
    let url = upstream.url.trim_end_matches("/chat/completions").trim_end_matches("/messages");
    format!("{url}/models")
}

impl fmt::Display for ModelListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            AttemptErrorKind::Unreachable { cause } => write!(f, "no connection: {cause}"),
            AttemptErrorKind::Timeout(Phase::Connect) => {
                f.write_str("no connection in time: check the host and port of base_url")
            }
            AttemptErrorKind::Timeout(_) => f.write_str("no response in time"),
            AttemptErrorKind::Refused { status, report, .. } | AttemptErrorKind::LimitRefused { status, report } => {
                write!(f, "status {status}")?;
                match status {
                    401 | 403 => f.write_str(", the key was refused: check api_key_env and the key in it")?,
                    404 | 405 => {
                        write!(f, ", there is no model list at {}: {}", self.url, self.hint())?;
                    }
                    300..=399 => f.write_str(", a redirect: set base_url to its target")?,
                    429 => f.write_str(", the upstream is limiting this service")?,
                    _ => {}
                }
                write_upstream_message(f, report.as_deref())
            }
            AttemptErrorKind::Reported(report) | AttemptErrorKind::Unsupported(report) => {
                f.write_str("an error instead of a list")?;
                write_upstream_message(f, Some(report))
            }
            AttemptErrorKind::Disconnected { cause } => write!(f, "the connection ended: {cause}"),
            AttemptErrorKind::Malformed(MalformedResponseError::EventTooLarge) => f.write_str("the list is too large"),
            AttemptErrorKind::Malformed(_) | AttemptErrorKind::Empty | AttemptErrorKind::NoRoom => {
                write!(f, "the response of {} is not a list of models: {}", self.url, self.hint())
            }
        }
    }
}

/// Appends the upstream's message, which was masked and truncated when it was read.
fn write_upstream_message(f: &mut fmt::Formatter<'_>, report: Option<&ErrorReport>) -> fmt::Result {
    match report.and_then(|report| report.message.as_deref()) {
        Some(message) => write!(f, " (upstream message: {message})"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_each_failure_and_what_to_check() {
        let upstream = UpstreamIdentity::new("local", "http://localhost:1/chat/completions?key=hunter2");
        let refused = |status| AttemptErrorKind::Refused { status, retry_after: None, report: None };
        for (error, expected) in [
            (AttemptErrorKind::Unreachable { cause: "connection refused".into() }, "no connection: connection refused"),
            (
                refused(404),
                "status 404, there is no model list at http://localhost:1/models: does base_url end in /v1?",
            ),
            (refused(401), "status 401, the key was refused: check api_key_env and the key in it"),
            (refused(500), "status 500"),
            (
                AttemptErrorKind::Malformed(MalformedResponseError::Models),
                "the response of http://localhost:1/models is not a list of models: does base_url end in /v1?",
            ),
        ] {
            assert_eq!(ModelListError::new(&upstream, error).to_string(), expected);
        }
    }
}
