//! An answer as a client has read it, independent of the wire.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::input::Expected;

/// The first choice, possibly incomplete.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Reading {
    pub text: String,
    pub reasoning: String,
    pub refusal: String,
    /// Id, name, arguments.
    pub calls: Vec<[String; 3]>,
    pub finish: Option<String>,
    pub finish_reason_missing: bool,
    /// Input tokens, output tokens, estimated.
    pub usage: Option<(i64, i64, bool)>,
    /// The native usage with all its members.
    pub kinds: Map<String, Value>,
    /// The error code, or the class of an SDK's exception.
    pub failure: Option<String>,
    /// The HTTP status, if it is not 200.
    pub status: Option<u16>,
    /// The response body.
    pub raw: String,
}

/// How much of an answer a view can contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Native,
    Snapshot,
    ChatStream,
    /// An error status replaces the text before the failure.
    ChatWhole,
}

impl Reading {
    /// Adds a fragment to the call at its index. An empty id or name does not replace one.
    pub fn fragment(calls: &mut Vec<(Value, [String; 3])>, index: &Value, fragment: [&Value; 3]) {
        let at = calls.iter().position(|(known, _)| known == index).unwrap_or_else(|| {
            calls.push((index.clone(), Default::default()));
            calls.len() - 1
        });
        let call = &mut calls[at].1;
        for (member, value) in call[..2].iter_mut().zip(fragment) {
            if let Some(value) = value.as_str().filter(|value| !value.is_empty()) {
                value.clone_into(member);
            }
        }
        call[2] += fragment[2].as_str().unwrap_or_default();
    }

    /// Returns the differences to the expected result.
    #[expect(clippy::single_match_else, reason = "two outcomes of equal weight")]
    pub fn faults(&self, expected: &Expected, wire: Wire) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |what: &str, is: &dyn std::fmt::Debug, right: &dyn std::fmt::Debug| {
            let (is, right) = (format!("{is:?}"), format!("{right:?}"));
            if is != right {
                faults.push(format!("{what} is {}, not {}", short(&is), short(&right)));
            }
        };
        if expected.fail.is_none() || wire != Wire::ChatWhole {
            check("text", &self.text, &expected.text);
            check("reasoning", &self.reasoning, &expected.reasoning);
            check("refusal", &self.refusal, &expected.refusal);
            let alike = |(is, right): (&String, &String)| if right == "*" { right.clone() } else { is.clone() };
            let calls: Vec<Vec<String>> = self
                .calls
                .iter()
                .enumerate()
                .map(|(at, call)| {
                    expected.calls.get(at).map_or(call.to_vec(), |right| call.iter().zip(right).map(alike).collect())
                })
                .collect();
            check("calls", &calls, &expected.calls);
        }
        match &expected.fail {
            Some(code) => {
                check("finish reason", &self.finish.as_deref().filter(|reason| *reason != "error"), &None::<&str>);
                self.failure_faults(code, expected, wire, &mut check);
            }
            None => {
                check("failure", &self.failure, &None::<&str>);
                check("finish reason", &self.finish, &Some(&expected.finish));
                check("finish_reason_missing", &self.finish_reason_missing, &expected.finish_reason_missing);
                let usage = self.usage.map(|(input, output, estimated)| {
                    if expected.usage.is_some() { (input, output, estimated) } else { (0, 0, estimated) }
                });
                let right = expected.usage.map_or((0, 0, true), |[input, output]| (input, output, false));
                check("usage", &usage, &Some(right));
                if matches!(wire, Wire::Native | Wire::Snapshot) {
                    for (kind, figure) in &expected.kinds {
                        check(kind, &self.kinds.get(kind), &Some(figure));
                    }
                }
            }
        }
        let chat_holds = if matches!(wire, Wire::ChatStream | Wire::ChatWhole) { &*expected.chat_holds } else { &[] };
        for bytes in expected.holds.iter().filter(|_| wire != Wire::Snapshot).chain(chat_holds) {
            check(&format!("{bytes:?} there"), &self.raw.contains(bytes), &true);
        }
        for bytes in &expected.lacks {
            check(&format!("{bytes:?} there"), &self.raw.contains(bytes), &false);
        }
        faults
    }

    fn failure_faults(
        &self,
        code: &str,
        expected: &Expected,
        wire: Wire,
        check: &mut dyn FnMut(&str, &dyn std::fmt::Debug, &dyn std::fmt::Debug),
    ) {
        let own = match wire {
            Wire::Native | Wire::Snapshot => Some(code),
            Wire::ChatStream | Wire::ChatWhole if expected.code.is_some() => expected.code.as_deref(),
            // The upstream refused: its own code is forwarded, and may be null.
            Wire::ChatStream | Wire::ChatWhole => Some(code).filter(|_| expected.status.is_none()),
        };
        match own {
            Some("*") | None => check("failure", &self.failure.is_some(), &true),
            Some(code) => check("failure", &self.failure.as_deref(), &Some(code)),
        }
        if matches!(wire, Wire::ChatStream | Wire::ChatWhole) {
            if let Some(status) = expected.status {
                check("status", &self.status, &Some(status));
            } else if wire == Wire::ChatWhole {
                check("a status", &self.status.is_some(), &true);
            }
        }
    }

    /// Returns a summary for a table cell.
    pub fn brief(&self) -> String {
        let mut brief = if self.text.is_empty() { String::new() } else { short(&format!("{:?}", self.text)) };
        for (what, count) in [("reasoning", usize::from(!self.reasoning.is_empty())), ("calls", self.calls.len())] {
            if count > 0 {
                brief += &if count == 1 { format!(" +{what}") } else { format!(" +{count} {what}") };
            }
        }
        match (&self.failure, &self.finish) {
            (Some(failure), _) => brief += &format!(" !{failure}"),
            (None, Some(finish)) => brief += &format!(" {finish}"),
            (None, None) => brief += " (no finish)",
        }
        brief.trim().to_owned()
    }
}

/// Cuts a text for a report.
pub fn short(text: &str) -> String {
    if text.chars().count() <= 120 { text.to_owned() } else { text.chars().take(100).chain("...".chars()).collect() }
}
