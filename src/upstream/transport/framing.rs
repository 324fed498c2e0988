//! Message framing of HTTP/1.1 responses (RFC 9112, sections 6 and 7): finds the content and the end of a body.

/// The framing of the rest of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked(ChunkedState),
    UntilClose,
    Ended,
}

/// Whether a body may have more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    Maybe,
    None,
}

/// The body violates its framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidFramingError;

/// The parser's state in the chunked coding (RFC 9112, section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkedState {
    Size {
        size: u64,
        digits: u8,
    },
    /// After a chunk's size. Extensions are ignored.
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
    /// After the last chunk. Counts the bytes read of this line (`line`) and of all lines (`all`).
    Trailer {
        line: u16,
        all: u16,
    },
    TrailerLf {
        line: u16,
        all: u16,
    },
}

/// Maximum digits of a chunk's size: more than any chunk has, and few enough for a `u64`.
const MAX_DIGITS: u8 = 15;
/// Maximum bytes of one chunk's extensions, and of all trailers.
const MAX_IGNORED: u16 = 16 * 1024;

const NEXT_CHUNK: ChunkedState = ChunkedState::Size { size: 0, digits: 0 };

impl Framing {
    pub const fn of_length(length: u64) -> Self {
        if length == 0 { Self::Ended } else { Self::Length(length) }
    }

    pub const fn chunked() -> Self {
        Self::Chunked(NEXT_CHUNK)
    }

    pub fn has_ended(self) -> bool {
        self == Self::Ended
    }

    /// Passes the content in these bytes to `sink`. Returns the bytes after the end of the body.
    pub fn take<'a>(
        &mut self,
        mut bytes: &'a [u8],
        sink: &mut impl FnMut(&[u8]),
    ) -> Result<&'a [u8], InvalidFramingError> {
        while !bytes.is_empty() {
            match self {
                Self::Ended => break,
                Self::UntilClose => sink(std::mem::take(&mut bytes)),
                Self::Length(left) => {
                    let data = split_at_most(&mut bytes, *left);
                    sink(data);
                    *self = Self::of_length(*left - data.len() as u64);
                }
                Self::Chunked(ChunkedState::Data { left }) => {
                    let data = split_at_most(&mut bytes, *left);
                    sink(data);
                    let left = *left - data.len() as u64;
                    *self = Self::Chunked(if left == 0 { ChunkedState::DataCr } else { ChunkedState::Data { left } });
                }
                Self::Chunked(place) => {
                    let Some((byte, rest)) = bytes.split_first() else { break };
                    *self = place.after(*byte).ok_or(InvalidFramingError)?;
                    bytes = rest;
                }
            }
        }
        Ok(bytes)
    }
}

impl ChunkedState {
    /// Returns the state after a byte that is not content. `None`: the byte is not allowed here.
    fn after(self, byte: u8) -> Option<Framing> {
        let place = match (self, byte) {
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
            (Self::TrailerLf { line: 0, .. }, b'\n') => return Some(Framing::Ended),
            (Self::TrailerLf { all, .. }, b'\n') => Self::Trailer { line: 0, all },
            _ => return None,
        };
        match place {
            Self::Size { digits, .. } if digits > MAX_DIGITS => None,
            Self::Extension { length: ignored, .. } | Self::Trailer { all: ignored, .. } if ignored > MAX_IGNORED => {
                None
            }
            place => Some(Framing::Chunked(place)),
        }
    }
}

fn split_at_most<'a>(bytes: &mut &'a [u8], most: u64) -> &'a [u8] {
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
    let (data, rest) = bytes.split_at(length);
    *bytes = rest;
    data
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Parses these reads. Returns the content, the bytes after the body, and the final framing.
    fn read(mut framing: Framing, reads: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>, Framing), InvalidFramingError> {
        let (mut content, mut behind) = (Vec::new(), Vec::new());
        for read in reads {
            behind.extend_from_slice(framing.take(read, &mut |data| content.extend_from_slice(data))?);
        }
        Ok((content, behind, framing))
    }

    fn cut(bytes: &[u8], at: usize) -> [&[u8]; 2] {
        let (first, second) = bytes.split_at(at.min(bytes.len()));
        [first, second]
    }

    #[test]
    fn body_is_independent_of_read_boundaries() {
        let chunked = b"5\r\nhello\r\n0c ;a=\"b\"\r\n, you there \r\n0\r\nx: y\r\nz:\r\n\r\nHTTP";
        let whole = Ok((b"hello, you there ".to_vec(), b"HTTP".to_vec(), Framing::Ended));
        for at in 0..=chunked.len() {
            assert_eq!(read(Framing::chunked(), &cut(chunked, at)), whole, "{at}");
        }
        let of_length = read(Framing::of_length(5), &[b"he", b"llo", b"!"]);
        assert_eq!(of_length, Ok((b"hello".to_vec(), b"!".to_vec(), Framing::Ended)));
        assert_eq!(read(Framing::of_length(0), &[b"!"]), Ok((Vec::new(), b"!".to_vec(), Framing::Ended)));
        let until_close = read(Framing::UntilClose, &[b"he", b"llo"]);
        assert_eq!(until_close, Ok((b"hello".to_vec(), Vec::new(), Framing::UntilClose)));
    }

    #[test]
    fn invalid_chunked_coding_is_refused() {
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
        ] {
            assert_eq!(read(Framing::chunked(), &[bad.as_bytes()]), Err(InvalidFramingError), "{bad:.40}");
        }
    }

    #[test]
    fn truncated_chunked_body_has_not_ended() {
        for part in ["", "5", "5\r\nhell", "5\r\nhello\r\n", "0\r\n", "0\r\na: b\r\n"] {
            let (.., framing) = read(Framing::chunked(), &[part.as_bytes()]).unwrap();
            assert!(!framing.has_ended(), "{part}");
        }
    }

    proptest! {
        /// Uses only characters of the coding, which makes many inputs nearly valid.
        #[test]
        fn result_for_any_bytes_is_independent_of_read_boundaries(bytes in "[0-9a-fA-F;:x \t\r\n]{0,64}", at in 0..64_usize) {
            let bytes = bytes.as_bytes();
            prop_assert_eq!(read(Framing::chunked(), &[bytes]), read(Framing::chunked(), &cut(bytes, at)));
        }

        #[test]
        fn any_content_in_any_chunks_is_decoded_completely(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8)) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                coded.extend_from_slice(chunk);
                coded.extend_from_slice(b"\r\n");
            }
            coded.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(read(Framing::chunked(), &[&coded]), Ok((chunks.concat(), Vec::new(), Framing::Ended)));
        }
    }
}
