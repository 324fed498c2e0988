//! Normalizes one choice of a chunk and reads its content.

use super::super::AttemptErrorKind;
use super::chunk_piece::{ChunkPiece, MALFORMED, REASONING, TextMember, TextPlace};
use super::message::{CONTENT_PARTS, normalize_message};
use super::tool_calls::{Begins, Fragment, ToolCalls, integer};
use crate::domain::Part;
use crate::json::{Object, RawText, Tree, trailing_high_half, well_formed};

/// The state of one choice of a stream.
#[derive(Debug, Default)]
pub struct ChoiceState {
    pub has_role: bool,
    pub has_content: bool,
    /// The last finish reason that the upstream stated.
    pub finish: Option<RawText>,
    calls: ToolCalls,
    /// High surrogate halves at the end of a text, until the next fragment of that text brings the low half.
    halves: Vec<(DeltaText, RawText)>,
}

/// A text of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeltaText {
    Text,
    Reasoning,
    Refusal,
    Arguments(u32),
}

/// Whether a chunk that differs from this one only in its text is normalized in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateReuse {
    Yes,
    No,
}

/// A choice with a higher index is malformed, because the index must not determine the size of an allocation.
const HIGHEST_INDEX: u32 = 1023;
/// Most tool calls in one chunk; more are malformed.
const MOST_CALLS: usize = 1024;

/// Returns the index of a choice, or its position if the index is absent or invalid.
pub fn index(choice: &Object, position: usize) -> Result<u32, AttemptErrorKind> {
    let index = integer(choice.get("index")).filter(|index| *index >= 0);
    let index = index.map_or_else(|| u32::try_from(position), u32::try_from).map_err(|_| MALFORMED)?;
    if index > HIGHEST_INDEX { Err(MALFORMED) } else { Ok(index) }
}

impl ChoiceState {
    /// Normalizes `choice`, which is at `position` in its chunk and has this `index`.
    pub fn read(
        &mut self,
        choice: &mut Object,
        (position, index): (usize, u32),
        pieces: &mut Vec<ChunkPiece>,
    ) -> Result<TemplateReuse, AttemptErrorKind> {
        let (mut reuse, before) = (TemplateReuse::Yes, pieces.len());
        choice.set("index", Tree::number(index));
        set_delta(choice)?;
        reuse &= self.finish(choice)?;
        let logprobs = choice.present("logprobs").map(|logprobs| logprobs.to_json().into());
        let delta = choice.get_mut("delta").and_then(Tree::as_object_mut).ok_or(MALFORMED)?;
        normalize_message(delta);
        if std::mem::replace(&mut self.has_role, true) {
            delta.remove("role");
        } else {
            delta.set("role", Tree::text("assistant"));
            reuse = TemplateReuse::No;
        }
        let mut reader = DeltaReader { state: self, choice: index, position, pieces, reuse };
        reader.reasoning(delta)?;
        reader.member(delta, "content", DeltaText::Text, Part::Text { choice: index, logprobs_json: logprobs })?;
        reader.member(delta, "refusal", DeltaText::Refusal, Part::Refusal { choice: index })?;
        reader.tool_calls(delta)?;
        reader.others(delta);
        reuse = reader.reuse;
        self.has_content |= pieces.len() > before || !self.halves.is_empty();
        Ok(reuse)
    }

    /// Returns whether a text ends with a high surrogate half whose low half has not arrived.
    pub fn holds_half(&self) -> bool {
        !self.halves.is_empty()
    }

    /// Takes the texts whose last surrogate pair stayed incomplete; each ends with U+FFFD.
    pub fn take_halves(&mut self) -> impl Iterator<Item = DeltaText> {
        std::mem::take(&mut self.halves).into_iter().map(|(kind, _)| kind)
    }

