//! Reads chat completion chunks: all that is needed and no more.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::{Malformed, Signal, UpstreamError};
use crate::domain::{Chunk, Escaped, Part, Shape, TokenSource, Usage, wire_safe};

/// Turns the data of each event of one stream into signals.
///
/// A chunk that differs from a recent one in its text alone is recognised by the bytes around the
/// text; only a chunk of a new shape is parsed. Neither builds a JSON tree.
#[derive(Debug, Default)]
pub struct Decoder {
    shapes: Vec<Arc<Shape>>,
    /// Chunks that said nothing to the native wire (a role, a finish reason, usage), each with a line
    /// feed. They are kept with the next chunk that says something, so that no entry is a silent one.
    silent: String,
}

/// Shapes remembered: a stream alternates between a few (two choices, reasoning and text).
const SHAPES: usize = 4;
/// Silent chunks kept back at most; more become an entry of their own, so that the log's limit holds
/// for them too.
const MOST_SILENT: usize = 16 * 1024;
/// A choice or tool call with a higher index is nobody's: refused, so that it sizes nothing.
const HIGHEST_INDEX: u32 = 1023;

impl Decoder {
    /// Reads one event's data.
    pub fn decode(&mut self, data: &[u8], signals: &mut Vec<Signal>) -> Result<(), UpstreamError> {
        if data == b"[DONE]" {
            signals.push(self.end());
            return Ok(());
        }
        if self.silent.is_empty()
            && let Some(chunk) = self.recognise(data)
        {
            signals.push(Signal::Chunk(chunk));
            return Ok(());
        }
        let data = wire_safe(data);
        let json = std::str::from_utf8(&data).map_err(|_| UpstreamError::Malformed(Malformed::Encoding))?;
        self.parse(json, signals)
    }

    /// The end of the answer, with what no chunk has carried.
    pub fn end(&mut self) -> Signal {
        Signal::End { closing_json: std::mem::take(&mut self.silent).into() }
    }

    fn recognise(&self, data: &[u8]) -> Option<Chunk> {
        self.shapes.iter().find_map(|shape| {
            let (before, after) = shape.frame.as_ref()?;
            let text = data.strip_prefix(before.as_bytes())?.strip_suffix(after.as_bytes())?;
            let text = Some(text).filter(|text| !text.is_empty())?;
            // A text that holds an unescaped quote is no text: the bytes mean something else.
            Some(Chunk::new(Arc::clone(shape), Escaped::from_unparsed(text).ok()?))
        })
    }

    fn parse(&mut self, json: &str, signals: &mut Vec<Signal>) -> Result<(), UpstreamError> {
        let chunk: WireChunk<'_> = serde_json::from_str(json).map_err(|_| MALFORMED)?;
        if chunk.error.is_some() || chunk.object.as_deref() == Some("error") {
            return Err(UpstreamError::Reported);
        }
        let mut pieces = Vec::new();
        let choices = chunk.choices.unwrap_or_default();
        for choice in &choices {
            choice.pieces(&mut pieces)?;
        }
        let finishes = || choices.iter().filter_map(WireChoice::finish);
        self.push_chunks(json, pieces, finishes().next().is_none() && chunk.usage.is_none(), signals)?;
        signals.extend(finishes());
        signals.extend(chunk.usage.and_then(WireUsage::into_usage).map(Signal::Usage));
        Ok(())
    }

    /// One chunk for each piece; the last holds the provider's JSON.
    fn push_chunks(
        &mut self,
        json: &str,
        mut pieces: Vec<Piece<'_>>,
        repeats: bool,
        signals: &mut Vec<Signal>,
    ) -> Result<(), UpstreamError> {
        let Some(Piece { part, text }) = pieces.pop() else {
            self.keep_silent(json, signals);
            return Ok(());
        };
        let alone = pieces.is_empty();
        for piece in pieces {
            let shape = Shape { frame: None, part: piece.part };
            signals.push(Signal::Chunk(Chunk::new(Arc::new(shape), piece.text.escaped()?)));
        }
        let range = text.range_in(json).unwrap_or(json.len()..json.len());
        let (Some(before), Some(after)) = (json.get(..range.start), json.get(range.end..)) else {
            return Err(MALFORMED);
        };
        let shape = |before: &str| Arc::new(Shape { frame: Some((before.into(), after.into())), part: part.clone() });
        let clean = shape(before);
        if alone && repeats && !range.is_empty() {
            self.shapes.insert(0, Arc::clone(&clean));
            self.shapes.truncate(SHAPES);
        }
        let shape = match std::mem::take(&mut self.silent) {
            silent if silent.is_empty() => clean,
            silent => shape(&(silent + before)),
        };
        signals.push(Signal::Chunk(Chunk::new(shape, text.escaped()?)));
        Ok(())
    }

