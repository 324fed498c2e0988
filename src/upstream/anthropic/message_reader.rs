//! Reads the body of one answer, from its first byte to its end.

use super::super::answer_parser::AnswerParser;
use super::super::deadlines::ReadProgress;
use super::super::sse::Parser;
use super::super::{AttemptErrorKind, ErrorReport, MalformedResponseError, Signal, Signals};
use super::content_blocks::{ContentBlocks, MALFORMED, push_other};
use super::known_error::with_code;
use super::message_usage::MessageUsage;
use crate::domain::{FinishReason, Trailer, decode_utf8, wire_safe};
use crate::json::{Object, RawText, Tree};

/// Converts the events of Anthropic's stream to signals, with exactly one ending: a [`Signal::End`] at `message_stop`,
/// or at the end of the body once the model has stopped, or an error. Unknown events and deltas are ignored, as Anthropic requires of clients.
#[derive(Debug)]
pub struct MessageReader {
    body: AnswerBytes,
    message: Message,
    max_event: usize,
}

#[derive(Debug)]
enum AnswerBytes {
    /// Only blanks so far.
    Unknown,
    Events(Parser),
    /// JSON instead of a stream: an error. Parsed when it has ended.
    Document(Vec<u8>),
}

/// What the events have brought so far.
#[derive(Debug)]
struct Message {
    blocks: ContentBlocks,
    usage: MessageUsage,
    state: MessageState,
    has_content: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageState {
    Reading,
    /// The model has stopped, for a reason that it stated.
    Stopped,
    Ended,
}

impl MessageReader {
    /// `max_event` is the largest event, or JSON document, in bytes.
    pub fn new(max_event: usize) -> Self {
        let message = Message {
            blocks: ContentBlocks::new(max_event),
            usage: MessageUsage::default(),
            state: MessageState::Reading,
            has_content: false,
        };
        Self { body: AnswerBytes::Unknown, message, max_event }
    }

