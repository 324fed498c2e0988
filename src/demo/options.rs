use std::{ops::RangeInclusive, str::FromStr, time::Duration};

use hyper::StatusCode;
use thiserror::Error;

/// The options in the model's name, as in `demo?tokens=400&rate=20`: `name=value` pairs after `?`, joined by `&`, taken
/// literally (nothing is percent-decoded), each at most once.
///
/// A position is a number of tokens of one choice, reasoning included. A position that the answer does not reach has no
/// effect.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Options {
    /// `tokens`: the length of the answer without reasoning. Default: the text once, about 200.
    pub tokens: Option<u32>,
    /// `rate`: 50 tokens a second by default.
    pub rate: TokenRate,
    /// `first_token`: delay from the response headers to the first chunk. Default: none.
    pub first_token: Duration,
    /// `headers`: delay from the request to the response headers. Default: none.
    pub headers: Duration,
    /// `stall_at`, `fail_at`, `close_at`: faults that interrupt the answer, each after this number of tokens; 0 is
    /// before the first event. Only the earliest accepts effect.
    pub faults: Vec<(u32, DemoFault)>,
    /// `finish`: the finish reason of an answer that is complete.
    pub finish: Option<DemoFinish>,
    /// `tool`: calls the tool of this name, after the text if `tokens` is set, else instead of the text.
    pub tool: Option<String>,
    /// `reasoning`: the number of reasoning tokens before the text.
    pub reasoning: u32,
    /// `refusal`: the number of refusal tokens in place of the text.
    pub refusal: u32,
    /// `status`: refuses the request with this status, after `headers`.
    pub status: Option<StatusCode>,
    /// `retry_after`: sent with `status` as `Retry-After`, in seconds.
    pub retry_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum TokenRate {
    TokensPerSecond(f64),
    Unpaced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DemoFault {
    /// No more bytes are sent, and the connection stays open.
    Stall,
    /// An error inside the stream, then its end; a `500` if the answer is not streamed.
    Fail,
    /// The connection is closed in the middle of the response.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DemoFinish {
    Stop,
    Length,
    ContentFilter,
    ToolCalls,
}

impl DemoFinish {
    const ALL: [Self; 4] = [Self::Stop, Self::Length, Self::ContentFilter, Self::ToolCalls];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ContentFilter => "content_filter",
            Self::ToolCalls => "tool_calls",
        }
    }
}

/// Why the options were refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum InvalidOptionError {
    #[error("Unknown option `{0}`.")]
    Unknown(String),
    #[error("The option `{0}` is given twice.")]
    Repeated(&'static str),
    #[error("The option `{name}` accepts {accepts}, not `{value}`.")]
    BadValue { name: &'static str, accepts: &'static str, value: String },
    #[error("The option `retry_after` requires `status`.")]
    RetryAfterAlone,
}

const KNOWN: [(&str, &str); 13] = [
    ("tokens", "a number from 1 to 100000"),
    ("rate", "tokens per second, above 0 and up to 100000, or `max`"),
    ("first_token", "a duration such as `40s`"),
    ("headers", "a duration such as `2s`"),
    ("stall_at", "a number of tokens"),
    ("fail_at", "a number of tokens"),
    ("close_at", "a number of tokens"),
    ("finish", "`stop`, `length`, `content_filter` or `tool_calls`"),
    ("tool", "1 to 64 letters, digits, `_` or `-`"),
    ("reasoning", "a number from 0 to 100000"),
    ("refusal", "a number from 0 to 100000"),
    ("status", "a number from 400 to 599"),
    ("retry_after", "a number of seconds"),
];

/// Returns the names of all options, for an error message.
pub(super) fn known() -> String {
    KNOWN.map(|(name, _)| name).join(", ")
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tokens: None,
            rate: TokenRate::TokensPerSecond(50.0),
            first_token: Duration::ZERO,
            headers: Duration::ZERO,
            faults: Vec::new(),
            finish: None,
            tool: None,
            reasoning: 0,
            refusal: 0,
            status: None,
            retry_after: None,
        }
    }
}

impl FromStr for Options {
    type Err = InvalidOptionError;

    /// Parses the text after the `?`. An empty text yields the defaults.
    fn from_str(text: &str) -> Result<Self, InvalidOptionError> {
        let mut options = Self::default();
        let mut given = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(&(name, accepts)) = KNOWN.iter().find(|(known, _)| *known == name) else {
                return Err(InvalidOptionError::Unknown(name.to_owned()));
            };
            if given.contains(&name) {
                return Err(InvalidOptionError::Repeated(name));
            }
            given.push(name);
            options.set(name, value).ok_or_else(|| InvalidOptionError::BadValue {
                name,
                accepts,
                value: value.to_owned(),
            })?;
        }
        if options.retry_after.is_some() && options.status.is_none() {
            return Err(InvalidOptionError::RetryAfterAlone);
        }
        Ok(options)
    }
}

