//! Decodes the events of one stream into signals.

use std::sync::Arc;

use memchr::memmem;

use super::super::{AttemptErrorKind, Signal, Signals};
use super::choice::TemplateReuse;
use super::chunk_piece::{ChunkPiece, MALFORMED};
use super::event::{EventData, StreamEventName};
use super::normalizer::{Normalized, Normalizer, hold_finish};
use super::shown_model::ShownModel;
use crate::domain::{Chunk, Escaped, Frame, Part, ProviderDialect, Shape, decode_utf8, wire_safe};
use crate::json::Object;

/// Decodes the events of one stream.
///
/// A chunk that differs from a recent one only in its text is recognized by the bytes around the text. Every other
/// chunk is parsed, normalized and written once.
#[derive(Debug)]
pub struct Decoder {
    normalizer: Normalizer,
    templates: Vec<ChunkTemplate>,
    /// Chunks without content on the native wire (a role, a finish reason). They are stored with the next chunk that
    /// has content, so no entry is without an event.
    silent: Silent,
}

/// The shape of a recent chunk, and the received bytes around its text.
#[derive(Debug)]
struct ChunkTemplate {
    /// Absent if the next chunk with these bytes may have another meaning.
    around: Option<Frame>,
    shape: Arc<Shape>,
}

#[derive(Debug, Default)]
struct Silent {
    chunks: Vec<Object>,
    /// Total size of their received JSON.
    bytes: usize,
}

/// Number of templates: a stream alternates between a few (two choices, reasoning and text).
const TEMPLATES: usize = 4;
/// Most bytes of silent chunks that are held back. More become an entry of their own, so the size limit of the log
/// applies to them too.
const MOST_SILENT: usize = 16 * 1024;

impl Decoder {
    pub fn new(model: &ShownModel) -> Self {
        Self { normalizer: Normalizer::new(model), templates: Vec::new(), silent: Silent::default() }
    }

    /// Decodes one event. Appends its signals also if it fails.
    pub fn decode(&mut self, name: &[u8], data: &[u8], signals: &mut Signals) -> Result<(), AttemptErrorKind> {
        let named = StreamEventName::of(name);
        if named == StreamEventName::Other {
            if data.trim_ascii_start().starts_with(b"[DONE]") {
                return self.end(signals);
            }
            if let Some(chunk) = self.match_template(data) {
                signals.push(Signal::Chunk(chunk));
                return Ok(());
            }
        }
        let text = decode_utf8(data);
        let safe = wire_safe(text.as_bytes());
        let json = std::str::from_utf8(&safe).map_err(|_| MALFORMED)?;
        let EventData { chunk, failure } = EventData::read(named, json)?;
        if let Some(chunk) = chunk {
            let unchanged_json = Some(json).filter(|json| json.as_bytes() == data);
            self.chunk(chunk, json.len(), unchanged_json, signals)?;
        }
        failure.map_or(Ok(()), |report| Err(AttemptErrorKind::Reported(report)))
    }

    /// Appends the end of the answer and the data that no chunk has carried.
    pub fn end(&mut self, signals: &mut Signals) -> Result<(), AttemptErrorKind> {
        if self.normalizer.is_empty() {
            return Err(AttemptErrorKind::Empty);
        }
        for (chunk, piece) in self.normalizer.take_halves() {
            self.push_entries(chunk, vec![piece], signals)?;
        }
        let silent = std::mem::take(&mut self.silent).chunks;
        self.normalizer.close(silent, signals);
        Ok(())
    }

    /// Returns whether at least `asked` choices, and all that have content, have their finish reasons.
    pub fn has_finished(&self, asked: usize) -> bool {
        self.normalizer.has_finished(asked)
    }

    pub const fn has_usage(&self) -> bool {
        self.normalizer.has_usage()
    }

