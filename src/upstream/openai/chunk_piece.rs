//! The pieces of a chunk and their places in it.

use std::sync::Arc;

use super::super::{AttemptErrorKind, MalformedResponseError, Signal};
use crate::domain::{Chunk, Escaped, Part, ProviderDialect, Raw, Shape};
use crate::json::{Object, RawText, Tree};

pub const MALFORMED: AttemptErrorKind = AttemptErrorKind::Malformed(MalformedResponseError::Chunk);

/// The names under which servers send reasoning.
pub const REASONING: [&str; 2] = ["reasoning_content", "reasoning"];

/// One piece of the content of a chunk.
#[derive(Debug)]
pub struct ChunkPiece {
    pub part: Part,
    pub text: Escaped,
    /// The place of the text in the chunk; absent if there is no text.
    pub place: Option<TextPlace>,
}

impl ChunkPiece {
    pub fn new(part: Part, text: &RawText, place: TextPlace) -> Result<Self, AttemptErrorKind> {
        let text = Escaped::from_json_content(text).map_err(|_| MALFORMED)?;
        Ok(Self { part, text, place: Some(place) })
    }

    /// Returns an entry without JSON: the last piece of the chunk gets the JSON.
    pub fn into_signal(self) -> Signal {
        let raw = Raw::Later(ProviderDialect::OpenAiChat);
        Signal::Chunk(Chunk::new(Arc::new(Shape { part: self.part, raw }), self.text))
    }
}

/// The place of a text in a normalized chunk.
#[derive(Debug, Clone, Copy)]
pub struct TextPlace {
    /// The position of the choice among the chunk's choices.
    pub choice: usize,
    pub at: TextMember,
}

/// The member that holds a text.
#[derive(Debug, Clone, Copy)]
pub enum TextMember {
    /// A member of the delta.
    Member(&'static str),
    /// The arguments of the tool call at this position.
    Arguments(usize),
}

impl TextPlace {
    pub fn text_in(self, chunk: &Object) -> Option<&RawText> {
        let choice = chunk.get("choices")?.as_array()?.get(self.choice)?.as_object()?;
        let delta = choice.get("delta")?.as_object()?;
        let text = match self.at {
            TextMember::Member(name) => delta.get(name)?,
            TextMember::Arguments(position) => {
                let call = delta.get("tool_calls")?.as_array()?.get(position)?.as_object()?;
                call.get("function")?.as_object()?.get("arguments")?
            }
        };
        Tree::as_text(text)
    }
}
