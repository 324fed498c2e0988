//! What a chunk says, piece by piece, and where in its JSON.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{Malformed, Signal, UpstreamError};
use super::members::{Members, quoted};
use crate::domain::{Chunk, Escaped, Part, Shape, TokenSource, Usage};

/// A choice or tool call with a higher index is nobody's: refused, so that it sizes nothing.
const HIGHEST_INDEX: u32 = 1023;

pub const MALFORMED: UpstreamError = UpstreamError::Malformed(Malformed::Chunk);

/// One thing that a chunk says.
pub struct Piece<'a> {
    pub part: Part,
    pub text: Text<'a>,
}

impl Piece<'_> {
    /// An entry of its own, beside the one that holds the JSON.
    pub fn alone(self) -> Result<Signal, UpstreamError> {
        let text = self.text.escaped()?;
        Ok(Signal::Chunk(Chunk::new(Arc::new(Shape { frame: None, part: self.part }), text)))
    }
}

pub enum Text<'a> {
    None,
    /// A JSON string of the chunk, quotes included.
    Quoted(&'a str),
    /// What the chunk says in another form than a string.
    Made(Escaped),
}

impl Text<'_> {
    pub fn range_in(&self, json: &str) -> Option<Range<usize>> {
        let Self::Quoted(quoted) = self else { return None };
        let start = quoted.as_ptr().addr().checked_sub(json.as_ptr().addr())? + 1;
        Some(start..start + quoted.len().checked_sub(2)?)
    }

    pub fn escaped(&self) -> Result<Escaped, UpstreamError> {
        match self {
            Self::None => Ok(Escaped::default()),
            Self::Quoted(quoted) => content(quoted),
            Self::Made(text) => Ok(text.clone()),
        }
    }
}

fn content(quoted: &str) -> Result<Escaped, UpstreamError> {
    let content = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    Escaped::from_json_content(content).map_err(|_| MALFORMED)
}

fn is_string(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

fn is_text(value: &RawValue) -> bool {
    is_string(value) && value.get() != "\"\""
}

#[derive(Deserialize)]
pub struct WireChunk<'a> {
    #[serde(borrow)]
    pub choices: Option<Vec<WireChoice<'a>>>,
    pub usage: Option<WireUsage>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub struct WireChoice<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    delta: Option<Members<'a>>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

impl<'a> WireChunk<'a> {
    pub fn is_error(&self) -> bool {
        self.error.is_some() || self.object.is_some_and(|object| object.get() == "\"error\"")
    }

    /// Whether something is said under two names: which of them counts depends on what both say.
    pub fn says_twice(&self) -> bool {
        let twice = |delta: &Members<'_>| REASONING.iter().all(|name| delta.said(name).is_some());
        self.choices.iter().flatten().any(|choice| choice.delta.as_ref().is_some_and(twice))
    }

    pub fn pieces(&self) -> Result<Vec<Piece<'a>>, UpstreamError> {
        let mut pieces = Vec::new();
        for choice in self.choices.iter().flatten() {
            choice.pieces(&mut pieces)?;
        }
        Ok(pieces)
    }
}

impl<'a> WireChoice<'a> {
    pub fn finish(&self) -> Option<Signal> {
        let reason = self.finish_reason.as_deref().filter(|reason| !reason.is_empty())?;
        Some(Signal::Finish { choice: self.index(), reason: reason.into() })
    }

    /// A server that has one choice need not number it.
    fn index(&self) -> u32 {
        self.index.unwrap_or_default()
    }

