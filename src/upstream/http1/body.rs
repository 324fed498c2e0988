//! Where a response's body ends, and what of its bytes is content.

use super::Fault;

/// What is still to come of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Length(u64),
    Chunked(At),
    UntilClose,
    Over,
}

/// Where in the chunked coding (RFC 9112, section 7.1) a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Size {
        size: u64,
        digits: u8,
    },
    /// Past a chunk's size: extensions mean nothing here.
    Extension {
        size: u64,
        length: u16,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// Behind the last chunk; `line` is how much of this line has come, `all` of all of them.
    Trailer {
        line: u16,
        all: u16,
    },
    TrailerLf {
        line: u16,
        all: u16,
    },
}

/// Digits of a chunk's size: more than any chunk has, and few enough to be added up.
const MOST_DIGITS: u8 = 15;
/// Bytes of a chunk's extensions, and of all trailers.
const MOST_ASIDE: u16 = 16 * 1024;

const NEXT_CHUNK: At = At::Size { size: 0, digits: 0 };

impl Body {
    pub const fn of_length(length: u64) -> Self {
        if length == 0 { Self::Over } else { Self::Length(length) }
    }

    pub const fn chunked() -> Self {
        Self::Chunked(NEXT_CHUNK)
    }

    pub fn is_over(&self) -> bool {
        *self == Self::Over
    }

    /// The connection has ended: whether that is the end of the body too.
    pub fn ended(&mut self) -> Result<(), Fault> {
        match self {
            Self::UntilClose | Self::Over => {
                *self = Self::Over;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(Fault::Broken),
        }
    }

    /// Gives `sink` what is content; answers what came behind the body's end.
    pub fn take<'a>(&mut self, mut bytes: &'a [u8], sink: &mut impl FnMut(&[u8])) -> Result<&'a [u8], Fault> {
        while !bytes.is_empty() {
            match self {
                Self::Over => break,
                Self::UntilClose => {
                    sink(bytes);
                    return Ok(&[]);
                }
                Self::Length(left) => {
                    let content = split_at_most(&mut bytes, *left);
                    sink(content);
                    *self = Self::of_length(*left - content.len() as u64);
                }
                Self::Chunked(At::Data { left }) => {
                    let content = split_at_most(&mut bytes, *left);
                    sink(content);
                    let left = *left - content.len() as u64;
                    *self = Self::Chunked(if left == 0 { At::DataCr } else { At::Data { left } });
                }
                Self::Chunked(at) => {
                    let Some((byte, rest)) = bytes.split_first() else { break };
                    *self = at.next(*byte).ok_or(Fault::Broken)?;
                    bytes = rest;
                }
            }
        }
        Ok(bytes)
    }
}

impl At {
    /// Past one byte that is no content. `None`: it must not stand here.
    fn next(self, byte: u8) -> Option<Body> {
        let at = match (self, byte) {
            (Self::Size { size, digits }, byte) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16)?;
                Self::Size { size: size * 16 + u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { digits: 0, .. }, _) | (Self::Extension { .. } | Self::Trailer { .. }, b'\n') => return None,
            (Self::Size { size, .. } | Self::Extension { size, .. }, b'\r') => Self::SizeLf { size },
            (Self::Size { size, .. }, b';' | b' ' | b'\t') => Self::Extension { size, length: 0 },
            (Self::Extension { size, length }, _) => Self::Extension { size, length: length + 1 },
            (Self::SizeLf { size: 0 }, b'\n') => Self::Trailer { line: 0, all: 0 },
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => NEXT_CHUNK,
            (Self::Trailer { line, all }, b'\r') => Self::TrailerLf { line, all },
            (Self::Trailer { line, all }, _) => Self::Trailer { line: line + 1, all: all + 1 },
            (Self::TrailerLf { line: 0, .. }, b'\n') => return Some(Body::Over),
            (Self::TrailerLf { all, .. }, b'\n') => Self::Trailer { line: 0, all },
            _ => return None,
        };
        match at {
            Self::Size { digits, .. } if digits > MOST_DIGITS => None,
            Self::Extension { length: aside, .. } | Self::Trailer { all: aside, .. } if aside > MOST_ASIDE => None,
            at => Some(Body::Chunked(at)),
        }
    }
}

fn split_at_most<'a>(bytes: &mut &'a [u8], most: u64) -> &'a [u8] {
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
    let (content, rest) = bytes.split_at(length);
    *bytes = rest;
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content of a body in these reads, and what came behind it.
    fn read(mut body: Body, reads: &[&[u8]]) -> Result<(String, String), Fault> {
        let (mut content, mut behind) = (Vec::new(), Vec::new());
        for read in reads {
            behind.extend_from_slice(body.take(read, &mut |bytes| content.extend_from_slice(bytes))?);
        }
        body.ended()?;
        Ok([content, behind].map(|bytes| String::from_utf8(bytes).expect("UTF-8")).into())
    }

    #[test]
    fn where_the_reads_are_cut_does_not_matter() {
        let chunked = b"5\r\nhello\r\n0c ;a=\"b\"\r\n, you there \r\n0\r\nx: y\r\nz:\r\n\r\nHTTP";
        let whole = Ok(("hello, you there ".into(), "HTTP".into()));
        for first in 0..=chunked.len() {
            for second in first..=chunked.len() {
                let reads = [&chunked[..first], &chunked[first..second], &chunked[second..]];
                assert_eq!(read(Body::chunked(), &reads), whole, "{first} {second}");
            }
        }
        assert_eq!(read(Body::of_length(5), &[b"he", b"llo", b"!"]), Ok(("hello".into(), "!".into())));
        assert_eq!(read(Body::of_length(0), &[b"!"]), Ok((String::new(), "!".into())));
        assert_eq!(read(Body::UntilClose, &[b"he", b"llo"]), Ok(("hello".into(), String::new())));
    }

    #[test]
    fn what_is_not_the_coding_is_refused() {
        let long_extension = format!("5;{}\r\n", "x".repeat(20_000));
        let long_trailer = format!("0\r\n{}", "a: b\r\n".repeat(5_000));
        for bad in [
            "\r\n",
            ";\r\n",
            "g\r\n",
            "-5\r\n",
            "0x5\r\n",
            "5\n",
            "5;a\n",
            "5\r\r",
            "5\r\nhello!",
            "5\r\nhello\n",
            "1000000000000000\r\n",
            &long_extension,
            &long_trailer,
            "0\r\na\n",
            "0\r\n\r\r",
            // What breaks off.
            "",
            "5",
            "5\r\nhell",
            "5\r\nhello\r\n",
            "0\r\n",
            "0\r\na: b\r\n",
        ] {
            assert_eq!(
                read(Body::chunked(), &[bad.as_bytes()]),
                Err(Fault::Broken),
                "{}",
                bad.get(..40).unwrap_or(bad)
            );
        }
    }
}
