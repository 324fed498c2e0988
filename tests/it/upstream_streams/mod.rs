//! Whatever bytes an upstream sends: no panic, no growth, one ending, and chunks that OpenAI's clients
//! can read.

pub mod checks;
mod random;
mod reference;
pub mod wires;

use crate::support::sized;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokenrill::domain::UsageWish;
use tokenrill::upstream::{Signal, Templates};

use checks::{answer, answer_after};
use random::{Random, mutated};

/// The corpus of a fuzz target.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).expect("the corpus");
    let mut files: Vec<_> = files
        .map(|file| {
            let path = file.expect("a file").path();
            (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read(&path).expect("its bytes"))
        })
        .collect();
    files.sort();
    assert!(files.len() > 10, "the corpus of {target} is there");
    files
}

/// Runs a check on each input, and names the input that fails.
fn each(inputs: impl IntoIterator<Item = (String, Vec<u8>)>, check: fn(&[u8])) {
    for (name, bytes) in inputs {
        let checked = std::panic::catch_unwind(|| check(&bytes));
        assert!(checked.is_ok(), "{name}: {:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn the_corpus_of_the_parser_passes() {
    each(corpus("sse"), checks::event_stream);
}

#[test]
fn the_corpus_of_the_chunks_passes() {
    each(corpus("chunks"), checks::chunks);
}

#[test]
fn a_legal_dialect_of_the_corpus_is_whole_and_a_fault_is_not() {
    for (name, bytes) in corpus("chunks") {
        let (_, ending) = answer([bytes.as_slice()]);
        if name.starts_with("legal-") {
            assert_eq!(ending, Ok(()), "{name}");
        } else if name.starts_with("fault-") {
            assert!(ending.is_err(), "{name}");
        }
    }
}

#[test]
fn mutated_streams_have_one_ending_each() {
    let streams = sized(10_000, 50_000);
    let seeds: Vec<_> =
        corpus("chunks").into_iter().map(|(_, bytes)| bytes).filter(|bytes| bytes.len() < 1500).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let seeds = &seeds;
            scope.spawn(move || {
                for at in (thread..streams).step_by(threads) {
                    let stream = mutated(&mut Random::new(at as u64), seeds);
                    each([(format!("stream {at}"), stream)], if at % 4 == 0 { checks::chunks } else { one_ending });
                }
            });
        }
    });
}

/// One ending, and what is kept is in proportion to what was sent.
fn one_ending(stream: &[u8]) {
    let (signals, ending) = answer([stream]);
    let kept = signals.iter().map(|signal| match signal {
        Signal::Chunk(chunk) => chunk.shape().size() + chunk.text().as_str().len(),
        Signal::End { trailer } => trailer.chunks_json.len() + trailer.head_json.len(),
        Signal::Finish { .. } | Signal::Usage(_) => 0,
    });
    let kept: usize = kept.sum();
    assert!(kept <= 1024 + 32 * stream.len(), "{kept} bytes kept of {}", stream.len());
    let ends = signals.iter().filter(|signal| matches!(signal, Signal::End { .. })).count();
    assert_eq!(ends, usize::from(ending.is_ok()), "one ending: {ending:?}");
}

/// One of these members, or none.
fn member(name: &'static str, values: Vec<Value>) -> impl Strategy<Value = Option<(&'static str, Value)>> {
    prop::option::of(prop::sample::select(values)).prop_map(move |value| value.map(|value| (name, value)))
}

