//! The event stream of OpenAI's Responses API.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::chunk_details::{citations, logprobs_of};
use super::output_items::{ContentKind, ItemKind, ItemState, ItemStatus, OutputItem, OutputPart, write_summary};
use super::response_events::{EventNumbers, ResponseEvents, write_index};
use super::response_notes::echo_of;
use super::response_object::{ResponseState, write_items, write_response};
use crate::api::wire::encoder::{BlockIds, Encoder, Notice};
use crate::api::wire::frames::{Frames, SseBlock};
use crate::api::wire::retry::Retry;
use crate::domain::{Chunk, Entry, Escaped, Event, EventId, Part, Start, Usage};
use crate::generation::TextSpan;

/// Encodes the first choice of an answer. What is kept of its items are ids, names and spans of the log.
#[derive(Debug)]
pub struct ResponsesEncoder {
    start: Arc<Start>,
    echo: Map<String, Value>,
    ids: BlockIds,
    numbers: EventNumbers,
    items: Vec<OutputItem>,
    /// The message or the reasoning that has not ended.
    open: Option<usize>,
    state: ResponseState,
    usage: Option<Usage>,
}

const RESTARTED: &str = "The model's server failed, and another one began anew: the answer so far is withdrawn.";

impl ResponsesEncoder {
    pub fn new(start: Arc<Start>, ids: BlockIds) -> Self {
        Self::numbered(start, ids, EventNumbers::default())
    }

    /// Returns the encoder of a stream that begins after the event with a number.
    pub fn starting_after(start: Arc<Start>, number: u64) -> Self {
        Self::numbered(start, BlockIds::Absent, EventNumbers::starting_after(number))
    }

    fn numbered(start: Arc<Start>, ids: BlockIds, numbers: EventNumbers) -> Self {
        let echo = echo_of(&start);
        let (items, open, state, usage) = (Vec::new(), None, ResponseState::InProgress, None);
        Self { start, echo, ids, numbers, items, open, state, usage }
    }

    /// Writes the response as it stands.
    pub fn write_response(&self, block: &mut SseBlock<'_>) {
        write_response((&self.start, &self.echo), (&self.state, self.usage.as_ref()), &self.items, block);
    }

    /// Writes the items of the answer as it stands.
    pub fn write_output(&self, block: &mut SseBlock<'_>) {
        write_items(self.start.generation, &self.items, block);
    }

    pub const fn state(&self) -> &ResponseState {
        &self.state
    }

    /// Returns the number of the next event.
    pub const fn next_number(&self) -> u64 {
        self.numbers.next()
    }

    fn response_event(&self, kind: &str, events: &mut ResponseEvents<'_>) {
        let mut block = events.begin(kind);
        block.data().raw(",\"response\":");
        self.write_response(&mut block);
        block.data().raw("}");
    }

    fn chunk(&mut self, chunk: &Chunk, entry: &Entry, events: &mut ResponseEvents<'_>) {
        if chunk.part().choice() != Some(0) {
            return;
        }
        match chunk.part() {
            Part::Text { logprobs_json, .. } => {
                self.content(ContentKind::Text, (chunk.text(), logprobs_json.as_deref()), entry, events);
            }
            Part::Refusal { .. } => self.content(ContentKind::Refusal, (chunk.text(), None), entry, events),
            Part::Reasoning { .. } => self.reasoning(chunk.text(), entry, events),
            Part::ToolCall { index, id, name, .. } => {
                self.call(*index, (id.as_ref(), name.as_ref()), chunk.text(), entry, events);
            }
            Part::Other { delta_json, .. } => self.annotations(delta_json, events),
            Part::Silent => {}
        }
    }

