//! What a chunk says, piece by piece, and where in its JSON.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::super::{Malformed, Signal, UpstreamError};
use super::members::{Members, quoted};
use crate::domain::{Chunk, Escaped, Part, Shape, Skim, Unreadable, UsageReport, range_in, unquoted};

/// A choice or tool call with a higher index is nobody's: refused, so that it sizes nothing.
const HIGHEST_INDEX: u32 = 1023;

/// Whether so many can have an index each; more are kept no further.
const fn is_numerable(count: usize) -> Result<(), Unreadable> {
    if count <= HIGHEST_INDEX as usize + 1 { Ok(()) } else { Err(Unreadable) }
}

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
        Ok(Signal::Chunk(Chunk::new(Arc::new(Shape::new(None, self.part)), text)))
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
        let Range { start, end } = range_in(json, quoted)?;
        Some(start + 1..end.checked_sub(1)?)
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
    Escaped::from_json_content(unquoted(quoted)).map_err(|_| MALFORMED)
}

fn is_string(json: &str) -> bool {
    json.starts_with('"')
}

fn is_text(json: &str) -> bool {
    is_string(json) && json != "\"\""
}

/// A chunk, read once.
pub struct WireChunk<'a> {
    pub members: Members<'a>,
    pub choices: SmallVec<[WireChoice<'a>; 1]>,
    pub usage: Option<WireUsage>,
}

pub struct WireChoice<'a> {
    /// A server that has one choice need not number it.
    pub index: u32,
    pub members: Members<'a>,
    pub delta: Option<Members<'a>>,
    finish_reason: Option<Cow<'a, str>>,
}

impl<'a> WireChunk<'a> {
    pub fn read(json: &'a str) -> Result<Self, UpstreamError> {
        let (mut skim, mut choices) = (Skim::new(json), SmallVec::new());
        let members = Members::skim(&mut skim, |skim, name| match name {
            "choices" if !skim.is_at_null() => skim.array(|skim| {
                choices.push(WireChoice::read(skim)?);
                is_numerable(choices.len())
            }),
            _ => skim.value(),
        })
        .and_then(|members| skim.end().map(|()| members))
        .map_err(|_| MALFORMED)?;
        let usage = members.said("usage").map(serde_json::from_str).transpose().map_err(|_| MALFORMED)?;
        Ok(Self { members, choices, usage })
    }

    /// As [`WireChunk::is_error`], of JSON that not every reader can read: a message may have been cut.
    pub fn is_unreadable_error(json: &str) -> bool {
        #[derive(Deserialize)]
        struct WireError<'a> {
            #[serde(borrow)]
            error: Option<&'a RawValue>,
            #[serde(borrow)]
            object: Option<&'a RawValue>,
        }
        serde_json::from_str(json).is_ok_and(|WireError { error, object }| {
            error.is_some() || object.is_some_and(|object| object.get() == "\"error\"")
        })
    }

    pub fn is_error(&self) -> bool {
        self.members.said("error").is_some() || self.members.get("object") == Some("\"error\"")
    }

    /// Whether something is said under two names: which of them counts depends on what both say.
    pub fn says_twice(&self) -> bool {
        let twice = |delta: &Members<'_>| REASONING.iter().all(|name| delta.said(name).is_some());
        self.choices.iter().any(|choice| choice.delta.as_ref().is_some_and(twice))
    }

    pub fn pieces(&self) -> Result<Vec<Piece<'a>>, UpstreamError> {
        let mut pieces = Vec::new();
        for choice in &self.choices {
            choice.pieces(&mut pieces)?;
        }
        Ok(pieces)
    }
}

impl<'a> WireChoice<'a> {
    fn read(skim: &mut Skim<'a>) -> Result<Self, Unreadable> {
        let (members, delta) = Members::with(skim, "delta")?;
        let index = members.said("index").map_or(Ok(0), str::parse).map_err(|_| Unreadable)?;
        let finish_reason = members.said("finish_reason").map(text).transpose()?;
        Ok(Self { index, members, delta, finish_reason })
    }

    pub fn finish(&self) -> Option<Signal> {
        let reason = self.finish_reason.as_deref().filter(|reason| !reason.is_empty())?;
        Some(Signal::Finish { choice: self.index, reason: reason.into() })
    }

