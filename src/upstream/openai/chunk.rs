//! Reads chat completion chunks: all that is needed and no more.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::super::{ErrorReport, Malformed, Signal, Signals, UpstreamError};
use super::canonical::Canon;
use super::pieces::{MALFORMED, Piece, Text, WireChoice, WireChunk, WireUsage};
use super::templates::{Family, OwnAt, Templates};
use crate::domain::{Chunk, Escaped, Frame, Part, Shape, wire_safe};

/// Turns the data of each event of one stream into signals.
///
/// A chunk that differs from a recent one in its text alone is recognised by the bytes around the
/// text, and a stream that begins as another of its upstream did knows its forms from that; only a chunk of a new form is parsed. Neither
/// builds a JSON tree.
#[derive(Debug)]
pub struct Decoder {
    /// What the request named, for a server that does not name its model.
    model: String,
    canon: Canon,
    forms: Vec<Form>,
    templates: Templates,
    /// The one that this stream belongs to; `None` where its first chunk is no template.
    family: Option<Arc<Family>>,
    /// Chunks that said nothing to the native wire (a role, a finish reason), each with a line feed.
    /// They are kept with the next chunk that says something, so that no entry is a silent one.
    silent: String,
}

/// The bytes around the text of a chunk as it came, and the shape that such a chunk is kept in.
#[derive(Debug)]
struct Form {
    /// Absent where it is kept as it came.
    around: Option<Frame>,
    shape: Arc<Shape>,
    /// Until it is known to the family, if it is for others.
    unshared: Option<OwnAt>,
}

impl Form {
    fn around(&self) -> Option<&Frame> {
        self.around.as_ref().or(self.shape.frame.as_deref())
    }
}

/// Forms remembered: a stream alternates between a few (two choices, reasoning and text).
pub const FORMS: usize = 4;
/// Silent chunks kept back at most; more become an entry of their own, so that the log's limit holds
/// for them too.
const MOST_SILENT: usize = 16 * 1024;

impl Decoder {
    pub fn new(model: String, templates: Templates) -> Self {
        let (canon, forms, silent) = (Canon::default(), Vec::new(), String::new());
        Self { model, canon, forms, templates, family: None, silent }
    }

    /// Reads one event's data.
    pub fn decode(&mut self, data: &[u8], signals: &mut Signals) -> Result<(), UpstreamError> {
        if data.trim_ascii() == b"[DONE]" {
            signals.push(self.end());
            return Ok(());
        }
        if let Some(chunk) = self.recognise(data) {
            signals.push(Signal::Chunk(chunk));
            return Ok(());
        }
        if self.canon.is_fresh() && self.begin_as_another(data, signals) {
            return Ok(());
        }
        let data = wire_safe(data);
        let json = std::str::from_utf8(&data).map_err(|_| UpstreamError::Malformed(Malformed::Encoding))?;
        self.parse(json, signals)
    }

    /// The end of the answer, with what no chunk has carried.
    pub fn end(&mut self) -> Signal {
        Signal::End { trailer: self.canon.close(std::mem::take(&mut self.silent), &self.model) }
    }

    fn recognise(&mut self, data: &[u8]) -> Option<Chunk> {
        let (form, text) = self.forms.iter_mut().find_map(|form| {
            let Frame { before, after } = form.around()?;
            let text = data.strip_prefix(before.as_bytes())?.strip_suffix(after.as_bytes())?;
            let text = Some(text).filter(|text| !text.is_empty())?;
            // A text that holds an unescaped quote is no text: the bytes mean something else.
            let text = Escaped::from_unparsed(text).ok()?;
            Some((form, text))
        })?;
        let shape = Arc::clone(&form.shape);
        if let (Some(own), Some(family)) = (form.unshared.take(), &mut self.family) {
            self.templates.learn(family, &shape, &own);
        }
        Some(Chunk::new(self.behind_silent(shape), text))
    }

    /// The shape with the chunks before it that said nothing.
    fn behind_silent(&mut self, shape: Arc<Shape>) -> Arc<Shape> {
        if self.silent.is_empty() || shape.frame.is_none() {
            return shape;
        }
        let silent = std::mem::take(&mut self.silent).into();
        Arc::new(Shape { silent, ..Shape::clone(&shape) })
    }