    fn content(
        &mut self,
        kind: ContentKind,
        (text, logprobs): (&Escaped, Option<&str>),
        entry: &Entry,
        events: &mut ResponseEvents<'_>,
    ) {
        let (Some(span), false) = (TextSpan::of(entry), text.as_str().is_empty()) else { return };
        if !matches!(self.open_kind(), Some(ItemKind::Message(_))) {
            self.close(ItemStatus::Completed, events);
            self.begin(ItemKind::Message(Vec::new()), events);
        }
        let Some(at) = self.open else { return };
        let is_new = match self.items.get_mut(at).map(|item| &mut item.kind) {
            Some(ItemKind::Message(parts)) => match parts.last_mut() {
                Some(part) if part.kind == kind => {
                    part.span.join(span);
                    false
                }
                _ => true,
            },
            _ => return,
        };
        if is_new {
            self.end_part(at, events);
            if let Some(ItemKind::Message(parts)) = self.items.get_mut(at).map(|item| &mut item.kind) {
                parts.push(OutputPart { kind, span, annotations: Vec::new() });
            }
        }
        let Some((item, content)) = self.message(at) else { return };
        let (part, event) = match kind {
            ContentKind::Text => (
                "{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[],\"logprobs\":[]}",
                "response.output_text.delta",
            ),
            ContentKind::Refusal => ("{\"type\":\"refusal\",\"refusal\":\"\"}", "response.refusal.delta"),
        };
        if is_new {
            let mut block = events.of_item("response.content_part.added", at, item);
            write_index("content_index", content, &mut block);
            block.data().raw(",\"part\":").raw(part).raw("}");
        }
        let mut block = events.of_item(event, at, item);
        write_index("content_index", content, &mut block);
        block.data().raw(",\"delta\":\"").raw(text.as_str()).raw("\"");
        if kind == ContentKind::Text {
            match logprobs.and_then(logprobs_of) {
                Some(logprobs) => block.data().raw(",\"logprobs\":").json(&logprobs),
                None => block.data().raw(",\"logprobs\":[]"),
            };
        }
        block.data().raw("}");
    }

    fn reasoning(&mut self, text: &Escaped, entry: &Entry, events: &mut ResponseEvents<'_>) {
        let (Some(span), false) = (TextSpan::of(entry), text.as_str().is_empty()) else { return };
        if let Some(ItemKind::Reasoning(known)) = self.open_kind() {
            known.join(span);
        } else {
            self.close(ItemStatus::Completed, events);
            self.begin(ItemKind::Reasoning(span), events);
            let Some((at, item)) = self.open.and_then(|at| Some((at, self.items.get(at)?))) else { return };
            let mut block = events.of_item("response.reasoning_summary_part.added", at, item);
            block.data().raw(",\"summary_index\":0,\"part\":{\"type\":\"summary_text\",\"text\":\"\"}}");
        }
        let Some((at, item)) = self.open.and_then(|at| Some((at, self.items.get(at)?))) else { return };
        let mut block = events.of_item("response.reasoning_summary_text.delta", at, item);
        block.data().raw(",\"summary_index\":0,\"delta\":\"").raw(text.as_str()).raw("\"}");
    }

    fn call(
        &mut self,
        call: u32,
        (new_id, new_name): (Option<&Escaped>, Option<&Escaped>),
        fragment: &Escaped,
        entry: &Entry,
        events: &mut ResponseEvents<'_>,
    ) {
        self.close(ItemStatus::Completed, events);
        let is_call = |item: &OutputItem| matches!(item.kind, ItemKind::Call { index, .. } if index == call);
        let at = self.items.iter().position(is_call).unwrap_or_else(|| {
            let kind = ItemKind::Call { index: call, id: None, name: None, arguments: None };
            self.items.push(OutputItem::new(kind, ItemState::Unnamed));
            self.items.len() - 1
        });
        let Some(item) = self.items.get_mut(at) else { return };
        let ItemKind::Call { id, name, arguments, .. } = &mut item.kind else { return };
        for (known, new) in [(id, new_id), (&mut *name, new_name)] {
            if known.is_none() {
                *known = new.filter(|text| !text.as_str().is_empty()).cloned();
            }
        }
        let earlier = *arguments;
        if let (Some(span), false) = (TextSpan::of(entry), fragment.as_str().is_empty()) {
            match arguments {
                Some(known) => known.join(span),
                None => *arguments = Some(span),
            }
        }
        if item.state == ItemState::Unnamed {
            if name.is_none() {
                return;
            }
            self.begin_call(at, events);
            if let (Some(_), Some(item)) = (earlier, self.items.get(at))
                && let ItemKind::Call { arguments: Some(span), .. } = item.kind
            {
                let mut block = events.of_item("response.function_call_arguments.delta", at, item);
                block.data().raw(",\"delta\":");
                block.logged_string(span);
                block.data().raw("}");
                return;
            }
        }
        if let (Some(item), false) = (self.items.get(at), fragment.as_str().is_empty()) {
            let mut block = events.of_item("response.function_call_arguments.delta", at, item);
            block.data().raw(",\"delta\":\"").raw(fragment.as_str()).raw("\"}");
        }
    }