    fn keep_silent(&mut self, json: &str, signals: &mut Vec<Signal>) {
        self.silent.push_str(json);
        if self.silent.len() > MOST_SILENT {
            let frame = Some((std::mem::take(&mut self.silent).into(), "".into()));
            let shape = Shape { frame, part: Part::Silent };
            signals.push(Signal::Chunk(Chunk::new(Arc::new(shape), Escaped::default())));
        } else {
            self.silent.push('\n');
        }
    }
}

const MALFORMED: UpstreamError = UpstreamError::Malformed(Malformed::Chunk);

/// One thing that a chunk says.
struct Piece<'a> {
    part: Part,
    text: Text<'a>,
}

enum Text<'a> {
    None,
    /// A JSON string of the chunk, quotes included.
    Quoted(&'a str),
    /// What the chunk says in another form than a string.
    Made(Escaped),
}

impl Text<'_> {
    fn range_in(&self, json: &str) -> Option<Range<usize>> {
        let Self::Quoted(quoted) = self else { return None };
        let start = quoted.as_ptr().addr().checked_sub(json.as_ptr().addr())? + 1;
        Some(start..start + quoted.len().checked_sub(2)?)
    }

    fn escaped(&self) -> Result<Escaped, UpstreamError> {
        match self {
            Self::None => Ok(Escaped::default()),
            Self::Quoted(quoted) => content(quoted),
            Self::Made(text) => Ok(text.clone()),
        }
    }
}

fn content(quoted: &str) -> Result<Escaped, UpstreamError> {
    let content = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    Escaped::from_json_content(content).map_err(|_| MALFORMED)
}