    fn pieces(&self, pieces: &mut Vec<Piece<'a>>) -> Result<(), UpstreamError> {
        let choice = self.index();
        if choice > HIGHEST_INDEX {
            return Err(MALFORMED);
        }
        let Some(delta) = &self.delta else { return Ok(()) };
        let mut others: Vec<(&str, &RawValue)> = Vec::new();
        for (name, value) in &delta.0 {
            if value.get() == "null" {
                continue;
            }
            let name = name.as_ref();
            let is_repeat = || reasoning(delta).is_some_and(|(known, text)| known != name && text.get() == value.get());
            let part = match name {
                "role" => continue,
                "content" if is_string(value) => {
                    Part::Text { choice, logprobs_json: self.logprobs.map(|logprobs| logprobs.get().into()) }
                }
                "refusal" if is_string(value) => Part::Refusal { choice },
                name if REASONING.contains(&name) && is_repeat() => continue,
                name if REASONING.contains(&name) && is_string(value) => Part::Reasoning { choice },
                "tool_calls" => {
                    let calls: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(|_| MALFORMED)?;
                    for (position, call) in calls.into_iter().enumerate() {
                        tool_call(choice, position, call, pieces)?;
                    }
                    continue;
                }
                _ => {
                    others.push((name, value));
                    continue;
                }
            };
            if is_text(value) {
                pieces.push(Piece { part, text: Text::Quoted(value.get()) });
            }
        }
        if !others.is_empty() {
            let delta_json = object(&others).into();
            pieces.push(Piece { part: Part::Other { choice, delta_json }, text: Text::None });
        }
        Ok(())
    }
}

/// The names under which servers send reasoning. Some use both for the same; the first then counts.
const REASONING: [&str; 2] = ["reasoning_content", "reasoning"];

fn reasoning<'b, 'a>(delta: &'b Members<'a>) -> Option<(&'b str, &'a RawValue)> {
    let found = delta.0.iter().find(|(name, value)| REASONING.contains(&name.as_ref()) && value.get() != "null");
    found.map(|(name, value)| (name.as_ref(), *value))
}

/// A fragment of a tool call; what it holds beside the function stays readable as another part.
fn tool_call<'a>(
    choice: u32,
    position: usize,
    json: &'a RawValue,
    pieces: &mut Vec<Piece<'a>>,
) -> Result<(), UpstreamError> {
    let call: Members<'a> = serde_json::from_str(json.get()).map_err(|_| MALFORMED)?;
    let index = match call.said("index") {
        Some(index) => serde_json::from_str(index.get()).map_err(|_| MALFORMED)?,
        None => u32::try_from(position).map_err(|_| MALFORMED)?,
    };
    if index > HIGHEST_INDEX {
        return Err(MALFORMED);
    }
    if let Some(function) = call.said("function") {
        let function: WireFunction<'a> = serde_json::from_str(function.get()).map_err(|_| MALFORMED)?;
        let named = |value: Option<&RawValue>| {
            value.filter(|value| is_text(value)).map(|value| content(value.get())).transpose()
        };
        let text = match function.arguments {
            Some(arguments) if is_string(arguments) => Text::Quoted(arguments.get()),
            // Some servers send the arguments as an object: its text is what everybody else sends.
            Some(arguments) => Text::Made(Escaped::from_text(arguments.get())),
            None => Text::None,
        };
        let part = Part::ToolCall { choice, index, id: named(call.said("id"))?, name: named(function.name)? };
        pieces.push(Piece { part, text });
    }
    if call.0.iter().any(|(name, _)| !matches!(name.as_ref(), "index" | "id" | "type" | "function")) {
        let delta_json = format!("{{\"tool_calls\":[{}]}}", json.get()).into();
        pieces.push(Piece { part: Part::Other { choice, delta_json }, text: Text::None });
    }
    Ok(())
}

fn object(members: &[(&str, &RawValue)]) -> String {
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("{}:{}", quoted(name), value.get())).collect();
    format!("{{{}}}", members.join(","))
}

#[derive(Deserialize)]
struct WireFunction<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    completion_tokens_details: Option<WireTokenDetails>,
}

#[derive(Deserialize)]
struct WireTokenDetails {
    reasoning_tokens: Option<u64>,
}

impl WireUsage {
    pub fn into_usage(self) -> Option<Usage> {
        Some(Usage {
            input_tokens: self.prompt_tokens?,
            output_tokens: self.completion_tokens.unwrap_or_default(),
            reasoning_tokens: self.completion_tokens_details.and_then(|details| details.reasoning_tokens),
            source: TokenSource::Provider,
        })
    }
}
