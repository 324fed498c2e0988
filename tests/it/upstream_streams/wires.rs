//! Writes an answer on each wire and checks the output as strictly as its clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tokenrill::api::wire::{BlockIds, ChatEncoder, Encoder, Frames, NativeEncoder};
use tokenrill::domain::{
    Done, Entry, Event, Failed, Failure, FailureCode, Finish, GenerationId, Principal, RequestId, Sequence, Start,
    Timestamp, Timings, Usage, UsageReport, UsageRequest,
};
use tokenrill::upstream::{AttemptErrorKind, Signal, Signals};

use super::reference;

/// The text of each choice.
pub type Texts = BTreeMap<u64, String>;

/// The arguments of each tool call, by its choice and its number.
type Calls = BTreeMap<(u64, u64), String>;

/// Writes an answer on every wire and checks that text, tool calls and ending agree. Returns the chunks.
pub fn assert_agreement(signals: Signals, ending: &Result<(), AttemptErrorKind>, usage: UsageRequest) -> Vec<Value> {
    let id = GenerationId::random();
    let entries = entries(id, signals, ending);
    let native_stream = write(NativeEncoder::new(id), &entries);
    let native = native(&native_stream, ending.is_ok());
    let chat = write(ChatEncoder::new(Arc::new(start(id, usage)), BlockIds::Absent), &entries);
    let (chunks, texts) = chat_completion_chunks(&chat, usage, ending.is_ok());
    assert_eq!(texts, native, "both wires have the same text");
    assert_eq!(calls_of_chunks(&chunks), calls_of_native(&native_stream), "and call the same tools");
    chunks
}

fn calls_of_native(stream: &str) -> Calls {
    let mut calls = Calls::new();
    for block in stream.split("\n\n").filter(|block| block.starts_with("event: tool_call\n")) {
        let data = reference::events(format!("{block}\n\n").as_bytes()).concat();
        let data: Value = serde_json::from_str(&data).expect("JSON");
        let call = (data["choice"].as_u64().unwrap_or(0), data["index"].as_u64().expect("an index"));
        calls.entry(call).or_default().push_str(data["arguments"].as_str().expect("arguments"));
    }
    calls
}

fn calls_of_chunks(chunks: &[Value]) -> Calls {
    let mut calls = Calls::new();
    for choice in chunks.iter().filter_map(|chunk| chunk["choices"].as_array()).flatten() {
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().expect("an index");
            assert!(call["id"].as_str().is_none_or(|id| !id.is_empty()) && !call["id"].is_number(), "{call}");
            if !call["function"].is_null() {
                let arguments = call["function"]["arguments"].as_str().expect("arguments are a string");
                let choice = choice["index"].as_u64().expect("an index");
                calls.entry((choice, index)).or_default().push_str(arguments);
            }
        }
    }
    calls
}

fn start(generation: GenerationId, usage: UsageRequest) -> Start {
    Start {
        generation,
        owner: Principal::Anonymous,
        model: "m".to_owned(),
        created_at: Timestamp::now(),
        prompt: None,
        metadata: BTreeMap::new(),
        usage,
        notes: None,
        chat: None,
    }
}

/// The log of a generation with this answer of an upstream.
fn entries(id: GenerationId, signals: Signals, ending: &Result<(), AttemptErrorKind>) -> Vec<Entry> {
    let mut events = vec![Event::Start(Arc::new(start(id, UsageRequest::Asked)))];
    let mut finish = BTreeMap::new();
    let mut usage = UsageReport::default();
    for signal in signals {
        match signal {
            Signal::Chunk(chunk) => {
                if let Some(choice) = chunk.part().choice() {
                    finish.entry(choice).or_insert_with(|| Finish::unstated(choice));
                }
                events.push(Event::Chunk(chunk));
            }
            Signal::Finish { choice, reason } => _ = finish.insert(choice, Finish::stated(choice, reason)),
            Signal::Usage(said) => usage = usage.updated_by(said),
            Signal::End { trailer } => {
                let finish = finish.clone().into_values().collect();
                let usage = usage.completed_by(Usage::default());
                events.push(Event::Done(Arc::new(Done { finish, trailer, usage, timings: Timings::default() })));
            }
        }
    }
    if ending.is_err() {
        let failure = Failure {
            code: FailureCode::UpstreamError,
            detail: "Try again.".to_owned(),
            remedy: None,
            retry_after: None,
            upstream: None,
            request_id: RequestId::random(),
        };
        events.push(Event::Failed(Arc::new(Failed {
            failure,
            usage: Some(usage.completed_by(Usage::default())),
            timings: Timings::default(),
        })));
    }
    (1..).map(Sequence::new).zip(events).map(|(sequence, event)| Entry::new(sequence, event)).collect()
}

