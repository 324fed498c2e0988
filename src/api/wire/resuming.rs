//! A viewer that resumes after an entry receives the rest of the bytes, on each wire.

use std::fmt::Write as _;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::encoder::{CatchUp, Encoder, PageEffect};
use super::frames::Frames;
use super::native::encoder::NativeEncoder;
use super::openai_chat::encoder::{BlockIds, ChatEncoder};
use crate::domain::{
    CancelReason, Cancelled, Chunk, Done, Entry, Escaped, Event, Finish, Frame, Part, Principal, ProviderDialect,
    Sequence, Shape, Start, Timestamp, Timings, Trailer, Usage, UsageRequest,
};

/// A wire with state, as later dialects have it: blocks that open and close, their indexes, and a number in each event.
#[derive(Default)]
struct BlockEncoder {
    next_number: u64,
    next_index: u64,
    open: Option<OpenBlock>,
}

struct OpenBlock {
    kind: &'static str,
    /// The id of the open tool call.
    call: Option<Escaped>,
    characters: usize,
}

impl BlockEncoder {
    /// Updates the state and returns the events of an entry, the data of each.
    fn advance(&mut self, event: &Event) -> Vec<String> {
        let mut events = Vec::new();
        match event {
            Event::Start(_) => self.push("start", "", &mut events),
            Event::Chunk(chunk) => {
                let (kind, call) = match chunk.part() {
                    Part::Text { .. } | Part::Refusal { .. } => ("text", None),
                    Part::Reasoning { .. } => ("thinking", None),
                    Part::ToolCall { id, .. } => ("tool", id.clone()),
                    Part::Other { .. } | Part::Silent => return events,
                };
                let continues = |open: &OpenBlock| open.kind == kind && (call.is_none() || open.call == call);
                if !self.open.as_ref().is_some_and(continues) {
                    self.close(&mut events);
                    self.open = Some(OpenBlock { kind, call, characters: 0 });
                    self.push("block_start", kind, &mut events);
                }
                let text = chunk.text();
                if let Some(open) = &mut self.open {
                    open.characters += text.unescape().chars().count();
                }
                self.push("block_delta", text.as_str(), &mut events);
            }
            Event::Done(_) | Event::Cancelled(_) | Event::Failed(_) => {
                self.close(&mut events);
                let blocks = self.next_index.to_string();
                self.push("end", &blocks, &mut events);
            }
        }
        events
    }

    fn close(&mut self, events: &mut Vec<String>) {
        if let Some(open) = self.open.take() {
            let characters = open.characters.to_string();
            self.push("block_stop", &characters, events);
            self.next_index += 1;
        }
    }

    fn push(&mut self, kind: &str, text: &str, events: &mut Vec<String>) {
        let mut json = String::new();
        write!(
            json,
            r#"{{"type":"{kind}","index":{},"sequence_number":{},"text":"{text}"}}"#,
            self.next_index, self.next_number
        )
        .expect("memory");
        events.push(json);
        self.next_number += 1;
    }
}

impl Encoder for BlockEncoder {
    fn entry(&mut self, entry: &Entry, frames: &mut Frames) {
        for json in self.advance(&entry.event) {
            let mut block = frames.unnamed();
            block.data().raw(&json);
            block.end_with_data();
        }
    }

    fn needs_history(&self, _next: &Entry) -> bool {
        true
    }

    fn skip(&mut self, entry: &Entry) {
        self.advance(&entry.event);
    }
}

fn part() -> impl Strategy<Value = Part> {
    let choice = 0..2_u32;
    let call = |index: u32| Some(Escaped::from_text(&format!("call_{index}")));
    prop_oneof![
        choice.clone().prop_map(|choice| Part::Text { choice, logprobs_json: None }),
        choice.clone().prop_map(|choice| Part::Reasoning { choice }),
        choice.clone().prop_map(|choice| Part::Refusal { choice }),
        (choice, 0..3_u32, any::<bool>()).prop_map(move |(choice, index, is_first)| {
            let [id, name] = [call(index), call(index)].map(|text| text.filter(|_| is_first));
            Part::ToolCall { choice, index, id, name }
        }),
        Just(Part::Other { choice: 0, delta_json: "{\"audio\":{}}".into() }),
        Just(Part::Silent),
    ]
}

/// A chunk with JSON of this dialect, or without JSON.
fn chunk(dialect: Option<ProviderDialect>) -> impl Strategy<Value = Event> {
    (part(), "\\PC{0,6}", any::<bool>()).prop_map(move |(part, text, follows_silent)| {
        let (before, after) = ("{\"choices\":[{\"delta\":{\"content\":\"", "\"}}]}");
        let frame = dialect.map(|dialect| Frame::new(dialect, before, after));
        let silent = if follows_silent { "{\"choices\":[]}\n" } else { "" };
        let shape = Shape::new(frame, part).after_silent(silent);
        Event::Chunk(Chunk::new(Arc::new(shape), Escaped::from_text(&text)))
    })
}

