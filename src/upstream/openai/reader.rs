//! Reads the body of one answer, from its first byte to its end.

use super::super::answer_parser::AnswerParser;
use super::super::deadlines::ReadProgress;
use super::super::sse::{BYTE_ORDER_MARK, Parser, StreamEvent};
use super::super::{AttemptErrorKind, MalformedResponseError, Signal, Signals};
use super::chunk::Decoder;
use super::completion::read_completion;
use super::shown_model::ShownModel;

/// Converts the bytes of one answer to signals, with exactly one ending: a [`Signal::End`] or an error.
///
/// The bytes of the body, not its content type, decide between an event stream and one JSON document. The reader knows
/// neither time nor connections: the caller reports the end of the bytes with [`AnswerReader::cut_off`].
#[derive(Debug)]
pub struct AnswerReader {
    body: AnswerBody,
    decoder: Decoder,
    state: ReaderState,
    model: ShownModel,
    /// The number of requested choices.
    choices: usize,
    max_event: usize,
}

#[derive(Debug)]
enum AnswerBody {
    /// Only blanks so far, or the beginning of a byte order mark.
    Unknown(Vec<u8>),
    Events(Parser),
    /// A completion instead of a stream, or an error. Parsed when it has ended.
    Document(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReaderState {
    Reading,
    Ended,
}

impl AnswerReader {
    /// `choices` is the number of requested
    /// choices; `max_event` is the largest event, or JSON document, in bytes.
    pub fn new(model: impl Into<ShownModel>, choices: usize, max_event: usize) -> Self {
        let model = model.into();
        let (body, decoder) = (AnswerBody::Unknown(Vec::new()), Decoder::new(&model));
        Self { body, decoder, state: ReaderState::Reading, model, choices, max_event }
    }

    /// Returns whether every choice, requested or received, has its finish reason. The answer is then complete,
    /// whatever happens to its connection.
    pub fn is_whole(&self) -> bool {
        self.decoder.has_finished(self.choices)
    }

    /// Decides the kind of the body once its first byte that is not blank has arrived.
    fn begin(&mut self, signals: &mut Signals) -> Result<(), AttemptErrorKind> {
        let AnswerBody::Unknown(begun) = &mut self.body else { return Ok(()) };
        if begun.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(begun) {
            return Ok(());
        }
        let text = begun.strip_prefix(BYTE_ORDER_MARK).unwrap_or(begun).trim_ascii_start();
        match text.first() {
            None => Ok(()),
            Some(b'{' | b'[') => {
                self.body = AnswerBody::Document(text.to_vec());
                Ok(())
            }
            Some(b'<') => Err(AttemptErrorKind::Malformed(MalformedResponseError::ContentType)),
            Some(_) => {
                let begun = std::mem::take(begun);
                self.body = AnswerBody::Events(Parser::new(self.max_event));
                self.events(&begun, signals)
            }
        }
    }

    fn events(&mut self, bytes: &[u8], signals: &mut Signals) -> Result<(), AttemptErrorKind> {
        let Self { body: AnswerBody::Events(parser), decoder, state, .. } = self else { return Ok(()) };
        parser.feed(bytes, |StreamEvent { name, data }| {
            if *state == ReaderState::Ended {
                return Ok(());
            }
            let said = signals.len();
            decoder.decode(name, data, signals)?;
            if signals.iter().skip(said).any(|signal| matches!(signal, Signal::End { .. })) {
                *state = ReaderState::Ended;
            }
            Ok(())
        })
    }
}

impl AnswerParser for AnswerReader {
    fn feed(&mut self, bytes: &[u8], signals: &mut Signals) -> Result<(), AttemptErrorKind> {
        let read = match &mut self.body {
            AnswerBody::Events(_) => self.events(bytes, signals),
            AnswerBody::Unknown(begun) | AnswerBody::Document(begun) => {
                if begun.len() + bytes.len() > self.max_event {
                    return Err(AttemptErrorKind::Malformed(MalformedResponseError::EventTooLarge));
                }
                begun.extend_from_slice(bytes);
                if matches!(self.body, AnswerBody::Document(_)) { Ok(()) } else { self.begin(signals) }
            }
        };
        match read {
            // Malformed data after the finish reasons ends the answer normally. A reported error still fails it.
            Err(AttemptErrorKind::Malformed(_)) if !self.has_ended() && self.is_whole() => {
                self.state = ReaderState::Ended;
                self.decoder.end(signals)
            }
            read => read,
        }
    }

    fn cut_off(&mut self, error: AttemptErrorKind, signals: &mut Signals) -> Result<(), AttemptErrorKind> {
        let ended = match &self.body {
            AnswerBody::Document(json) => match read_completion(json, &self.model, signals) {
                // The document may have been cut off.
                Err(AttemptErrorKind::Malformed(_) | AttemptErrorKind::Disconnected { .. }) => Err(error),
                read => read,
            },
            _ if self.is_whole() => self.decoder.end(signals),
            _ => Err(error),
        };
        if ended.is_ok() {
            self.state = ReaderState::Ended;
        }
        ended
    }

    fn has_ended(&self) -> bool {
        self.state == ReaderState::Ended
    }

    fn progress(&self) -> ReadProgress {
        match (self.is_whole(), self.decoder.has_usage()) {
            (false, _) => ReadProgress::Unfinished,
            (true, false) => ReadProgress::Finished,
            (true, true) => ReadProgress::FinishedWithUsage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: AttemptErrorKind = AttemptErrorKind::Disconnected { cause: std::borrow::Cow::Borrowed("cut") };
    const TEXT: &str = r#"{"choices":[{"delta":{"content":"Hello"}}]}"#;
    const FINISH: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;

    /// Returns the text and the ending of a body that arrives in reads of `size` bytes.
    fn read(body: &[u8], size: usize) -> (String, Result<(), AttemptErrorKind>) {
        let (mut reader, mut signals) = (AnswerReader::new("m".to_owned(), 1, 300), Signals::new());
        let fed = body.chunks(size).try_for_each(|bytes| reader.feed(bytes, &mut signals));
        let ending = fed.and_then(|()| if reader.has_ended() { Ok(()) } else { reader.cut_off(CUT, &mut signals) });
        let text = signals.iter().filter_map(|signal| match signal {
            Signal::Chunk(chunk) => Some(chunk.text().unescape().into_owned()),
            _ => None,
        });
        (text.collect(), ending)
    }

    #[test]
    fn body_has_one_ending_for_every_read_size() {
        let reported = |json: &str| {
            let report = super::super::super::ErrorReport::read(json.as_bytes()).expect("an error");
            Err(AttemptErrorKind::Reported(Box::new(report)))
        };
        let completion = r#"{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}"#;
        let error = r#"{"error":{"message":"m"}}"#;
        for (body, text, ending) in [
            (format!("data: {TEXT}\n\ndata: {FINISH}\n\ndata: [DONE]\n\n"), "Hello", Ok(())),
            (format!("data: {TEXT}\n\ndata: [DONE]\n\n"), "Hello", Ok(())),
            (format!("data: {TEXT}\n\ndata: {FINISH}\n\n"), "Hello", Ok(())),
            (format!("data: {TEXT}\n\ndata: {FINISH}\n\ndata: words\n\n"), "Hello", Ok(())),
            (format!("data: {TEXT}\n\ndata: {FINISH}\n\ndata: {error}\n\n"), "Hello", reported(error)),
            (format!("data: {TEXT}\n\ndata: {FINISH}\n\ndata: {TEXT}\n\n"), "HelloHello", Ok(())),
            (format!("data: {TEXT}\n\n"), "Hello", Err(CUT)),
            (format!(": hi\n\ndata: null\n\ndata:\n\ndata: {TEXT}\n\ndata: [DONE]\n\n"), "Hello", Ok(())),
            (format!("\u{feff}data: {TEXT}\n\ndata: [DONE]\n\ndata: {TEXT}\n\n"), "Hello", Ok(())),
            (
                format!("\r\n\ndata: {TEXT}\n\nevent: error\ndata: {{\"detail\":\"m\"}}\n\n"),
                "Hello",
                reported(r#"{"detail":"m"}"#),
            ),
            ("data: [DONE]\n\n".to_owned(), "", Err(AttemptErrorKind::Empty)),
            (String::new(), "", Err(CUT)),
            ("\n \n".to_owned(), "", Err(CUT)),
            (completion.to_owned(), "Hello", Ok(())),
            (format!("\u{feff}\n {completion}\n"), "Hello", Ok(())),
            (completion.chars().take(40).collect(), "", Err(CUT)),
            (TEXT.replace('{', r#"{"object":"chat.completion.chunk","#), "", Err(CUT)),
            (error.to_owned(), "", reported(error)),
            (format!("[{error}]"), "", reported(error)),
            ("<html>".to_owned(), "", Err(AttemptErrorKind::Malformed(MalformedResponseError::ContentType))),
            ("Bad gateway\n\n".to_owned(), "", Err(CUT)),
            (
                format!("{{\"x\":\"{}\"}}", "x".repeat(300)),
                "",
                Err(AttemptErrorKind::Malformed(MalformedResponseError::EventTooLarge)),
            ),
            (
                format!("data: \"{}\"}}", "x".repeat(300)),
                "",
                Err(AttemptErrorKind::Malformed(MalformedResponseError::EventTooLarge)),
            ),
        ] {
            for size in [1, 2, 7, 1000] {
                assert_eq!(read(body.as_bytes(), size), (text.to_owned(), ending.clone()), "{body} in reads of {size}");
            }
        }
    }

    #[test]
    fn answer_has_progressed_to_its_finish_reason_and_then_to_its_usage() {
        let mut reader = AnswerReader::new("m".to_owned(), 1, 1 << 20);
        for (bytes, progress) in [
            (": ping\n\n".to_owned(), ReadProgress::Unfinished),
            (format!("data: {TEXT}\n\n"), ReadProgress::Unfinished),
            (format!("data: {FINISH}\n\n"), ReadProgress::Finished),
            (
                "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n".to_owned(),
                ReadProgress::FinishedWithUsage,
            ),
        ] {
            reader.feed(bytes.as_bytes(), &mut Signals::new()).expect("no fault");
            assert_eq!(reader.progress(), progress, "{bytes}");
        }
    }

    #[test]
    fn role_and_empty_delta_are_no_token() {
        let role = r#"data: {"choices":[{"delta":{"role":"assistant","content":""}}]}"#;
        let (mut reader, mut signals) = (AnswerReader::new("m".to_owned(), 1, 1 << 20), Signals::new());
        reader.feed(format!("{role}\n\n").as_bytes(), &mut signals).expect("a chunk");
        let is_token = |signal: &Signal| matches!(signal, Signal::Chunk(chunk) if chunk.part().choice().is_some());
        assert!(!signals.iter().any(is_token), "{signals:?}");
    }

    #[test]
    fn answer_is_whole_when_every_choice_has_finished() {
        let mut reader = AnswerReader::new("m".to_owned(), 2, 1 << 20);
        let event = |index: u32, finish: &str| {
            format!(
                "data: {{\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"a\"}},\"finish_reason\":{finish}}}]}}\n\n"
            )
        };
        let mut is_whole = |event: String| {
            reader.feed(event.as_bytes(), &mut Signals::new()).expect("a chunk");
            reader.is_whole()
        };
        assert!(!is_whole(event(0, r#""stop""#)), "two were requested");
        assert!(!is_whole(event(1, "null")));
        assert!(is_whole(event(1, r#""stop""#)));
        assert!(!is_whole(event(2, "null")), "a third choice has begun");
    }
}
