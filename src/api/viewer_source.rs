//! The event stream of a generation's viewer.

use std::task::{Context, Poll, ready};

use futures_util::StreamExt;

use super::output_pieces::OutputPieces;
use super::sse::{EventStreamError, Source, StreamLifetime};
use super::wire::encoder::{CatchUp, Encoder, Notice, PageEffect};
use super::wire::frames::Frames;
use super::wire::retry::Retry;
use crate::domain::GenerationId;
use crate::generation::Following;

/// Encodes the events for a viewer on the wire that it asked for.
pub struct ViewerSource<E> {
    generation: GenerationId,
    following: Following,
    encoder: E,
    catch_up: CatchUp,
    /// The blocks of the last page from the first text on that has to be read from the log.
    unsent: Option<Box<OutputPieces>>,
    /// The last event of this stream has been encoded.
    over: bool,
}

impl<E> ViewerSource<E> {
    pub fn new(following: Following, encoder: E) -> Self {
        let generation = following.start().generation;
        Self { generation, following, encoder, catch_up: CatchUp::default(), unsent: None, over: false }
    }
}

impl<E: Encoder> Source for ViewerSource<E> {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        frames: &mut Frames,
    ) -> Poll<Option<Result<usize, EventStreamError>>> {
        if let Some(unsent) = &mut self.unsent {
            return match ready!(unsent.poll_next_unpin(context)) {
                Some(Ok(piece)) => {
                    frames.append(&piece);
                    Poll::Ready(Some(Ok(0)))
                }
                Some(Err(lost)) => Poll::Ready(Some(Err(lost.into()))),
                None => {
                    self.unsent = None;
                    Poll::Ready(Some(Ok(0)))
                }
            };
        }
        if self.over {
            self.following.end_was_sent();
            return Poll::Ready(None);
        }
        let page = match self.following.poll_page(context) {
            Poll::Ready(Some(Ok(page))) => page,
            Poll::Ready(Some(Err(lost))) => return Poll::Ready(Some(Err(lost.into()))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let effect = self.catch_up.page(&page, &mut self.encoder, frames);
        match effect {
            PageEffect::Encoded(entries) | PageEffect::EncodedLast(entries) => {
                self.over = matches!(effect, PageEffect::EncodedLast(_));
                let unsent = frames.split_off_logged();
                self.unsent = unsent.map(|pieces| Box::new(OutputPieces::new(self.following.texts(), pieces)));
                return Poll::Ready(Some(Ok(entries)));
            }
            PageEffect::Skipped => {}
            PageEffect::Rewind => self.following.rewind(),
        }
        // Yields after each page that is not sent, because a log may have many.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_over(&self) -> bool {
        self.over && self.unsent.is_none()
    }

    fn is_in_block(&self) -> bool {
        self.unsent.is_some()
    }

    /// Appends the generation's queue position if it changed.
    fn poll_unlogged(&mut self, context: &mut Context<'_>, frames: &mut Frames) -> Poll<()> {
        if self.catch_up.is_behind() {
            return Poll::Pending;
        }
        let position = self.following.poll_queue_position(context);
        position.map(|ahead| self.encoder.notice(Notice::Queued(ahead), frames))
    }

    fn write_retry(&mut self, retry: Retry, frames: &mut Frames) {
        self.encoder.notice(Notice::Reconnect(retry), frames);
    }

    fn lifetime(&self) -> StreamLifetime {
        StreamLifetime::UntilLastEvent
    }

    fn generation(&self) -> Option<GenerationId> {
        Some(self.generation)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use serde_json::{Value, json};

    use super::*;
    use crate::api::ready_writes::ready_writes;
    use crate::api::wire::block_encoder::BlockEncoder;
    use crate::domain::{
        CancelReason, Cancelled, Chunk, Entry, Escaped, Event, Part, Principal, Sequence, Shape, Start, Timestamp,
        Timings, Usage, UsageRequest,
    };
    use crate::generation::LogLost;
    use crate::generation::fixture::FixtureLog;

    /// Returns a log of a text, the arguments of a call in the middle of it, and the end.
    fn log(page: usize, arguments: &[Escaped]) -> Arc<FixtureLog> {
        let start = Start {
            generation: GenerationId::random(),
            owner: Principal::Anonymous,
            model: "m".into(),
            created_at: Timestamp::now(),
            prompt: None,
            metadata: [].into(),
            usage: UsageRequest::NotAsked,
            notes: None,
            chat: None,
        };
        let chunk =
            |part: Part, text: &Escaped| Event::Chunk(Chunk::new(Arc::new(Shape::new(None, part)), text.clone()));
        let text = |text: &str| chunk(Part::Text { choice: 0, logprobs_json: None }, &Escaped::from_text(text));
        let call = Part::ToolCall { choice: 0, index: 0, id: None, name: None };
        let (usage, timings) = (Usage::default(), Timings::default());
        let events = [Event::Start(Arc::new(start)), text("Hel")]
            .into_iter()
            .chain(arguments.iter().map(|fragment| chunk(call.clone(), fragment)))
            .chain([text("lo\n")])
            .chain([Event::Cancelled(Arc::new(Cancelled { reason: CancelReason::ClientRequest, usage, timings }))]);
        let entries =
            (1..).map(Sequence::new).zip(events).map(|(sequence, event)| Entry::new(sequence, event)).collect();
        let log = FixtureLog::new(entries, page);
        log.show(usize::MAX);
        log
    }

    fn source(log: &Arc<FixtureLog>, after: u64) -> ViewerSource<BlockEncoder> {
        ViewerSource::new(log.viewer(Sequence::new(after)), BlockEncoder::default())
    }

    /// Returns the whole texts of blocks, and all texts at the end.
    fn whole_texts(writes: &[Vec<u8>]) -> Vec<Value> {
        let stream = String::from_utf8(writes.concat()).expect("UTF-8");
        let events = stream.split_terminator("\n\n").map(|block| {
            serde_json::from_str::<Value>(block.strip_prefix("data: ").expect("data")).expect("JSON on one line")
        });
        events
            .filter_map(|mut event| match event["type"].as_str() {
                Some("block_stop") => Some(event["text"].take()),
                Some("end") => Some(event["output"].take()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn block_ends_with_its_text_as_a_string_or_as_json() {
        let fragments = |texts: &[&str]| texts.iter().map(|text| Escaped::from_text(text)).collect::<Vec<_>>();
        for (arguments, expected) in [
            (fragments(&["{\"a\u{2028}\":\r\n", "[1,\"\\u00e9\"]", "}"]), json!({"a\u{2028}": [1, "\u{e9}"]})),
            (fragments(&["{\"a\":", "1"]), json!("{\"a\":1")),
            (fragments(&[""]), json!("")),
        ] {
            let whole = arguments.iter().map(|fragment| fragment.unescape().into_owned()).collect::<String>();
            let writes = ready_writes(&mut source(&log(2, &arguments), 0)).expect("the log is kept");
            assert_eq!(whole_texts(&writes), [json!("Hel"), expected, json!("lo\n"), json!(["Hello\n", whole])]);
        }
    }

    #[test]
    fn text_larger_than_a_piece_is_inserted_whole() {
        let text = "\u{1f600}\\\"\u{e9}-".repeat(20_000);
        let json = Value::from(text.as_str()).to_string().replace('\u{1f600}', "\\ud83d\\ude00");
        for escaped in [
            Escaped::from_text(&json),
            Escaped::from_json_content(&json.replace('\\', "\\\\").replace('"', "\\u0022")).expect("a text"),
        ] {
            let writes = ready_writes(&mut source(&log(2, &[escaped]), 0)).expect("the log is kept");
            assert_eq!(whole_texts(&writes)[1], text);
        }
    }

    #[test]
    fn text_is_read_page_by_page_as_the_client_reads() {
        let fragment = Escaped::from_text(&"a".repeat(1_000));
        let log = log(16, &vec![fragment; 1_000]);
        let mut source = source(&log, 0);
        let (waker, mut frames) = (Waker::noop(), Frames::default());
        let (mut reads, mut bytes) = (0, 0);
        loop {
            match source.poll_write(&mut Context::from_waker(waker), &mut frames) {
                Poll::Ready(None) => break,
                written => {
                    assert!(!matches!(written, Poll::Ready(Some(Err(_)))), "{written:?}");
                    assert!(log.reads() <= reads + 1, "one page is read for each write");
                    assert!(frames.len() <= 18 << 10, "a write has at most a page: {}", frames.len());
                    reads = log.reads();
                    bytes += frames.take().len();
                }
            }
        }
        assert!(bytes > 3_000_000, "{bytes}: each fragment as a delta, with its block and with the output");
    }

    #[test]
    fn viewer_that_resumes_before_the_end_of_a_block_receives_its_whole_text() {
        let log = log(2, &["{\"a\":", "1}"].map(Escaped::from_text));
        let whole = ready_writes(&mut source(&log, 0)).expect("the log is kept").concat();
        let after_second = ready_writes(&mut source(&log, 3)).expect("the log is kept").concat();
        assert!(whole.ends_with(&after_second));
        assert_eq!(whole_texts(&[after_second]), [json!({"a": 1}), json!("lo\n"), json!(["Hello\n", "{\"a\":1}"])]);
    }

    #[test]
    fn block_whose_text_is_lost_is_not_completed() {
        let log = log(8, &[Escaped::from_text("{}")]);
        let mut source = source(&log, 0);
        let waker = Waker::noop();
        let (mut context, mut frames) = (Context::from_waker(waker), Frames::default());
        while source.poll_write(&mut context, &mut frames).is_pending() {}
        assert!(source.is_in_block() && !source.is_over());
        let before = frames.take();
        assert!(before.ends_with(b"\"type\":\"block_stop\",\"index\":0,\"number\":3,\"text\":\""));
        log.lose();
        for _ in 0..2 {
            let lost = loop {
                if let Poll::Ready(written) = source.poll_write(&mut context, &mut frames) {
                    break written;
                }
            };
            assert_eq!(lost, Some(Err(LogLost.into())));
            assert!(frames.is_empty());
            assert!(source.is_in_block() && !source.is_over());
        }
    }
}