fn is_string(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

fn is_text(value: &RawValue) -> bool {
    is_string(value) && value.get() != "\"\""
}

#[derive(Deserialize)]
struct WireChunk<'a> {
    #[serde(borrow)]
    choices: Option<Vec<WireChoice<'a>>>,
    usage: Option<WireUsage>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct WireChoice<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

impl<'a> WireChoice<'a> {
    fn finish(&self) -> Option<Signal> {
        let reason = self.finish_reason.as_deref().filter(|reason| !reason.is_empty())?;
        Some(Signal::Finish { choice: self.index, reason: reason.into() })
    }

    fn pieces(&self, pieces: &mut Vec<Piece<'a>>) -> Result<(), UpstreamError> {
        let choice = self.index;
        if choice > HIGHEST_INDEX {
            return Err(MALFORMED);
        }
        let Some(delta) = &self.delta else { return Ok(()) };
        let mut others: Vec<(&str, &RawValue)> = Vec::new();
        for (name, value) in &delta.members {
            let name = name.as_ref();
            let is_repeat =
                || delta.reasoning().is_some_and(|(known, text)| known != name && text.get() == value.get());
            let part = match name {
                "role" => continue,
                "content" if is_string(value) => {
                    Part::Text { choice, logprobs_json: self.logprobs.map(|logprobs| logprobs.get().into()) }
                }
                "refusal" if is_string(value) => Part::Refusal { choice },
                "reasoning_content" | "reasoning" if is_repeat() => continue,
                "reasoning_content" | "reasoning" if is_string(value) => Part::Reasoning { choice },
                "tool_calls" => {
                    let calls: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(|_| MALFORMED)?;
                    for (position, call) in calls.into_iter().enumerate() {
                        tool_call(choice, position, call, pieces)?;
                    }
                    continue;
                }
                _ => {
                    others.push((name, value));
                    continue;
                }
            };
            if is_text(value) {
                pieces.push(Piece { part, text: Text::Quoted(value.get()) });
            }
        }
        if !others.is_empty() {
            let delta_json = object(&others).into();
            pieces.push(Piece { part: Part::Other { choice, delta_json }, text: Text::None });
        }
        Ok(())
    }
}

/// A fragment of a tool call; what it holds beside the function stays readable as another part.
fn tool_call<'a>(
    choice: u32,
    position: usize,
    json: &'a RawValue,
    pieces: &mut Vec<Piece<'a>>,
) -> Result<(), UpstreamError> {
    let call: WireToolCall<'a> = serde_json::from_str(json.get()).map_err(|_| MALFORMED)?;
    let index = call.index.or_else(|| u32::try_from(position).ok()).filter(|index| *index <= HIGHEST_INDEX);
    let index = index.ok_or(MALFORMED)?;
    if let Some(function) = call.function {
        let named = |value: Option<&RawValue>| {
            value.filter(|value| is_string(value)).map(|value| content(value.get())).transpose()
        };
        let text = match function.arguments {
            Some(arguments) if is_string(arguments) => Text::Quoted(arguments.get()),
            // Some servers send the arguments as an object: its text is what everybody else sends.
            Some(arguments) => Text::Made(Escaped::from_text(arguments.get())),
            None => Text::None,
        };
        let part = Part::ToolCall { choice, index, id: named(call.id)?, name: named(function.name)? };
        pieces.push(Piece { part, text });
    }
    if call.others > 0 {
        let delta_json = format!("{{\"tool_calls\":[{}]}}", json.get()).into();
        pieces.push(Piece { part: Part::Other { choice, delta_json }, text: Text::None });
    }
    Ok(())
}

fn object(members: &[(&str, &RawValue)]) -> String {
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("{}:{}", serde_json::Value::from(*name), value.get())).collect();
    format!("{{{}}}", members.join(","))
}

/// The members of a delta that are not null, in their order.
struct Delta<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Delta<'a> {
    /// Some servers send the same reasoning under two names; the first counts.
    fn reasoning(&self) -> Option<(&str, &'a RawValue)> {
        let found = self.members.iter().find(|(name, _)| matches!(name.as_ref(), "reasoning_content" | "reasoning"));
        found.map(|(name, value)| (name.as_ref(), *value))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Delta<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DeltaVisitor)
    }
}

struct DeltaVisitor;

impl<'de> Visitor<'de> for DeltaVisitor {
    type Value = Delta<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a delta")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let value: &'de RawValue = map.next_value()?;
            if value.get() != "null" {
                members.push((name, value));
            }
        }
        Ok(Delta { members })
    }
}

/// A member's name, borrowed where it holds no escape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct WireToolCall<'a> {
    index: Option<u32>,
    id: Option<&'a RawValue>,
    function: Option<WireFunction<'a>>,
    /// Members beside these and `type`.
    others: usize,
}

#[derive(Deserialize)]
struct WireFunction<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for WireToolCall<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ToolCallVisitor)
    }
}

struct ToolCallVisitor;

impl<'de> Visitor<'de> for ToolCallVisitor {
    type Value = WireToolCall<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tool call")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut call = WireToolCall { index: None, id: None, function: None, others: 0 };
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            match name.as_ref() {
                "index" => call.index = map.next_value()?,
                "id" => call.id = map.next_value()?,
                "function" => call.function = map.next_value()?,
                "type" => _ = map.next_value::<IgnoredAny>()?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    call.others += 1;
                }
            }
        }
        Ok(call)
    }
}

#[derive(Deserialize)]
struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    completion_tokens_details: Option<WireTokenDetails>,
}

#[derive(Deserialize)]
struct WireTokenDetails {
    reasoning_tokens: Option<u64>,
}

