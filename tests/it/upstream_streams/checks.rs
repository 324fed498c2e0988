//! Invariants for arbitrary bytes: the bodies of the fuzz targets and of the tests that run their corpora.

use tokenrill::domain::{ChunkJson, ProviderDialect, Trailer, UsageRequest};
use tokenrill::upstream::sse::{EventTooLargeError, Parser, StreamEvent};
use tokenrill::upstream::{AnswerParser as _, AnswerReader, AttemptErrorKind, Framing, ResponseHead, Signal, Signals};

use super::{reference, wires};

/// Longer than any input, because the Standard, with which the parser is compared, has no limit.
const NO_LIMIT: usize = usize::MAX;
/// Short enough that inputs exceed it.
const LIMIT: usize = 24;

/// The largest event of an answer.
const LARGEST_EVENT: usize = 1 << 20;

/// Parses these reads. Returns the data of the events, and an error if one was too large.
pub fn parse<'a>(
    limit: usize,
    reads: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<String>, Result<(), EventTooLargeError>) {
    let mut parser = Parser::new(limit);
    let mut events = Vec::new();
    let parsed = reads.into_iter().try_for_each(|read| {
        parser.feed(read, |StreamEvent { data, .. }| {
            events.push(String::from_utf8_lossy(data).into_owned());
            Ok(())
        })
    });
    (events, parsed)
}

/// An event stream is parsed as the Standard requires. Read boundaries never change the result, for any limit.
pub fn event_stream(bytes: &[u8]) {
    assert_eq!(parse(NO_LIMIT, [bytes]), (reference::events(bytes), Ok(())));
    for limit in [NO_LIMIT, LIMIT] {
        let whole = parse(limit, [bytes]);
        for size in [1, 2, 3, 7] {
            assert_eq!(parse(limit, bytes.chunks(size)), whole, "reads of {size} bytes, a limit of {limit}");
        }
    }
}

/// The signals of an answer, and its ending: `Ok` if it is complete.
pub fn answer<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> (Signals, Result<(), AttemptErrorKind>) {
    let mut reader = AnswerReader::new("m".to_owned(), 1, LARGEST_EVENT);
    let mut signals = Signals::new();
    for read in reads {
        if let Err(error) = reader.feed(read, &mut signals) {
            return (signals, Err(error));
        }
        if reader.has_ended() {
            return (signals, Ok(()));
        }
    }
    let ending = reader.cut_off(AttemptErrorKind::Disconnected { cause: "the end".into() }, &mut signals);
    (signals, ending)
}

/// An answer has one ending, and read boundaries do not change its signals. Every wire writes the answer in a form that
/// its clients can parse.
pub fn chunks(bytes: &[u8]) {
    let (signals, ending) = answer([bytes]);
    let ends = signals.iter().filter(|signal| matches!(signal, Signal::End { .. })).count();
    assert_eq!(ends, usize::from(ending.is_ok()), "one ending: {ending:?}");
    assert!(ends == 0 || matches!(signals.last(), Some(Signal::End { .. })), "and the last entry");
    let said = signals.iter().map(describe).collect::<Vec<_>>();
    for size in [1, 5] {
        let (split, split_ending) = answer(bytes.chunks(size));
        assert_eq!(split_ending, ending, "reads of {size} bytes");
        assert_eq!(split.iter().map(describe).collect::<Vec<_>>(), said, "reads of {size} bytes");
    }
    wires::assert_agreement(signals.clone(), &ending, UsageRequest::NotAsked);
    wires::assert_agreement(signals, &ending, UsageRequest::Asked);
}

/// Longer inputs are skipped: whether a head near the limit of 32 KiB is refused depends on the size of the reads.
const LONGEST_HEAD: usize = 16 * 1024;

/// Read boundaries do not change the status, content and end of an HTTP/1.1 response.
pub fn http1(bytes: &[u8]) {
    if bytes.len() > LONGEST_HEAD {
        return;
    }
    let whole = response([bytes]);
    for size in [1, 2, 7] {
        assert_eq!(response(bytes.chunks(size)), whole, "reads of {size} bytes");
    }
}

/// Returns the status, the content, the bytes after it and the rest of the framing. `None`: the head is invalid or
/// incomplete.
fn response<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> Option<(u16, Vec<u8>, Vec<u8>, Framing)> {
    let (mut head, mut unread): (Option<ResponseHead>, _) = (None, Vec::new());
    let (mut content, mut behind) = (Vec::new(), Vec::new());
    for read in reads {
        unread.extend_from_slice(read);
        if head.is_none() {
            head = ResponseHead::take(&mut unread).ok()?;
        }
        if let Some(ResponseHead { framing, .. }) = &mut head {
            let mut sink = |data: &[u8]| content.extend_from_slice(data);
            behind.extend_from_slice(framing.take(&unread, &mut sink).ok()?);
            unread.clear();
        }
    }
    head.map(|ResponseHead { parts, framing, .. }| (parts.status.as_u16(), content, behind, framing))
}

/// A signal as text, without the random id that is generated for a stream that has none.
fn describe(signal: &Signal) -> String {
    match signal {
        Signal::Chunk(chunk) => {
            let json = match chunk.json(ProviderDialect::OpenAiChat) {
                ChunkJson::Here { silent, pieces } => Some(without_ids(&[silent, &pieces.concat()].concat())),
                ChunkJson::Later | ChunkJson::Absent => None,
            };
            format!("{:?} {:?} {json:?}", chunk.part(), chunk.text().as_str())
        }
        Signal::End { trailer } => {
            let Trailer { dialect: _, chunks_json, head_json, usage_json, whole_json } = trailer;
            format!("end {} {} {usage_json:?} {whole_json:?}", without_ids(chunks_json), without_ids(head_json))
        }
        other => format!("{other:?}"),
    }
}

/// JSON without the ids that the service generated.
fn without_ids(json: &str) -> String {
    const PREFIX: &str = "req_";
    const RANDOM: usize = 22;
    let mut parts = json.split(PREFIX);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + PREFIX + part.get(RANDOM..).unwrap_or(part))
}
