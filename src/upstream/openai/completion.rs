//! Reads an answer that is not streamed.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::super::{AttemptErrorKind, Signal, Signals};
use super::chunk::Decoder;
use super::chunk_piece::MALFORMED;
use super::event::{EventData, StreamEventName};
use super::message::normalize_message;
use super::shown_model::ShownModel;
use super::tool_calls::generate_id;
use crate::domain::{Escaped, decode_utf8, wire_safe};
use crate::json::{Object, Tree, well_formed};

/// Reads a chat completion, or an error, and appends its entries. Each choice yields at most one entry of reasoning, of
/// text and of refusal, one for each tool call, and its other parts. The finish reasons, the usage and the end follow.
/// Before an error, the entries of the received content are appended.
///
/// The trailer holds the completion: the received bytes, or rewritten JSON if something had to be normalized.
pub fn read_completion(json: &[u8], model: &ShownModel, signals: &mut Signals) -> Result<(), AttemptErrorKind> {
    let text = decode_utf8(json);
    let safe = wire_safe(text.as_bytes());
    let safe = decode_utf8(&safe);
    if safe.trim().is_empty() {
        return Err(cut_short());
    }
    let read = EventData::read(StreamEventName::Other, &safe);
    let EventData { chunk, failure } = read.map_err(|error| if is_cut_short(&safe) { cut_short() } else { error })?;
    // A chunk instead of a completion: one line of a stream that is not an event stream.
    if chunk.as_ref().is_some_and(|chunk| chunk.text("object").is_some_and(|object| object == "chat.completion.chunk"))
    {
        return Err(MALFORMED);
    }
    let mut decoder = Decoder::new(model);
    let mut completion = None;
    if let Some(mut chunk) = chunk {
        let lacks_ids = tool_calls(&mut chunk).any(|call| lacks_id(call));
        let sent = lacks_ids.then(|| chunk.clone());
        // Ids are generated before the events: the events and the completion must have the same ids.
        tool_calls(&mut chunk).for_each(ensure_id);
        completion = Some(normalized(&chunk, sent.as_ref().unwrap_or(&chunk), model, &text));
        decoder.chunk(chunk, safe.len(), None, signals)?;
    }
    if let Some(report) = failure {
        return Err(AttemptErrorKind::Reported(report));
    }
    decoder.end(signals)?;
    if let Some(Signal::End { trailer }) = signals.last_mut() {
        trailer.whole_json = completion.map(|completion| completion.as_ref().into());
    }
    Ok(())
}

/// Returns whether the text ends in the middle of a JSON value.
fn is_cut_short(json: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(json).is_err_and(|error| error.is_eof())
}

fn cut_short() -> AttemptErrorKind {
    AttemptErrorKind::Disconnected { cause: "the body ended before its JSON did".into() }
}

/// Returns the completion as OpenAI's clients read it; `text` itself if nothing had to be normalized.
fn normalized<'a>(completion: &Object, sent: &Object, model: &ShownModel, text: &'a str) -> Cow<'a, str> {
    let mut normalized = completion.clone();
    if let ShownModel::Alias(alias) = model {
        normalized.set("model", Tree::text(Escaped::from_text(alias).as_str()));
    }
    let choices = normalized.get_mut("choices").and_then(Tree::as_array_mut);
    for (choice, position) in choices.into_iter().flatten().filter_map(Tree::as_object_mut).zip(0..) {
        normalize_choice(choice, position);
    }
    // `Tree::parse` also accepts `NaN` and lone surrogates, which many clients reject: such a body is rewritten.
    let is_strict = serde_json::from_str::<IgnoredAny>(text).is_ok() && matches!(well_formed(text), Cow::Borrowed(_));
    if is_strict && normalized == *sent { Cow::Borrowed(text) } else { Cow::Owned(normalized.to_json()) }
}

fn tool_calls(completion: &mut Object) -> impl Iterator<Item = &mut Object> {
    let choices = completion.get_mut("choices").and_then(Tree::as_array_mut);
    let messages = choices.into_iter().flatten().filter_map(|choice| choice.as_object_mut()?.get_mut("message"));
    let calls = messages.filter_map(|message| message.as_object_mut()?.get_mut("tool_calls")?.as_array_mut());
    calls.flatten().filter_map(Tree::as_object_mut)
}

fn lacks_id(call: &Object) -> bool {
    call.text("id").is_none() && call.present("function").is_some()
}

fn ensure_id(call: &mut Object) {
    if lacks_id(call) {
        call.set("id", Tree::Text(generate_id()));
    }
}