    fn finish(&mut self, choice: &mut Object) -> Result<TemplateReuse, AttemptErrorKind> {
        match choice.get("finish_reason") {
            Some(Tree::Text(reason)) if !reason.is_empty() => {
                self.finish = Some(reason.clone());
                return Ok(TemplateReuse::No);
            }
            Some(other) if other.as_text().is_none() && !other.is_null() => return Err(MALFORMED),
            _ => choice.set("finish_reason", Tree::NULL),
        }
        Ok(TemplateReuse::Yes)
    }

    /// Prepends a held half to `text`, and holds a high half at its end.
    fn join(&mut self, kind: DeltaText, text: &mut RawText) -> TemplateReuse {
        let held = self.halves.iter().position(|(of, _)| *of == kind).map(|at| self.halves.swap_remove(at).1);
        if held.is_none() && !text.contains('\\') {
            return TemplateReuse::Yes;
        }
        let mut joined = held.unwrap_or_default();
        joined.push_str(text);
        if let Some(at) = trailing_high_half(&joined) {
            self.halves.push((kind, joined.get(at..).unwrap_or_default().into()));
            joined.truncate(at);
        }
        let joined: RawText = well_formed(&joined).into();
        if joined == *text {
            return TemplateReuse::Yes;
        }
        *text = joined;
        TemplateReuse::No
    }
}

impl std::ops::BitAndAssign for TemplateReuse {
    fn bitand_assign(&mut self, other: Self) {
        if other == Self::No {
            *self = Self::No;
        }
    }
}

/// Sets the delta. Some servers send a `message`, or the `text` of the older completions, instead.
fn set_delta(choice: &mut Object) -> Result<(), AttemptErrorKind> {
    match choice.get("delta") {
        Some(Tree::Object(delta)) if !delta.is_empty() => {}
        Some(Tree::Object(_)) | None => {
            let mut delta = Tree::Object(Object::default());
            if choice.get("message").is_some_and(|message| message.as_object().is_some()) {
                delta = choice.remove("message").unwrap_or(delta);
            }
            number_calls(&mut delta);
            choice.set("delta", delta);
        }
        Some(other) if other.is_null() => {
            choice.remove("delta");
            return set_delta(choice);
        }
        Some(_) => return Err(MALFORMED),
    }
    if choice.get("text").is_some_and(|text| text.as_text().is_some())
        && let Some(text) = choice.remove("text")
        && let Some(delta) = choice.get_mut("delta").and_then(Tree::as_object_mut)
        && delta.text("content").is_none()
    {
        delta.set("content", text);
    }
    Ok(())
}

/// Numbers the tool calls: in a whole message each item of the list is a separate call.
fn number_calls(message: &mut Tree) {
    let calls = message.as_object_mut().and_then(|message| message.get_mut("tool_calls")).and_then(Tree::as_array_mut);
    for (call, number) in calls.into_iter().flatten().filter_map(Tree::as_object_mut).zip(0..) {
        if call.present("index").is_none() {
            call.set("index", Tree::number(number));
        }
    }
}

/// Reads the pieces of one delta.
struct DeltaReader<'a> {
    state: &'a mut ChoiceState,
    choice: u32,
    position: usize,
    pieces: &'a mut Vec<ChunkPiece>,
    reuse: TemplateReuse,
}