    fn match_template(&mut self, data: &[u8]) -> Option<Chunk> {
        let (template, text) = self.templates.iter().find_map(|template| {
            let Frame { before, after, .. } = template.around.as_ref()?;
            let text = data.strip_prefix(before.as_bytes())?.strip_suffix(after.as_bytes())?;
            let text = Some(text).filter(|text| !text.is_empty())?;
            // Bytes with an unescaped quote are not one text: the chunk has another structure.
            Some((template, Escaped::from_unparsed(text).ok()?))
        })?;
        let shape = Arc::clone(&template.shape);
        Some(Chunk::new(self.with_silent(shape), text))
    }

    /// Appends the signals of a parsed chunk. `size` is the size of its JSON; `unchanged_json` is the JSON if it equals
    /// the received bytes.
    pub fn chunk(
        &mut self,
        mut chunk: Object,
        size: usize,
        unchanged_json: Option<&str>,
        signals: &mut Signals,
    ) -> Result<(), AttemptErrorKind> {
        let Some(Normalized { pieces, reuse }) = self.normalizer.chunk(&mut chunk, signals)? else { return Ok(()) };
        if reuse == TemplateReuse::No {
            // The templates may be invalid now: a new tool call takes over the fragments of its index.
            self.templates.iter_mut().for_each(|template| template.around = None);
        }
        if pieces.is_empty() {
            self.keep_silent(chunk, size, signals);
            return Ok(());
        }
        let Some((shape, text)) = self.push_entries(chunk, pieces, signals)? else { return Ok(()) };
        let is_steady = reuse == TemplateReuse::Yes && !self.normalizer.holds_half();
        let around = unchanged_json.filter(|_| is_steady).and_then(|json| around(json, &text));
        self.templates.retain(|known| !Arc::ptr_eq(&known.shape, &shape));
        self.templates.insert(0, ChunkTemplate { around, shape });
        self.templates.truncate(TEMPLATES);
        Ok(())
    }

    /// Appends one entry for each piece; the last holds the JSON. Returns the shape and the text of a chunk that holds
    /// only one text.
    fn push_entries(
        &mut self,
        mut chunk: Object,
        mut pieces: Vec<ChunkPiece>,
        signals: &mut Signals,
    ) -> Result<Option<(Arc<Shape>, Escaped)>, AttemptErrorKind> {
        let Some(ChunkPiece { part, text, place }) = pieces.pop() else { return Ok(None) };
        let is_alone = pieces.is_empty() && place.is_some();
        signals.extend(pieces.into_iter().map(ChunkPiece::into_signal));
        hold_finish(&mut chunk);
        self.normalizer.write_head(&mut chunk);
        let (json, range) = chunk.to_json_around(place.and_then(|place| place.text_in(&chunk)));
        let (before, after) = json.get(..range.start).zip(json.get(range.end..)).ok_or(MALFORMED)?;
        let shape = self.intern(Shape::new(Some(Frame::new(ProviderDialect::OpenAiChat, before, after)), part));
        let kept = self.with_silent(Arc::clone(&shape));
        signals.push(Signal::Chunk(Chunk::new(kept, text.clone())));
        Ok(is_alone.then_some((shape, text)))
    }

    /// Returns the stored shape if there is an equal one: chunks that differ only in normalized members share it.
    fn intern(&self, shape: Shape) -> Arc<Shape> {
        let known = self.templates.iter().find(|template| *template.shape == shape);
        known.map_or_else(|| Arc::new(shape), |template| Arc::clone(&template.shape))
    }

    /// Returns the shape with the silent chunks before it.
    fn with_silent(&mut self, shape: Arc<Shape>) -> Arc<Shape> {
        if self.silent.chunks.is_empty() {
            return shape;
        }
        Arc::new(shape.after_silent(&self.write_silent()))
    }

    /// Returns the JSON of the silent chunks, a line for each, and removes them.
    fn write_silent(&mut self) -> String {
        let mut lines = String::new();
        for mut chunk in std::mem::take(&mut self.silent).chunks {
            hold_finish(&mut chunk);
            self.normalizer.write_head(&mut chunk);
            lines.push_str(&chunk.to_json());
            lines.push('\n');
        }
        lines
    }

