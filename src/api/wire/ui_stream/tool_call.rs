//! A tool call in the AI SDK's UI message stream.

use crate::api::wire::entry_frames::EntryFrames;
use crate::api::wire::frames::SseBlock;
use crate::domain::{Entry, Escaped};
use crate::generation::TextSpan;
use crate::json::JsonCheck;

/// A call whose arguments arrive in fragments.
#[derive(Debug)]
pub struct StreamedCall {
    pub index: u32,
    id: Option<Escaped>,
    name: Option<Escaped>,
    state: CallState,
    arguments: JsonCheck,
    /// `None` before its first fragment that is not blank.
    span: Option<TextSpan>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallState {
    /// Its name has not arrived.
    Unnamed,
    Begun,
}

/// The error of a call whose arguments are not JSON.
const NO_JSON: &str = "The arguments of the tool call are not valid JSON.";

impl StreamedCall {
    pub fn new(index: u32) -> Self {
        let (arguments, state) = (JsonCheck::default(), CallState::Unnamed);
        Self { index, id: None, name: None, state, arguments, span: None }
    }

    /// Adds a fragment of the arguments, and the id and the name if they arrive with it.
    pub fn push(
        &mut self,
        (id, name): (Option<&Escaped>, Option<&Escaped>),
        fragment: &Escaped,
        entry: &Entry,
        blocks: &mut EntryFrames<'_>,
    ) {
        for (known, new) in [(&mut self.id, id), (&mut self.name, name)] {
            if known.is_none() {
                *known = new.filter(|text| !text.as_str().is_empty()).cloned();
            }
        }
        let text = fragment.unescape();
        if self.span.is_some() || !text.trim().is_empty() {
            self.arguments.push(&text);
            match (&mut self.span, TextSpan::of(entry)) {
                (Some(span), Some(later)) => span.join(later),
                (span, first) => *span = first,
            }
        }
        match (self.state, &self.name) {
            (CallState::Unnamed, None) => {}
            (CallState::Unnamed, Some(_)) => {
                self.begin(blocks);
                // What came before its name.
                if let Some(span) = self.span {
                    let mut block = self.block("tool-input-delta", blocks);
                    block.data().raw(",\"inputTextDelta\":");
                    block.logged_string(span);
                    block.data().raw("}");
                }
            }
            (CallState::Begun, _) if fragment.as_str().is_empty() || self.span.is_none() => {}
            (CallState::Begun, _) => {
                let mut block = self.block("tool-input-delta", blocks);
                block.data().raw(",\"inputTextDelta\":\"").raw(fragment.as_str()).raw("\"}");
            }
        }
    }

    /// Writes that the call is complete, which runs the page's tool, or that its arguments are not JSON.
    pub fn finish(&mut self, blocks: &mut EntryFrames<'_>) {
        if self.state == CallState::Unnamed {
            self.begin(blocks);
        }
        let Some(span) = self.span else {
            let mut block = self.named("tool-input-available", blocks);
            block.data().raw(",\"input\":{}}");
            return;
        };
        if let Some(whole) = self.arguments.whole() {
            let mut block = self.named("tool-input-available", blocks);
            block.data().raw(",\"input\":");
            block.logged_value(span, whole);
            block.data().raw("}");
        } else {
            let mut block = self.named("tool-input-error", blocks);
            block.data().raw(",\"input\":");
            block.logged_string(span);
            block.data().raw(",\"errorText\":\"").raw(NO_JSON).raw("\"}");
        }
    }

    fn begin(&mut self, blocks: &mut EntryFrames<'_>) {
        self.state = CallState::Begun;
        self.named("tool-input-start", blocks).data().raw("}");
    }

    /// Begins a block with the id of the call; its object is not closed.
    fn block<'a>(&self, kind: &str, blocks: &'a mut EntryFrames<'_>) -> SseBlock<'a> {
        let mut block = blocks.unnamed();
        block.data().raw("{\"type\":\"").raw(kind).raw("\",\"toolCallId\":\"");
        match &self.id {
            Some(id) => block.data().raw(id.as_str()),
            // A server that names no call.
            None => block.data().raw("call_").number(self.index),
        };
        block.data().raw("\"");
        block
    }

    fn named<'a>(&self, kind: &str, blocks: &'a mut EntryFrames<'_>) -> SseBlock<'a> {
        let mut block = self.block(kind, blocks);
        block.data().raw(",\"toolName\":\"").raw(self.name.as_ref().map_or("", Escaped::as_str)).raw("\"");
        block
    }
}
