//! Streaming decoder for the content codings of responses (RFC 9110, section 8.4.1).

use std::cell::RefCell;

use bytes::Bytes;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use hyper::HeaderMap;
use hyper::header::CONTENT_ENCODING;

use super::error::{TransportError, TransportErrorKind};

/// The `Accept-Encoding` of requests.
pub const ACCEPT_ENCODING: &str = "gzip, deflate, br, zstd";

/// Maximum output of one step in bytes. Bounds memory if a small input decodes to a large output.
const PIECE: usize = 16 * 1024;
/// RFC 9659: a zstd response needs a window of at most 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

thread_local! {
    /// Holds decoded bytes until they are passed to the sink. Shared by all decoders of a thread.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Decodes the body of one response.
pub struct ContentDecoder {
    codec: Codec,
    input: PartialBuffer<Bytes>,
    state: DecoderState,
}

enum Codec {
    Gzip(GzipDecoder),
    /// `deflate` means the zlib format, but some servers send raw DEFLATE. The first byte decides.
    UndecidedDeflate,
    Zlib(ZlibDecoder),
    Deflate(DeflateDecoder),
    Brotli(BrotliDecoder),
    Zstd(ZstdDecoder),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DecoderState {
    /// No byte has arrived. A body that ends here is empty, not truncated.
    Untouched,
    NeedsInput,
    /// The last step filled its buffer: another step may produce output without new input.
    HasMore,
    /// The coded data has ended. Further gzip members or zstd frames may follow.
    Ended,
}

impl ContentDecoder {
    /// Returns `None` if the body is not coded. Errors: an unsupported coding, or more than one.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, TransportError> {
        let codings =
            headers.get_all(CONTENT_ENCODING).into_iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
        let mut codings = codings
            .map(|coding| coding.trim_ascii().to_ascii_lowercase())
            .filter(|coding| !matches!(coding.as_slice(), b"" | b"identity"));
        let Some(coding) = codings.next() else { return Ok(None) };
        let codec = match (coding.as_slice(), codings.next()) {
            (b"gzip" | b"x-gzip", None) => Codec::Gzip(GzipDecoder::new()),
            (b"deflate", None) => Codec::UndecidedDeflate,
            (b"br", None) => Codec::Brotli(BrotliDecoder::new()),
            (b"zstd", None) => {
                Codec::Zstd(ZstdDecoder::new_with_params(&[DParameter::window_log_max(ZSTD_WINDOW_LOG)]))
            }
            _ => return Err(TransportError::protocol("the response's Content-Encoding is not supported")),
        };
        Ok(Some(Self { codec, input: PartialBuffer::new(Bytes::new()), state: DecoderState::Untouched }))
    }

    /// Returns whether a step may produce output without new input.
    pub fn has_more(&self) -> bool {
        self.state == DecoderState::HasMore || !self.input.unwritten().is_empty()
    }

    /// Sets the next bytes of the body as input. The previous input must be fully consumed.
    pub fn feed(&mut self, bytes: Bytes) {
        self.input = PartialBuffer::new(bytes);
    }

    /// Decodes at most `PIECE` bytes into `sink` and returns their number.
    pub fn step(&mut self, sink: &mut impl FnMut(&[u8])) -> Result<usize, TransportError> {
        let mut scratch = SCRATCH.take();
        scratch.resize(PIECE, 0);
        let mut output = WriteBuffer::new_initialized(&mut scratch);
        let decoded = self.decode(&mut output).map_err(|_| corrupt());
        let length = output.written_len();
        if length > 0 {
            sink(output.written());
        }
        SCRATCH.set(scratch);
        decoded.map(|()| length)
    }

    /// Must be called at the end of the body. Errors: the coded data is truncated.
    pub fn finish(&mut self) -> Result<(), TransportError> {
        match self.state {
            DecoderState::Untouched | DecoderState::Ended => Ok(()),
            _ if self.codec.has_ended(&mut WriteBuffer::new_initialized(&mut [0; 64])) => Ok(()),
            DecoderState::NeedsInput | DecoderState::HasMore => Err(TransportError {
                kind: TransportErrorKind::Disconnected,
                ..TransportError::protocol("the compressed response is truncated")
            }),
        }
    }

    fn decode(&mut self, output: &mut WriteBuffer<'_>) -> std::io::Result<()> {
        if let (Codec::UndecidedDeflate, Some(first)) = (&self.codec, self.input.unwritten().first()) {
            // RFC 1950, section 2.2: the compression method is 8.
            self.codec = match first & 0x0f {
                8 => Codec::Zlib(ZlibDecoder::new()),
                _ => Codec::Deflate(DeflateDecoder::new()),
            };
        }
        let left = self.input.unwritten().len();
        if self.state == DecoderState::Ended && left > 0 {
            match &mut self.codec {
                Codec::Gzip(gzip) => gzip.reinit()?,
                Codec::Zstd(zstd) => zstd.reinit()?,
                // Ignore bytes after the end of the coded data.
                _ => {
                    self.input.advance(left);
                    return Ok(());
                }
            }
        }
        let consumed = self.input.written_len();
        let Some(bytes) = self.input.get_mut().get(consumed..) else { return Ok(()) };
        let mut input = PartialBuffer::new(bytes);
        let has_ended = self.codec.decode(&mut input, output)?;
        let taken = input.written_len();
        self.input.advance(taken);
        self.state = match has_ended {
            true => DecoderState::Ended,
            false if output.has_no_spare_space() => DecoderState::HasMore,
            false if taken == 0 && left > 0 && output.written_len() == 0 => {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
            false => DecoderState::NeedsInput,
        };
        Ok(())
    }
}

impl Codec {
    /// Returns whether the coded data has ended.
    fn decode(&mut self, input: &mut PartialBuffer<&[u8]>, output: &mut WriteBuffer<'_>) -> std::io::Result<bool> {
        let codec: &mut dyn DecodeV2 = match self {
            Self::Brotli(codec) => codec,
            Self::Zstd(codec) => codec,
            Self::Gzip(codec) => return inflate(codec, input, output),
            Self::Zlib(codec) => return inflate(codec, input, output),
            Self::Deflate(codec) => return inflate(codec, input, output),
            Self::UndecidedDeflate => return Ok(false),
        };
        codec.decode(input, output)
    }

    /// Returns whether the coded data has ended. Needed if the last step could not detect it.
    fn has_ended(&mut self, output: &mut WriteBuffer<'_>) -> bool {
        let mut input = PartialBuffer::new(&[][..]);
        let ended = match self {
            Self::Gzip(codec) => codec.decode(&mut input, output),
            Self::Zlib(codec) => codec.decode(&mut input, output),
            Self::Deflate(codec) => codec.decode(&mut input, output),
            Self::Brotli(codec) => DecodeV2::decode(codec, &mut input, output),
            Self::Zstd(codec) => codec.decode(&mut input, output),
            Self::UndecidedDeflate => return false,
        };
        matches!(ended, Ok(true))
    }
}

/// Flushes if there is no input: flate2's `decode` returns an error if it has neither input nor output.
fn inflate(
    codec: &mut dyn DecodeV2,
    input: &mut PartialBuffer<&[u8]>,
    output: &mut WriteBuffer<'_>,
) -> std::io::Result<bool> {
    if input.unwritten().is_empty() {
        return codec.flush(output).map(|_| false);
    }
    codec.decode(input, output)
}

fn corrupt() -> TransportError {
    TransportError::protocol("the compressed response is corrupt")
}
