use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::flate::params::FlateEncoderParams;
use compression_codecs::{BrotliEncoder, DeflateEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder};
use tokio::io::AsyncWriteExt;

use super::*;

/// Returns the name of each coding and an encoder for it.
fn codings() -> [(&'static str, Box<dyn EncodeV2>); 6] {
    let level = || FlateEncoderParams::from(Level::Default);
    [
        ("gzip", Box::new(GzipEncoder::new(level()))),
        ("x-gzip", Box::new(GzipEncoder::new(level()))),
        ("deflate", Box::new(ZlibEncoder::new(level()))),
        ("Deflate", Box::new(DeflateEncoder::new(level()))),
        ("identity, br", Box::new(BrotliEncoder::new(EncoderParams::default()))),
        ("zstd", Box::new(ZstdEncoder::new(3))),
    ]
}

/// Runs `step` until it is done and returns its output.
fn written(mut step: impl FnMut(&mut WriteBuffer<'_>) -> std::io::Result<bool>) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let mut output = WriteBuffer::new_initialized(&mut buffer);
        let is_done = step(&mut output).unwrap();
        bytes.extend_from_slice(output.written());
        if is_done {
            return bytes;
        }
    }
}

fn encode(encoder: &mut dyn EncodeV2, text: &[u8]) -> Vec<u8> {
    let mut input = PartialBuffer::new(text);
    written(|output| {
        encoder.encode(&mut input, output)?;
        Ok(input.unwritten().is_empty())
    })
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn head(coding: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ntransfer-encoding: chunked\r\n\r\n").into_bytes()
}

/// Returns the body or the error that the transport reads from these bytes.
async fn receive(response: Vec<u8>) -> Result<Vec<u8>, TransportError> {
    let server = ScriptedServer::start().await;
    let serving = async {
        let mut stream = server.accept().await;
        stream.write_all(&response).await.unwrap();
        stream.shutdown().await.unwrap();
        stream
    };
    let reading = async { read(&mut server.send(b"").await?).await };
    tokio::join!(reading, serving).0
}

#[tokio::test]
async fn each_flush_of_a_coding_is_delivered_before_the_next_bytes_arrive() {
    for (coding, mut encoder) in codings() {
        let server = ScriptedServer::start().await;
        let serving = async {
            let mut stream = server.accept().await;
            stream.write_all(&head(coding)).await.unwrap();
            stream
        };
        let (sent, mut stream) = tokio::join!(server.send(b""), serving);
        let mut response = sent.unwrap();
        for text in ["data: Zür\n\n", "data: ich\n\n", "data: [DONE]\n\n"] {
            let mut encoded = encode(&mut *encoder, text.as_bytes());
            encoded.extend(written(|output| encoder.flush(output)));
            stream.write_all(&chunk(&encoded)).await.unwrap();
            let mut bytes = Vec::new();
            while bytes.len() < text.len() {
                assert_eq!(read_some(&mut response, &mut bytes).await.unwrap(), More::Maybe);
            }
            assert_eq!(String::from_utf8(bytes).unwrap(), text, "{coding}");
        }
        let end = [chunk(&written(|output| encoder.finish(output))), b"0\r\n\r\n".to_vec()].concat();
        stream.write_all(&end).await.unwrap();
        assert_eq!(accepted(response).await, b"", "{coding}");
        assert_eq!(server.transport.connections(), 1, "{coding}");
    }
}

#[tokio::test]
async fn cut_body_is_reported_as_truncated_and_corrupt_body_is_refused() {
    let text: Vec<u8> = (0..20_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    for (coding, mut encoder) in codings() {
        let mut encoded = encode(&mut *encoder, &text);
        encoded.extend(written(|output| encoder.finish(output)));
        let pieces: Vec<_> = encoded.chunks(997).flat_map(chunk).collect();
        let whole = [head(coding), pieces, b"0\r\n\r\n".to_vec()].concat();
        assert!(receive(whole).await.unwrap() == text, "{coding}");

        for length in [1, encoded.len() / 2, encoded.len() - 1] {
            let cut = [head(coding), chunk(&encoded[..length]), b"0\r\n\r\n".to_vec()].concat();
            let error = receive(cut).await.unwrap_err();
            assert_eq!(&*error.cause, "the compressed response is truncated", "{coding} {length}");
        }
        let corrupt = [head(coding), chunk(&[0xff; 100]), b"0\r\n\r\n".to_vec()].concat();
        assert!(receive(corrupt).await.is_err(), "{coding}");
        let empty = [head(coding), b"0\r\n\r\n".to_vec()].concat();
        assert_eq!(receive(empty).await.unwrap(), b"", "{coding}");
    }
}

#[tokio::test]
async fn consecutive_gzip_members_and_zstd_frames_are_one_body() {
    for coding in [0, 5] {
        let mut body = Vec::new();
        for text in ["Zür", "ich"] {
            let (_, mut encoder) = codings().into_iter().nth(coding).unwrap();
            body.extend(encode(&mut *encoder, text.as_bytes()));
            body.extend(written(|output| encoder.finish(output)));
        }
        let response = [head(codings()[coding].0), chunk(&body), b"0\r\n\r\n".to_vec()].concat();
        assert_eq!(receive(response).await.unwrap(), "Zürich".as_bytes());
    }
}

#[tokio::test]
async fn small_body_with_large_content_is_delivered_in_bounded_pieces() {
    const LENGTH: usize = 4 << 20;
    for (coding, mut encoder) in codings() {
        let mut encoded = Vec::new();
        let zeros = vec![0; 1 << 20];
        for _ in 0..LENGTH / zeros.len() {
            encoded.extend(encode(&mut *encoder, &zeros));
        }
        encoded.extend(written(|output| encoder.finish(output)));
        let server = ScriptedServer::start().await;
        let response = [head(coding), chunk(&encoded), b"0\r\n\r\n".to_vec()].concat();
        let serving = async {
            let mut stream = server.accept().await;
            stream.write_all(&response).await.unwrap();
            stream
        };
        let reading = async {
            let mut response = server.send(b"").await.unwrap();
            let mut length = 0;
            loop {
                let mut bytes = Vec::new();
                let more = read_some(&mut response, &mut bytes).await.unwrap();
                assert!(bytes.len() <= 128 * 1024, "{coding}: {} at once", bytes.len());
                length += bytes.len();
                if more == More::None {
                    break length;
                }
            }
        };
        let (length, _stream) = tokio::join!(reading, serving);
        assert_eq!(length, LENGTH, "{coding}");
    }
}

#[tokio::test]
async fn unsupported_content_coding_is_an_error() {
    for coding in ["compress", "gzip, br"] {
        let error = receive([head(coding), b"0\r\n\r\n".to_vec()].concat()).await.unwrap_err();
        assert_eq!(&*error.cause, "the response's Content-Encoding is not supported");
    }
}