fn normalize_choice(choice: &mut Object, position: u32) {
    if choice.present("index").is_none() {
        choice.set("index", Tree::number(position));
    }
    for (from, to) in [("delta", "message"), ("text", "content")] {
        let is_missing = choice.present("message").is_none();
        let Some(value) = Some(from).filter(|_| is_missing).and_then(|from| choice.remove(from)) else { continue };
        match to {
            "message" => choice.set(to, value),
            _ => choice.set("message", Tree::Object([(to, value)].into_iter().collect())),
        }
    }
    if let Some(message) = choice.get_mut("message").and_then(Tree::as_object_mut) {
        normalize_message(message);
        if message.text("role").is_none() {
            message.set("role", Tree::text("assistant"));
        }
        let calls = message.get_mut("tool_calls").and_then(Tree::as_array_mut);
        for call in calls.into_iter().flatten().filter_map(Tree::as_object_mut) {
            if call.text("type").is_none() {
                call.set("type", Tree::text("function"));
            }
        }
    }
    if choice.text("finish_reason").is_none() {
        choice.set("finish_reason", Tree::text("stop"));
        choice.set("finish_reason_missing", Tree::Literal("true".into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Escaped, Part, UsageReport};

    fn read(json: &str) -> (Signals, Result<(), AttemptErrorKind>) {
        let mut signals = Signals::new();
        let ending = read_completion(json.as_bytes(), &"m".to_owned().into(), &mut signals);
        (signals, ending)
    }

    /// Returns the completion that a caller receives.
    fn kept(json: &str) -> String {
        let (signals, ending) = read(json);
        assert_eq!(ending, Ok(()), "{json}");
        let Some(Signal::End { trailer }) = signals.last() else { panic!("no end: {signals:?}") };
        trailer.whole_json.as_ref().expect("a completion").to_string()
    }

    #[test]
    fn completion_has_few_entries_and_is_kept_unchanged() {
        let json = r#"{"id": "c", "object": "chat.completion", "created": 1, "model": "x", "choices": [{"index": 0,
            "message": {"role": "assistant", "content": "Hi", "reasoning_content": "hm", "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "a", "type": "function", "function": {"name": "g", "arguments": "[1]"}}]},
            "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}"#;
        let (signals, ending) = read(json);
        assert_eq!(ending, Ok(()));
        let said: Vec<_> = signals
            .iter()
            .filter_map(|signal| match signal {
                Signal::Chunk(chunk) => Some((chunk.part().clone(), chunk.text().unescape().into_owned())),
                _ => None,
            })
            .collect();
        let name = |name: &str| Some(Escaped::from_text(name));
        let call = |index, called| Part::ToolCall { choice: 0, index, id: name("a"), name: name(called) };
        assert_eq!(
            said,
            [
                (Part::Reasoning { choice: 0 }, "hm".to_owned()),
                (Part::Text { choice: 0, logprobs_json: None }, "Hi".to_owned()),
                (call(0, "f"), "{}".to_owned()),
                (call(1, "g"), "[1]".to_owned()),
            ]
        );
        let usage = UsageReport { input_tokens: Some(5), output_tokens: Some(2), ..UsageReport::default() };
        assert!(signals.contains(&Signal::Usage(usage)));
        assert!(signals.contains(&Signal::Finish { choice: 0, reason: "tool_calls".into() }));
        assert_eq!(kept(json), json);
    }

    #[test]
    fn only_members_that_need_it_are_normalized() {
        let completion = |choice: &str| format!(r#"{{"id":"c","choices":[{choice}],"x": 1}}"#);
        for (sent, expected) in [
            (
                r#"{"index":0,"message":{"role":"assistant","content":"a"}}"#,
                r#"{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop","finish_reason_missing":true}"#,
            ),
            (
                r#"{"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}"#,
                r#"{"message":{"role":"assistant","content":"a"},"finish_reason":"stop","index":0}"#,
            ),
            (
                r#"{"index":0,"message":{"role":"assistant","content":[{"type":"text","text":"a"}]},"finish_reason":"stop"}"#,
                r#"{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}"#,
            ),
            (
                r#"{"index":0,"message":{"role":"assistant","content":"\ud83d"},"finish_reason":"stop","x":NaN}"#,
                r#"{"index":0,"message":{"role":"assistant","content":"\ufffd"},"finish_reason":"stop","x":null}"#,
            ),
            (
                r#"{"index":0,"message":{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":{"a":1}}}]},"finish_reason":"stop"}"#,
                r#"{"index":0,"message":{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\"a\":1}"},"type":"function"}]},"finish_reason":"stop"}"#,
            ),
            (
                r#"{"index":0,"text":"a","finish_reason":"stop"}"#,
                r#"{"index":0,"finish_reason":"stop","message":{"content":"a","role":"assistant"}}"#,
            ),
        ] {
            assert_eq!(kept(&completion(sent)), completion(expected).replace("\"x\": 1", "\"x\":1"));
        }
    }

    #[test]
    fn generated_call_id_is_the_same_in_events_and_completion() {
        let json = r#"{"choices":[{"index":0,"message":{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}]}"#;
        let (signals, ending) = read(json);
        assert_eq!(ending, Ok(()));
        let id = signals.iter().find_map(|signal| match signal {
            Signal::Chunk(chunk) => match chunk.part() {
                Part::ToolCall { id, .. } => id.clone(),
                _ => None,
            },
            _ => None,
        });
        let Some(Signal::End { trailer }) = signals.last() else { panic!("no end: {signals:?}") };
        let completion = trailer.whole_json.as_deref().expect("a completion");
        assert!(completion.contains(&format!(r#""id":"{}""#, id.expect("an id").as_str())), "{completion}");
    }

    #[test]
    fn failure_keeps_the_content_before_it() {
        let (signals, ending) = read(r#"{"choices":[{"message":{"content":"partial"},"finish_reason":"error"}]}"#);
        assert!(matches!(ending, Err(AttemptErrorKind::Reported(_))));
        assert!(matches!(signals.as_slice(), [Signal::Chunk(chunk)] if chunk.text().as_str() == "partial"));
        assert!(matches!(read(r#"{"detail":"m"}"#).1, Err(AttemptErrorKind::Reported(_))));
        assert_eq!(read(r#"{"choices":[]}"#).1, Err(AttemptErrorKind::Empty));
        assert!(matches!(read(r#"{"choices":[{"me"#).1, Err(AttemptErrorKind::Disconnected { .. })));
        assert!(matches!(read(r#"{"choices":[{"me":}]}"#).1, Err(AttemptErrorKind::Malformed(_))));
    }
}