    /// Adds the citations of a delta to the part that they follow.
    fn annotations(&mut self, delta_json: &str, events: &mut ResponseEvents<'_>) {
        let Some(at) = self.open else { return };
        for annotation in citations(delta_json) {
            let Some(ItemKind::Message(parts)) = self.open_kind() else { return };
            let Some(part) = parts.last_mut().filter(|part| part.kind == ContentKind::Text) else { return };
            part.annotations.push(annotation.clone());
            let number = part.annotations.len() - 1;
            let Some((item, content)) = self.message(at) else { return };
            let mut block = events.of_item("response.output_text.annotation.added", at, item);
            write_index("content_index", content, &mut block);
            write_index("annotation_index", number, &mut block);
            block.data().raw(",\"annotation\":").json(&annotation).raw("}");
        }
    }

    fn open_kind(&mut self) -> Option<&mut ItemKind> {
        self.items.get_mut(self.open?).map(|item| &mut item.kind)
    }

    /// Returns a message and the index of its last part.
    fn message(&self, at: usize) -> Option<(&OutputItem, usize)> {
        let item = self.items.get(at)?;
        match &item.kind {
            ItemKind::Message(parts) => Some((item, parts.len().checked_sub(1)?)),
            ItemKind::Reasoning(_) | ItemKind::Call { .. } => None,
        }
    }

    /// Begins a message or reasoning.
    fn begin(&mut self, kind: ItemKind, events: &mut ResponseEvents<'_>) {
        self.items.push(OutputItem::new(kind, ItemState::Open));
        self.open = Some(self.items.len() - 1);
        self.item_added(self.items.len() - 1, events);
    }

    fn begin_call(&mut self, at: usize, events: &mut ResponseEvents<'_>) {
        if let Some(item) = self.items.get_mut(at) {
            item.state = ItemState::Open;
        }
        self.item_added(at, events);
    }

    fn item_added(&self, at: usize, events: &mut ResponseEvents<'_>) {
        let (Some(item), generation) = (self.items.get(at), events.generation()) else { return };
        let mut block = events.begin("response.output_item.added");
        write_index("output_index", at, &mut block);
        block.data().raw(",\"item\":");
        item.write_begun(generation, at, &mut block);
        block.data().raw("}");
    }

    fn item_done(&mut self, at: usize, status: ItemStatus, events: &mut ResponseEvents<'_>) {
        let (Some(item), generation) = (self.items.get_mut(at), events.generation()) else { return };
        item.state = ItemState::Ended(status);
        let mut block = events.begin("response.output_item.done");
        write_index("output_index", at, &mut block);
        block.data().raw(",\"item\":");
        item.write(generation, at, &mut block);
        block.data().raw("}");
    }

    /// Ends the last part of a message.
    fn end_part(&self, at: usize, events: &mut ResponseEvents<'_>) {
        let Some((item, content)) = self.message(at) else { return };
        let ItemKind::Message(parts) = &item.kind else { return };
        let Some(part) = parts.last() else { return };
        let (event, name) = match part.kind {
            ContentKind::Text => ("response.output_text.done", "text"),
            ContentKind::Refusal => ("response.refusal.done", "refusal"),
        };
        let mut block = events.of_item(event, at, item);
        write_index("content_index", content, &mut block);
        block.data().raw(",\"").raw(name).raw("\":");
        block.logged_string(part.span);
        block.data().raw(if part.kind == ContentKind::Text { ",\"logprobs\":[]}" } else { "}" });
        let mut block = events.of_item("response.content_part.done", at, item);
        write_index("content_index", content, &mut block);
        block.data().raw(",\"part\":");
        part.write(&mut block);
        block.data().raw("}");
    }

