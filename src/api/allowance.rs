//! Writes the remaining rate limits of a caller into response headers.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use super::caller::Caller;
use super::durations::{millis, seconds};
use super::headers::{RATE_LIMIT, RATE_LIMIT_POLICY, X_RATE_LIMIT};
use super::problem::Problem;
use super::state::Api;
use crate::limits::Allowance;

/// Capacity for the headers that are added to every response after these.
const LATER_HEADERS: usize = 5;

/// The rate limit headers of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitHeaders {
    /// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10).
    Standard,
    /// These, and those of OpenAI's API.
    AndOpenAi,
}

/// Inserts the rate limit headers. They describe the limits at which the request was refused, if it was, else the
/// caller's current limits for `model`.
pub async fn insert_headers(
    response: &mut Response,
    api: &Api,
    caller: &Caller,
    model: Option<&str>,
    headers_of: RateLimitHeaders,
) {
    let refused = response.extensions().get::<Problem>().and_then(|problem| problem.allowance.as_deref().copied());
    let allowance = match refused {
        Some(refused) => refused,
        None => api.generations.left(&caller.spender, model).await,
    };
    write(response.headers_mut(), allowance, headers_of);
}

/// Inserts the caller's remaining publish rate into the response to a publish request, refused or not.
pub fn insert_publish_headers(response: &mut Response, allowance: Allowance) {
    let refused = response.extensions().get::<Problem>().and_then(|problem| problem.allowance.as_deref().copied());
    write(response.headers_mut(), refused.unwrap_or(allowance), RateLimitHeaders::Standard);
}

fn write(headers: &mut HeaderMap, allowance: Allowance, headers_of: RateLimitHeaders) {
    let limits = [("requests", allowance.requests), ("tokens", allowance.tokens)];
    let (mut policy, mut rest) = (Line::new(), Line::new());
    for (name, left) in
        limits.iter().chain([&("publishes", allowance.publishes)]).filter_map(|(name, left)| Some((*name, (*left)?)))
    {
        policy.item(name).text(";q=").number(left.limit.get()).text(";w=60");
        rest.item(name).text(";r=").number(left.left).text(";t=").number(seconds(left.full_in));
    }
    if rest.0.is_empty() {
        return;
    }
    headers.reserve(2 + X_RATE_LIMIT.as_flattened().len() + LATER_HEADERS);
    insert(headers, RATE_LIMIT_POLICY, policy);
    insert(headers, RATE_LIMIT, rest);
    if headers_of == RateLimitHeaders::AndOpenAi {
        for ([limit, remaining, reset], (_, left)) in X_RATE_LIMIT.into_iter().zip(limits) {
            let Some(left) = left else { continue };
            headers.insert(limit, left.limit.get().into());
            headers.insert(remaining, left.left.into());
            insert(headers, reset, openai_duration(left.full_in));
        }
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, line: Line) {
    if let Ok(value) = HeaderValue::try_from(line.0) {
        headers.insert(name, value);
    }
}

/// Builds a header value without `format!`. Every response has several values, and formatting dominated their cost.
struct Line(String);

impl Line {
    fn new() -> Self {
        Self(String::with_capacity(64))
    }

    /// Begins an item of a list with its name (RFC 9651, section 3.1).
    fn item(&mut self, name: &str) -> &mut Self {
        let separator = if self.0.is_empty() { "\"" } else { ", \"" };
        self.text(separator).text(name).text("\"")
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.0.push_str(text);
        self
    }

    fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.text(itoa::Buffer::new().format(number))
    }
}

/// As OpenAI writes it: `6m0s`, `1.5s`, `120ms`.
fn openai_duration(wait: Duration) -> Line {
    let (mut line, millis) = (Line::new(), millis(wait));
    match (millis / 1_000, millis % 1_000, seconds(wait)) {
        (_, _, seconds @ 60..) => line.number(seconds / 60).text("m").number(seconds % 60).text("s"),
        (0, millis, _) => line.number(millis).text("ms"),
        (seconds, 0, _) => line.number(seconds).text("s"),
        (seconds, millis, _) => {
            let (tenths, rest) = (millis / 100, millis % 100);
            line.number(seconds).text(".").number(tenths).number(rest / 10).number(rest % 10).text("s")
        }
    };
    line
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::limits::RemainingQuota;

    #[test]
    fn a_duration_is_written_as_openai_does_and_never_too_short() {
        for (millis, written) in
            [(0, "0ms"), (12, "12ms"), (1_000, "1s"), (1_500, "1.500s"), (60_000, "1m0s"), (359_001, "6m0s")]
        {
            assert_eq!(openai_duration(Duration::from_millis(millis)).0, written);
        }
        assert_eq!(openai_duration(Duration::from_micros(1)).0, "1ms");
    }

    #[test]
    fn remaining_limits_are_written_in_each_dialect() {
        let left = |limit, left, full_in| {
            Some(RemainingQuota {
                limit: NonZeroU32::new(limit).expect("a limit"),
                left,
                full_in: Duration::from_millis(full_in),
            })
        };
        let allowance =
            Allowance { requests: left(60, 59, 1_000), tokens: left(1_000, 300, 42_001), ..Allowance::default() };
        let written = |allowance, dialect| {
            let mut headers = HeaderMap::new();
            write(&mut headers, allowance, dialect);
            let mut lines: Vec<_> =
                headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("ASCII"))).collect();
            lines.sort_unstable();
            lines
        };
        let native = [
            "ratelimit-policy: \"requests\";q=60;w=60, \"tokens\";q=1000;w=60",
            "ratelimit: \"requests\";r=59;t=1, \"tokens\";r=300;t=43",
        ];
        assert_eq!(written(allowance, RateLimitHeaders::Standard), native);
        let openai = [
            "x-ratelimit-limit-requests: 60",
            "x-ratelimit-limit-tokens: 1000",
            "x-ratelimit-remaining-requests: 59",
            "x-ratelimit-remaining-tokens: 300",
            "x-ratelimit-reset-requests: 1s",
            "x-ratelimit-reset-tokens: 42.001s",
        ];
        assert_eq!(written(allowance, RateLimitHeaders::AndOpenAi), [&native[..], &openai].concat());
        let publishes = Allowance { publishes: left(6_000, 0, 10), ..Allowance::default() };
        assert_eq!(
            written(publishes, RateLimitHeaders::Standard),
            ["ratelimit-policy: \"publishes\";q=6000;w=60", "ratelimit: \"publishes\";r=0;t=1"]
        );
        let none = written(Allowance::default(), RateLimitHeaders::AndOpenAi);
        assert!(none.is_empty(), "{none:?}");
    }
}