impl DeltaReader<'_> {
    /// Some servers send the same reasoning under both names; it then counts once.
    fn reasoning(&mut self, delta: &mut Object) -> Result<(), AttemptErrorKind> {
        let [first, second] = REASONING;
        let is_same = delta.text(first).is_some() && delta.text(first) == delta.text(second);
        let part = || Part::Reasoning { choice: self.choice };
        let (part_of_first, part_of_second) = (part(), part());
        self.member(delta, first, DeltaText::Reasoning, part_of_first)?;
        if !is_same {
            return self.member(delta, second, DeltaText::Reasoning, part_of_second);
        }
        self.reuse = TemplateReuse::No;
        if let Some(same) = delta.get(first).cloned() {
            delta.set(second, same);
        }
        Ok(())
    }

    fn member(
        &mut self,
        delta: &mut Object,
        name: &'static str,
        kind: DeltaText,
        part: Part,
    ) -> Result<(), AttemptErrorKind> {
        let Some(Tree::Text(text)) = delta.get_mut(name) else { return Ok(()) };
        self.reuse &= self.state.join(kind, text);
        if !text.is_empty() {
            let place = TextPlace { choice: self.position, at: TextMember::Member(name) };
            self.pieces.push(ChunkPiece::new(part, text, place)?);
        }
        Ok(())
    }

    fn tool_calls(&mut self, delta: &mut Object) -> Result<(), AttemptErrorKind> {
        let calls = match delta.get_mut("tool_calls") {
            Some(Tree::Array(calls)) if calls.len() <= MOST_CALLS => calls,
            Some(other) if !other.is_null() => return Err(MALFORMED),
            _ => return Ok(()),
        };
        let siblings = calls.len();
        for (position, call) in calls.iter_mut().enumerate() {
            let call = call.as_object_mut().ok_or(MALFORMED)?;
            self.tool_call(call, position, siblings)?;
        }
        Ok(())
    }

    fn tool_call(&mut self, call: &mut Object, position: usize, siblings: usize) -> Result<(), AttemptErrorKind> {
        if call.present("function").is_some_and(|function| function.as_object().is_none()) {
            return Err(MALFORMED);
        }
        let Fragment { number, begins, id, name } = self.state.calls.fragment(call, position, siblings)?;
        if begins == Begins::Call || id.is_some() || name.is_some() {
            self.reuse = TemplateReuse::No;
        }
        if let Some(Tree::Object(function)) = call.get_mut("function")
            && let Some(Tree::Text(arguments)) = function.get_mut("arguments")
        {
            self.reuse &= self.state.join(DeltaText::Arguments(number), arguments);
            let says_nothing = arguments.is_empty() && begins == Begins::Nothing && id.is_none() && name.is_none();
            if !says_nothing {
                let escaped = |text: RawText| crate::domain::Escaped::from_json_content(&well_formed(&text)).ok();
                let (id, name) = (id.and_then(escaped), name.and_then(escaped));
                let part = Part::ToolCall { choice: self.choice, index: number, id, name };
                let place = TextPlace { choice: self.position, at: TextMember::Arguments(position) };
                self.pieces.push(ChunkPiece::new(part, arguments, place)?);
            }
        }
        if let Some(rest) = beside_function(call) {
            let list = Tree::Array(vec![Tree::Object(rest)]);
            self.other(&[("tool_calls", list)].into_iter().collect());
        }
        Ok(())
    }

    /// Appends the remaining members of the delta.
    fn others(&mut self, delta: &Object) {
        let is_read = |name: &str, value: &Tree| match name {
            "role" | "tool_calls" => true,
            "content" | "refusal" => value.as_text().is_some(),
            name => REASONING.contains(&name) && value.as_text().is_some(),
        };
        let others = delta.iter().filter(|(name, value)| !value.is_null() && !is_read(name, value));
        // The native wire has the parts under their original name.
        let others: Object =
            others.map(|(name, value)| (if name == CONTENT_PARTS { "content" } else { name }, value.clone())).collect();
        if !others.is_empty() {
            self.other(&others);
        }
    }

    fn other(&mut self, delta: &Object) {
        let part = Part::Other { choice: self.choice, delta_json: delta.to_json().into() };
        self.pieces.push(ChunkPiece { part, text: crate::domain::Escaped::default(), place: None });
    }
}

/// Returns the members of a call's fragment that its piece does not contain.
fn beside_function(call: &Object) -> Option<Object> {
    let mut rest = call.clone();
    if let Some(Tree::Object(mut function)) = rest.remove("function") {
        rest.remove("id");
        rest.remove("type");
        function.remove("name");
        function.remove("arguments");
        if !function.is_empty() {
            rest.set("function", Tree::Object(function));
        }
    }
    let says_something = rest.iter().any(|(name, value)| name != "index" && !value.is_null());
    says_something.then_some(rest)
}