    /// Whether this is the first chunk of another stream but for what is each stream's own; then all is as if it had
    /// been parsed, and that stream's forms are known.
    fn begin_as_another(&mut self, data: &[u8], signals: &mut Signals) -> bool {
        let Ok(json) = std::str::from_utf8(data) else { return false };
        let Some((family, own)) = self.templates.find(json) else { return false };
        self.canon = Canon::begun(own, &family.model, family.choice);
        self.forms = family.shapes(own).map(|shape| Form { around: None, shape, unshared: None }).collect();
        self.family = Some(family);
        self.keep_silent(json, signals);
        true
    }

    fn parse(&mut self, json: &str, signals: &mut Signals) -> Result<(), UpstreamError> {
        let (is_first, said) = (self.canon.is_fresh(), signals.len());
        let chunk = WireChunk::read(json);
        if chunk.is_err() && WireChunk::is_unreadable_error(json) {
            return Err(UpstreamError::Reported(Box::new(ErrorReport::read(json.as_bytes()).unwrap_or_default())));
        }
        let chunk = chunk?;
        if chunk.is_error() {
            return Err(UpstreamError::Reported(Box::new(ErrorReport::read(json.as_bytes()).unwrap_or_default())));
        }
        let pieces = chunk.pieces()?;
        // Where a next chunk of this form would have its text.
        let text = pieces.last().filter(|_| !chunk.says_twice()).and_then(|piece| piece.text.range_in(json));
        let canonical = self.canon.chunk(&chunk, &self.model);
        let shape = match &canonical.json {
            None => None,
            Some(Cow::Borrowed(same)) => self.push_chunks(same, pieces, signals)?,
            Some(Cow::Owned(right)) => self.push_chunks(right, WireChunk::read(right)?.pieces()?, signals)?,
        };
        // Blanks around it are not.
        let is_kept = matches!(canonical.json, Some(Cow::Borrowed(same)) if same.len() == json.len());
        let text = text.and_then(|text| split(json, &text));
        if let Some((around, shape)) = text.zip(shape.filter(|_| canonical.repeats)) {
            // Of another choice nobody knows how far it is in another stream.
            let is_for_others = is_kept && chunk.choices.len() == 1;
            let unshared = if is_for_others { OwnAt::of(json, &chunk.members) } else { None };
            let around = (!is_kept).then(|| Frame::new(around.0, around.1));
            self.learn(Form { around, shape, unshared });
        } else if is_first && is_kept && said == signals.len() {
            let choice = self.canon.sole_role();
            self.family = choice.and_then(|choice| self.templates.begun(json, &chunk.members, choice));
        }
        signals.extend(chunk.choices.iter().filter_map(WireChoice::finish));
        signals.extend(chunk.usage.and_then(WireUsage::counted).map(Signal::Usage));
        Ok(())
    }

    /// One chunk for each piece; the last holds the JSON. Answers the shape of a chunk that is all text.
    fn push_chunks(
        &mut self,
        json: &str,
        mut pieces: Vec<Piece<'_>>,
        signals: &mut Signals,
    ) -> Result<Option<Arc<Shape>>, UpstreamError> {
        // What is told in another form than it has in the JSON cannot be cut out of it: the JSON then
        // waits for the next chunk.
        let framed = pieces.pop_if(|piece| !matches!(piece.text, Text::Made(_)));
        let Some(Piece { part, text }) = framed else {
            for piece in pieces {
                signals.push(piece.alone()?);
            }
            self.keep_silent(json, signals);
            return Ok(None);
        };
        let alone = pieces.is_empty();
        for piece in pieces {
            signals.push(piece.alone()?);
        }
        let range = text.range_in(json).unwrap_or(json.len()..json.len());
        let (before, after) = split(json, &range).ok_or(MALFORMED)?;
        let clean = self.shared(Shape::new(Some(Frame::new(before, after)), part));
        let kept = self.behind_silent(Arc::clone(&clean));
        signals.push(Signal::Chunk(Chunk::new(kept, text.escaped()?)));
        Ok(Some(clean).filter(|_| alone && !range.is_empty()))
    }

    /// The same shape once: servers that vary a chunk in what is put right differ in nothing that is kept.
    fn shared(&self, shape: Shape) -> Arc<Shape> {
        let known = self.forms.iter().find(|form| *form.shape == shape);
        known.map_or_else(|| Arc::new(shape), |form| Arc::clone(&form.shape))
    }

    /// Remembers the form of a chunk whose next may differ in its text alone.
    fn learn(&mut self, form: Form) {
        self.forms.retain(|known| !Arc::ptr_eq(&known.shape, &form.shape));
        self.forms.insert(0, form);
        self.forms.truncate(FORMS);
    }

