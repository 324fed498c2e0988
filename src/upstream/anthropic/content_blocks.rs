//! The content blocks of an answer, from their events to chunks.

use std::fmt;
use std::sync::Arc;

use super::super::{AttemptErrorKind, MalformedResponseError, Signal, Signals};
use crate::domain::json_values::{object, raw, unescape};
use crate::domain::{Chunk, Escaped, Part, Shape};
use crate::json::{Object, RawText, Tree, well_formed};

pub const MALFORMED: AttemptErrorKind = AttemptErrorKind::Malformed(MalformedResponseError::Chunk);

/// The blocks that have begun and not ended. Anthropic sends one at a time.
#[derive(Debug)]
pub struct ContentBlocks {
    open: Vec<(u32, OpenContent)>,
    /// The number of tool calls so far. Their indexes count tool calls only, not all blocks.
    tool_calls: u32,
    text: Arc<Shape>,
    reasoning: Arc<Shape>,
    /// The most bytes of a block that is kept until its end.
    most_kept: usize,
}

/// A block that has begun.
enum OpenContent {
    Text,
    /// The text is kept for the part that follows with the signature.
    Thinking {
        text: RawText,
        signature: RawText,
    },
    ToolCall {
        /// The shape of the fragments after the first.
        shape: Arc<Shape>,
        /// The input, if no fragment brings it.
        input: Option<Tree>,
    },
    /// A block that no event of this service carries, such as a server tool's.
    Other {
        block: Object,
        input: RawText,
    },
}

/// Prints no text: answers are never logged.
impl fmt::Debug for OpenContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "Text",
            Self::Thinking { .. } => "Thinking",
            Self::ToolCall { .. } => "ToolCall",
            Self::Other { .. } => "Other",
        })
    }
}

/// Most blocks that may be open at once; more are malformed.
const MOST_OPEN: usize = 64;

impl ContentBlocks {
    /// `most_kept` is the most bytes of a block that is kept until its end.
    pub fn new(most_kept: usize) -> Self {
        Self {
            open: Vec::new(),
            tool_calls: 0,
            text: shape(Part::Text { choice: 0, logprobs_json: None }),
            reasoning: shape(Part::Reasoning { choice: 0 }),
            most_kept,
        }
    }

    /// Reads `content_block_start`.
    pub fn start(&mut self, index: u32, block: &Object, signals: &mut Signals) -> Result<(), AttemptErrorKind> {
        if self.open.len() >= MOST_OPEN || self.open.iter().any(|(open, _)| *open == index) {
            return Err(MALFORMED);
        }
        let text_of = |name: &str| block.text(name).cloned().unwrap_or_default();
        let content = match block.text("type").map(RawText::as_str) {
            Some("text") => {
                push(&self.text, &text_of("text"), signals)?;
                OpenContent::Text
            }
            Some("thinking") => {
                push(&self.reasoning, &text_of("thinking"), signals)?;
                OpenContent::Thinking { text: text_of("thinking"), signature: text_of("signature") }
            }
            Some("tool_use") => self.start_tool_call(block, signals)?,
            _ => OpenContent::Other { block: block.clone(), input: RawText::default() },
        };
        self.open.push((index, content));
        Ok(())
    }

    fn start_tool_call(&mut self, block: &Object, signals: &mut Signals) -> Result<OpenContent, AttemptErrorKind> {
        let index = self.tool_calls;
        self.tool_calls += 1;
        let escaped = |name: &str| block.text(name).map(escaped).transpose();
        let first = Part::ToolCall { choice: 0, index, id: escaped("id")?, name: escaped("name")? };
        signals.push(Signal::Chunk(Chunk::new(shape(first), Escaped::default())));
        let next = Part::ToolCall { choice: 0, index, id: None, name: None };
        let input = block.present("input").cloned().or_else(|| Some(Tree::Object(Object::default())));
        Ok(OpenContent::ToolCall { shape: shape(next), input })
    }