    fn keep_silent(&mut self, chunk: Object, size: usize, signals: &mut Signals) {
        self.silent.chunks.push(chunk);
        self.silent.bytes += size;
        if self.silent.bytes <= MOST_SILENT {
            return;
        }
        let lines = self.write_silent();
        let lines = lines.trim_end();
        let (before, last) = lines.split_at(lines.rfind('\n').map_or(0, |end| end + 1));
        let frame = Frame::new(ProviderDialect::OpenAiChat, last, "");
        let shape = Shape::new(Some(frame), Part::Silent).after_silent(before);
        signals.push(Signal::Chunk(Chunk::new(Arc::new(shape), Escaped::default())));
    }
}

/// Returns the bytes around a text that occurs in `json` exactly once.
fn around(json: &str, text: &Escaped) -> Option<Frame> {
    let quoted = ["\"", text.as_str(), "\""].concat();
    let mut found = memmem::find_iter(json.as_bytes(), quoted.as_bytes());
    let start = found.next()? + 1;
    if found.next().is_some() {
        return None;
    }
    let (before, rest) = json.split_at_checked(start)?;
    Some(Frame::new(ProviderDialect::OpenAiChat, before, rest.get(text.as_str().len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ChunkJson;
    use crate::domain::UsageReport;
    use crate::upstream::ErrorReport;

    /// Decodes chunks, without the end of an answer.
    fn decode(chunks: &[&str]) -> Result<Signals, AttemptErrorKind> {
        let (mut decoder, mut signals) = (Decoder::new(&"m".to_owned().into()), Signals::new());
        for chunk in chunks {
            decoder.decode(b"", chunk.as_bytes(), &mut signals)?;
        }
        Ok(signals)
    }

    fn chunks(signals: &[Signal]) -> Vec<&Chunk> {
        signals.iter().filter_map(|signal| if let Signal::Chunk(chunk) = signal { Some(chunk) } else { None }).collect()
    }

    /// Returns the JSON of a chunk after that of the silent chunks before it.
    fn json_of(chunk: &Chunk) -> Option<String> {
        match chunk.json(ProviderDialect::OpenAiChat) {
            ChunkJson::Here { silent, pieces } => Some([silent, &pieces.concat()].concat()),
            ChunkJson::Later | ChunkJson::Absent => None,
        }
    }

    fn parts(chunks_json: &[&str]) -> Vec<(Part, String)> {
        let signals = decode(chunks_json).expect("well formed");
        chunks(&signals).iter().map(|chunk| (chunk.part().clone(), chunk.text().unescape().into_owned())).collect()
    }

    /// Returns the lines of a complete stream on the chat wire, and all its signals.
    fn wire(chunks_json: &[&str]) -> (Vec<String>, Signals) {
        let (mut decoder, mut signals) = (Decoder::new(&"m".to_owned().into()), Signals::new());
        for chunk in chunks_json {
            decoder.decode(b"", chunk.as_bytes(), &mut signals).expect("well formed");
        }
        decoder.decode(b"", b"[DONE]", &mut signals).expect("an answer");
        let mut lines = Vec::new();
        for signal in &signals {
            match signal {
                Signal::Chunk(chunk) => lines.extend(json_of(chunk)),
                Signal::End { trailer } => lines.push(trailer.chunks_json.to_string()),
                _ => {}
            }
        }
        (lines.join("\n").lines().map(str::to_owned).collect(), signals)
    }

    const TEXT: Part = Part::Text { choice: 0, logprobs_json: None };

    #[test]
    fn normal_chunks_are_reassembled_unchanged() {
        let sent = [
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"x":{"y":[1]}}"#,
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Zür"},"finish_reason":null}],"x":{"y":[1]}}"#,
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"ich \"\n"},"finish_reason":null}],"x":{"y":[1]}}"#,
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x":{"y":[1]}}"#,
        ];
        let (lines, signals) = wire(&sent);
        assert_eq!(lines, sent);
        assert_eq!(chunks(&signals).len(), 2, "no entry for a chunk without content");
    }

    #[test]
    fn chunks_that_differ_in_their_text_share_one_shape() {
        let said = ["a", "b", "c\\n"].map(|text| format!(r#"{{"choices":[{{"delta":{{"content":"{text}"}}}}]}}"#));
        let signals = decode(&said.each_ref().map(String::as_str)).expect("well formed");
        let chunks = chunks(&signals);
        assert!(!Arc::ptr_eq(chunks[0].shape(), chunks[1].shape()), "the first has the role");
        assert!(Arc::ptr_eq(chunks[1].shape(), chunks[2].shape()));
        assert_eq!(chunks[2].text().unescape(), "c\n");
    }

    #[test]
    fn chunk_that_matches_a_template_is_recognized() {
        for form in [
            r#" {"id":"c","choices":[{"delta":{"content":"TEXT"}}]} "#,
            r#"{"choices":[{"delta":{"content":[{"type":"text","text":"TEXT"}]}}],"usage":null}"#,
            r#"{"choices":[{"index":0,"delta":{"reasoning":"TEXT","content":""}}],"obfuscation":"x"}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"","function":{"arguments":"TEXT"}}]}}]}"#,
        ] {
            let said = |text: &str| form.replace("TEXT", text);
            let (mut decoder, mut signals) = (Decoder::new(&"m".to_owned().into()), Signals::new());
            for text in ["abc", "def"] {
                decoder.decode(b"", said(text).as_bytes(), &mut signals).expect("well formed");
            }
            let recognised = decoder.match_template(said("\\n\u{e9}").as_bytes()).expect(form);
            let parsed = parts(&[&said("abc"), &said("\\n\u{e9}")]).pop().expect("a part");
            assert_eq!((recognised.part().clone(), recognised.text().unescape().into_owned()), parsed);
        }
    }

    #[test]
    fn chunk_that_changes_the_state_leaves_no_template() {
        for form in [
            r#"{"choices":[{"delta":{"content":"TEXT"},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"delta":{"content":"TEXT"}}],"usage":{"prompt_tokens":1}}"#,
            r#"{"choices":[{"delta":{"reasoning":"TEXT","reasoning_content":"TEXT"}}]}"#,
        ] {
            let said = |text: &str| form.replace("TEXT", text);
            let (mut decoder, mut signals) = (Decoder::new(&"m".to_owned().into()), Signals::new());
            for text in ["abc", "def", "ghi"] {
                decoder.decode(b"", said(text).as_bytes(), &mut signals).expect("well formed");
            }
            assert!(decoder.match_template(said("jkl").as_bytes()).is_none(), "{form}");
            let shapes: Vec<_> = chunks(&signals)[1..].iter().map(|chunk| chunk.shape()).collect();
            let is_one = form.contains("reasoning") || Arc::ptr_eq(shapes[0], shapes[1]);
            assert!(is_one, "equal shapes are stored once");
        }
    }

    #[test]
    fn fragment_after_a_new_call_belongs_to_that_call() {
        let begin = |id: &str| {
            format!(
                r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":0,"id":"{id}","function":{{"name":"f","arguments":""}}}}]}}}}]}}"#
            )
        };
        let next = |text: &str| {
            format!(
                r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":0,"function":{{"arguments":"{text}"}}}}]}}}}]}}"#
            )
        };
        let sent = [begin("a"), next("aa"), next("ab"), begin("b"), next("ba"), next("bb")];
        let said = parts(&sent.each_ref().map(String::as_str));
        let of = |call: u32| -> String {
            let is_it = |part: &Part| matches!(part, Part::ToolCall { index, .. } if *index == call);
            said.iter().filter(|(part, _)| is_it(part)).map(|(_, text)| text.as_str()).collect()
        };
        assert_eq!((of(0).as_str(), of(1).as_str()), ("aaab", "babb"));
    }

    #[test]
    fn obfuscation_does_not_change_the_shape() {
        let said: Vec<_> = (0..100)
            .map(|at| format!(r#"{{"id":"c","choices":[{{"delta":{{"content":"a"}}}}],"obfuscation":"{at}"}}"#))
            .collect();
        let signals = decode(&said.iter().map(String::as_str).collect::<Vec<_>>()).expect("well formed");
        let chunks = chunks(&signals);
        assert!(chunks[2..].iter().all(|chunk| Arc::ptr_eq(chunk.shape(), chunks[1].shape())));
        assert!(chunks.iter().all(|chunk| !json_of(chunk).expect("whole").contains("obfuscation")));
    }

    #[test]
    fn chunk_with_more_members_than_the_template_is_parsed() {
        let trick = r#"{"choices":[{"delta":{"content":"b","refusal":"c"}}]}"#;
        let said = parts(&[r#"{"choices":[{"delta":{"content":"a"}}]}"#, trick]);
        assert_eq!(said[1..], [(TEXT, "b".to_owned()), (Part::Refusal { choice: 0 }, "c".to_owned())]);
    }

    #[test]
    fn chunk_with_several_pieces_has_several_entries_and_one_json() {
        let json = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"a"},"finish_reason":null},{"index":1,"delta":{"role":"assistant","content":"b"},"finish_reason":null}]}"#;
        let signals = decode(&[json]).expect("well formed");
        let frames: Vec<_> = chunks(&signals).into_iter().map(json_of).collect();
        assert_eq!(frames, [None, Some(json.to_owned())]);
    }

    #[test]
    fn reasoning_under_two_names_counts_once() {
        let expected = vec![(Part::Reasoning { choice: 0 }, "hm".to_owned())];
        assert_eq!(parts(&[r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#]), expected);
        assert_eq!(parts(&[r#"{"choices":[{"delta":{"reasoning":"hm","content":""}}]}"#]), expected);
        assert_eq!(parts(&[r#"{"choices":[{"delta":{"reasoning":"hm","reasoning_content":"hm"}}]}"#]), expected);
        let said = |one: &str, other: &str| {
            format!(r#"{{"choices":[{{"delta":{{"reasoning_content":"{one}","reasoning":"{other}"}}}}]}}"#)
        };
        let parts = parts(&[&said("a", "a"), &said("b", "b"), &said("c", "b")]);
        assert_eq!(parts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "b"]);
    }

    #[test]
    fn tool_call_fragments_become_parts_of_their_call() {
        let parts = parts(&[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"weather","arguments":""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"ci"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"call_2","function":{"name":"f","arguments":{"a":1}},"extra":1}]}}]}"#,
        ]);
        let text = |text: &str| Some(Escaped::from_text(text));
        let call = |index, id, name| Part::ToolCall { choice: 0, index, id, name };
        assert_eq!(parts[0], (call(0, text("call_1"), text("weather")), String::new()));
        assert_eq!(parts[1], (call(0, None, None), "{\"ci".to_owned()));
        assert_eq!(parts[2], (call(1, text("call_2"), text("f")), "{\"a\":1}".to_owned()));
        assert!(
            matches!(&parts[3].0, Part::Other { delta_json, .. } if &**delta_json == r#"{"tool_calls":[{"index":1,"extra":1}]}"#)
        );
    }

    #[test]
    fn unknown_members_of_a_delta_are_kept() {
        let said = parts(&[
            r#"{"choices":[{"delta":{"role":"assistant","audio":{"data":"AA"},"content":[{"type":"x"}],"x":null}}]}"#,
        ]);
        let delta_json = r#"{"audio":{"data":"AA"},"content":[{"type":"x"}]}"#.into();
        assert_eq!(said, [(Part::Other { choice: 0, delta_json }, String::new())]);
    }

    #[test]
    fn log_probabilities_stay_with_their_text() {
        let parts = parts(&[r#"{"choices":[{"delta":{"content":"a"},"logprobs":{"content":[{"token":"a"}]}}]}"#]);
        let logprobs_json = Some(r#"{"content":[{"token":"a"}]}"#.into());
        assert_eq!(parts, [(Part::Text { choice: 0, logprobs_json }, "a".to_owned())]);
    }

    #[test]
    fn message_or_text_instead_of_a_delta_is_read() {
        for json in [
            r#"{"choices":[{"message":{"role":"assistant","content":"a"}}]}"#,
            r#"{"choices":[{"delta":{},"message":{"content":"a"}}]}"#,
            r#"{"choices":[{"delta":null,"message":{"content":"a"}}]}"#,
            r#"{"choices":[{"index":"0","text":"a","logprobs":null}]}"#,
            r#"{"choices":[{"index":-1,"delta":{"content":"a"}}]}"#,
        ] {
            assert_eq!(parts(&[json]), [(TEXT, "a".to_owned())], "{json}");
        }
    }

    #[test]
    fn surrogate_halves_are_joined_and_lone_ones_are_replaced() {
        let delta = |delta: &str| format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#);
        let call = |arguments: &str| {
            delta(&format!(r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":"{arguments}"}}}}]}}"#))
        };
        let content = |text: &str| delta(&format!(r#"{{"content":"{text}"}}"#));
        let reasoning = |text: &str| delta(&format!(r#"{{"reasoning":"{text}","reasoning_content":"{text}"}}"#));
        for (sent, expected) in [
            (vec![content(r"Hi \ud83d"), content(r"\ude00 ok")], "Hi 😀 ok"),
            (vec![content("x"), content("y"), content(r"Hi \ud83d"), content(r"\ude00")], "xyHi 😀"),
            (vec![content(r"\ud83d"), content(""), content(r"\ude00")], "😀"),
            (vec![content(r"Hi \ud83d"), content(" there")], "Hi \u{fffd} there"),
            (vec![content(r"Hi \ud83d")], "Hi \u{fffd}"),
            (vec![content(r"\ude00a\ud83db")], "\u{fffd}a\u{fffd}b"),
            (vec![reasoning(r"Hm \ud83d"), reasoning(r"\ude00")], "Hm 😀"),
            (vec![call(r"\ud83d"), call(r"\ude00")], "😀"),
            (vec![call(r"a\ud83d")], "a\u{fffd}"),
        ] {
            let (lines, signals) = wire(&sent.iter().map(String::as_str).collect::<Vec<_>>());
            let text: String = chunks(&signals).iter().map(|chunk| chunk.text().unescape()).collect();
            assert_eq!(text, expected);
            let is_json = |line: &String| serde_json::from_str::<serde_json::Value>(line).is_ok();
            assert!(lines.iter().all(is_json), "{lines:?}");
        }
    }

    #[test]
    fn head_members_are_taken_from_the_first_chunk_that_has_them() {
        let (lines, _) = wire(&[
            r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[1]}"#,
            r#"{"choices":[{"delta":{"content":"","role":"assistant"}}],"created":5.5,"id":"a","model":"m1"}"#,
            r#"{"choices":[{"delta":{"content":"x"}}],"created":6,"id":"b","model":"m2"}"#,
        ]);
        assert_eq!(lines.len(), 4);
        for line in &lines {
            for member in [r#""id":"a""#, r#""created":5"#, r#""model":"m1""#, r#""object":"chat.completion.chunk""#] {
                assert!(line.contains(member), "{line}");
            }
        }
        assert!(lines[0].contains("prompt_filter_results"));
        let (lines, _) = wire(&[r#"{"id":7,"choices":[{"delta":{"content":"x"}}]}"#]);
        assert!(
            lines[0].contains(r#""id":"chatcmpl-"#) && lines[0].contains(r#""created":0,"model":"m""#),
            "{lines:?}"
        );
        let long = "x".repeat(10_000);
        let (lines, _) =
            wire(&[&format!(r#"{{"id":"{long}","model":"{long}","choices":[{{"delta":{{"content":"x"}}}}]}}"#)]);
        assert!(lines.iter().all(|line| line.len() < 300));
    }

    #[test]
    fn finish_reason_is_sent_once_and_last() {
        let chunk = |content: &str, finish: &str| {
            format!(
                r#"{{"id":"c","choices":[{{"index":0,"delta":{{"content":"{content}"}},"finish_reason":{finish}}}]}}"#
            )
        };
        for (sent, reason) in [
            (vec![chunk("a", "null"), chunk("", r#""stop""#)], "stop"),
            (vec![chunk("a", r#""stop""#)], "stop"),
            (vec![chunk("a", r#""stop""#), chunk("b", r#""stop""#), chunk("", r#""length""#)], "length"),
            (vec![chunk("a", r#""stop""#), chunk("b", "null")], "stop"),
            (vec![chunk("a", "null"), chunk("", r#""stop""#), chunk("", "null")], "stop"),
            (vec![chunk("a", "null"), chunk("", r#""stop""#), chunk("", r#""tool_calls""#)], "tool_calls"),
        ] {
            let (lines, signals) = wire(&sent.iter().map(String::as_str).collect::<Vec<_>>());
            let stated = |line: &&String| !line.contains(r#""finish_reason":null"#);
            let stating: Vec<_> = lines.iter().filter(stated).collect();
            assert_eq!(stating.len(), 1, "{lines:?}");
            assert!(stating[0].contains(&format!(r#""finish_reason":"{reason}""#)), "{lines:?}");
            let finish = Signal::Finish { choice: 0, reason: reason.into() };
            assert_eq!(
                signals.iter().filter(|signal| matches!(signal, Signal::Finish { .. })).collect::<Vec<_>>(),
                [&finish]
            );
        }
    }

    #[test]
    fn choice_without_a_finish_reason_is_marked() {
        let (lines, signals) = wire(&[r#"{"id":"a","created":5,"choices":[{"index":1,"delta":{"content":"x"}}]}"#]);
        assert_eq!(
            lines.last().map(String::as_str),
            Some(
                r#"{"choices":[{"index":1,"delta":{},"finish_reason":"stop","finish_reason_missing":true}],"id":"a","object":"chat.completion.chunk","created":5,"model":"m"}"#
            )
        );
        assert!(!signals.iter().any(|signal| matches!(signal, Signal::Finish { .. })));
    }

    #[test]
    fn done_without_content_is_an_empty_answer() {
        for sent in
            [vec![], vec![r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#], vec![r#"{"choices":[]}"#]]
        {
            let (mut decoder, mut signals) =
                (Decoder::new(&"m".to_owned().into()), decode(&sent).expect("well formed"));
            for chunk in sent {
                decoder.decode(b"", chunk.as_bytes(), &mut signals).expect("well formed");
            }
            assert_eq!(decoder.decode(b"", b" [DONE] ", &mut signals), Err(AttemptErrorKind::Empty));
        }
    }

    #[test]
    fn usage_is_sent_at_the_end() {
        let usage = r#"{"id":"a","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"x":2},"x\u2028":[1]}"#;
        let placeholder = r#"{"choices":[],"usage":{}}"#;
        let (lines, signals) = wire(&[r#"{"choices":[{"delta":{"content":"x"}}]}"#, placeholder, usage]);
        assert!(lines.iter().all(|line| !line.contains("usage")), "{lines:?}");
        let report = UsageReport { input_tokens: Some(3), output_tokens: Some(5), ..UsageReport::default() };
        let reports: Vec<_> = signals.iter().filter(|signal| matches!(signal, Signal::Usage(_))).collect();
        assert_eq!(reports, [&Signal::Usage(report)]);
        let Some(Signal::End { trailer }) = signals.last() else { panic!("no end") };
        assert_eq!(trailer.usage_json.as_deref(), Some(r#"{"prompt_tokens":3,"completion_tokens":5,"x":2}"#));
        assert!(trailer.head_json.ends_with(r#","x\u2028":[1]"#), "{}", trailer.head_json);
    }

    #[test]
    fn silent_chunks_above_the_limit_become_entries() {
        let (mut decoder, mut signals) = (Decoder::new(&"m".to_owned().into()), Signals::new());
        for number in 0..10_000 {
            let chunk = format!(r#"{{"choices":[],"x":{number}}}"#);
            decoder.decode(b"", chunk.as_bytes(), &mut signals).expect("well formed");
            assert!(decoder.silent.bytes <= MOST_SILENT);
        }
        decoder
            .decode(b"", br#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#, &mut signals)
            .expect("well formed");
        let kept: Vec<String> = chunks(&signals).into_iter().filter_map(json_of).collect();
        let number = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["x"].as_u64();
        let numbers: Vec<_> = kept.join("\n").lines().map(number).collect();
        assert!(numbers.into_iter().eq((0..10_000).map(Some).chain([None])), "each token once and in order");
    }

    #[test]
    fn failure_ends_a_stream_after_the_content_of_its_chunk() {
        let (mut decoder, mut signals) = (Decoder::new(&"m".to_owned().into()), Signals::new());
        let json = r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"error"}],"error":{"message":"m"}}"#;
        let report = ErrorReport::read(json.as_bytes()).expect("an error");
        assert_eq!(
            decoder.decode(b"", json.as_bytes(), &mut signals),
            Err(AttemptErrorKind::Reported(Box::new(report)))
        );
        assert_eq!(chunks(&signals)[0].text().as_str(), "a");
        let named = decoder.decode(b"error", b"[DONE]", &mut signals);
        assert!(matches!(named, Err(AttemptErrorKind::Reported(_))));
    }

    #[test]
    fn event_that_is_not_a_chunk_is_malformed() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let many = |list: &str, of: &str| format!(r#"{{"{list}":[{}]}}"#, vec![of; 1025].join(","));
        let calls = format!(r#"{{"choices":[{{"delta":{}}}]}}"#, many("tool_calls", r#"{"index":0}"#));
        for json in [
            "{",
            "[]",
            "words",
            r#"{"choices":{}}"#,
            r#"{"choices":[null]}"#,
            r#"{"choices":[{"delta":[]}]}"#,
            r#"{"choices":[{"delta":"x"}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":{}}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":["x"]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"function":7}]}}]}"#,
            r#"{"choices":[{"index":4294967295,"delta":{}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":7}]}"#,
            deep.as_str(),
            &many("choices", "{}"),
            &calls,
        ] {
            assert_eq!(decode(&[json]), Err(MALFORMED), "{json}");
        }
    }

    #[test]
    fn invalid_utf_8_is_replaced() {
        let (mut decoder, mut signals) = (Decoder::new(&"m".to_owned().into()), Signals::new());
        for bytes in [
            &b"{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}"[..],
            b"{\"choices\":[{\"delta\":{\"content\":\"b\xff\"}}]}",
        ] {
            decoder.decode(b"", bytes, &mut signals).expect("a chunk");
        }
        assert_eq!(chunks(&signals)[1].text().unescape(), "b\u{fffd}");
    }

    #[test]
    fn every_prefix_of_a_chunk_is_malformed() {
        let json = r#"{"choices":[{"delta":{"content":"é\u00e9","tool_calls":[{"id":1,"function":{}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#;
        for end in 1..json.len() {
            assert!(
                Decoder::new(&"m".to_owned().into()).decode(b"", &json.as_bytes()[..end], &mut Signals::new()).is_err(),
                "{end}"
            );
        }
    }
}
