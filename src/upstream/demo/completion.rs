use std::{collections::VecDeque, iter::Peekable};

use serde_json::{Value, json};

use super::{
    answer::{self, Token, Tokens},
    options::{Fault, Finish},
    request::Request,
};

/// What happens in a completion, in order, each event with the step in which it is due: step 0 is the first token's.
/// In each step every choice says one token. It ends after `End`, or after a `Fault`.
pub(super) struct Completion {
    /// Those that still talk.
    choices: Vec<Choice>,
    fault: Option<(u32, Fault)>,
    usage: Usage,
    /// Steps taken, which is the tokens that each choice has said.
    steps: u32,
    ready: VecDeque<(u32, Event)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A choice opens, with its first token.
    Role {
        choice: u8,
    },
    Token {
        choice: u8,
        token: Token,
    },
    /// A choice ends, with its last token.
    Finish {
        choice: u8,
        reason: Finish,
    },
    /// The completion breaks off.
    Fault(Fault),
    /// All choices have ended.
    End(Usage),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub prompt: usize,
    /// Over all choices, reasoning included.
    pub completion: usize,
    pub reasoning: usize,
}

impl Usage {
    /// The `usage` of a chat completion; reasoning is told where there was some.
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

struct Choice {
    index: u8,
    tokens: Peekable<Tokens>,
    /// The tokens that it may still say.
    allowance: u32,
    finish: Finish,
}

impl Completion {
    pub(super) fn new(request: &Request) -> Self {
        let choice = |index| Choice {
            index,
            tokens: answer::tokens(request, index).peekable(),
            allowance: request.max_tokens,
            finish: request.finish(),
        };
        Self {
            choices: (0..request.choices).map(choice).collect(),
            fault: request.fault(),
            usage: Usage { prompt: request.prompt_tokens(), ..Usage::default() },
            steps: 0,
            ready: VecDeque::new(),
        }
    }

    fn step(&mut self) {
        let step = self.steps;
        if step == 0 {
            if self.break_off(step) {
                return;
            }
            self.ready.extend(self.choices.iter().map(|choice| (step, Event::Role { choice: choice.index })));
        }
        for choice in &mut self.choices {
            if let Some(token) = choice.say() {
                self.usage.completion += 1;
                self.usage.reasoning += usize::from(matches!(token, Token::Reasoning(_)));
                self.ready.push_back((step, Event::Token { choice: choice.index, token }));
            }
        }
        self.steps += 1;
        // Before the ends: a fault after the last token leaves no finish reason behind.
        if self.break_off(step) {
            return;
        }
        self.choices.retain_mut(|choice| {
            let end = choice.end();
            if let Some(reason) = end {
                self.ready.push_back((step, Event::Finish { choice: choice.index, reason }));
            }
            end.is_none()
        });
        if self.choices.is_empty() {
            self.ready.push_back((step, Event::End(self.usage)));
        }
    }

    /// Whether it has.
    fn break_off(&mut self, step: u32) -> bool {
        let fault = self.fault.filter(|(at, _)| *at == self.steps);
        if let Some((_, fault)) = fault {
            self.ready.push_back((step, Event::Fault(fault)));
            self.choices.clear();
        }
        fault.is_some()
    }
}

impl Iterator for Completion {
    type Item = (u32, Event);

    fn next(&mut self) -> Option<(u32, Event)> {
        if self.ready.is_empty() && !self.choices.is_empty() {
            self.step();
        }
        self.ready.pop_front()
    }
}

impl Choice {
    fn say(&mut self) -> Option<Token> {
        self.allowance = self.allowance.saturating_sub(1);
        self.tokens.next()
    }

    /// Why it ends here, or nothing if it goes on.
    fn end(&mut self) -> Option<Finish> {
        if self.tokens.peek().is_none() {
            return Some(self.finish);
        }
        (self.allowance == 0).then_some(Finish::Length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter for each event: Role, token, Finish (with its reason), Stall, fail (X), Close, End.
    fn score(model: &str, fields: &str) -> String {
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hi"}}]{fields}}}"#);
        let request = Request::parse(body.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}"));
        let letter = |event| match event {
            Event::Role { choice } => format!("R{choice}"),
            Event::Token { choice, .. } => format!("t{choice}"),
            Event::Finish { choice, reason } => format!("F{choice}:{}", reason.as_str()),
            Event::Fault(Fault::Stall) => "S".to_owned(),
            Event::Fault(Fault::Fail) => "X".to_owned(),
            Event::Fault(Fault::Close) => "C".to_owned(),
            Event::End(usage) => format!("E{}", usage.completion),
        };
        Completion::new(&request).map(|(step, event)| format!("{step}{}", letter(event))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_role_comes_with_the_first_token_and_the_end_with_the_last() {
        assert_eq!(score("demo?tokens=2", ""), "0R0 0t0 1t0 1F0:stop 1E2");
    }

    #[test]
    fn choices_are_interleaved() {
        assert_eq!(score("demo?tokens=2", r#","n":2"#), "0R0 0R1 0t0 0t1 1t0 1t1 1F0:stop 1F1:stop 1E4");
    }

    #[test]
    fn a_limit_below_the_length_cuts() {
        assert_eq!(score("demo", r#","max_tokens":1"#), "0R0 0t0 0F0:length 0E1");
        assert_eq!(score("demo?tokens=2", r#","max_completion_tokens":2"#), "0R0 0t0 1t0 1F0:stop 1E2");
        assert_eq!(score("demo?tokens=9&finish=content_filter", r#","max_tokens":1"#), "0R0 0t0 0F0:length 0E1");
    }

    #[test]
    fn the_finish_reason_is_as_asked() {
        assert_eq!(score("demo?tokens=1&finish=content_filter", ""), "0R0 0t0 0F0:content_filter 0E1");
        assert!(score("demo?tool=weather", "").contains("F0:tool_calls"));
        assert!(score("demo?tool=weather&finish=stop", "").contains("F0:stop"));
    }

    #[test]
    fn a_fault_comes_after_its_token_and_nothing_comes_after_it() {
        for (name, letter) in [("stall_at", "S"), ("fail_at", "X"), ("close_at", "C")] {
            assert_eq!(score(&format!("demo?tokens=9&{name}=2"), ""), format!("0R0 0t0 1t0 1{letter}"));
        }
    }

    #[test]
    fn a_fault_may_come_before_everything_or_in_place_of_the_end() {
        assert_eq!(score("demo?tokens=9&fail_at=0", ""), "0X");
        assert_eq!(score("demo?tokens=1&fail_at=1", ""), "0R0 0t0 0X");
        assert_eq!(score("demo?tokens=1&fail_at=2", ""), "0R0 0t0 0F0:stop 0E1", "beyond the end it has no effect");
    }

    #[test]
    fn reasoning_counts_as_tokens() {
        assert_eq!(score("demo?reasoning=9&tokens=9&close_at=2", ""), "0R0 0t0 1t0 1C");
    }
}
