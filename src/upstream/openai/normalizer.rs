//! Normalizes the chunks of a stream: sets required members and keeps constant members constant.
//!
//! OpenAI's clients rely on more than many servers send: one `id`, `created` and `model` for the whole stream, the role
//! in a choice's first chunk and in no other, `finish_reason` in every choice and set once, usage in a chunk of its
//! own. Chunks are normalized on arrival, once for each shape, so a viewer's frame is a copy.
//!
//! A finish reason is sent only with the end of the answer: some servers send one in each chunk, or more content after
//! it, and clients such as the AI SDK stop reading a choice at the first.

use std::collections::BTreeMap;

use super::super::{AttemptErrorKind, Signal, Signals};
use super::choice::{self, ChoiceState, DeltaText, TemplateReuse};
use super::chunk_piece::{ChunkPiece, MALFORMED, TextMember, TextPlace};
use super::shown_model::ShownModel;
use super::usage;
use crate::domain::{Escaped, Part, ProviderDialect, RequestId, Trailer};
use crate::json::{Object, REPLACEMENT, RawText, Tree, well_formed};

/// The state of one stream.
#[derive(Debug)]
pub struct Normalizer {
    head: Head,
    choices: BTreeMap<u32, ChoiceState>,
    usage_json: Option<Box<str>>,
    /// The members of the usage chunk that other chunks do not have.
    beside_usage: Object,
}

/// The members that are the same in every chunk. Each is taken from the first chunk that has it, until the first chunk
/// is written.
#[derive(Debug)]
struct Head {
    id: Option<RawText>,
    created: Option<RawText>,
    model: Option<RawText>,
    /// The requested model, for a server that does not send its model.
    requested_model: RawText,
}

/// The content of a normalized chunk.
#[derive(Debug)]
pub struct Normalized {
    pub pieces: Vec<ChunkPiece>,
    pub reuse: TemplateReuse,
}

/// A longer id or model is ignored: it would be in every chunk.
const LONGEST_NAME: usize = 256;
/// Most choices in one chunk; more are malformed.
const MOST_CHOICES: usize = 1024;
/// Random characters with which OpenAI hides the length of its chunks from observers of the connection. They would give
/// each chunk a shape of its own.
const OBFUSCATION: &str = "obfuscation";
const OBJECT: &str = "chat.completion.chunk";

impl Normalizer {
    pub fn new(model: &ShownModel) -> Self {
        let requested_model: RawText = Escaped::from_text(model.requested()).as_str().into();
        let alias = matches!(model, ShownModel::Alias(_)).then(|| requested_model.clone());
        Self {
            head: Head { id: None, created: None, model: alias, requested_model },
            choices: BTreeMap::new(),
            usage_json: None,
            beside_usage: Object::default(),
        }
    }

    /// Normalizes a chunk except for its head ([`Normalizer::write_head`]). Returns `None` if it carries only usage,
    /// which is sent at the end to callers that asked for it.
    pub fn chunk(&mut self, chunk: &mut Object, signals: &mut Signals) -> Result<Option<Normalized>, AttemptErrorKind> {
        self.head.learn(chunk);
        let usage = usage::find(chunk).map(|(report, usage)| (report, usage.to_json()));
        let mut reuse = if usage.is_none() { TemplateReuse::Yes } else { TemplateReuse::No };
        if let Some((report, json)) = usage {
            self.usage_json = Some(json.into());
            signals.push(Signal::Usage(report));
        }
        if chunk.present("choices").is_none() {
            chunk.set("choices", Tree::Array(Vec::new()));
        }
        let has_usage = chunk.remove("usage").is_some_and(|usage| !usage.is_null());
        chunk.remove(OBFUSCATION);
        let choices = chunk.get_mut("choices").and_then(Tree::as_array_mut).ok_or(MALFORMED)?;
        if choices.len() > MOST_CHOICES {
            return Err(MALFORMED);
        }
        if choices.is_empty() && has_usage {
            self.beside_usage = beside_usage(chunk);
            return Ok(None);
        }
        let mut pieces = Vec::new();
        for (position, choice) in choices.iter_mut().enumerate() {
            let choice = choice.as_object_mut().ok_or(MALFORMED)?;
            let index = choice::index(choice, position)?;
            reuse &= self.choices.entry(index).or_default().read(choice, (position, index), &mut pieces)?;
        }
        Ok(Some(Normalized { pieces, reuse }))
    }

