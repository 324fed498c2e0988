//! The parser of upstream streams follows the HTML Standard wherever the reads are split, in bounded memory and linear
//! time.

use proptest::prelude::*;
use tokenrill::upstream::sse::{EventTooLargeError, Parser};

use crate::upstream_streams::checks::{self, parse};

/// Streams of pieces that a parser can get wrong, mixed with arbitrary bytes.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            "\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n", ":", " ", "data", "data:", "data: ", "data:  x", "data: é…",
            ": comment", "event: message", "id: 7", "retry: 5", "datax: 1", " data: 2", "\u{FEFF}", "\0", "👩‍👩‍👧", "\u{2028}",
        ]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Cuts `bytes` into reads of these lengths; the last read has the rest.
fn cut(mut bytes: &[u8], lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut reads = Vec::new();
    for &length in lengths {
        let (read, rest) = bytes.split_at(length.min(bytes.len()));
        reads.push(read.to_vec());
        bytes = rest;
    }
    reads.push(bytes.to_vec());
    reads
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn event_streams_parse_as_the_html_standard_defines(stream in streams()) {
        checks::event_stream(&stream);
    }

    #[test]
    fn arbitrary_bytes_parse_as_the_html_standard_defines(stream in prop::collection::vec(any::<u8>(), 0..200)) {
        checks::event_stream(&stream);
    }

    #[test]
    fn every_split_gives_the_same_events_and_the_same_refusal(
        stream in streams(), lengths in prop::collection::vec(0usize..12, 0..40), limit in 0usize..40,
    ) {
        let reads = cut(&stream, &lengths);
        prop_assert_eq!(parse(limit, reads.iter().map(Vec::as_slice)), parse(limit, [stream.as_slice()]));
    }
}

/// Asserts that every split of `bytes` into three reads, and into single bytes, parses to `expected`.
fn every_cut_gives(limit: usize, bytes: &[u8], expected: &(Vec<String>, Result<(), EventTooLargeError>)) {
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            let reads = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            assert_eq!(parse(limit, reads), *expected, "cut at {first} and {second}");
        }
    }
    assert_eq!(parse(limit, bytes.chunks(1)), *expected, "byte by byte");
}

#[test]
fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
    for end in ["\n", "\r", "\r\n"] {
        let event = format!("data: 1{end}{end}");
        let line = |length: usize| format!("{event}:{}{end}{event}", "x".repeat(length - 1));
        let both = vec!["1".to_owned(), "1".to_owned()];
        every_cut_gives(16, line(16).as_bytes(), &(both, Ok(())));
        every_cut_gives(16, line(17).as_bytes(), &(vec!["1".to_owned()], Err(EventTooLargeError)));
    }
}

#[test]
fn an_event_may_be_as_large_as_the_limit_and_no_larger() {
    // Three lines of data: 16 bytes, including the line feeds between them.
    let fits = "data:abcd\ndata:efghi\ndata:jklmn\n\n";
    every_cut_gives(16, fits.as_bytes(), &(vec!["abcd\nefghi\njklmn".to_owned()], Ok(())));
    let larger = "data:1\n\ndata:abcd\ndata:efghi\ndata:jklmn\ndata\n\ndata:2\n\n";
    every_cut_gives(16, larger.as_bytes(), &(vec!["1".to_owned()], Err(EventTooLargeError)));
}

#[test]
fn a_line_that_never_ends_is_refused_at_the_limit() {
    let mut parser = Parser::new(1024);
    let fed = (0..2000).find(|_| parser.feed(b"x", |_| Ok::<_, EventTooLargeError>(())).is_err());
    assert_eq!(fed, Some(1024), "the byte after the limit");
}

/// If each read scanned the line again, this would take 10^12 steps and never finish.
#[test]
fn a_megabyte_in_one_byte_reads_is_scanned_once() {
    const LINE: usize = 1 << 20;
    let line = [b"data: ", "x".repeat(LINE - 6).as_bytes(), b"\n\n"].concat();
    let mut parser = Parser::new(LINE);
    let mut events = 0;
    for byte in line.iter().cycle().take(8 * line.len()) {
        parser
            .feed(std::slice::from_ref(byte), |event| {
                events += 1;
                assert_eq!(event.data.len(), LINE - 6);
                Ok::<_, EventTooLargeError>(())
            })
            .expect("within the limit");
    }
    assert_eq!(events, 8);
}