fn object(members: Vec<Option<(&'static str, Value)>>) -> Value {
    Value::Object(members.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn deltas() -> impl Strategy<Value = Value> {
    let call = json!([{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let members = (
        member("role", vec![json!("assistant"), json!(""), Value::Null]),
        member("content", vec![json!("a"), json!("é\u{2028}\"\n"), json!("b"), json!(""), Value::Null]),
        member("reasoning_content", vec![json!("hm"), json!(""), Value::Null]),
        member("reasoning", vec![json!("hm"), json!("so"), Value::Null]),
        member("refusal", vec![json!("no"), Value::Null]),
        member("tool_calls", vec![call, json!([]), Value::Null]),
        member("x_delta", vec![json!(1), json!({"y": "\u{85}"})]),
    );
    members.prop_map(|(role, content, said, thought, refusal, calls, x)| {
        object(vec![role, content, said, thought, refusal, calls, x])
    })
}

fn choices() -> impl Strategy<Value = Value> {
    let delta = prop::option::of(prop_oneof![1 => Just(Value::Null), 9 => deltas()]);
    let choice = (
        member("index", vec![json!(0), json!(0), json!(1), Value::Null]),
        delta.prop_map(|delta| delta.map(|delta| ("delta", delta))),
        member("finish_reason", vec![Value::Null, Value::Null, json!(""), json!("stop"), json!("length")]),
        member("logprobs", vec![Value::Null, json!({"content": [{"token": "a"}]})]),
    );
    let choice = choice.prop_map(|(index, delta, finish, logprobs)| object(vec![index, delta, finish, logprobs]));
    prop_oneof![
        1 => Just(Value::Null),
        9 => prop::collection::vec(choice, 0..3).prop_map(Value::Array),
    ]
}

/// A chunk as some server might send it. None of these is a fault.
fn chunks() -> impl Strategy<Value = Value> {
    let odd = || vec![json!("a"), json!("b"), json!(""), json!(7), json!(1_700_000_000), json!(1.5), Value::Null];
    let members = (
        member("id", odd()),
        member("object", vec![json!("chat.completion.chunk"), json!("chat.completion"), json!(""), Value::Null]),
        member("created", odd()),
        member("model", odd()),
        prop::option::of(choices()).prop_map(|choices| choices.map(|choices| ("choices", choices))),
        member("usage", vec![Value::Null, json!({}), json!({"prompt_tokens": 7, "completion_tokens": 2, "y": 1})]),
        member("error", vec![Value::Null]),
    );
    members.prop_map(|(id, kind, created, model, choices, usage, error)| {
        object(vec![id, kind, created, model, choices, usage, error])
    })
}

/// Chunks that need little to be put right, so that streams of them have much in common.
fn tame_chunks() -> impl Strategy<Value = Value> {
    let call = |fields: Value| json!({"tool_calls": [fields]});
    let delta = prop::sample::select(vec![
        json!({"role": "assistant", "content": ""}),
        json!({"role": "assistant"}),
        json!({"content": "a"}),
        json!({"content": "a"}),
        json!({"reasoning": "hm"}),
        json!({"content": ""}),
        json!({}),
        call(json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}})),
        call(json!({"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{"}})),
        call(json!({"index": 0, "function": {"arguments": "}"}})),
        call(json!({"index": 0, "function": {"arguments": {"a": 1}}})),
    ]);
    let logprobs = prop_oneof![9 => Just(Value::Null), 1 => Just(json!({"content": [{"token": "a"}]}))];
    let finish = prop_oneof![9 => Just(Value::Null), 1 => Just(json!("stop"))];
    let choice = (prop_oneof![4 => Just(0), 1 => Just(1)], delta, logprobs, finish);
    let choice = choice.prop_map(|(index, delta, logprobs, finish)| {
        json!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish})
    });
    let choices = prop_oneof![4 => prop::collection::vec(choice.clone(), 1), 1 => prop::collection::vec(choice, 0..3)];
    let extra = prop::option::weighted(0.1, prop::sample::select(vec![("usage", json!(null)), ("x", json!(1))]));
    (choices, extra).prop_map(|(choices, extra)| {
        let mut chunk = json!({"choices": choices});
        if let Some((name, value)) = extra {
            chunk[name] = value;
        }
        chunk
    })
}

/// A stream of these chunks, with what is each stream's own.
fn stream_of(id: &str, created: u64, chunks: &[&Value]) -> String {
    let event = |chunk: &&Value| {
        let head = format!(r#"{{"id":"{id}","object":"chat.completion.chunk","created":{created},"model":"m","#);
        format!("data: {head}{}\n\n", &chunk.to_string()[1..])
    };
    chunks.iter().map(event).chain(["data: [DONE]\n\n".to_owned()]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5_000) })]

    #[test]
    fn a_stream_is_read_as_alone_whatever_others_came_before(
        chunks in prop::collection::vec(tame_chunks(), 2..6),
        kept in prop::collection::vec(prop::collection::vec(any::<bool>(), 6), 4),
    ) {
        let role = json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": null, "finish_reason": null}]});
        let others = Templates::default();
        for (kept, number) in kept.iter().zip(0..) {
            // Each twice, since what is said once is nothing for others.
            let chunks = chunks.iter().zip(kept).filter(|(_, kept)| **kept).flat_map(|(chunk, _)| [chunk; 2]);
            let chunks: Vec<_> = [&role].into_iter().chain(chunks).collect();
            let stream = stream_of(&format!("chatcmpl-{}", 9 * number), 1_764_171_234 * (number + 1), &chunks);
            prop_assert_eq!(answer_after(&others, [stream.as_bytes()]), answer([stream.as_bytes()]), "{}", stream);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn any_bytes_have_one_ending(stream in prop::collection::vec(any::<u8>(), 0..200)) {
        checks::chunks(&stream);
    }

    #[test]
    fn whatever_legal_chunks_come_openai_s_clients_can_read_them(
        sent in prop::collection::vec(chunks(), 0..8), repeats in 1usize..3,
    ) {
        let events = sent.iter().enumerate().flat_map(|(number, chunk)| {
            // Marked, so that it can be found again; and repeated, so that it is recognised.
            let mut chunk = chunk.clone();
            chunk["x"] = json!(number);
            vec![format!("data: {chunk}\n\n"); repeats]
        });
        let stream = events.chain(["data: [DONE]\n\n".to_owned()]).collect::<String>();
        checks::chunks(stream.as_bytes());

        let (signals, ending) = answer([stream.as_bytes()]);
        prop_assert_eq!(&ending, &Ok(()), "{}", stream);
        let told = wires::tell(signals, &ending, UsageWish::Asked);
        for (number, chunk) in sent.iter().enumerate() {
            let says_nothing = chunk["choices"].as_array().is_none_or(Vec::is_empty);
            let carries_usage = !chunk["usage"].is_null();
            if !(says_nothing && carries_usage) {
                let found = told.iter().filter(|told| told["x"] == number).count();
                prop_assert_eq!(found, repeats, "chunk {} is kept, with what nobody knows: {:?}", number, told);
            }
        }
        let wasted = sent.iter().rev().find(|chunk| {
            chunk["choices"].as_array().is_none_or(Vec::is_empty) && chunk["usage"]["prompt_tokens"].is_u64()
        });
        if let Some(usage) = wasted {
            let last = told.last().expect("the usage");
            prop_assert!(last["usage"]["prompt_tokens"].is_u64() && last["x"].is_u64(), "{} in {}", usage, last);
        }
    }
}
