//! An incremental parser of HTTP/1.1 responses, whose input may be split anywhere.

use std::io::{self, Error};

/// The state of one response. Does not store the body.
#[derive(Default)]
pub struct Answer {
    state: State,
    head: Vec<u8>,
    pub status: u16,
    /// Whether the connection closes after this response.
    pub closes: bool,
    /// The generation id in a response of Tokenrill.
    pub generation: Option<String>,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Head,
    /// The remaining bytes of the body.
    Length(u64),
    /// The chunk size so far, and whether its digits have ended.
    Size(u64, bool),
    /// The remaining bytes of this chunk.
    Data(u64),
    DataEnd,
    /// The length of the current line.
    Trailer(usize),
    Whole,
}

impl Answer {
    pub fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    /// Parses `bytes` and calls `body` with each piece of the body, without the framing.
    pub fn feed(&mut self, mut bytes: &[u8], mut body: impl FnMut(&[u8])) -> io::Result<()> {
        while let Some((first, rest)) = bytes.split_first() {
            match self.state {
                State::Head => {
                    let seen = self.head.len().saturating_sub(3);
                    self.head.extend_from_slice(bytes);
                    let Some(at) = memchr::memmem::find(&self.head[seen..], b"\r\n\r\n") else { return Ok(()) };
                    let end = seen + at + 4;
                    bytes = &bytes[bytes.len() - (self.head.len() - end)..];
                    self.head.truncate(end);
                    self.read_head()?;
                }
                State::Length(left) | State::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (piece, rest) = bytes.split_at(here);
                    body(piece);
                    bytes = rest;
                    let left = left - here as u64;
                    self.state = match self.state {
                        State::Length(_) if left == 0 => State::Whole,
                        State::Length(_) => State::Length(left),
                        _ if left == 0 => State::DataEnd,
                        _ => State::Data(left),
                    };
                }
                State::Size(size, is_over) => {
                    bytes = rest;
                    let digit = char::from(*first).to_digit(16).filter(|_| !is_over);
                    self.state = match (first, digit) {
                        (b'\n', _) if size == 0 => State::Trailer(0),
                        (b'\n', _) => State::Data(size),
                        (_, Some(digit)) => State::Size(size * 16 + u64::from(digit), false),
                        (_, None) => State::Size(size, true),
                    };
                }
                State::DataEnd => {
                    bytes = rest;
                    if *first == b'\n' {
                        self.state = State::Size(0, false);
                    }
                }
                State::Trailer(length) => {
                    bytes = rest;
                    self.state = match first {
                        b'\n' if length == 0 => State::Whole,
                        b'\n' => State::Trailer(0),
                        b'\r' => State::Trailer(length),
                        _ => State::Trailer(length + 1),
                    };
                }
                State::Whole => return Err(Error::other("bytes behind an answer")),
            }
        }
        Ok(())
    }

    fn read_head(&mut self) -> io::Result<()> {
        let head = std::str::from_utf8(&self.head).map_err(Error::other)?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        self.status = status.ok_or_else(|| Error::other("no status line"))?;
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let length = value.parse().map_err(Error::other)?;
                    self.state = if length == 0 { State::Whole } else { State::Length(length) };
                }
                "transfer-encoding" => self.state = State::Size(0, false),
                "connection" => self.closes = value.eq_ignore_ascii_case("close"),
                "tokenrill-generation" => self.generation = Some(value.to_owned()),
                _ => {}
            }
        }
        if self.state == State::Head {
            if self.status != 204 {
                return Err(Error::other("an answer without framing"));
            }
            self.state = State::Whole;
        }
        Ok(())
    }
}