    /// Sets the members that are the same in every chunk. They no longer change afterwards.
    pub fn write_head(&mut self, chunk: &mut Object) {
        for (name, value) in self.head.members() {
            chunk.set(name, value);
        }
    }

    /// Returns whether a text ends with a high surrogate half whose low half has not arrived.
    pub fn holds_half(&self) -> bool {
        self.choices.values().any(ChoiceState::holds_half)
    }

    /// Returns chunks that end the texts whose last surrogate pair stayed incomplete.
    pub fn take_halves(&mut self) -> Vec<(Object, ChunkPiece)> {
        let halves = |(index, state): (&u32, &mut ChoiceState)| {
            let index = *index;
            state.take_halves().map(move |kind| half_chunk(index, kind)).collect::<Vec<_>>()
        };
        self.choices.iter_mut().flat_map(halves).collect()
    }

    /// Returns whether no choice has content or a finish reason.
    pub fn is_empty(&self) -> bool {
        !self.choices.values().any(|choice| choice.has_content || choice.finish.is_some())
    }

    /// Returns whether at least `asked` choices, and all that have content, have their finish reasons.
    pub fn has_finished(&self, asked: usize) -> bool {
        let finished = self.choices.values().filter(|choice| choice.finish.is_some()).count();
        finished >= asked && self.choices.values().all(|choice| choice.finish.is_some() || !choice.has_content)
    }

    pub const fn has_usage(&self) -> bool {
        self.usage_json.is_some()
    }

    /// Appends the end of the answer. `silent` are the chunks since the last one with content.
    pub fn close(&mut self, mut silent: Vec<Object>, signals: &mut Signals) {
        let mut open: BTreeMap<u32, &ChoiceState> = self.choices.iter().map(|(index, state)| (*index, state)).collect();
        // The last chunk with a finish reason gets the final one; it is usually the last chunk of the upstream.
        for chunk in silent.iter_mut().rev() {
            for choice in choices_of(chunk) {
                if choice.text("finish_reason").is_none() {
                    continue;
                }
                let index = choice::index(choice, 0).unwrap_or_default();
                let reason = open.remove(&index).and_then(|state| state.finish.clone());
                choice.set("finish_reason", reason.map_or(Tree::NULL, Tree::Text));
            }
        }
        silent.extend(open.into_iter().map(|(index, state)| finish_chunk(index, state)));
        for (index, state) in &self.choices {
            if let Some(reason) = &state.finish {
                let reason = Escaped::from_json_content(&well_formed(reason)).unwrap_or_default();
                signals.push(Signal::Finish { choice: *index, reason: reason.unescape().into() });
            }
        }
        let mut chunks_json = String::new();
        for mut chunk in silent {
            self.write_head(&mut chunk);
            chunks_json.push_str(&chunk.to_json());
            chunks_json.push('\n');
        }
        let beside_usage = std::mem::take(&mut self.beside_usage);
        let head: Object =
            self.head.members().into_iter().map(|(name, value)| (name.into(), value)).chain(beside_usage).collect();
        let head_json = head.to_json();
        let head_json = head_json.get(1..head_json.len().saturating_sub(1)).unwrap_or_default();
        let trailer = Trailer {
            dialect: Some(ProviderDialect::OpenAiChat),
            chunks_json: chunks_json.into(),
            head_json: head_json.into(),
            usage_json: self.usage_json.take(),
            whole_json: None,
        };
        signals.push(Signal::End { trailer });
    }
}

/// Sets the finish reasons of a chunk that is not the last to null; the state of each choice keeps them.
pub fn hold_finish(chunk: &mut Object) {
    for choice in choices_of(chunk) {
        choice.set("finish_reason", Tree::NULL);
    }
}

fn choices_of(chunk: &mut Object) -> impl Iterator<Item = &mut Object> {
    let choices = chunk.get_mut("choices").and_then(Tree::as_array_mut);
    choices.into_iter().flatten().filter_map(Tree::as_object_mut)
}

