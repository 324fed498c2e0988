//! Why an upstream's list of models could not be had, in an operator's words.

use std::fmt;

use super::{ErrorReport, Malformed, Phase, UpstreamError, UpstreamIdentity};

/// What failed, and what an operator can check. Prints as one phrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFailure {
    url: String,
    error: UpstreamError,
}

impl ListFailure {
    pub fn new(upstream: &UpstreamIdentity, error: UpstreamError) -> Self {
        Self { url: list_url(upstream), error }
    }

    /// The address of the list, without its query.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Returns the address of an upstream's list of models, without its query.
pub fn list_url(upstream: &UpstreamIdentity) -> String {
    format!("{}/models", upstream.url.trim_end_matches("/chat/completions"))
}

impl fmt::Display for ListFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            UpstreamError::Unreachable { cause } => write!(f, "no connection: {cause}"),
            UpstreamError::Timeout(Phase::Connect) => {
                f.write_str("no connection in time: are the host and port of base_url right?")
            }
            UpstreamError::Timeout(_) => f.write_str("no response in time"),
            UpstreamError::Refused { status, report, .. } | UpstreamError::LimitRefused { status, report } => {
                write!(f, "status {status}")?;
                match status {
                    401 | 403 => f.write_str(", the key was refused: check api_key_env and the key in it")?,
                    404 | 405 => {
                        write!(f, ", there is no model list at {}: does base_url end in /v1?", self.url)?;
                    }
                    300..=399 => f.write_str(", a redirect: write its target as base_url")?,
                    429 => f.write_str(", the upstream is limiting this service")?,
                    _ => {}
                }
                write_said(f, report.as_deref())
            }
            UpstreamError::Reported(report) => {
                f.write_str("an error in place of a list")?;
                write_said(f, Some(report))
            }
            UpstreamError::Disconnected { cause } => write!(f, "the connection ended: {cause}"),
            UpstreamError::Malformed(Malformed::EventTooLarge) => f.write_str("the list is too large"),
            UpstreamError::Malformed(_) | UpstreamError::Empty => {
                write!(f, "what {} responds with is no list of models: does base_url end in /v1?", self.url)
            }
        }
    }
}

/// The upstream's message, which has been masked and cut where it was read.
fn write_said(f: &mut fmt::Formatter<'_>, report: Option<&ErrorReport>) -> fmt::Result {
    match report.and_then(|report| report.message.as_deref()) {
        Some(message) => write!(f, " (it says: {message})"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_says_what_to_check() {
        let upstream = UpstreamIdentity::new("local", "http://localhost:1/chat/completions?key=hunter2");
        let refused = |status| UpstreamError::Refused { status, retry_after: None, report: None };
        for (error, expected) in [
            (UpstreamError::Unreachable { cause: "connection refused".into() }, "no connection: connection refused"),
            (
                refused(404),
                "status 404, there is no model list at http://localhost:1/models: does base_url end in /v1?",
            ),
            (refused(401), "status 401, the key was refused: check api_key_env and the key in it"),
            (refused(500), "status 500"),
            (
                UpstreamError::Malformed(Malformed::Models),
                "what http://localhost:1/models responds with is no list of models: does base_url end in /v1?",
            ),
        ] {
            assert_eq!(ListFailure::new(&upstream, error).to_string(), expected);
        }
    }
}
