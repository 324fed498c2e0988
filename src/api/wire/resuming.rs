//! A viewer that resumes after an entry receives the rest of the bytes, on each wire.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use serde_json::Value;

use super::block_encoder::BlockEncoder;
use super::encoder::{BlockIds, CatchUp, Encoder, PageEffect};
use super::frames::Frames;
use super::messages::encoder::MessagesEncoder;
use super::native::encoder::NativeEncoder;
use super::openai_chat::encoder::ChatEncoder;
use super::responses::encoder::ResponsesEncoder;
use super::ui_stream::encoder::UiEncoder;
use crate::api::ready_writes::ready_writes;
use crate::api::viewer_source::ViewerSource;
use crate::domain::{
    CancelReason, Cancelled, Chunk, Done, Entry, Escaped, Event, FailureCode, Finish, Frame, Part, Principal,
    ProviderDialect, Restart, Sequence, Shape, Start, Timestamp, Timings, Trailer, Usage, UsageRequest,
};
use crate::generation::fixture::FixtureLog;

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
        Just(Part::Other { choice: 0, delta_json: "{\"thinking_blocks\":[{\"type\":\"thinking\"}]}".into() }),
        Just(Part::Silent),
    ]
}

/// Any text, or a part of tool call arguments.
fn text() -> impl Strategy<Value = String> {
    let arguments =
        prop::sample::select(vec!["{\"a\u{2028}\\n\":", "1", "\"\\ud83d\\ude00\"", "[", "]", "}", ",", "\r\n"]);
    prop_oneof!["\\PC{0,6}", arguments.prop_map(str::to_owned)]
}

/// A chunk with JSON of this dialect, or without JSON.
fn chunk(dialect: Option<ProviderDialect>) -> impl Strategy<Value = Event> {
    (part(), text(), any::<bool>()).prop_map(move |(part, text, follows_silent)| {
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
            notes: None,
            chat: None,
        };
        let events = std::iter::once(Event::Start(Arc::new(start))).chain(chunks).chain([terminal]);
        (1..).map(Sequence::new).zip(events).map(|(sequence, event)| Entry::new(sequence, event)).collect()
    })
}

/// The entries of a log whose answer begins anew a few times.
fn entries_with_restarts() -> impl Strategy<Value = Vec<Entry>> {
    (entries(), prop::collection::vec(any::<prop::sample::Index>(), 1..4)).prop_map(|(entries, places)| {
        let mut events: Vec<_> = entries.into_iter().map(|entry| entry.event).collect();
        for place in places {
            let at = 1 + place.index(events.len() - 1);
            let reason = FailureCode::UpstreamDisconnected;
            events.insert(at, Event::Restart(Restart { from: Sequence::new(1), reason }));
        }
        (1..).map(Sequence::new).zip(events).map(|(sequence, event)| Entry::new(sequence, event)).collect()
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
            PageEffect::Encoded(_) | PageEffect::EncodedLast(_) | PageEffect::Skipped => next += page.len(),
        }
    }
    frames.take().to_vec()
}

/// Checks each whole text of the block wire against the deltas before it.
fn check_texts(stream: &[u8]) {
    let stream = str::from_utf8(stream).expect("UTF-8");
    assert!(!stream.contains(['\r', '\u{85}', '\u{2028}', '\u{2029}']), "{stream}");
    let (mut block, mut is_tool, mut all) = (String::new(), false, Vec::new());
    for (number, line) in stream.split_terminator("\n\n").enumerate() {
        let event: Value = serde_json::from_str(line.strip_prefix("data: ").expect("data")).expect(line);
        assert_eq!(event["number"], number);
        match event["type"].as_str().expect("a type") {
            "block_start" => (block, is_tool) = (String::new(), event["kind"] == "tool"),
            "block_delta" => block.push_str(event["text"].as_str().expect("a text")),
            "block_stop" => {
                let value = serde_json::from_str(&block).ok().filter(|_: &Value| is_tool);
                assert_eq!(event["text"], value.unwrap_or_else(|| block.as_str().into()));
                all.push(std::mem::take(&mut block));
            }
            "end" => {
                let output = event["output"].as_array().expect("a list").iter();
                let mut output: Vec<_> = output.flat_map(|text| text.as_str().expect("a text").chars()).collect();
                let mut all: Vec<_> = all.concat().chars().collect();
                // Texts that took turns are whole here.
                output.sort_unstable();
                all.sort_unstable();
                assert_eq!(output, all);
            }
            _ => {}
        }
    }
}