    fn keep_silent(&mut self, json: &str, signals: &mut Signals) {
        if self.silent.len() + json.len() > MOST_SILENT {
            let silent = std::mem::take(&mut self.silent).into();
            let shape = Shape { silent, ..Shape::new(Some(Frame::new(json, "")), Part::Silent) };
            signals.push(Signal::Chunk(Chunk::new(Arc::new(shape), Escaped::default())));
        } else {
            // As much as the first takes, which is the only one as a rule, and stays in the log.
            self.silent.reserve(json.len() + 1);
            self.silent.push_str(json);
            self.silent.push('\n');
        }
    }
}

fn split<'a>(json: &'a str, at: &Range<usize>) -> Option<(&'a str, &'a str)> {
    json.get(..at.start).zip(json.get(at.end..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UsageReport;

    fn decode(chunks: &[&str]) -> Result<Signals, UpstreamError> {
        let mut decoder = Decoder::new("m".into(), Templates::default());
        let mut signals = Signals::new();
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
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"x":{"y":[1]}}"#,
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Zür"},"finish_reason":null}],"x":{"y":[1]}}"#,
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"ich \"\n"},"finish_reason":null}],"x":{"y":[1]}}"#,
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x":{"y":[1]}}"#,
        ];
        let mut decoder = Decoder::new("m".into(), Templates::default());
        let mut signals = Signals::new();
        for chunk in sent {
            decoder.decode(chunk.as_bytes(), &mut signals).expect("well formed");
        }
        let Signal::End { trailer } = decoder.end() else { unreachable!() };
        let mut kept: Vec<String> =
            chunks(&signals).iter().map(|chunk| chunk.json().expect("whole").concat()).collect();
        kept.push(trailer.chunks_json.into());
        assert_eq!(kept.join("\n").lines().collect::<Vec<_>>(), sent);
        assert_eq!(kept.len(), 3, "no entry for a chunk that says nothing");
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
    fn blanks_around_a_chunk_hide_no_form() {
        let said = |text: &str| format!(r#" {{"id":"c","choices":[{{"delta":{{"content":"{text}"}}}}]}} "#);
        let mut decoder = Decoder::new("m".into(), Templates::default());
        let mut signals = Signals::new();
        for text in ["a", "b"] {
            decoder.decode(said(text).as_bytes(), &mut signals).expect("well formed");
        }
        assert!(decoder.recognise(said("c").as_bytes()).is_some());
    }

    #[test]
    fn more_choices_or_calls_than_have_an_index_are_not_kept() {
        for (list, of) in [("choices", "{}"), ("choices", r#"{"index":0}"#)] {
            let many = |count: usize| format!(r#"{{"{list}":[{}]}}"#, vec![of; count].join(","));
            assert!(decode(&[&many(1024)]).is_ok());
            assert!(decode(&[&many(1025)]).is_err());
        }
        let calls = |count: usize| {
            let calls = vec![r#"{"index":0,"function":{"arguments":"a"}}"#; count].join(",");
            format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{calls}]}}}}]}}"#)
        };
        assert!(decode(&[&calls(1024)]).is_ok());
        assert!(decode(&[&calls(1025)]).is_err());
    }

    #[test]
    fn an_error_whose_message_was_cut_is_an_error() {
        let cut = r#"{"error":{"message":"too much \ud83d"}}"#;
        assert_eq!(
            decode(&[cut]).err(),
            Some(UpstreamError::Reported(Box::new(ErrorReport::read(cut.as_bytes()).expect("an error"))))
        );
    }

    /// A role, a text and an end.
    fn stream(id: &str, created: &str, text: &str) -> [String; 3] {
        let chunk = |delta: &str, finish: &str| {
            format!(
                r#"{{"id":{id},"object":"chat.completion.chunk","created":{created},"model":"m","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}],"x":1}}"#
            )
        };
        let role = chunk(r#"{"role":"assistant","content":""}"#, "null");
        [role, chunk(&format!(r#"{{"content":"{text}"}}"#), "null"), chunk("{}", r#""stop""#)]
    }

    #[test]
    fn a_stream_that_begins_as_another_did_is_known_without_being_parsed() {
        let templates = Templates::default();
        let read = |chunks: &[String], templates: &Templates| {
            let (mut decoder, mut signals) = (Decoder::new("m".into(), templates.clone()), Signals::new());
            let mut forms = Vec::new();
            for chunk in chunks {
                decoder.decode(chunk.as_bytes(), &mut signals).expect("well formed");
                forms.push(decoder.forms.len());
            }
            signals.push(decoder.end());
            (signals, forms)
        };
        let [role, text, end] = stream(r#""chatcmpl-1""#, "1764171234", "a");
        assert_eq!(read(&[role.clone(), text.clone(), end.clone()], &templates).1, [0, 1, 1]);
        assert_eq!(read(&[role, text.clone(), text, end], &templates).1, [0, 1, 1, 1], "once is not enough");
        let next = stream(r#""chatcmpl-22""#, "1764171299", "b\\n");
        let (signals, forms) = read(&next, &templates);
        assert_eq!(forms, [1, 1, 1], "its forms are known from its first chunk");
        assert_eq!(signals, read(&next, &Templates::default()).0);
        let frame = chunks(&signals)[0].json().expect("whole").concat();
        assert_eq!(frame, next[..2].join("\n"));

        // One that no client could read as it is, or that is longer than what is kept, is looked at.
        let long = format!("\"{}\"", "x".repeat(300));
        let ids = [r#""""#, "7", "null", r#""a\"b""#, "\"a\u{2028}b\"", r#""a b""#, long.as_str()];
        let times = ["0", "01", "-1", "1.5", "1e3", "\"1\"", "null", "99999999999999999999"];
        let strange = ids.map(|id| (id, "1")).into_iter().chain(times.map(|created| ("\"c\"", created)));
        for (id, created) in strange {
            let [first, ..] = stream(id, created, "a");
            let mut decoder = Decoder::new("m".into(), templates.clone());
            assert!(!decoder.begin_as_another(first.as_bytes(), &mut Signals::new()), "{first}");
        }
    }

    #[test]
    fn what_is_one_token_s_or_one_call_s_or_large_is_kept_for_no_other_stream() {
        let templates = Templates::default();
        // How many forms a stream begins with after one that said this beside its texts.
        let texts = |beside: &[&str]| {
            let [role, plain, _] = stream("\"a\"", "1", "a");
            let said =
                beside.iter().map(|beside| plain.replace(r#""finish_reason""#, &format!(r#"{beside}"finish_reason""#)));
            let mut decoder = Decoder::new("m".into(), templates.clone());
            for chunk in [role].into_iter().chain(said).chain([plain.clone(), plain.clone()]) {
                decoder.decode(chunk.as_bytes(), &mut Signals::new()).expect("well formed");
            }
            let mut next = Decoder::new("m".into(), templates.clone());
            assert!(next.begin_as_another(stream("\"b\"", "2", "")[0].as_bytes(), &mut Signals::new()));
            next.forms.len()
        };
        for token in 0..10 {
            let logprobs = format!(r#""logprobs":{{"content":[{{"token":"{token}"}}]}},"#);
            assert_eq!(texts(&[&logprobs, &logprobs]), 1);
            assert_eq!(texts(&[&format!(r#""token":{token},"#)]), 1, "it was said once");
        }
        let large = format!(r#""y":"{}","#, "y".repeat(2048));
        assert_eq!(texts(&[&large, &large]), 1);
        assert_eq!(texts(&[r#""y":1,"#, r#""y":1,"#]), 2);
    }

    #[test]
    fn a_first_chunk_that_says_something_is_no_template() {
        let said = |id: &str| {
            format!(
                r#"{{"id":"{id}","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{{"role":"assistant","tool_calls":[{{"index":0,"function":{{"name":"f","arguments":{{"a":1}}}}}}]}},"finish_reason":null}}]}}"#
            )
        };
        let templates = Templates::default();
        for id in ["a", "b"] {
            let mut signals = Signals::new();
            Decoder::new("m".into(), templates.clone()).decode(said(id).as_bytes(), &mut signals).expect("well formed");
            assert_eq!(chunks(&signals).len(), 1, "{signals:?}");
        }
    }

    #[test]
    fn padding_against_who_counts_bytes_makes_no_shape() {
        let said: Vec<_> = (0..100)
            .map(|at| format!(r#"{{"id":"c","choices":[{{"delta":{{"content":"a"}}}}],"obfuscation":"{at}"}}"#))
            .collect();
        let signals = decode(&said.iter().map(String::as_str).collect::<Vec<_>>()).expect("well formed");
        let chunks = chunks(&signals);
        assert!(chunks[2..].iter().all(|chunk| Arc::ptr_eq(chunk.shape(), chunks[1].shape())));
        assert!(chunks.iter().all(|chunk| !chunk.json().expect("whole").concat().contains("obfuscation")));
    }

    #[test]
    fn bytes_that_only_look_like_a_known_shape_are_parsed() {
        let trick = r#"{"choices":[{"delta":{"content":"b","refusal":"c"}}]}"#;
        let signals = parts(&[r#"{"choices":[{"delta":{"content":"a"}}]}"#, trick]);
        assert_eq!(signals[1..], [(TEXT, "b".to_owned()), (Part::Refusal { choice: 0 }, "c".to_owned())]);
    }

    #[test]
    fn a_chunk_that_says_several_things_is_several_entries_and_is_kept_once() {
        let json = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"a"},"finish_reason":null},{"index":1,"delta":{"role":"assistant","content":"b"},"finish_reason":"length"}]}"#;
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
    fn reasoning_under_two_names_is_never_recognised_by_one_of_them() {
        let said = |one: &str, other: &str| {
            format!(r#"{{"choices":[{{"delta":{{"reasoning":"{one}","reasoning_content":"{other}"}}}}]}}"#)
        };
        let parts = parts(&[&said("a", "a"), &said("b", "b"), &said("c", "b")]);
        assert_eq!(parts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "b"]);
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
        let usage = UsageReport {
            input_tokens: Some(3),
            output_tokens: Some(5),
            reasoning_tokens: Some(2),
            ..UsageReport::default()
        };
        let read: Vec<_> = signals.iter().filter(|signal| matches!(signal, Signal::Usage(_))).collect();
        assert_eq!(read, [&Signal::Usage(usage)]);
    }

    #[test]
    fn silent_chunks_without_end_do_not_gather_here() {
        let mut decoder = Decoder::new("m".into(), Templates::default());
        let mut signals = Signals::new();
        for number in 0..10_000 {
            let chunk = format!(r#"{{"choices":[],"x":{number}}}"#);
            decoder.decode(chunk.as_bytes(), &mut signals).expect("well formed");
            assert!(decoder.silent.len() <= MOST_SILENT + 200);
        }
        assert!(!signals.is_empty());
        let Signal::End { trailer } = decoder.end() else { unreachable!() };
        let mut kept: Vec<String> =
            chunks(&signals).iter().map(|chunk| chunk.json().expect("whole").concat()).collect();
        kept.push(trailer.chunks_json.into());
        let number = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["x"].as_u64();
        let numbers: Vec<_> = kept.join("\n").lines().map(number).collect();
        // The last is the end that nobody has said.
        let expected = (0..10_000).map(Some).chain([None]);
        assert!(numbers.into_iter().eq(expected), "each once and in order");
    }

    #[test]
    fn an_error_in_the_stream_is_an_error() {
        for json in [
            r#"{"error":{"message":"secret"}}"#,
            r#"{"type":"error","error":"x"}"#,
            r#"{"object":"error","message":"x"}"#,
        ] {
            assert_eq!(
                decode(&[json]),
                Err(UpstreamError::Reported(Box::new(ErrorReport::read(json.as_bytes()).expect("an error")))),
                "{json}"
            );
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
            r#"{"choices":[{"delta":{"content":"a"},"logprobs":{"content":[{"token":"\ud800"}]}}]}"#,
            r#"{"choices":[{"delta":{"content":"a","content":"b"}}]}"#,
            r#"{"id":"a","id":"b","choices":[]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"a","name":"b"}}]}}]}"#,
            r#"{"choices":[{"index":4294967295,"delta":{}}]}"#,
            r#"{"choices":[{"index":-1,"delta":{}}]}"#,
            deep.as_str(),
        ] {
            assert_eq!(decode(&[json]), Err(MALFORMED), "{json}");
        }
        let mut decoder = Decoder::new("m".into(), Templates::default());
        let malformed = decoder.decode(b"{\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}", &mut Signals::new());
        assert_eq!(malformed, Err(UpstreamError::Malformed(Malformed::Encoding)));
    }

    #[test]
    fn every_prefix_of_a_chunk_is_an_answer_and_never_a_panic() {
        let json = r#"{"choices":[{"delta":{"content":"é\u00e9","tool_calls":[{"id":1,"function":{}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#;
        for end in 0..json.len() {
            assert!(
                Decoder::new("m".into(), Templates::default())
                    .decode(&json.as_bytes()[..end], &mut Signals::new())
                    .is_err()
            );
        }
    }
}