fn write(mut encoder: impl Encoder, entries: &[Entry]) -> String {
    let mut frames = Frames::default();
    for entry in entries {
        encoder.entry(entry, &mut frames);
    }
    let stream = String::from_utf8(frames.take().to_vec()).expect("UTF-8");
    assert!(!stream.contains(['\r', '\u{85}', '\u{2028}', '\u{2029}']), "no line end but LF: {stream}");
    stream
}

/// Returns the texts of a native stream. Checks that its only terminal event is the last event.
fn native(stream: &str, whole: bool) -> Texts {
    let mut texts = Texts::new();
    let names: Vec<_> = stream.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let data = reference::events(stream.as_bytes());
    assert_eq!(names.len(), data.len(), "each event has a name: {stream}");
    for (name, data) in names.iter().zip(&data) {
        let data: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
        if *name == "delta" {
            let choice = data["choice"].as_u64().unwrap_or(0);
            texts.entry(choice).or_default().push_str(data["text"].as_str().expect("text"));
        }
    }
    let terminal = if whole { "done" } else { "failed" };
    let terminals = names.iter().filter(|name| matches!(**name, "done" | "cancelled" | "failed")).count();
    assert_eq!((terminals, names.last()), (1, Some(&terminal)), "{names:?}");
    texts
}

/// The chunks seen of one choice.
#[derive(Default)]
struct Choice {
    chunks: usize,
    finishes: usize,
    text: String,
}

/// Returns the chunks and the texts of a stream of chunks. Checks the guarantees on which OpenAI clients rely.
pub fn chat_completion_chunks(stream: &str, usage: UsageRequest, whole: bool) -> (Vec<Value>, Texts) {
    assert!(stream.lines().all(|line| line.is_empty() || line.starts_with("data: ")), "{stream}");
    let mut data = reference::events(stream.as_bytes());
    let last = data.pop().expect("an ending");
    if whole {
        assert_eq!(last, "[DONE]");
    } else {
        let error: Value = serde_json::from_str(&last).expect("JSON");
        assert!(error["error"]["message"].is_string() && error["error"]["type"].is_string(), "{error}");
    }
    let chunks: Vec<Value> =
        data.iter().map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))).collect();
    let mut choices: BTreeMap<u64, Choice> = BTreeMap::new();
    let mut usages = Vec::new();
    for (position, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert!(chunk["id"].is_string() && chunk["created"].is_u64() && chunk["model"].is_string(), "{chunk}");
        for constant in ["id", "created", "model"] {
            assert_eq!(chunk[constant], chunks[0][constant], "{constant} is constant");
        }
        if !chunk["usage"].is_null() {
            assert!(chunk["usage"]["prompt_tokens"].is_u64() && chunk["choices"] == Value::Array(vec![]), "{chunk}");
            usages.push(position);
        }
        for choice in chunk["choices"].as_array().expect("choices are an array") {
            let index = choice["index"].as_u64().expect("an index");
            let seen = choices.entry(index).or_default();
            let delta = choice["delta"].as_object().expect("a delta is an object");
            let role = delta.get("role");
            assert_eq!(role.is_some(), seen.chunks == 0, "the role is only in the first chunk: {chunk}");
            assert!(role.is_none_or(|role| role == "assistant"), "{chunk}");
            assert!(
                choice.get("finish_reason").is_some_and(|reason| reason.is_null() || reason.is_string()),
                "{chunk}"
            );
            seen.chunks += 1;
            seen.finishes += usize::from(choice["finish_reason"].is_string());
            seen.text.push_str(delta.get("content").and_then(Value::as_str).unwrap_or_default());
        }
    }
    for (index, choice) in &choices {
        assert!(choice.finishes <= 1 && (choice.finishes == 1 || !whole), "one finish reason of {index}: {stream}");
    }
    let asked = usage == UsageRequest::Asked && whole;
    assert_eq!(
        usages,
        if asked { vec![chunks.len() - 1] } else { vec![] },
        "usage only if requested, once and last: {stream}"
    );
    let texts = choices.into_iter().map(|(index, choice)| (index, choice.text)).filter(|(_, text)| !text.is_empty());
    (chunks, texts.collect())
}
