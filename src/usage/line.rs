//! The lines of the ledger's files.

use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::attempt::{AttemptRole, AttemptSubject};
use crate::domain::{Principal, Timestamp, TokenSource, Usage};
use crate::telemetry::Outcome;

/// One line: an attempt when it began, or when it ended.
#[derive(Debug, Clone)]
pub struct LedgerLine {
    pub time: Timestamp,
    /// The same in both lines of an attempt, and in no other.
    pub attempt: Arc<str>,
    pub subject: Arc<AttemptSubject>,
    /// `None` when it began.
    pub end: Option<LineEnd>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub struct LineEnd {
    pub outcome: Outcome,
    pub role: AttemptRole,
    /// `None` if it was not billed.
    pub usage: Option<Usage>,
}

/// The text is not a line that this version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a line of the ledger")]
pub struct InvalidLine;

/// A line as JSON.
#[derive(Serialize, Deserialize)]
struct LineText {
    /// RFC 3339, UTC.
    time: String,
    attempt: Arc<str>,
    outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    caller: CallerKind,
    principal: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    model: Arc<str>,
    upstream: Arc<str>,
    target: Arc<str>,
    #[serde(flatten)]
    tokens: LineTokens,
    /// US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cost: Option<Box<RawValue>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CallerKind {
    Anonymous,
    Key,
    Token,
}

/// The tokens of a line; all absent if nothing was billed.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct LineTokens {
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_1h_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_audio_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_audio_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated: Option<bool>,
}

const OPEN: &str = "open";
/// The principal of unauthenticated callers.
pub const ANONYMOUS: &str = "anonymous";

impl LedgerLine {
    /// Returns the JSON, without a line break.
    pub fn to_json(&self) -> String {
        let AttemptSubject { principal, model, upstream, target, reserved } = &*self.subject;
        let usage = self.end.map_or(Some(*reserved), |end| end.usage);
        let caller = match principal {
            Principal::Anonymous => CallerKind::Anonymous,
            Principal::Key(_) => CallerKind::Key,
            Principal::Subject { .. } => CallerKind::Token,
        };
        let cost = usage.and_then(|usage| usage.cost).and_then(|cost| RawValue::from_string(cost.to_string()).ok());
        let text = LineText {
            time: self.time.to_string(),
            attempt: Arc::clone(&self.attempt),
            outcome: self.end.map_or(OPEN, |end| end.outcome.name()).to_owned(),
            role: self.end.map(|end| end.role.name().to_owned()),
            caller,
            principal: principal.name().unwrap_or(ANONYMOUS).to_owned(),
            issuer: principal.issuer().map(str::to_owned),
            model: Arc::clone(model),
            upstream: Arc::clone(upstream),
            target: Arc::clone(target),
            tokens: usage.map(LineTokens::from).unwrap_or_default(),
            cost,
        };
        // Cannot fail for these types.
        serde_json::to_string(&text).unwrap_or_default()
    }

    pub fn parse(json: &[u8]) -> Result<Self, InvalidLine> {
        let text: LineText = serde_json::from_slice(json).map_err(|_| InvalidLine)?;
        let time = humantime::parse_rfc3339(&text.time).map_err(|_| InvalidLine)?.into();
        let principal = match (text.caller, text.issuer) {
            (CallerKind::Anonymous, _) => Principal::Anonymous,
            (CallerKind::Key, _) => Principal::Key(text.principal.into()),
            (CallerKind::Token, Some(issuer)) => {
                Principal::Subject { issuer: issuer.into(), subject: text.principal.into() }
            }
            (CallerKind::Token, None) => return Err(InvalidLine),
        };
        let cost = text.cost.map(|cost| cost.get().parse()).transpose().map_err(|_| InvalidLine)?;
        let usage = text.tokens.usage().map(|usage| Usage { cost, ..usage });
        let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.name() == text.outcome);
        let role = AttemptRole::ALL.into_iter().find(|role| Some(role.name()) == text.role.as_deref());
        let end = match (outcome, role) {
            (Some(outcome), Some(role)) => Some(LineEnd { outcome, role, usage }),
            (None, None) if text.outcome == OPEN => None,
            _ => return Err(InvalidLine),
        };
        let reserved = usage.filter(|_| end.is_none()).unwrap_or_default();
        let (model, upstream, target) = (text.model, text.upstream, text.target);
        let subject = Arc::new(AttemptSubject { principal, model, upstream, target, reserved });
        Ok(Self { time, attempt: text.attempt, subject, end })
    }
}

