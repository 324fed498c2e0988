//! Parses event streams incrementally (WHATWG HTML, section 9.2.6).

use memchr::memchr2;

/// An incremental parser of event streams. The events do not depend on how the bytes are split into reads.
///
/// Accepts LF, CR and CRLF, also split over reads, a leading byte order mark, comments and several `data:` lines.
/// Ignores `id` and `retry`, because the service never reconnects to a stream of an upstream. Drops an event that the
/// end of the stream cuts off, as the standard requires.
///
/// Reads each byte once, and buffers no more than one line and one event within the limit.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    /// The current line, if it spans several reads.
    line: Vec<u8>,
    /// The name of the current event; empty if it has none.
    name: Vec<u8>,
    /// The data lines of the current event, joined by line feeds.
    data: Vec<u8>,
    has_data: HasData,
    skip_lf: SkipLf,
    at_start: AtStart,
}

#[derive(Debug, PartialEq)]
enum HasData {
    No,
    Yes,
}

/// Whether the last line ended with CR: a following LF is then part of the same line end.
#[derive(Debug, PartialEq)]
enum SkipLf {
    No,
    Yes,
}

#[derive(Debug, PartialEq)]
enum AtStart {
    Yes,
    No,
}

/// A line or an event is larger than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than the limit")]
pub struct EventTooLargeError;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamEvent<'a> {
    /// Empty if the event has no name.
    pub name: &'a [u8],
    pub data: &'a [u8],
}

pub const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl Parser {
    /// Creates a parser that rejects lines of more than `limit` bytes, without their line ends, and events of more than
    /// `limit` bytes of data.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            name: Vec::new(),
            data: Vec::new(),
            has_data: HasData::No,
            skip_lf: SkipLf::No,
            at_start: AtStart::Yes,
        }
    }

    /// Reads the next bytes and calls `event` with each event that they complete. An error is final.
    pub fn feed<E>(
        &mut self,
        mut bytes: &[u8],
        mut event: impl FnMut(StreamEvent<'_>) -> Result<(), E>,
    ) -> Result<(), E>
    where
        E: From<EventTooLargeError>,
    {
        loop {
            if self.skip_lf == SkipLf::Yes && !bytes.is_empty() {
                self.skip_lf = SkipLf::No;
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                return Ok(self.buffer_line(bytes)?);
            };
            let (rest, after) = bytes.split_at(end);
            if after.first() == Some(&b'\r') {
                self.skip_lf = SkipLf::Yes;
            }
            bytes = after.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                // Fast path: an event of one data line is passed on without copying it.
                if let (Some(data), Some(after)) = (self.first_data_value(rest), bytes.strip_prefix(b"\n")) {
                    bytes = after;
                    event(StreamEvent { name: b"", data })?;
                    continue;
                }
                self.process_line(rest, &mut event)?;
            } else {
                self.buffer_line(rest)?;
                let line = std::mem::take(&mut self.line);
                self.process_line(&line, &mut event)?;
                self.line = line;
                self.line.clear();
            }
        }
    }

    /// Returns the value of a data line that is the first line of its event.
    fn first_data_value<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        let is_first = self.has_data == HasData::No
            && self.name.is_empty()
            && self.at_start == AtStart::No
            && self.skip_lf == SkipLf::No;
        line.strip_prefix(b"data: ").filter(|_| is_first && line.len() <= self.limit)
    }

    fn buffer_line(&mut self, bytes: &[u8]) -> Result<(), EventTooLargeError> {
        if bytes.len() > self.limit.saturating_sub(self.line.len()) {
            return Err(EventTooLargeError);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn process_line<E>(
        &mut self,
        line: &[u8],
        event: &mut impl FnMut(StreamEvent<'_>) -> Result<(), E>,
    ) -> Result<(), E>
    where
        E: From<EventTooLargeError>,
    {
        // Checked here too: a line that is complete within one read is not buffered.
        if line.len() > self.limit {
            return Err(EventTooLargeError.into());
        }
        let line = match std::mem::replace(&mut self.at_start, AtStart::No) {
            AtStart::Yes => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line),
            AtStart::No => line,
        };
        if line.is_empty() {
            let dispatched = match std::mem::replace(&mut self.has_data, HasData::No) {
                HasData::Yes => event(StreamEvent { name: &self.name, data: &self.data }),
                HasData::No => Ok(()),
            };
            self.name.clear();
            self.data.clear();
            return dispatched;
        }
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => {
                let (name, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (name, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        if name == b"event" {
            self.name.clear();
            self.name.extend_from_slice(value);
        } else if name == b"data" {
            if std::mem::replace(&mut self.has_data, HasData::Yes) == HasData::Yes {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
            if self.data.len() > self.limit {
                return Err(EventTooLargeError.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(reads: &[&[u8]]) -> Result<Vec<String>, EventTooLargeError> {
        let mut parser = Parser::new(64);
        let mut events = Vec::new();
        for read in reads {
            parser.feed(read, |StreamEvent { name, data }| {
                let [name, data] = [name, data].map(String::from_utf8_lossy);
                events.push(if name.is_empty() { data.into_owned() } else { format!("{name}: {data}") });
                Ok::<_, EventTooLargeError>(())
            })?;
        }
        Ok(events)
    }

    const DIALECTS: &str = "\u{FEFF}: a comment\r\ndata: one\r\n\r\nevent: x\rdata:two\rdata:  lines\r\rid: 7\ndata\ndata: é…\n\n\n\n: only\n\ndata: cut off";

    #[test]
    fn every_line_end_and_field_form_is_parsed() {
        assert_eq!(parse(&[DIALECTS.as_bytes()]), Ok(vec!["one".into(), "x: two\n lines".into(), "\né…".into()]));
    }

    #[test]
    fn event_name_applies_to_its_own_event_only() {
        let stream = "event: error\ndata: a\n\ndata: b\n\nevent: x\n\ndata: c\n\nevent: x\nevent\ndata: d\n\n";
        let expected = ["error: a", "b", "c", "d"].map(str::to_owned);
        assert_eq!(parse(&[stream.as_bytes()]), Ok(expected.to_vec()));
    }

    #[test]
    fn events_do_not_depend_on_read_boundaries() {
        let bytes = DIALECTS.as_bytes();
        let whole = parse(&[bytes]);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                assert_eq!(parse(&[&bytes[..first], &bytes[first..second], &bytes[second..]]), whole);
            }
        }
        assert_eq!(parse(&bytes.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn line_or_event_above_the_limit_is_too_large() {
        let long = [b"data: ".as_slice(), &[b'x'; 80]].concat();
        assert_eq!(parse(&[&long[..40], &long[40..]]), Err(EventTooLargeError));
        assert_eq!(
            parse(&[b"data: 0123456789012345678901234567890123456789\n".as_slice(); 2]),
            Err(EventTooLargeError)
        );
        assert_eq!(parse(&[b": 0123456789\n\n".as_slice(); 100]), Ok(vec![]));
    }
}