    /// Decides the kind of the body by its first byte that is not blank.
    fn begin(&mut self, bytes: &[u8]) -> Result<(), AttemptErrorKind> {
        match bytes.trim_ascii_start().first() {
            None => {}
            Some(b'{' | b'[') => self.body = AnswerBytes::Document(Vec::new()),
            Some(b'<') => return Err(AttemptErrorKind::Malformed(MalformedResponseError::ContentType)),
            Some(_) => self.body = AnswerBytes::Events(Parser::new(self.max_event)),
        }
        Ok(())
    }
}

impl AnswerParser for MessageReader {
    fn feed(&mut self, bytes: &[u8], signals: &mut Signals) -> Result<(), AttemptErrorKind> {
        if matches!(self.body, AnswerBytes::Unknown) {
            self.begin(bytes)?;
        }
        let Self { body, message, max_event } = self;
        match body {
            AnswerBytes::Unknown => Ok(()),
            AnswerBytes::Events(parser) => parser.feed(bytes, |event| message.event(event.data, signals)),
            AnswerBytes::Document(json) if json.len() + bytes.len() > *max_event => {
                Err(AttemptErrorKind::Malformed(MalformedResponseError::EventTooLarge))
            }
            AnswerBytes::Document(json) => {
                json.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Ends an answer whose model has stopped, also without `message_stop`. Otherwise returns `error`, unless the body is an
    /// error in JSON.
    fn cut_off(&mut self, error: AttemptErrorKind, signals: &mut Signals) -> Result<(), AttemptErrorKind> {
        if self.message.state == MessageState::Stopped {
            return self.message.end(signals);
        }
        let AnswerBytes::Document(json) = &self.body else { return Err(error) };
        match ErrorReport::read(json) {
            Some(report) => Err(AttemptErrorKind::Reported(Box::new(with_code(report)))),
            None if serde_json::from_slice::<serde::de::IgnoredAny>(json).is_ok() => {
                Err(AttemptErrorKind::Malformed(MalformedResponseError::ContentType))
            }
            None => Err(error),
        }
    }

    fn has_ended(&self) -> bool {
        self.message.state == MessageState::Ended
    }

    fn progress(&self) -> ReadProgress {
        match self.message.state {
            MessageState::Reading => ReadProgress::Unfinished,
            MessageState::Stopped | MessageState::Ended => ReadProgress::Finished,
        }
    }
}

impl Message {
    fn event(&mut self, data: &[u8], signals: &mut Signals) -> Result<(), AttemptErrorKind> {
        if self.state == MessageState::Ended {
            return Ok(());
        }
        let data = decode_utf8(data);
        let safe = wire_safe(data.as_bytes());
        let json = std::str::from_utf8(&safe).map_err(|_| MALFORMED)?;
        let Ok(Tree::Object(event)) = Tree::parse(json) else { return Err(MALFORMED) };
        let before = signals.len();
        let read = self.read(&event, json, signals);
        self.has_content |= signals.iter().skip(before).any(|signal| matches!(signal, Signal::Chunk(_)));
        read
    }

    fn read(&mut self, event: &Object, json: &str, signals: &mut Signals) -> Result<(), AttemptErrorKind> {
        let member = |name: &str| event.present(name).and_then(Tree::as_object);
        match event.text("type").map(RawText::as_str) {
            Some("message_start") => {
                let message = member("message");
                if let Some(usage) = message.and_then(|message| message.present("usage")?.as_object()) {
                    self.usage.begin(usage);
                    signals.push(Signal::Usage(self.usage.report()));
                }
                Ok(())
            }
            Some("content_block_start") => {
                let (index, block) = index(event).zip(member("content_block")).ok_or(MALFORMED)?;
                self.blocks.start(index, block, signals)
            }
            Some("content_block_delta") => {
                let (index, delta) = index(event).zip(member("delta")).ok_or(MALFORMED)?;
                self.blocks.delta(index, delta, signals)
            }
            Some("content_block_stop") => self.blocks.stop(index(event).ok_or(MALFORMED)?, signals),
            Some("message_delta") => {
                self.delta(member("delta"), member("usage"), signals);
                Ok(())
            }
            Some("message_stop") => self.end(signals),
            Some("error") => Err(AttemptErrorKind::Reported(Box::new(with_code(
                ErrorReport::read(json.as_bytes()).unwrap_or_default(),
            )))),
            // A gateway's error has no type.
            None => ErrorReport::read(json.as_bytes())
                .map_or(Ok(()), |report| Err(AttemptErrorKind::Reported(Box::new(with_code(report))))),
            Some(_) => Ok(()),
        }
    }

    fn delta(&mut self, delta: Option<&Object>, usage: Option<&Object>, signals: &mut Signals) {
        if let Some(usage) = usage {
            self.usage.update(usage);
            signals.push(Signal::Usage(self.usage.report()));
        }
        let Some(delta) = delta else { return };
        if let Some(details) = delta.present("stop_details") {
            push_other("stop_details", details.clone(), signals);
        }
        if let Some(sequence) = delta.text("stop_sequence") {
            push_other("stop_sequence", Tree::Text(sequence.clone()), signals);
        }
        if let Some(reason) = delta.text("stop_reason") {
            self.state = MessageState::Stopped;
            signals.push(Signal::Finish { choice: 0, reason: finish_reason(reason) });
        }
    }

    fn end(&mut self, signals: &mut Signals) -> Result<(), AttemptErrorKind> {
        let before = signals.len();
        self.blocks.stop_all(signals)?;
        // Signals of the same read may precede: only those of the blocks are content.
        let has_content = self.has_content || signals.len() > before;
        if self.state == MessageState::Reading && !has_content {
            return Err(AttemptErrorKind::Empty);
        }
        self.state = MessageState::Ended;
        signals.push(Signal::End { trailer: Trailer::default() });
        Ok(())
    }
}

fn index(event: &Object) -> Option<u32> {
    if let Tree::Literal(index) = event.get("index")? { index.parse().ok() } else { None }
}

/// Converts a stop reason to OpenAI's word. An unknown one passes unchanged.
fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "end_turn" | "stop_sequence" | "pause_turn" => "stop",
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        "refusal" => "content_filter",
        other => other,
    }
    .into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{Part, UsageReport};

    const CUT: AttemptErrorKind = AttemptErrorKind::Disconnected { cause: std::borrow::Cow::Borrowed("cut") };

    fn event(event: &Value) -> String {
        format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("x"))
    }

