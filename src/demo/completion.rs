use std::{collections::VecDeque, iter::Peekable};

use serde_json::{Value, json};

use super::{
    answer,
    options::{DemoFault, DemoFinish},
    request::Request,
    token::{DemoToken, DemoTokens},
};

/// The events of a completion in order, each with the step in which it is due; step 0 is the step of the first token.
/// In each step every open choice emits one token. The iterator ends after `End`, or after a `Fault`.
pub(super) struct DemoCompletion {
    /// The choices that have not ended.
    choices: Vec<OpenChoice>,
    fault: Option<(u32, DemoFault)>,
    usage: DemoUsage,
    /// Steps taken, which is the number of tokens that each open choice has emitted.
    steps: u32,
    ready: VecDeque<(u32, CompletionEvent)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum CompletionEvent {
    /// A choice begins, in the step of its first token.
    Role {
        choice: u8,
    },
    Token {
        choice: u8,
        token: DemoToken,
    },
    /// A choice ends, in the step of its last token.
    Finish {
        choice: u8,
        reason: DemoFinish,
    },
    /// The completion is interrupted.
    Fault(DemoFault),
    /// All choices have ended.
    End(DemoUsage),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DemoUsage {
    pub prompt: usize,
    /// Over all choices, reasoning included.
    pub completion: usize,
    pub reasoning: usize,
}

impl DemoUsage {
    /// Returns the `usage` of a chat completion, with the reasoning tokens if there are any.
    pub(super) fn json(self) -> Value {
        let counts = [
            ("prompt_tokens", json!(self.prompt)),
            ("completion_tokens", json!(self.completion)),
            ("total_tokens", json!(self.prompt + self.completion)),
        ];
        let details = ("completion_tokens_details", json!({"reasoning_tokens": self.reasoning}));
        counts.into_iter().chain((self.reasoning > 0).then_some(details)).collect()
    }
}

struct OpenChoice {
    index: u8,
    tokens: Peekable<DemoTokens>,
    /// The remaining tokens of its limit.
    remaining_tokens: u32,
    finish: DemoFinish,
}

impl DemoCompletion {
    pub(super) fn new(request: &Request) -> Self {
        let choice = |index| OpenChoice {
            index,
            tokens: answer::tokens(request, index).peekable(),
            remaining_tokens: request.max_tokens,
            finish: request.finish(),
        };
        Self {
            choices: (0..request.choices).map(choice).collect(),
            fault: request.fault(),
            usage: DemoUsage { prompt: request.prompt_tokens(), ..DemoUsage::default() },
            steps: 0,
            ready: VecDeque::new(),
        }
    }

    fn step(&mut self) {
        let step = self.steps;
        if step == 0 {
            if self.emit_due_fault(step) {
                return;
            }
            self.ready.extend(self.choices.iter().map(|choice| (step, CompletionEvent::Role { choice: choice.index })));
        }
        for choice in &mut self.choices {
            if let Some(token) = choice.next_token() {
                self.usage.completion += 1;
                self.usage.reasoning += usize::from(matches!(token, DemoToken::Reasoning(_)));
                self.ready.push_back((step, CompletionEvent::Token { choice: choice.index, token }));
            }
        }
        self.steps += 1;
        // Checked before the choices end: a fault after the last token suppresses the finish reason.
        if self.emit_due_fault(step) {
            return;
        }
        self.choices.retain_mut(|choice| {
            let end = choice.end();
            if let Some(reason) = end {
                self.ready.push_back((step, CompletionEvent::Finish { choice: choice.index, reason }));
            }
            end.is_none()
        });
        if self.choices.is_empty() {
            self.ready.push_back((step, CompletionEvent::End(self.usage)));
        }
    }

    /// Emits the fault if it is due, and returns whether it was.
    fn emit_due_fault(&mut self, step: u32) -> bool {
        let fault = self.fault.filter(|(at, _)| *at == self.steps);
        if let Some((_, fault)) = fault {
            self.ready.push_back((step, CompletionEvent::Fault(fault)));
            self.choices.clear();
        }
        fault.is_some()
    }
}

impl Iterator for DemoCompletion {
    type Item = (u32, CompletionEvent);

    fn next(&mut self) -> Option<(u32, CompletionEvent)> {
        if self.ready.is_empty() && !self.choices.is_empty() {
            self.step();
        }
        self.ready.pop_front()
    }
}

impl OpenChoice {
    fn next_token(&mut self) -> Option<DemoToken> {
        self.remaining_tokens = self.remaining_tokens.saturating_sub(1);
        self.tokens.next()
    }

    /// Returns the finish reason if the choice ends here.
    fn end(&mut self) -> Option<DemoFinish> {
        if self.tokens.peek().is_none() {
            return Some(self.finish);
        }
        (self.remaining_tokens == 0).then_some(DemoFinish::Length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes one letter for each event: Role, token, Finish (with its reason), Stall, fail (X), Close, End.
    fn trace(model: &str, fields: &str) -> String {
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hi"}}]{fields}}}"#);
        let request = Request::parse(body.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}"));
        let letter = |event| match event {
            CompletionEvent::Role { choice } => format!("R{choice}"),
            CompletionEvent::Token { choice, .. } => format!("t{choice}"),
            CompletionEvent::Finish { choice, reason } => format!("F{choice}:{}", reason.as_str()),
            CompletionEvent::Fault(DemoFault::Stall) => "S".to_owned(),
            CompletionEvent::Fault(DemoFault::Fail) => "X".to_owned(),
            CompletionEvent::Fault(DemoFault::Close) => "C".to_owned(),
            CompletionEvent::End(usage) => format!("E{}", usage.completion),
        };
        DemoCompletion::new(&request)
            .map(|(step, event)| format!("{step}{}", letter(event)))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn role_is_in_the_first_step_and_end_in_the_last() {
        assert_eq!(trace("demo?tokens=2", ""), "0R0 0t0 1t0 1F0:stop 1E2");
    }

    #[test]
    fn choices_are_interleaved() {
        assert_eq!(trace("demo?tokens=2", r#","n":2"#), "0R0 0R1 0t0 0t1 1t0 1t1 1F0:stop 1F1:stop 1E4");
    }

    #[test]
    fn limit_below_the_length_truncates_the_answer() {
        assert_eq!(trace("demo", r#","max_tokens":1"#), "0R0 0t0 0F0:length 0E1");
        assert_eq!(trace("demo?tokens=2", r#","max_completion_tokens":2"#), "0R0 0t0 1t0 1F0:stop 1E2");
        assert_eq!(trace("demo?tokens=9&finish=content_filter", r#","max_tokens":1"#), "0R0 0t0 0F0:length 0E1");
    }

    #[test]
    fn finish_option_sets_the_finish_reason() {
        assert_eq!(trace("demo?tokens=1&finish=content_filter", ""), "0R0 0t0 0F0:content_filter 0E1");
        assert!(trace("demo?tool=weather", "").contains("F0:tool_calls"));
        assert!(trace("demo?tool=weather&finish=stop", "").contains("F0:stop"));
    }

    #[test]
    fn fault_follows_its_token_and_is_the_last_event() {
        for (name, letter) in [("stall_at", "S"), ("fail_at", "X"), ("close_at", "C")] {
            assert_eq!(trace(&format!("demo?tokens=9&{name}=2"), ""), format!("0R0 0t0 1t0 1{letter}"));
        }
    }

    #[test]
    fn fault_can_be_the_first_event_or_replace_the_end() {
        assert_eq!(trace("demo?tokens=9&fail_at=0", ""), "0X");
        assert_eq!(trace("demo?tokens=1&fail_at=1", ""), "0R0 0t0 0X");
        assert_eq!(
            trace("demo?tokens=1&fail_at=2", ""),
            "0R0 0t0 0F0:stop 0E1",
            "a fault beyond the end has no effect"
        );
    }

    #[test]
    fn reasoning_counts_as_tokens() {
        assert_eq!(trace("demo?reasoning=9&tokens=9&close_at=2", ""), "0R0 0t0 1t0 1C");
    }
}