fn terminal(dialect: Option<ProviderDialect>) -> impl Strategy<Value = Event> {
    let (usage, timings) = (Usage::default(), Timings::default());
    let cancelled = Cancelled { reason: CancelReason::ClientRequest, usage, timings };
    let finish = [Finish::stated(0, "stop"), Finish::unstated(1)].into();
    let trailer = dialect.map_or(Trailer::default(), |dialect| Trailer {
        dialect: Some(dialect),
        chunks_json: "{\"choices\":[]}\n".into(),
        ..Trailer::default()
    });
    prop_oneof![
        Just(Event::Done(Arc::new(Done { finish, trailer, usage, timings }))),
        Just(Event::Cancelled(Arc::new(cancelled))),
    ]
}

/// The entries of a whole log, of an upstream with or without OpenAI's dialect.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let events = |dialect| (prop::collection::vec(chunk(dialect), 0..24), terminal(dialect));
    prop_oneof![events(Some(ProviderDialect::OpenAiChat)), events(None)].prop_map(|(chunks, terminal)| {
        let start = Start {
            generation: "gen_AAAAAAAAAAAAAAAAAAAAAA".parse().expect("an id"),
            owner: Principal::Anonymous,
            model: "m\"".into(),
            created_at: Timestamp::from_millis(1_795_245_962_001),
            prompt: None,
            metadata: [].into(),
            usage: UsageRequest::Asked,
        };
        let events = std::iter::once(Event::Start(Arc::new(start))).chain(chunks).chain([terminal]);
        (1..).map(Sequence::new).zip(events).map(|(sequence, event)| Entry { sequence, event }).collect()
    })
}

fn start_of(entries: &[Entry]) -> Arc<Start> {
    match &entries[0].event {
        Event::Start(start) => Arc::clone(start),
        _ => unreachable!("the first entry"),
    }
}

/// Returns the bytes of each entry on a stream from the beginning.
fn blocks(entries: &[Entry], mut encoder: impl Encoder) -> Vec<Vec<u8>> {
    let mut frames = Frames::default();
    entries
        .iter()
        .map(|entry| {
            encoder.entry(entry, &mut frames);
            frames.take().to_vec()
        })
        .collect()
}

/// Returns the bytes for a viewer that begins after `position` and reads pages of `size` entries.
fn resumed(entries: &[Entry], position: usize, size: usize, mut encoder: impl Encoder) -> Vec<u8> {
    let (mut frames, mut catch_up, mut next) = (Frames::default(), CatchUp::default(), position);
    while next < entries.len() {
        let page = &entries[next..entries.len().min(next + size)];
        match catch_up.page(page, &mut encoder, &mut frames) {
            PageEffect::Rewind => next = 0,
            PageEffect::Encoded(_) | PageEffect::Skipped => next += page.len(),
        }
    }
    frames.take().to_vec()
}

proptest! {
    #[test]
    fn viewer_that_resumes_after_any_entry_receives_the_rest_of_the_bytes(entries in entries(), size in 1..8_usize) {
        let start = start_of(&entries);
        let native = || NativeEncoder::new(start.generation);
        let chat = |ids| ChatEncoder::new(Arc::clone(&start), ids);
        let whole = [
            blocks(&entries, native()),
            blocks(&entries, chat(BlockIds::Absent)),
            blocks(&entries, chat(BlockIds::Present)),
            blocks(&entries, BlockEncoder::default()),
        ];
        for position in 0..entries.len() {
            let rest = whole.each_ref().map(|blocks| blocks[position..].concat());
            prop_assert_eq!(&resumed(&entries, position, size, native()), &rest[0]);
            prop_assert_eq!(&resumed(&entries, position, size, chat(BlockIds::Absent)), &rest[1]);
            prop_assert_eq!(&resumed(&entries, position, size, chat(BlockIds::Present)), &rest[2]);
            prop_assert_eq!(&resumed(&entries, position, size, BlockEncoder::default()), &rest[3]);
        }
    }
}

#[test]
fn log_is_read_again_only_for_an_encoder_that_needs_it_and_a_viewer_that_resumes() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let entries = entries().new_tree(&mut runner).expect("a log").current();
    let mut frames = Frames::default();
    let mut native = NativeEncoder::new(start_of(&entries).generation);
    let all = PageEffect::Encoded(entries.len());
    let rest = &entries[1..];
    assert_eq!(CatchUp::default().page(rest, &mut native, &mut frames), PageEffect::Encoded(rest.len()));
    assert_eq!(CatchUp::default().page(rest, &mut BlockEncoder::default(), &mut frames), PageEffect::Rewind);
    assert_eq!(CatchUp::default().page(&entries, &mut BlockEncoder::default(), &mut frames), all);
}