    fn pieces(&self, pieces: &mut Vec<Piece<'a>>) -> Result<(), UpstreamError> {
        let choice = self.index;
        if choice > HIGHEST_INDEX {
            return Err(MALFORMED);
        }
        let Some(delta) = &self.delta else { return Ok(()) };
        let mut others: Vec<(&str, &str)> = Vec::new();
        for (name, value) in delta.iter().filter(|(_, value)| *value != "null") {
            let is_repeat = || reasoning(delta).is_some_and(|(known, text)| known != name && text == value);
            let part = match name {
                "role" => continue,
                "content" if is_string(value) => {
                    Part::Text { choice, logprobs_json: self.members.said("logprobs").map(Into::into) }
                }
                "refusal" if is_string(value) => Part::Refusal { choice },
                name if REASONING.contains(&name) && is_repeat() => continue,
                name if REASONING.contains(&name) && is_string(value) => Part::Reasoning { choice },
                "tool_calls" => {
                    tool_calls(choice, value, pieces)?;
                    continue;
                }
                _ => {
                    others.push((name, value));
                    continue;
                }
            };
            if is_text(value) {
                pieces.push(Piece { part, text: Text::Quoted(value) });
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

fn reasoning<'b, 'a>(delta: &'b Members<'a>) -> Option<(&'b str, &'a str)> {
    delta.iter().find(|(name, value)| REASONING.contains(name) && *value != "null")
}

fn tool_calls<'a>(choice: u32, json: &'a str, pieces: &mut Vec<Piece<'a>>) -> Result<(), UpstreamError> {
    let mut calls = Vec::new();
    let read = Skim::new(json).array(|skim| {
        calls.push(Members::with(skim, "function")?);
        is_numerable(calls.len())
    });
    read.map_err(|_| MALFORMED)?;
    for (position, (call, function)) in calls.iter().enumerate() {
        tool_call(choice, position, call, function.as_ref(), pieces)?;
    }
    Ok(())
}

/// A fragment of a tool call; what it holds beside the function stays readable as another part.
fn tool_call<'a>(
    choice: u32,
    position: usize,
    call: &Members<'a>,
    function: Option<&Members<'a>>,
    pieces: &mut Vec<Piece<'a>>,
) -> Result<(), UpstreamError> {
    let index = match call.said("index") {
        Some(index) => index.parse().map_err(|_| MALFORMED)?,
        None => u32::try_from(position).map_err(|_| MALFORMED)?,
    };
    if index > HIGHEST_INDEX {
        return Err(MALFORMED);
    }
    if let Some(function) = function {
        let named = |value: Option<&str>| value.filter(|value| is_text(value)).map(content).transpose();
        let text = match function.said("arguments") {
            Some(arguments) if is_string(arguments) => Text::Quoted(arguments),
            // Some servers send the arguments as an object: its text is what everybody else sends.
            Some(arguments) => Text::Made(Escaped::from_text(arguments)),
            None => Text::None,
        };
        let part = Part::ToolCall { choice, index, id: named(call.said("id"))?, name: named(function.said("name"))? };
        pieces.push(Piece { part, text });
    }
    if call.iter().any(|(name, _)| !matches!(name, "index" | "id" | "type" | "function")) {
        let delta_json = format!("{{\"tool_calls\":[{}]}}", call.json).into();
        pieces.push(Piece { part: Part::Other { choice, delta_json }, text: Text::None });
    }
    Ok(())
}

fn object(members: &[(&str, &str)]) -> String {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
    format!("{{{}}}", members.join(","))
}

/// What a JSON string says.
fn text(json: &str) -> Result<Cow<'_, str>, Unreadable> {
    if !is_string(json) {
        return Err(Unreadable);
    }
    match unquoted(json) {
        plain if memchr::memchr(b'\\', plain.as_bytes()).is_none() => Ok(Cow::Borrowed(plain)),
        _ => serde_json::from_str(json).map(Cow::Owned).map_err(|_| Unreadable),
    }
}

#[derive(Clone, Copy, Deserialize)]
pub struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    completion_tokens_details: Option<WireTokenDetails>,
}

#[derive(Clone, Copy, Deserialize)]
struct WireTokenDetails {
    reasoning_tokens: Option<u64>,
}

impl WireUsage {
    /// `None` where nothing is counted.
    pub fn counted(self) -> Option<UsageReport> {
        Some(UsageReport {
            input_tokens: Some(self.prompt_tokens?),
            output_tokens: Some(self.completion_tokens.unwrap_or_default()),
            reasoning_tokens: self.completion_tokens_details.and_then(|details| details.reasoning_tokens),
            ..UsageReport::default()
        })
    }
}
