//! For any bytes from an upstream: no panic, bounded memory, one ending, and chunks that OpenAI clients can parse.

pub mod checks;
mod random;
mod reference;
pub mod wires;

use crate::support::sized;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokenrill::domain::UsageRequest;
use tokenrill::upstream::{AttemptErrorKind, Signal};

use checks::answer;
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

/// Runs a check on each input. A failure names the input.
fn each(inputs: impl IntoIterator<Item = (String, Vec<u8>)>, check: fn(&[u8])) {
    for (name, bytes) in inputs {
        let checked = std::panic::catch_unwind(|| check(&bytes));
        assert!(checked.is_ok(), "{name}: {:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn sse_parser_corpus_passes() {
    each(corpus("sse"), checks::event_stream);
}

#[test]
fn chunk_corpus_passes() {
    each(corpus("chunks"), checks::chunks);
}

#[test]
fn http1_response_corpus_and_its_mutations_pass() {
    let corpus = corpus("http1");
    let seeds: Vec<_> = corpus.iter().map(|(_, bytes)| bytes.clone()).collect();
    let mutations =
        (0..sized(2_000, 50_000_u64)).map(|at| (format!("response {at}"), mutated(&mut Random::new(at), &seeds)));
    each(corpus.into_iter().chain(mutations), checks::http1);
}

#[test]
fn valid_dialects_of_the_corpus_complete_and_faults_fail() {
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
                    each(
                        [(format!("stream {at}"), stream)],
                        if at % 4 == 0 { checks::chunks } else { assert_one_ending },
                    );
                }
            });
        }
    });
}

/// Checks that an answer has one ending and that the bytes kept are proportional to the bytes sent.
fn assert_one_ending(stream: &[u8]) {
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

/// A member with one of these values, or no member.
fn member(name: &'static str, values: Vec<Value>) -> impl Strategy<Value = Option<(&'static str, Value)>> {
    prop::option::of(prop::sample::select(values)).prop_map(move |value| value.map(|value| (name, value)))
}

fn object(members: Vec<Option<(&'static str, Value)>>) -> Value {
    Value::Object(members.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn deltas() -> impl Strategy<Value = Value> {
    let calls = vec![
        json!([{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]),
        json!([{"index": 0, "id": "", "function": {"name": null, "arguments": " "}}]),
        json!([{"index": "0", "id": "call_2", "function": {"name": "g", "arguments": {"a": [1]}}}]),
        json!([{"id": "call_3", "function": {"name": "g", "arguments": 7}}, {"function": {"arguments": null}}]),
        json!([]),
        Value::Null,
    ];
    let parts =
        json!([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "p"}, {"type": "image", "x": 1}]);
    let members = (
        member("role", vec![json!("assistant"), json!(""), Value::Null]),
        member(
            "content",
            vec![json!("a"), json!("é\u{2028}\"\n"), json!("b"), json!(""), parts, json!([]), Value::Null],
        ),
        member("reasoning_content", vec![json!("hm"), json!(""), Value::Null]),
        member("reasoning", vec![json!("hm"), json!("so"), Value::Null]),
        member("refusal", vec![json!("no"), Value::Null]),
        member("tool_calls", calls),
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

/// A chunk that some server might send. Each is valid.
fn chunks() -> impl Strategy<Value = Value> {
    let odd = || vec![json!("a"), json!("b"), json!(""), json!(7), json!(1_700_000_000), json!(1.5), Value::Null];
    let members = (
        // Each has an id: without any member of an answer it would not be a chunk.
        prop::sample::select(odd()).prop_map(|id| Some(("id", id))),
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

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn arbitrary_bytes_have_one_ending(stream in prop::collection::vec(any::<u8>(), 0..200)) {
        checks::chunks(&stream);
    }

    #[test]
    fn valid_chunks_are_written_as_openai_clients_can_parse_them(
        sent in prop::collection::vec(chunks(), 0..8), repeats in 1usize..3,
    ) {
        let events = sent.iter().enumerate().flat_map(|(number, chunk)| {
            // Numbered, to find it in the output, and repeated, to be matched with the template of the first.
            let mut chunk = chunk.clone();
            chunk["x"] = json!(number);
            vec![format!("data: {chunk}\n\n"); repeats]
        });
        let stream = events.chain(["data: [DONE]\n\n".to_owned()]).collect::<String>();
        checks::chunks(stream.as_bytes());

        let (signals, ending) = answer([stream.as_bytes()]);
        let is_output = |choice: &Value| {
            let is_text = |name: &str| choice["delta"][name].as_str().is_some_and(|text| !text.is_empty());
            let is_finish = choice["finish_reason"].as_str().is_some_and(|reason| !reason.is_empty());
            let others = ["x_delta", "tool_calls", "content"].iter().any(|name| {
                let value = &choice["delta"][name];
                value.is_number() || value.is_object() || value.as_array().is_some_and(|items| !items.is_empty())
            });
            is_finish || others || ["content", "reasoning", "reasoning_content", "refusal"].into_iter().any(is_text)
        };
        if !sent.iter().any(|chunk| chunk["choices"].as_array().is_some_and(|choices| choices.iter().any(is_output))) {
            prop_assert_eq!(&ending, &Err(AttemptErrorKind::Empty), "{}", stream);
            return Ok(());
        }
        prop_assert_eq!(&ending, &Ok(()), "{}", stream);
        let written = wires::assert_agreement(signals, &ending, UsageRequest::Asked);
        for (number, chunk) in sent.iter().enumerate() {
            let has_no_choices = chunk["choices"].as_array().is_none_or(Vec::is_empty);
            let carries_usage = !chunk["usage"].is_null();
            if !(has_no_choices && carries_usage) {
                let found = written.iter().filter(|written| written["x"] == number).count();
                prop_assert_eq!(found, repeats, "chunk {} is kept, with what nobody knows: {:?}", number, written);
            }
        }
        let wasted = sent.iter().rev().find(|chunk| {
            chunk["choices"].as_array().is_none_or(Vec::is_empty) && chunk["usage"]["prompt_tokens"].is_u64()
        });
        if let Some(usage) = wasted {
            let last = written.last().expect("the usage");
            prop_assert!(last["usage"]["prompt_tokens"].is_u64() && last["x"].is_u64(), "{} in {}", usage, last);
        }
    }
}
