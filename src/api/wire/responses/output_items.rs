//! The items of an answer. Texts are spans of the log.

use serde_json::Value;

use super::response_id::ItemId;
use crate::api::wire::frames::SseBlock;
use crate::domain::{Escaped, GenerationId};
use crate::generation::TextSpan;

/// An item of an answer.
#[derive(Debug)]
pub struct OutputItem {
    pub kind: ItemKind,
    pub state: ItemState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemState {
    /// A call whose name has not arrived: its clients do not know of it.
    Unnamed,
    Open,
    Ended(ItemStatus),
}

/// The status of an item that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemStatus {
    Completed,
    Incomplete,
}

#[derive(Debug)]
pub enum ItemKind {
    Message(Vec<OutputPart>),
    Reasoning(TextSpan),
    Call { index: u32, id: Option<Escaped>, name: Option<Escaped>, arguments: Option<TextSpan> },
}

/// A part of a message.
#[derive(Debug)]
pub struct OutputPart {
    pub kind: ContentKind,
    pub span: TextSpan,
    pub annotations: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentKind {
    Text,
    Refusal,
}

impl ItemState {
    const fn name(self) -> &'static str {
        match self {
            Self::Unnamed | Self::Open => "in_progress",
            Self::Ended(ItemStatus::Completed) => "completed",
            Self::Ended(ItemStatus::Incomplete) => "incomplete",
        }
    }
}

impl OutputItem {
    pub const fn new(kind: ItemKind, state: ItemState) -> Self {
        Self { kind, state }
    }

    pub const fn id(&self, generation: GenerationId, index: usize) -> ItemId {
        let prefix = match self.kind {
            ItemKind::Message(_) => "msg",
            ItemKind::Reasoning(_) => "rs",
            ItemKind::Call { .. } => "fc",
        };
        ItemId { prefix, generation, index }
    }

    /// Writes the item with its texts.
    pub fn write(&self, generation: GenerationId, index: usize, block: &mut SseBlock<'_>) {
        self.write_head(generation, index, block);
        match &self.kind {
            ItemKind::Message(parts) => {
                block.data().raw(",\"role\":\"assistant\",\"content\":[");
                for (at, part) in parts.iter().enumerate() {
                    block.data().raw(if at == 0 { "" } else { "," });
                    part.write(block);
                }
                block.data().raw("]}");
            }
            ItemKind::Reasoning(span) => {
                block.data().raw(",\"summary\":[");
                write_summary(*span, block);
                block.data().raw("]}");
            }
            ItemKind::Call { index, id, name, arguments } => {
                write_call(*index, (id.as_ref(), name.as_ref()), block);
                block.data().raw(",\"arguments\":");
                match arguments {
                    Some(span) => block.logged_string(*span),
                    None => _ = block.data().raw("\"\""),
                }
                block.data().raw("}");
            }
        }
    }

    /// Writes the item as it begins, without its texts.
    pub fn write_begun(&self, generation: GenerationId, at: usize, block: &mut SseBlock<'_>) {
        self.write_head(generation, at, block);
        match &self.kind {
            ItemKind::Message(_) => _ = block.data().raw(",\"role\":\"assistant\",\"content\":[]}"),
            ItemKind::Reasoning(_) => _ = block.data().raw(",\"summary\":[]}"),
            ItemKind::Call { index, id, name, .. } => {
                write_call(*index, (id.as_ref(), name.as_ref()), block);
                block.data().raw(",\"arguments\":\"\"}");
            }
        }
    }

    fn write_head(&self, generation: GenerationId, index: usize, block: &mut SseBlock<'_>) {
        let kind = match self.kind {
            ItemKind::Message(_) => "message",
            ItemKind::Reasoning(_) => "reasoning",
            ItemKind::Call { .. } => "function_call",
        };
        block.data().raw("{\"id\":\"").display(self.id(generation, index)).raw("\",\"type\":\"").raw(kind);
        block.data().raw("\",\"status\":\"").raw(self.state.name()).raw("\"");
    }
}

impl OutputPart {
    pub fn write(&self, block: &mut SseBlock<'_>) {
        match self.kind {
            ContentKind::Text => {
                block.data().raw("{\"type\":\"output_text\",\"text\":");
                block.logged_string(self.span);
                block.data().raw(",\"annotations\":").json(&self.annotations).raw(",\"logprobs\":[]}");
            }
            ContentKind::Refusal => {
                block.data().raw("{\"type\":\"refusal\",\"refusal\":");
                block.logged_string(self.span);
                block.data().raw("}");
            }
        }
    }
}

pub fn write_summary(span: TextSpan, block: &mut SseBlock<'_>) {
    block.data().raw("{\"type\":\"summary_text\",\"text\":");
    block.logged_string(span);
    block.data().raw("}");
}

fn write_call(index: u32, (id, name): (Option<&Escaped>, Option<&Escaped>), block: &mut SseBlock<'_>) {
    block.data().raw(",\"call_id\":\"");
    match id {
        Some(id) => block.data().raw(id.as_str()),
        // A server that names no call.
        None => block.data().raw("call_").number(index),
    };
    block.data().raw("\",\"name\":\"").raw(name.map_or("", Escaped::as_str)).raw("\"");
}