    fn stream(events: &[Value]) -> String {
        events.iter().map(event).collect()
    }

    fn start(index: u32, block: &Value) -> Value {
        json!({"type": "content_block_start", "index": index, "content_block": block})
    }

    fn delta(index: u32, delta: &Value) -> Value {
        json!({"type": "content_block_delta", "index": index, "delta": delta})
    }

    fn stop(index: u32) -> Value {
        json!({"type": "content_block_stop", "index": index})
    }

    fn message_start() -> Value {
        let usage = json!({"input_tokens": 5, "cache_read_input_tokens": 10, "output_tokens": 1});
        json!({"type": "message_start", "message": {"id": "msg_1", "content": [], "usage": usage}})
    }

    fn message_delta(reason: &str) -> Value {
        json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 7}})
    }

    fn message_stop() -> Value {
        json!({"type": "message_stop"})
    }

    /// Reads a body in reads of these sizes, and returns its signals and its ending.
    fn read(body: &[u8], sizes: impl IntoIterator<Item = usize>) -> (Vec<Signal>, Result<(), AttemptErrorKind>) {
        let (mut reader, mut signals, mut rest) = (MessageReader::new(4_096), Signals::new(), body);
        for size in sizes {
            let (bytes, after) = rest.split_at(size.min(rest.len()));
            rest = after;
            if let Err(error) = reader.feed(bytes, &mut signals) {
                return (signals.into_vec(), Err(error));
            }
        }
        let ending = reader.feed(rest, &mut signals);
        let ending = ending.and_then(|()| if reader.has_ended() { Ok(()) } else { reader.cut_off(CUT, &mut signals) });
        (signals.into_vec(), ending)
    }

    /// Describes a signal in one text.
    fn said(signal: &Signal) -> String {
        match signal {
            Signal::Chunk(chunk) => {
                let text = chunk.text().unescape();
                match chunk.part() {
                    Part::Text { .. } => format!("text {text}"),
                    Part::Reasoning { .. } => format!("reasoning {text}"),
                    Part::ToolCall { index, id, name, .. } => {
                        let [id, name] =
                            [id, name].map(|word| word.as_ref().map_or("-".into(), |word| word.unescape()));
                        format!("call {index} {id} {name} {text}")
                    }
                    Part::Other { delta_json, .. } => format!("other {delta_json}"),
                    part => format!("{part:?}"),
                }
            }
            Signal::Finish { reason, .. } => format!("finish {reason}"),
            Signal::Usage(UsageReport { input_tokens, output_tokens, .. }) => {
                format!("usage {input_tokens:?} {output_tokens:?}")
            }
            Signal::End { .. } => "end".to_owned(),
        }
    }

    fn whole(events: &[Value]) -> (Vec<String>, Result<(), AttemptErrorKind>) {
        let (signals, ending) = read(stream(events).as_bytes(), None);
        (signals.iter().map(said).collect(), ending)
    }

    fn two_tools() -> Vec<Value> {
        let thinking = json!({"type": "thinking", "thinking": "", "signature": ""});
        let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "weather", "input": {}});
        let arguments = |json: &str| json!({"type": "input_json_delta", "partial_json": json});
        vec![
            message_start(),
            json!({"type": "ping"}),
            start(0, &thinking),
            delta(0, &json!({"type": "thinking_delta", "thinking": "h\u{e9}"})),
            delta(0, &json!({"type": "thinking_delta", "thinking": "m\n"})),
            json!({"type": "ping"}),
            delta(0, &json!({"type": "signature_delta", "signature": "c2ln+/="})),
            stop(0),
            start(1, &json!({"type": "redacted_thinking", "data": "x"})),
            stop(1),
            start(2, &json!({"type": "text", "text": ""})),
            delta(2, &json!({"type": "text_delta", "text": "Let me \u{2028}see"})),
            stop(2),
            start(3, &call("a")),
            delta(3, &arguments("")),
            delta(3, &arguments("{\"city\": \"Z")),
            delta(3, &arguments("\u{fc}rich\"}")),
            stop(3),
            start(4, &call("b")),
            delta(4, &arguments("")),
            stop(4),
            message_delta("tool_use"),
            message_stop(),
        ]
    }

    #[test]
    fn blocks_become_text_reasoning_tool_calls_and_parts() {
        let (said, ending) = whole(&two_tools());
        assert_eq!(ending, Ok(()));
        assert_eq!(
            said,
            [
                "usage Some(15) None",
                "reasoning h\u{e9}",
                "reasoning m\n",
                r#"other {"thinking_blocks":[{"type":"thinking","thinking":"hém\n"XX"#,
                r#"other {"thinking_blocks":[{"type":"redacted_thinking","data":"x"}]}"#,
                "text Let me \u{2028}see",
                "call 0 a weather ",
                "call 0 - - {\"city\": \"Z",
                "call 0 - - \u{fc}rich\"}",
                "call 1 b weather ",
                "call 1 - - {}",
                "usage Some(15) Some(7)",
                "finish tool_calls",
                "end",
            ]
            .map(|said| said.replace("\"XX", "\",\"signature\":\"c2ln+/=\"}]}"))
        );
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_signals(sizes in prop::collection::vec(0..200_usize, 0..60)) {
            let bytes = stream(&two_tools());
            prop_assert_eq!(read(bytes.as_bytes(), sizes.clone()), read(bytes.as_bytes(), None));
            let empty = stream(&[message_start(), message_stop()]);
            prop_assert_eq!(read(empty.as_bytes(), sizes), read(empty.as_bytes(), None));
        }
    }

    #[test]
    fn cut_is_a_failure_until_the_model_has_stopped() {
        let bytes = stream(&two_tools());
        let stopped = bytes.rfind("event: message_stop").expect("a stop");
        for cut in 0..bytes.len() {
            let (signals, ending) = read(&bytes.as_bytes()[..cut], None);
            let has_ended = signals.iter().any(|signal| matches!(signal, Signal::End { .. }));
            let expected = if cut < stopped { (Err(CUT), false) } else { (Ok(()), true) };
            assert_eq!((ending, has_ended), expected, "cut at {cut}, stopped at {stopped}");
        }
    }

    #[test]
    fn stop_reasons_become_finish_reasons() {
        for (reason, finish) in [
            ("end_turn", "stop"),
            ("stop_sequence", "stop"),
            ("pause_turn", "stop"),
            ("max_tokens", "length"),
            ("model_context_window_exceeded", "length"),
            ("tool_use", "tool_calls"),
            ("refusal", "content_filter"),
            ("novel", "novel"),
        ] {
            let (said, ending) = whole(&[message_delta(reason), message_stop()]);
            assert_eq!((said[1].as_str(), ending), (&*format!("finish {finish}"), Ok(())));
        }
    }

    #[test]
    fn unknown_events_deltas_and_members_are_ignored() {
        let (said, ending) = whole(&[
            json!({"type": "novel", "index": "x"}),
            start(0, &json!({"type": "text", "text": "a", "citations": null})),
            delta(0, &json!({"type": "novel_delta", "text": "no"})),
            delta(9, &json!({"type": "text_delta", "text": "no"})),
            delta(0, &json!({"type": "text_delta", "text": "b", "novel": 1})),
            stop(0),
            stop(9),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_details": null}}),
            message_stop(),
            delta(0, &json!({"type": "text_delta", "text": "after the end"})),
        ]);
        assert_eq!(
            (said.as_slice(), ending),
            (&["text a", "text b", "finish stop", "end"].map(str::to_owned)[..], Ok(()))
        );
    }

    #[test]
    fn citations_server_tools_and_stop_details_are_parts() {
        let (said, ending) = whole(&[
            start(0, &json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})),
            delta(0, &json!({"type": "input_json_delta", "partial_json": "{\"query\":"})),
            delta(0, &json!({"type": "input_json_delta", "partial_json": "\"q\"}"})),
            stop(0),
            start(1, &json!({"type": "text", "text": ""})),
            delta(1, &json!({"type": "citations_delta", "citation": {"url": "u"}})),
            json!({"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": {"category": "c"}, "stop_sequence": "x"}}),
            message_stop(),
        ]);
        assert_eq!(ending, Ok(()));
        assert_eq!(
            said,
            [
                r#"other {"content_blocks":[{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"q"}}]}"#,
                r#"other {"citations":[{"url":"u"}]}"#,
                r#"other {"stop_details":{"category":"c"}}"#,
                r#"other {"stop_sequence":"x"}"#,
                "finish content_filter",
                "end",
            ]
        );
    }

    #[test]
    fn thinking_without_a_signature_is_no_part() {
        let (said, _) = whole(&[
            start(0, &json!({"type": "thinking", "thinking": "a"})),
            stop(0),
            start(1, &json!({"type": "thinking", "thinking": "", "signature": "s"})),
            stop(1),
        ]);
        assert_eq!(
            said,
            ["reasoning a", r#"other {"thinking_blocks":[{"type":"thinking","thinking":"","signature":"s"}]}"#]
        );
    }

    #[test]
    fn error_event_ends_the_answer_behind_what_came_before() {
        let error =
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"});
        for before in [vec![], vec![message_start(), start(0, &json!({"type": "text", "text": "a"}))]] {
            let (said, ending) = whole(&[before.clone(), vec![error.clone()]].concat());
            assert_eq!(said.len(), before.len());
            let Err(AttemptErrorKind::Reported(report)) = ending else { panic!("{ending:?}") };
            assert_eq!(
                (report.kind.as_deref(), report.message.as_deref()),
                (Some("overloaded_error"), Some("Overloaded"))
            );
        }
        let untyped = "data: {\"error\":{\"message\":\"m\"}}\n\n";
        assert!(matches!(read(untyped.as_bytes(), None).1, Err(AttemptErrorKind::Reported(_))));
    }

    #[test]
    fn body_that_is_no_stream_of_events_is_a_failure() {
        let malformed = |kind| Err(AttemptErrorKind::Malformed(kind));
        for (body, ending) in [
            (String::new(), Err(CUT)),
            ("\r\n \n".to_owned(), Err(CUT)),
            ("<html>".to_owned(), malformed(MalformedResponseError::ContentType)),
            (r#"{"type":"message","content":[]}"#.to_owned(), malformed(MalformedResponseError::ContentType)),
            (r#"{"type":"mess"#.to_owned(), Err(CUT)),
            ("data: words\n\n".to_owned(), malformed(MalformedResponseError::Chunk)),
            (event(&json!({"type": "content_block_start", "index": 0})), malformed(MalformedResponseError::Chunk)),
            (event(&message_stop()), Err(AttemptErrorKind::Empty)),
            (format!("data: {}\n\n", "x".repeat(5_000)), malformed(MalformedResponseError::EventTooLarge)),
            (format!("{{{}", "x".repeat(5_000)), malformed(MalformedResponseError::EventTooLarge)),
        ] {
            assert_eq!(read(body.as_bytes(), None).1, ending, "{body}");
        }
        let error = r#"{"type":"error","error":{"type":"api_error","message":"m"}}"#;
        assert!(matches!(read(error.as_bytes(), [7, 7]).1, Err(AttemptErrorKind::Reported(_))));
    }

    #[test]
    fn debug_prints_no_thinking() {
        let mut reader = MessageReader::new(4_096);
        let secret = json!({"type": "thinking", "thinking": "secret", "signature": "secret"});
        reader.feed(event(&start(0, &secret)).as_bytes(), &mut Signals::new()).expect("a block");
        assert!(!format!("{reader:?}").contains("secret"));
    }

    #[test]
    fn blocks_that_are_kept_until_their_end_are_bounded() {
        let too_large = Err(AttemptErrorKind::Malformed(MalformedResponseError::EventTooLarge));
        let input = json!({"type": "input_json_delta", "partial_json": "x".repeat(1_000)});
        let mut events = vec![start(0, &json!({"type": "server_tool_use"}))];
        events.extend((0..5).map(|_| delta(0, &input)));
        assert_eq!(whole(&events).1, too_large);
        let many: Vec<_> = (0..100).map(|index| start(index, &json!({"type": "text"}))).collect();
        assert_eq!(whole(&many).1, Err(MALFORMED));
    }
}
