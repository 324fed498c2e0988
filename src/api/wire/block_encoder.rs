//! A wire with state for the tests: what the encoders of later dialects need.

use super::encoder::Encoder;
use super::frames::{Frames, SseBlock};
use crate::domain::{Entry, Event, Part};
use crate::generation::TextSpan;
use crate::json::JsonCheck;

/// Blocks that open and close, their indexes, a number in each event, the whole text at the end of a block, and all
/// texts at the end of the answer.
#[derive(Default)]
pub struct BlockEncoder {
    next_number: u64,
    next_index: u64,
    open: Option<OpenBlock>,
    /// All texts of the answer.
    texts: Vec<TextSpan>,
}

struct OpenBlock {
    text: TextSpan,
    /// Only for the arguments of a tool call.
    arguments: Option<JsonCheck>,
}

impl BlockEncoder {
    fn open(&mut self, text: TextSpan, part: &Part, frames: &mut Frames) {
        if self.open.as_ref().is_some_and(|open| open.text.kind == text.kind) {
            return;
        }
        self.close(frames);
        let arguments = matches!(part, Part::ToolCall { .. }).then(JsonCheck::default);
        let kind = if arguments.is_some() { "tool" } else { "text" };
        self.open = Some(OpenBlock { text, arguments });
        let mut block = self.begin("block_start", frames);
        block.data().raw(",\"kind\":\"").raw(kind).raw("\"");
        end(block);
    }

    fn close(&mut self, frames: &mut Frames) {
        let Some(OpenBlock { text, arguments }) = self.open.take() else { return };
        let mut block = self.begin("block_stop", frames);
        block.data().raw(",\"text\":");
        match arguments.and_then(|arguments| arguments.whole()) {
            Some(whole) => block.logged_value(text, whole),
            None => block.logged_string(text),
        }
        end(block);
        self.next_index += 1;
    }

    fn begin<'a>(&mut self, kind: &str, frames: &'a mut Frames) -> SseBlock<'a> {
        let mut block = frames.unnamed();
        let [index, number] = [self.next_index, self.next_number].map(|number| number.to_string());
        block.data().raw("{\"type\":\"").raw(kind).raw("\",\"index\":").raw(&index).raw(",\"number\":").raw(&number);
        self.next_number += 1;
        block
    }
}

fn end(mut block: SseBlock<'_>) {
    block.data().raw("}");
    block.end_with_data();
}

impl Encoder for BlockEncoder {
    fn entry(&mut self, entry: &Entry, frames: &mut Frames) {
        match &entry.event {
            Event::Start(_) => end(self.begin("start", frames)),
            Event::Chunk(chunk) => {
                let Some(text) = TextSpan::of(entry) else { return };
                self.open(text, chunk.part(), frames);
                if let Some(open) = &mut self.open {
                    open.text.join(text);
                    if let Some(arguments) = &mut open.arguments {
                        arguments.push(&chunk.text().unescape());
                    }
                }
                match self.texts.iter_mut().find(|known| known.kind == text.kind) {
                    Some(known) => known.join(text),
                    None => self.texts.push(text),
                }
                let mut block = self.begin("block_delta", frames);
                block.data().raw(",\"text\":\"").raw(chunk.text().as_str()).raw("\"");
                end(block);
            }
            Event::Restart(_) | Event::Done(_) | Event::Cancelled(_) | Event::Failed(_) => {
                self.close(frames);
                let mut block = self.begin("end", frames);
                block.data().raw(",\"output\":[");
                for (at, text) in self.texts.iter().enumerate() {
                    block.data().raw(if at == 0 { "" } else { "," });
                    block.logged_string(*text);
                }
                block.data().raw("]");
                end(block);
            }
        }
    }

    fn is_last(&self, event: &Event) -> bool {
        event.is_terminal() || matches!(event, Event::Restart(_))
    }

    fn needs_history(&self, _next: &Entry) -> bool {
        true
    }

    fn skip(&mut self, entry: &Entry) {
        self.entry(entry, &mut Frames::default());
    }
}