    /// Reads `content_block_delta`. Unknown deltas are ignored, and those of a block that has not begun.
    pub fn delta(&mut self, index: u32, delta: &Object, signals: &mut Signals) -> Result<(), AttemptErrorKind> {
        let Some((_, content)) = self.open.iter_mut().find(|(open, _)| *open == index) else { return Ok(()) };
        let text_of = |name: &str| delta.text(name);
        match (delta.text("type").map(RawText::as_str), content) {
            (Some("text_delta"), _) => text_of("text").map_or(Ok(()), |text| push(&self.text, text, signals)),
            (Some("thinking_delta"), content) => {
                let Some(text) = text_of("thinking") else { return Ok(()) };
                if let OpenContent::Thinking { text: kept, .. } = content {
                    keep(kept, text, self.most_kept)?;
                }
                push(&self.reasoning, text, signals)
            }
            (Some("signature_delta"), OpenContent::Thinking { signature, .. }) => {
                *signature = text_of("signature").cloned().unwrap_or_default();
                Ok(())
            }
            (Some("input_json_delta"), OpenContent::ToolCall { shape, input }) => {
                // The first fragment is empty.
                let Some(fragment) = text_of("partial_json") else { return Ok(()) };
                *input = None;
                push(shape, fragment, signals)
            }
            (Some("input_json_delta"), OpenContent::Other { input, .. }) => {
                text_of("partial_json").map_or(Ok(()), |fragment| keep(input, fragment, self.most_kept))
            }
            (Some("citations_delta"), _) => {
                if let Some(citation) = delta.present("citation") {
                    push_other("citations", Tree::Array(vec![citation.clone()]), signals);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads `content_block_stop`.
    pub fn stop(&mut self, index: u32, signals: &mut Signals) -> Result<(), AttemptErrorKind> {
        let Some(at) = self.open.iter().position(|(open, _)| *open == index) else { return Ok(()) };
        let (_, content) = self.open.remove(at);
        finish(content, signals)
    }

    /// Ends the blocks whose end was not sent.
    pub fn stop_all(&mut self, signals: &mut Signals) -> Result<(), AttemptErrorKind> {
        self.open.drain(..).try_for_each(|(_, content)| finish(content, signals))
    }
}

fn finish(content: OpenContent, signals: &mut Signals) -> Result<(), AttemptErrorKind> {
    match content {
        OpenContent::Text | OpenContent::ToolCall { input: None, .. } => {}
        OpenContent::Thinking { text, signature } => {
            if !signature.is_empty() {
                let block = object([
                    ("type", Tree::text("thinking")),
                    ("thinking", raw(&text)),
                    ("signature", raw(&signature)),
                ]);
                push_other("thinking_blocks", Tree::Array(vec![Tree::Object(block)]), signals);
            }
        }
        OpenContent::ToolCall { shape, input: Some(input) } => {
            signals.push(Signal::Chunk(Chunk::new(shape, Escaped::from_text(&input.to_json()))));
        }
        OpenContent::Other { mut block, input } => {
            if !input.is_empty() {
                block.set("input", Tree::parse(&unescape(&input)).map_err(|_| MALFORMED)?);
            }
            let is_thinking = block.text("type").is_some_and(|kind| kind == "redacted_thinking");
            let member = if is_thinking { "thinking_blocks" } else { "content_blocks" };
            push_other(member, Tree::Array(vec![Tree::Object(block)]), signals);
        }
    }
    Ok(())
}

fn shape(part: Part) -> Arc<Shape> {
    Arc::new(Shape::new(None, part))
}

fn escaped(text: &RawText) -> Result<Escaped, AttemptErrorKind> {
    Escaped::from_json_content(&well_formed(text)).map_err(|_| MALFORMED)
}

/// Appends a chunk with this text, unless it is empty.
fn push(shape: &Arc<Shape>, text: &RawText, signals: &mut Signals) -> Result<(), AttemptErrorKind> {
    if !text.is_empty() {
        signals.push(Signal::Chunk(Chunk::new(Arc::clone(shape), escaped(text)?)));
    }
    Ok(())
}

/// Appends a part with one member that no other part carries.
pub fn push_other(member: &'static str, value: Tree, signals: &mut Signals) {
    let delta_json = object([(member, value)]).to_json().into();
    signals.push(Signal::Chunk(Chunk::new(shape(Part::Other { choice: 0, delta_json }), Escaped::default())));
}

/// Appends a fragment to a text that is kept until the end of its block.
fn keep(kept: &mut RawText, fragment: &RawText, most: usize) -> Result<(), AttemptErrorKind> {
    if kept.len() + fragment.len() > most {
        return Err(AttemptErrorKind::Malformed(MalformedResponseError::EventTooLarge));
    }
    kept.push_str(fragment);
    Ok(())
}