impl From<Usage> for LineTokens {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: Some(usage.input_tokens),
            cache_read_tokens: usage.cache_read_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            cache_write_1h_tokens: usage.cache_write_1h_tokens.map(NonZeroU32::get),
            input_audio_tokens: usage.input_audio_tokens,
            output_tokens: usage.output_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            output_audio_tokens: usage.output_audio_tokens,
            estimated: Some(usage.source == TokenSource::Estimated),
        }
    }
}

impl LineTokens {
    fn usage(&self) -> Option<Usage> {
        Some(Usage {
            input_tokens: self.input_tokens?,
            cache_read_tokens: self.cache_read_tokens,
            cache_write_tokens: self.cache_write_tokens,
            cache_write_1h_tokens: self.cache_write_1h_tokens.and_then(NonZeroU32::new),
            input_audio_tokens: self.input_audio_tokens,
            output_tokens: self.output_tokens,
            reasoning_tokens: self.reasoning_tokens,
            output_audio_tokens: self.output_audio_tokens,
            source: if self.estimated == Some(false) { TokenSource::Provider } else { TokenSource::Estimated },
            cost: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Usd;

    fn line(principal: Principal, end: Option<LineEnd>) -> LedgerLine {
        let reserved = Usage { input_tokens: 9, output_tokens: Some(256), ..Usage::default() };
        let (model, upstream, target) = ("fast".into(), "main".into(), "gpt-x".into());
        let subject = AttemptSubject { principal, model, upstream, target, reserved };
        let time = Timestamp::from_millis(1_796_083_200_123);
        LedgerLine { time, attempt: "rep_A.1".into(), subject: Arc::new(subject), end }
    }

    #[test]
    fn line_is_json_with_an_exact_cost() {
        let usage = Usage {
            input_tokens: 8,
            cache_read_tokens: Some(3),
            output_tokens: Some(10),
            source: TokenSource::Provider,
            cost: Some(Usd::from_nanos(75_001)),
            ..Usage::default()
        };
        let end = LineEnd { outcome: Outcome::Done, role: AttemptRole::Winner, usage: Some(usage) };
        assert_eq!(
            line(Principal::Key("web".into()), Some(end)).to_json(),
            r#"{"time":"2026-12-01T00:00:00.123Z","attempt":"rep_A.1","outcome":"done","role":"winner","caller":"key","principal":"web","model":"fast","upstream":"main","target":"gpt-x","input_tokens":8,"cache_read_tokens":3,"output_tokens":10,"estimated":false,"cost":0.000075001}"#
        );
        assert_eq!(
            line(Principal::Anonymous, None).to_json(),
            r#"{"time":"2026-12-01T00:00:00.123Z","attempt":"rep_A.1","outcome":"open","caller":"anonymous","principal":"anonymous","model":"fast","upstream":"main","target":"gpt-x","input_tokens":9,"output_tokens":256,"estimated":true}"#
        );
    }

    #[test]
    fn line_reads_back_as_it_was_written() {
        let usage = Usage { input_tokens: 8, cost: Some(Usd::from_nanos(u64::MAX)), ..Usage::default() };
        let subject = Principal::Subject { issuer: "https://id".into(), subject: "a \"b\"".into() };
        for principal in [Principal::Anonymous, Principal::Key("anonymous".into()), subject] {
            for usage in [None, Some(usage)] {
                for role in AttemptRole::ALL {
                    let end = LineEnd { outcome: Outcome::Failed, role, usage };
                    let json = line(principal.clone(), Some(end)).to_json();
                    let read = LedgerLine::parse(json.as_bytes()).expect("a line");
                    assert_eq!((read.to_json(), &read.subject.principal), (json, &principal));
                }
            }
            let json = line(principal.clone(), None).to_json();
            let read = LedgerLine::parse(json.as_bytes()).expect("a line");
            assert_eq!((read.to_json(), read.subject.reserved.output_tokens), (json, Some(256)));
        }
    }

    #[test]
    fn text_that_is_no_line_is_refused() {
        let json = line(Principal::Anonymous, None).to_json();
        for wrong in [
            String::new(),
            "{}".to_owned(),
            json.replace("open", "lost"),
            json.replace("2026", "today"),
            json.split_at(json.len() / 2).0.to_owned(),
        ] {
            assert!(LedgerLine::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