fn beside_usage(chunk: &Object) -> Object {
    const KNOWN: [&str; 6] = ["id", "object", "created", "model", "choices", "error"];
    let others = chunk.iter().filter(|(name, _)| !KNOWN.contains(name));
    others.map(|(name, value)| (name.to_owned(), value.clone())).collect()
}

fn chunk_of(choice: Object) -> Object {
    [("choices", Tree::Array(vec![Tree::Object(choice)]))].into_iter().collect()
}

/// Returns a chunk that ends a choice whose finish reason is in no other chunk.
fn finish_chunk(index: u32, state: &ChoiceState) -> Object {
    let delta: &[(&str, &str)] = if state.has_role { &[] } else { &[("role", "assistant"), ("content", "")] };
    let delta = delta.iter().map(|(name, text)| (*name, Tree::text(text))).collect();
    let reason = state.finish.clone().unwrap_or_else(|| "stop".into());
    let mut choice: Object =
        [("index", Tree::number(index)), ("delta", Tree::Object(delta)), ("finish_reason", Tree::Text(reason))]
            .into_iter()
            .collect();
    if state.finish.is_none() {
        choice.set("finish_reason_missing", Tree::Literal("true".into()));
    }
    chunk_of(choice)
}

fn half_chunk(choice: u32, kind: DeltaText) -> (Object, ChunkPiece) {
    let text = || Tree::text(REPLACEMENT);
    let (part, at) = match kind {
        DeltaText::Text => (Part::Text { choice, logprobs_json: None }, TextMember::Member("content")),
        DeltaText::Reasoning => (Part::Reasoning { choice }, TextMember::Member("reasoning_content")),
        DeltaText::Refusal => (Part::Refusal { choice }, TextMember::Member("refusal")),
        DeltaText::Arguments(index) => {
            (Part::ToolCall { choice, index, id: None, name: None }, TextMember::Arguments(0))
        }
    };
    let delta: Object = match (kind, at) {
        (_, TextMember::Member(name)) => [(name, text())].into_iter().collect(),
        (DeltaText::Arguments(index), _) => {
            let function: Object = [("arguments", text())].into_iter().collect();
            let call: Object =
                [("index", Tree::number(index)), ("function", Tree::Object(function))].into_iter().collect();
            [("tool_calls", Tree::Array(vec![Tree::Object(call)]))].into_iter().collect()
        }
        _ => Object::default(),
    };
    let chunk = chunk_of([("index", Tree::number(choice)), ("delta", Tree::Object(delta))].into_iter().collect());
    let text = Escaped::from_json_content(REPLACEMENT).unwrap_or_default();
    (chunk, ChunkPiece { part, text, place: Some(TextPlace { choice: 0, at }) })
}

impl Head {
    fn learn(&mut self, chunk: &Object) {
        let text = |name| chunk.text(name).filter(|text| text.len() <= LONGEST_NAME).cloned();
        self.id = self.id.take().or_else(|| text("id"));
        self.model = self.model.take().or_else(|| text("model"));
        self.created = self.created.take().or_else(|| seconds(chunk.get("created")?));
    }

    /// Returns the members. Sets those that no chunk has sent to values of the service.
    fn members(&mut self) -> [(&'static str, Tree); 4] {
        let id = self.id.get_or_insert_with(|| format!("chatcmpl-{}", RequestId::random()).into());
        let created = self.created.get_or_insert_with(|| "0".into());
        let model = self.model.get_or_insert_with(|| self.requested_model.clone());
        [
            ("id", Tree::Text(id.clone())),
            ("object", Tree::text(OBJECT)),
            ("created", Tree::Literal(created.clone())),
            ("model", Tree::Text(model.clone())),
        ]
    }
}

/// Returns seconds since 1970, also from a float or a string. 0 is a placeholder and yields `None`.
fn seconds(created: &Tree) -> Option<RawText> {
    let (Tree::Literal(number) | Tree::Text(number)) = created else { return None };
    let seconds: u64 = number.split('.').next()?.parse().ok()?;
    (seconds > 0).then(|| itoa::Buffer::new().format(seconds).into())
}