impl WireUsage {
    fn into_usage(self) -> Option<Usage> {
        Some(Usage {
            input_tokens: self.prompt_tokens?,
            output_tokens: self.completion_tokens.unwrap_or_default(),
            reasoning_tokens: self.completion_tokens_details.and_then(|details| details.reasoning_tokens),
            source: TokenSource::Provider,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(chunks: &[&str]) -> Result<Vec<Signal>, UpstreamError> {
        let mut decoder = Decoder::default();
        let mut signals = Vec::new();
        for chunk in chunks {
            decoder.decode(chunk.as_bytes(), &mut signals)?;
        }
        Ok(signals)
    }

    fn chunks(signals: &[Signal]) -> Vec<&Chunk> {
        signals.iter().filter_map(|signal| if let Signal::Chunk(chunk) = signal { Some(chunk) } else { None }).collect()
    }

    fn parts(chunks_json: &[&str]) -> Vec<(Part, String)> {
        let signals = decode(chunks_json).expect("well formed");
        chunks(&signals).iter().map(|chunk| (chunk.part().clone(), chunk.text().unescape().into_owned())).collect()
    }

    const TEXT: Part = Part::Text { choice: 0, logprobs_json: None };

    #[test]
    fn chunks_put_together_again_are_the_chunks_that_came() {
        let sent = [
            r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"x":{"y":[1]}}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":"Zür"},"finish_reason":null}],"x":{"y":[1]}}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":"ich \"\n"},"finish_reason":null}],"x":{"y":[1]}}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x":{"y":[1]}}"#,
        ];
        let mut decoder = Decoder::default();
        let mut signals = Vec::new();
        for chunk in sent {
            decoder.decode(chunk.as_bytes(), &mut signals).expect("well formed");
        }
        let Signal::End { closing_json } = decoder.end() else { unreachable!() };
        let mut kept: Vec<String> =
            chunks(&signals).iter().map(|chunk| chunk.json().expect("whole").concat()).collect();
        kept.push(closing_json.into());
        assert_eq!(kept.join("\n").lines().collect::<Vec<_>>(), sent);
        assert_eq!(kept.len(), 3, "no entry for a chunk that says nothing");
    }

    #[test]
    fn chunks_that_differ_in_their_text_share_one_shape() {
        let signals =
            decode(&[r#"{"choices":[{"delta":{"content":"a"}}]}"#, r#"{"choices":[{"delta":{"content":"b\n"}}]}"#]);
        let signals = signals.expect("well formed");
        let chunks = chunks(&signals);
        assert!(Arc::ptr_eq(chunks[0].shape(), chunks[1].shape()));
        assert_eq!(chunks[1].text().unescape(), "b\n");
    }

    #[test]
    fn bytes_that_only_look_like_a_known_shape_are_parsed() {
        let trick = r#"{"choices":[{"delta":{"content":"b","refusal":"c"}}]}"#;
        let signals = parts(&[r#"{"choices":[{"delta":{"content":"a"}}]}"#, trick]);
        assert_eq!(signals[1..], [(TEXT, "b".to_owned()), (Part::Refusal { choice: 0 }, "c".to_owned())]);
    }

    #[test]
    fn a_chunk_that_says_several_things_is_several_entries_and_is_kept_once() {
        let json = r#"{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"},"finish_reason":"length"}]}"#;
        let signals = decode(&[json]).expect("well formed");
        let frames: Vec<_> = chunks(&signals).iter().map(|chunk| chunk.json().map(|json| json.concat())).collect();
        assert_eq!(frames, [None, Some(json.to_owned())]);
        assert_eq!(signals.last(), Some(&Signal::Finish { choice: 1, reason: "length".into() }));
    }

    #[test]
    fn reasoning_comes_under_either_name_and_once() {
        let expected = vec![(Part::Reasoning { choice: 0 }, "hm".to_owned())];
        assert_eq!(parts(&[r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#]), expected);
        assert_eq!(parts(&[r#"{"choices":[{"delta":{"reasoning":"hm","content":""}}]}"#]), expected);
        assert_eq!(parts(&[r#"{"choices":[{"delta":{"reasoning":"hm","reasoning_content":"hm"}}]}"#]), expected);
    }

    #[test]
    fn a_tool_call_comes_in_fragments() {
        let parts = parts(&[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"weather","arguments":""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"ci"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":{"a":1}},"extra":1}]}}]}"#,
        ]);
        let text = |text: &str| Some(Escaped::from_text(text));
        let call = |id, name| Part::ToolCall { choice: 0, index: 0, id, name };
        assert_eq!(parts[0], (call(text("call_1"), text("weather")), String::new()));
        assert_eq!(parts[1], (call(None, None), "{\"ci".to_owned()));
        assert_eq!(parts[2], (call(None, text("f")), "{\"a\":1}".to_owned()));
        assert!(matches!(&parts[3].0, Part::Other { delta_json, .. } if delta_json.contains("\"extra\":1")));
    }

    #[test]
    fn what_nobody_knows_yet_is_kept() {
        let parts = parts(&[
            r#"{"choices":[{"delta":{"role":"assistant","audio":{"data":"AA"},"content":[{"type":"text"}],"x":null}}]}"#,
        ]);
        let delta_json = r#"{"audio":{"data":"AA"},"content":[{"type":"text"}]}"#.into();
        assert_eq!(parts, [(Part::Other { choice: 0, delta_json }, String::new())]);
    }

    #[test]
    fn log_probabilities_stay_with_their_text() {
        let parts = parts(&[r#"{"choices":[{"delta":{"content":"a"},"logprobs":{"content":[{"token":"a"}]}}]}"#]);
        let logprobs_json = Some(r#"{"content":[{"token":"a"}]}"#.into());
        assert_eq!(parts, [(Part::Text { choice: 0, logprobs_json }, "a".to_owned())]);
    }

    #[test]
    fn usage_is_read_where_there_is_one() {
        let json = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":2},"x":1}}"#;
        let signals = decode(&[json, r#"{"choices":[],"usage":null}"#]).expect("well formed");
        let usage =
            Usage { input_tokens: 3, output_tokens: 5, reasoning_tokens: Some(2), source: TokenSource::Provider };
        let read: Vec<_> = signals.iter().filter(|signal| matches!(signal, Signal::Usage(_))).collect();
        assert_eq!(read, [&Signal::Usage(usage)]);
    }

    #[test]
    fn silent_chunks_without_end_do_not_gather_here() {
        let mut decoder = Decoder::default();
        let mut signals = Vec::new();
        for _ in 0..10_000 {
            decoder.decode(br#"{"choices":[]}"#, &mut signals).expect("well formed");
            assert!(decoder.silent.len() <= MOST_SILENT + 20);
        }
        assert!(!signals.is_empty());
    }

    #[test]
    fn an_error_in_the_stream_is_an_error() {
        for json in [
            r#"{"error":{"message":"secret"}}"#,
            r#"{"type":"error","error":"x"}"#,
            r#"{"object":"error","message":"x"}"#,
        ] {
            assert_eq!(decode(&[json]), Err(UpstreamError::Reported), "{json}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_malformed() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for json in [
            "",
            "{",
            "[]",
            "null",
            r#"{"choices":{}}"#,
            r#"{"choices":[null]}"#,
            r#"{"choices":[{"delta":[]}]}"#,
            r#"{"choices":[{"delta":{"content":"\ud800"}}]}"#,
            r#"{"choices":[{"index":4294967295,"delta":{}}]}"#,
            r#"{"choices":[{"index":-1,"delta":{}}]}"#,
            deep.as_str(),
        ] {
            assert_eq!(decode(&[json]), Err(MALFORMED), "{json}");
        }
        let mut decoder = Decoder::default();
        let malformed = decoder.decode(b"{\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}", &mut Vec::new());
        assert_eq!(malformed, Err(UpstreamError::Malformed(Malformed::Encoding)));
    }

    #[test]
    fn every_prefix_of_a_chunk_is_an_answer_and_never_a_panic() {
        let json = r#"{"choices":[{"delta":{"content":"é\u00e9","tool_calls":[{"id":1,"function":{}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#;
        for end in 0..json.len() {
            assert!(Decoder::default().decode(&json.as_bytes()[..end], &mut Vec::new()).is_err());
        }
    }
}
