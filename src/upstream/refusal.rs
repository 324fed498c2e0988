//! An upstream's refusal of a request, read from its response.

use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use hyper::header::{HeaderName, RETRY_AFTER};

use super::{AttemptErrorKind, ErrorMessages, ErrorReport, Masker};

/// How the error reports of an upstream are masked and passed on.
#[derive(Debug, Clone, Default)]
pub struct ReportTerms {
    pub masker: Masker,
    /// Whether callers may read the upstream's messages (`upstreams.errors`).
    pub messages: ErrorMessages,
}

/// Largest body of a refusal, in bytes, that is read to its end. A longer body yields no report.
pub const LONGEST_REFUSAL: usize = 64 * 1024;

/// Longer waits are clamped to this.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// Response headers in which servers send their own request id.
const REQUEST_IDS: [HeaderName; 4] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("apim-request-id"),
    HeaderName::from_static("x-ms-request-id"),
];

impl ReportTerms {
    /// Reads a refusal. `body` is the received part of its body, `request` the body of the request.
    #[expect(clippy::disallowed_methods, reason = "Retry-After may be a date")]
    pub fn refused(&self, status: u16, headers: &HeaderMap, body: &[u8], request: &[u8]) -> AttemptErrorKind {
        let report = ErrorReport::read(body).map(|report| Box::new(self.report(report, headers, request)));
        AttemptErrorKind::Refused { status, retry_after: retry_after(headers, SystemTime::now()), report }
    }

    /// Masks the report of an error that was read from an answer.
    ///
    /// Does not remove text that repeats the request: the adapter drops the request before it reads the answer. The
    /// generation, which keeps the prompt, removes it.
    pub fn reported(&self, error: AttemptErrorKind, headers: &HeaderMap) -> AttemptErrorKind {
        match error {
            AttemptErrorKind::Reported(report) => {
                AttemptErrorKind::Reported(Box::new(self.report(*report, headers, b"")))
            }
            error => error,
        }
    }

    fn report(&self, report: ErrorReport, headers: &HeaderMap, request: &[u8]) -> ErrorReport {
        let request_id = request_id(headers).or_else(|| report.request_id.clone());
        ErrorReport { request_id, ..report }.masked(&self.masker, request, self.messages)
    }
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    REQUEST_IDS.iter().find_map(|name| headers.get(name)?.to_str().ok()).map(str::to_owned)
}

/// Returns how long to wait before a retry: `retry-after-ms`, which Azure and OpenAI send, else `Retry-After` in
/// seconds, also as a fraction, or as a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let millis = ["retry-after-ms", "x-ms-retry-after-ms"].into_iter().find_map(|name| number(text(name)?));
    let value = || text(RETRY_AFTER.as_str());
    let seconds = millis.map(|millis| millis / 1_000.0).or_else(|| number(value()?));
    let wait = match seconds {
        Some(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_WAIT),
        None => httpdate::parse_http_date(value()?).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn wait(pairs: &[(&'static str, &'static str)]) -> Option<Duration> {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let now = httpdate::parse_http_date("Wed, 21 Oct 2026 07:28:00 GMT").expect("a date");
        retry_after(&pairs.iter().map(pair).collect(), now)
    }

    #[test]
    fn request_id_is_that_of_the_headers_else_that_of_the_error() {
        let body = br#"{"type":"error","error":{"type":"api_error","message":"m"},"request_id":"req_body"}"#;
        let terms = ReportTerms::default();
        let id = |headers: &HeaderMap| match terms.refused(500, headers, body, b"") {
            AttemptErrorKind::Refused { report, .. } => report.and_then(|report| report.request_id),
            _ => None,
        };
        let header = (HeaderName::from_static("request-id"), HeaderValue::from_static("req_header"));
        assert_eq!(id(&[header].into_iter().collect()).as_deref(), Some("req_header"));
        assert_eq!(id(&HeaderMap::new()).as_deref(), Some("req_body"));
    }

    #[test]
    fn retry_after_is_read_in_every_form() {
        assert_eq!(wait(&[("retry-after", "30")]), Some(Duration::from_secs(30)));
        assert_eq!(wait(&[("retry-after", "0.25")]), Some(Duration::from_millis(250)));
        assert_eq!(wait(&[("retry-after", "Wed, 21 Oct 2026 07:28:05 GMT")]), Some(Duration::from_secs(5)));
        assert_eq!(wait(&[("retry-after", "Tue, 21 Oct 2025 07:28:05 GMT")]), Some(Duration::ZERO));
        assert_eq!(wait(&[("retry-after-ms", "1500"), ("retry-after", "9")]), Some(Duration::from_millis(1500)));
        assert_eq!(wait(&[("x-ms-retry-after-ms", "20")]), Some(Duration::from_millis(20)));
        assert_eq!(wait(&[("retry-after", "99999999999999999999999")]), Some(LONGEST_WAIT));
        for none in ["", "-1", "NaN", "inf", "soon"] {
            assert_eq!(wait(&[("retry-after", none)]), None, "{none}");
        }
        assert_eq!(wait(&[]), None, "no header, no wait");
    }

    #[test]
    fn refusal_has_the_report_and_the_upstream_request_id() {
        let headers = HeaderMap::from_iter([(REQUEST_IDS[0].clone(), HeaderValue::from_static("req_7"))]);
        let body = br#"{"error":{"message":"no","code":"context_length_exceeded"}}"#;
        let terms = ReportTerms { messages: ErrorMessages::Hide, ..ReportTerms::default() };
        let AttemptErrorKind::Refused { status: 400, report: Some(report), .. } =
            terms.refused(400, &headers, body, b"")
        else {
            panic!("a refusal with a report")
        };
        assert_eq!(report.request_id.as_deref(), Some("req_7"));
        assert_eq!((report.message.as_deref(), report.public_message), (Some("no"), None));
        assert!(matches!(terms.refused(404, &headers, b"<html>", b""), AttemptErrorKind::Refused { report: None, .. }));
    }
}