    /// Ends the open message or reasoning.
    fn close(&mut self, status: ItemStatus, events: &mut ResponseEvents<'_>) {
        let Some(at) = self.open.take() else { return };
        self.end_part(at, events);
        if let Some(item) = self.items.get(at)
            && let ItemKind::Reasoning(span) = item.kind
        {
            let mut block = events.of_item("response.reasoning_summary_text.done", at, item);
            block.data().raw(",\"summary_index\":0,\"text\":");
            block.logged_string(span);
            block.data().raw("}");
            let mut block = events.of_item("response.reasoning_summary_part.done", at, item);
            block.data().raw(",\"summary_index\":0,\"part\":");
            write_summary(span, &mut block);
            block.data().raw("}");
        }
        self.item_done(at, status, events);
    }

    /// Ends all items and the response.
    fn finish(&mut self, state: ResponseState, usage: Option<Usage>, events: &mut ResponseEvents<'_>) {
        let is_whole = matches!(state, ResponseState::Completed { .. });
        let status = if is_whole { ItemStatus::Completed } else { ItemStatus::Incomplete };
        self.close(status, events);
        for at in 0..self.items.len() {
            let Some(item) = self.items.get(at).filter(|item| item.state == ItemState::Open) else { continue };
            if let ItemKind::Call { name, arguments, .. } = &item.kind {
                let mut block = events.of_item("response.function_call_arguments.done", at, item);
                block.data().raw(",\"name\":\"").raw(name.as_ref().map_or("", Escaped::as_str));
                block.data().raw("\",\"arguments\":");
                match arguments {
                    Some(span) => block.logged_string(*span),
                    None => _ = block.data().raw("\"\""),
                }
                block.data().raw("}");
            }
            self.item_done(at, status, events);
        }
        (self.state, self.usage) = (state, usage);
        self.response_event(self.state.event(), events);
    }
}

impl Encoder for ResponsesEncoder {
    fn entry(&mut self, entry: &Entry, frames: &mut Frames) {
        let generation = self.start.generation;
        let id = EventId { generation, position: entry.position() };
        if self.is_last(&entry.event) && self.ids == BlockIds::Present {
            frames.set_retry(Retry::DORMANT);
        }
        let mut numbers = self.numbers;
        let mut events = ResponseEvents::new(generation, frames, &mut numbers);
        match &entry.event {
            Event::Start(_) => {
                self.response_event("response.created", &mut events);
                self.response_event("response.in_progress", &mut events);
            }
            Event::Chunk(chunk) => self.chunk(chunk, entry, &mut events),
            // Items are never withdrawn. A viewer that follows after this gets the events of the new answer.
            Event::Restart(_) => {
                let failed = ResponseState::Failed { code: "server_error", message: RESTARTED.to_owned() };
                self.finish(failed, None, &mut events);
                (self.items, self.open, self.state) = (Vec::new(), None, ResponseState::InProgress);
            }
            Event::Done(done) => self.finish(ResponseState::of_answer(done), Some(done.usage), &mut events),
            Event::Cancelled(cancelled) => {
                self.finish(ResponseState::Cancelled, Some(cancelled.usage), &mut events);
            }
            Event::Failed(failed) => {
                self.finish(ResponseState::of_failure(&failed.failure), failed.usage, &mut events);
            }
        }
        events.end((self.ids == BlockIds::Present).then_some(id));
        self.numbers = numbers;
    }

    fn is_last(&self, event: &Event) -> bool {
        event.is_terminal() || matches!(event, Event::Restart(_))
    }

    fn needs_history(&self, next: &Entry) -> bool {
        !matches!(next.event, Event::Start(_))
    }

    fn skip(&mut self, entry: &Entry) {
        self.entry(entry, &mut Frames::default());
    }

    fn notice(&mut self, notice: Notice, frames: &mut Frames) {
        match (notice, self.ids) {
            (Notice::Reconnect(retry), BlockIds::Present) => frames.retry_line(retry),
            // `response.queued` would take a number, and a replay would not have it.
            (Notice::Reconnect(_), BlockIds::Absent) | (Notice::Queued(_), _) => {}
        }
    }
}
