//! Reads an event stream as it comes in (WHATWG HTML, section 9.2.6).

use memchr::memchr2;

/// An incremental parser of event streams. Feed it whatever a read brought: the events do not depend
/// on where the reads were cut.
///
/// Takes LF, CR and CRLF, also split over reads, a leading byte order mark, comments and several
/// `data:` lines. `id` and `retry` are passed over: nobody reconnects to an upstream.
/// An event that the end of the stream cuts off is dropped, as the standard says.
///
/// Each byte is looked at once, and no more is kept than one line and one event within the limit.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    /// The line under way, where it came in more than one read.
    line: Vec<u8>,
    /// The name of the event under way; empty where it has none.
    name: Vec<u8>,
    /// The data lines of the event under way, joined by line feeds.
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

/// Whether the last line ended with a CR, so that an LF would belong to it.
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
pub struct TooLarge;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamEvent<'a> {
    /// Empty where the event has no name.
    pub name: &'a [u8],
    pub data: &'a [u8],
}

pub const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl Parser {
    /// A parser that refuses lines of more than `limit` bytes, without their ends, and events of more
    /// than `limit` bytes of data.
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

    /// Reads on; calls `event` with each event that `bytes` completes. After an error there is nothing more to be read.
    pub fn feed<E>(
        &mut self,
        mut bytes: &[u8],
        mut event: impl FnMut(StreamEvent<'_>) -> Result<(), E>,
    ) -> Result<(), E>
    where
        E: From<TooLarge>,
    {
        loop {
            if self.skip_lf == SkipLf::Yes && !bytes.is_empty() {
                self.skip_lf = SkipLf::No;
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                return Ok(self.keep(bytes)?);
            };
            let (rest, after) = bytes.split_at(end);
            if after.first() == Some(&b'\r') {
                self.skip_lf = SkipLf::Yes;
            }
            bytes = after.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                // The usual event, one line and an empty one, is read where it stands.
                if let (Some(data), Some(after)) = (self.sole(rest), bytes.strip_prefix(b"\n")) {
                    bytes = after;
                    event(StreamEvent { name: b"", data })?;
                    continue;
                }
                self.line(rest, &mut event)?;
            } else {
                self.keep(rest)?;
                let line = std::mem::take(&mut self.line);
                self.line(&line, &mut event)?;
                self.line = line;
                self.line.clear();
            }
        }
    }

    /// The value of a line of data that is the first of its event.
    fn sole<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        let is_first = self.has_data == HasData::No
            && self.name.is_empty()
            && self.at_start == AtStart::No
            && self.skip_lf == SkipLf::No;
        line.strip_prefix(b"data: ").filter(|_| is_first && line.len() <= self.limit)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if bytes.len() > self.limit.saturating_sub(self.line.len()) {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn line<E>(&mut self, line: &[u8], event: &mut impl FnMut(StreamEvent<'_>) -> Result<(), E>) -> Result<(), E>
    where
        E: From<TooLarge>,
    {
        // Here as well: a line that came in one read has not been kept.
        if line.len() > self.limit {
            return Err(TooLarge.into());
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
                return Err(TooLarge.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(reads: &[&[u8]]) -> Result<Vec<String>, TooLarge> {
        let mut parser = Parser::new(64);
        let mut events = Vec::new();
        for read in reads {
            parser.feed(read, |StreamEvent { name, data }| {
                let [name, data] = [name, data].map(String::from_utf8_lossy);
                events.push(if name.is_empty() { data.into_owned() } else { format!("{name}: {data}") });
                Ok::<_, TooLarge>(())
            })?;
        }
        Ok(events)
    }

    const DIALECTS: &str = "\u{FEFF}: a comment\r\ndata: one\r\n\r\nevent: x\rdata:two\rdata:  lines\r\rid: 7\ndata\ndata: é…\n\n\n\n: only\n\ndata: cut off";

    #[test]
    fn every_line_end_and_every_legal_form_is_read() {
        assert_eq!(parse(&[DIALECTS.as_bytes()]), Ok(vec!["one".into(), "x: two\n lines".into(), "\né…".into()]));
    }

    #[test]
    fn name_belongs_to_its_event_alone() {
        let stream = "event: error\ndata: a\n\ndata: b\n\nevent: x\n\ndata: c\n\nevent: x\nevent\ndata: d\n\n";
        let expected = ["error: a", "b", "c", "d"].map(str::to_owned);
        assert_eq!(parse(&[stream.as_bytes()]), Ok(expected.to_vec()));
    }

    #[test]
    fn where_the_reads_are_cut_does_not_matter() {
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
    fn a_line_and_an_event_have_a_limit() {
        let long = [b"data: ".as_slice(), &[b'x'; 80]].concat();
        assert_eq!(parse(&[&long[..40], &long[40..]]), Err(TooLarge));
        assert_eq!(parse(&[b"data: 0123456789012345678901234567890123456789\n".as_slice(); 2]), Err(TooLarge));
        assert_eq!(parse(&[b": 0123456789\n\n".as_slice(); 100]), Ok(vec![]));
    }
}