/// Checks that a viewer which resumes after any entry receives the rest of the bytes; returns all of them.
fn resumed_everywhere<E: Encoder>(
    entries: &[Entry],
    size: usize,
    encoder: impl Fn() -> E,
) -> Result<Vec<u8>, TestCaseError> {
    let log = FixtureLog::new(entries.to_vec(), size);
    let source = |position: usize| ViewerSource::new(log.viewer(entries[position].sequence.before()), encoder());
    let mut live = source(0);
    let live: Vec<_> = (1..=entries.len())
        .map(|visible| {
            log.show(visible);
            ready_writes(&mut live).expect("the log is kept").concat()
        })
        .collect();
    for position in 0..entries.len() {
        let replayed = ready_writes(&mut source(position)).expect("the log is kept").concat();
        prop_assert_eq!(&replayed, &live[position..].concat());
    }
    Ok(live.concat())
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
        ];
        for position in 0..entries.len() {
            let rest = whole.each_ref().map(|blocks| blocks[position..].concat());
            prop_assert_eq!(&resumed(&entries, position, size, native()), &rest[0]);
            prop_assert_eq!(&resumed(&entries, position, size, chat(BlockIds::Absent)), &rest[1]);
            prop_assert_eq!(&resumed(&entries, position, size, chat(BlockIds::Present)), &rest[2]);
        }
    }

    #[test]
    fn viewer_that_resumes_an_answer_that_began_anew_receives_the_rest_of_the_bytes(
        entries in entries_with_restarts(),
        size in 1..8_usize,
    ) {
        let start = start_of(&entries);
        let whole = blocks(&entries, NativeEncoder::new(start.generation));
        for position in 0..entries.len() {
            let rest = resumed(&entries, position, size, NativeEncoder::new(start.generation));
            prop_assert_eq!(rest, whole[position..].concat());
        }
    }

    #[test]
    fn viewer_that_resumes_a_wire_with_state_receives_the_rest_of_the_bytes(entries in entries(), size in 1..8_usize) {
        check_texts(&resumed_everywhere(&entries, size, BlockEncoder::default)?);
        for ids in [BlockIds::Absent, BlockIds::Present] {
            resumed_everywhere(&entries, size, || MessagesEncoder::new(start_of(&entries), ids))?;
            resumed_everywhere(&entries, size, || ResponsesEncoder::new(start_of(&entries), ids))?;
            resumed_everywhere(&entries, size, || UiEncoder::new(start_of(&entries), ids))?;
        }
    }
}

#[test]
fn log_is_read_again_only_for_an_encoder_that_needs_it_and_a_viewer_that_resumes() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let entries = entries().new_tree(&mut runner).expect("a log").current();
    let mut frames = Frames::default();
    let mut native = NativeEncoder::new(start_of(&entries).generation);
    let all = PageEffect::EncodedLast(entries.len());
    let rest = &entries[1..];
    assert_eq!(CatchUp::default().page(rest, &mut native, &mut frames), PageEffect::EncodedLast(rest.len()));
    assert_eq!(CatchUp::default().page(rest, &mut BlockEncoder::default(), &mut frames), PageEffect::Rewind);
    assert_eq!(CatchUp::default().page(&entries, &mut BlockEncoder::default(), &mut frames), all);
}