impl Options {
    /// Returns the earliest fault, and after how many tokens it happens.
    pub(super) fn fault(&self) -> Option<(u32, DemoFault)> {
        self.faults.iter().copied().min_by_key(|(at, _)| *at)
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "tokens" => self.tokens = Some(number(value, 1..=100_000)?),
            "rate" => self.rate = rate(value)?,
            "first_token" => self.first_token = humantime::parse_duration(value).ok()?,
            "headers" => self.headers = humantime::parse_duration(value).ok()?,
            "stall_at" => self.faults.push((number(value, 0..=u32::MAX)?, DemoFault::Stall)),
            "fail_at" => self.faults.push((number(value, 0..=u32::MAX)?, DemoFault::Fail)),
            "close_at" => self.faults.push((number(value, 0..=u32::MAX)?, DemoFault::Close)),
            "finish" => self.finish = Some(DemoFinish::ALL.into_iter().find(|finish| finish.as_str() == value)?),
            "tool" => self.tool = Some(tool(value)?),
            "reasoning" => self.reasoning = number(value, 0..=100_000)?,
            "refusal" => self.refusal = number(value, 0..=100_000)?,
            "status" => self.status = Some(StatusCode::from_u16(number(value, 400..=599)?).ok()?),
            "retry_after" => self.retry_after = Some(Duration::from_secs(number(value, 0..=u64::MAX)?)),
            _ => return None,
        }
        Some(())
    }
}

fn number<N: FromStr + PartialOrd>(value: &str, range: RangeInclusive<N>) -> Option<N> {
    value.parse().ok().filter(|number| range.contains(number))
}

fn rate(value: &str) -> Option<TokenRate> {
    if value == "max" {
        return Some(TokenRate::Unpaced);
    }
    value.parse().ok().filter(|rate| *rate > 0.0 && *rate <= 100_000.0).map(TokenRate::TokensPerSecond)
}

fn tool(value: &str) -> Option<String> {
    let fits = (1..=64).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    fits.then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: &str = "tokens=400&rate=20&first_token=40s&stall_at=20&fail_at=50&close_at=30&finish=length\
                            &tool=weather&reasoning=30&status=429&retry_after=3";

    #[test]
    fn example_of_the_contract_is_parsed() {
        let options: Options = CONTRACT.parse().unwrap();
        assert_eq!(
            options,
            Options {
                tokens: Some(400),
                rate: TokenRate::TokensPerSecond(20.0),
                first_token: Duration::from_secs(40),
                headers: Duration::ZERO,
                faults: vec![(20, DemoFault::Stall), (50, DemoFault::Fail), (30, DemoFault::Close)],
                finish: Some(DemoFinish::Length),
                tool: Some("weather".to_owned()),
                reasoning: 30,
                refusal: 0,
                status: Some(StatusCode::TOO_MANY_REQUESTS),
                retry_after: Some(Duration::from_secs(3)),
            }
        );
        assert_eq!(options.fault(), Some((20, DemoFault::Stall)), "the earliest counts");
    }

    #[test]
    fn no_options_mean_the_defaults() {
        assert_eq!("".parse(), Ok(Options::default()));
        assert_eq!(Options::default().fault(), None);
    }

    #[test]
    fn valid_values_are_accepted() {
        for good in [
            "tokens=1",
            "tokens=100000",
            "rate=max",
            "rate=0.5",
            "rate=100000",
            "first_token=1m30s",
            "headers=250ms",
            "stall_at=0",
            "fail_at=7",
            "close_at=4294967295",
            "finish=stop",
            "finish=content_filter",
            "finish=tool_calls",
            "tool=get-current_Weather9",
            "reasoning=0",
            "status=400",
            "status=599",
            "status=503&retry_after=0",
        ] {
            assert!(good.parse::<Options>().is_ok(), "{good}");
        }
    }

    #[test]
    fn invalid_value_error_names_the_option_and_its_values() {
        let long = format!("tool={}", "x".repeat(65));
        for bad in [
            "tokens=0",
            "tokens=100001",
            "tokens=-1",
            "tokens=ten",
            "tokens",
            "rate=0",
            "rate=-1",
            "rate=nan",
            "rate=inf",
            "rate=100001",
            "first_token=soon",
            "headers=5",
            "headers=",
            "stall_at=1.5",
            "fail_at=",
            "close_at=4294967296",
            "finish=STOP",
            "tool=",
            "tool=a b",
            "tool=wetter_für",
            &long,
            "reasoning=100001",
            "refusal=-1",
            "status=200",
            "status=399",
            "status=600",
            "status=429&retry_after=soon",
        ] {
            let pair = bad.rsplit('&').next().unwrap();
            let name = pair.split('=').next().unwrap();
            let error = bad.parse::<Options>().unwrap_err();
            assert!(
                matches!(error, InvalidOptionError::BadValue { name: named, .. } if named == name),
                "{bad}: {error}"
            );
            assert!(error.to_string().contains(&format!("option `{name}` accepts ")), "{error}");
        }
    }

    #[test]
    fn an_unknown_option_is_named() {
        for (text, name) in [("speed=2", "speed"), ("tokens=1&Tokens=2", "Tokens"), ("=1", "")] {
            let error = text.parse::<Options>().unwrap_err();
            assert_eq!(error, InvalidOptionError::Unknown(name.to_owned()));
        }
    }

    #[test]
    fn repeated_option_is_refused() {
        assert_eq!("rate=1&tokens=2&rate=1".parse::<Options>(), Err(InvalidOptionError::Repeated("rate")));
    }

    #[test]
    fn retry_after_without_status_is_refused() {
        assert_eq!("retry_after=3".parse::<Options>(), Err(InvalidOptionError::RetryAfterAlone));
    }
}
