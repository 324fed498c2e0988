use std::pin::pin;

use h2::server;
use hyper::Response as Head;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::super::retries::CLOSE_RACE;
use super::tls::TlsServer;
use super::*;

fn ok() -> Head<()> {
    Head::new(())
}

fn retries(server: &TlsServer) -> [u64; 3] {
    RetryReason::ALL.map(|reason| server.transport.0.retries.count(reason))
}

#[tokio::test]
async fn two_streams_share_a_connection_and_dropping_one_leaves_the_other() {
    let server = TlsServer::start(&["h2", "http/1.1"]).await;
    let tasks = TaskTracker::new();
    let serving = async {
        let mut connection = server::handshake(server.accept().await.unwrap()).await.unwrap();
        let mut bodies = Vec::new();
        for _ in 0..2 {
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            assert_eq!(request.uri().path(), "/v1");
            let mut body = respond.send_response(ok(), false).unwrap();
            body.send_data(Bytes::from_static(b"one"), false).unwrap();
            bodies.push(body);
        }
        // Drive the connection while the test writes to its streams.
        tasks.spawn(async move { while connection.accept().await.is_some() {} });
        bodies
    };
    let asking = async {
        let (mut first, mut second) = (server.send().await.unwrap(), server.send().await.unwrap());
        let mut bytes = Vec::new();
        read_some(&mut first, &mut bytes).await.unwrap();
        read_some(&mut second, &mut bytes).await.unwrap();
        assert_eq!(bytes, b"oneone");
        (first, second)
    };
    let (mut bodies, (first, mut second)) = tokio::join!(serving, asking);
    assert_eq!(server.transport.connections(), 1);
    drop(first);
    let reset = soon(poll_fn(|cx| bodies[0].poll_reset(cx))).await.unwrap();
    assert_eq!(reset, h2::Reason::CANCEL);
    bodies[1].send_data(Bytes::from_static(b"two"), true).unwrap();
    assert_eq!(read(&mut second).await.unwrap(), b"two");
}

#[tokio::test]
async fn recycling_an_unfinished_stream_resets_it_and_leaves_other_streams_open() {
    for status in [204, 205, 304, 600, 999, 200] {
        let server = TlsServer::start(&["h2"]).await;
        let tasks = TaskTracker::new();
        let serving = async {
            let mut connection = server::handshake(server.accept().await.unwrap()).await.unwrap();
            let mut bodies = Vec::new();
            for status in [200, status] {
                let (_, mut respond) = connection.accept().await.unwrap().unwrap();
                let head = Head::builder().status(status).body(()).unwrap();
                bodies.push(respond.send_response(head, false).unwrap());
            }
            tasks.spawn(async move { while connection.accept().await.is_some() {} });
            bodies
        };
        let asking = async { (server.send().await.unwrap(), server.send().await.unwrap()) };
        let (mut bodies, (mut other, response)) = tokio::join!(serving, asking);
        assert_eq!(response.status.as_u16(), status);
        response.recycle();
        let reset = soon(poll_fn(|cx| bodies[1].poll_reset(cx))).await.unwrap();
        assert_eq!(reset, h2::Reason::CANCEL, "{status}");
        _ = bodies[1].send_data(Bytes::from_static(b"late"), true);
        bodies[0].send_data(Bytes::from_static(b"own"), true).unwrap();
        assert_eq!(read(&mut other).await.unwrap(), b"own", "{status}");
        assert_eq!(server.transport.connections(), 1, "{status}");
    }
}

#[tokio::test]
async fn dropping_a_request_before_its_response_resets_its_stream() {
    let server = TlsServer::start(&["h2"]).await;
    let mut connection = None;
    let accepting = async {
        let mut accepted = server::handshake(server.accept().await.unwrap()).await.unwrap();
        let (_, respond) = accepted.accept().await.unwrap().unwrap();
        connection = Some(accepted);
        respond
    };
    let mut respond = tokio::select! {
        _ = server.send() => panic!("no response"),
        respond = accepting => respond,
    };
    let mut connection = connection.unwrap();
    let reset = soon(async {
        tokio::select! {
            reset = poll_fn(|cx| respond.poll_reset(cx)) => reset.unwrap(),
            _ = connection.accept() => panic!("no other request"),
        }
    });
    assert_eq!(reset.await, h2::Reason::CANCEL);
}

#[tokio::test]
async fn refused_stream_of_a_reused_connection_is_retried_on_a_new_connection() {
    let server = TlsServer::start(&["h2"]).await;
    let tasks = TaskTracker::new();
    let serving = async {
        for serves in [1, 1] {
            let mut connection = server::handshake(server.accept().await.unwrap()).await.unwrap();
            for _ in 0..serves {
                let (_, mut respond) = connection.accept().await.unwrap().unwrap();
                respond.send_response(ok(), true).unwrap();
            }
            tasks.spawn(async move {
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                }
            });
        }
    };
    let asking = async {
        for _ in 0..2 {
            let mut response = server.send().await.unwrap();
            assert_eq!(read(&mut response).await.unwrap(), b"");
        }
    };
    tokio::join!(serving, asking);
    assert_eq!(retries(&server), [0, 1, 0]);
}

/// Writes one frame (RFC 9113, section 4.1).
async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), kind: u8, flags: u8, id: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let frame = [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat();
    stream.write_all(&frame).await.unwrap();
    stream.flush().await.unwrap();
}

/// Reads frames up to a HEADERS frame and returns its stream id.
async fn read_to_headers(stream: &mut (impl AsyncRead + Unpin)) -> u32 {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        stream.read_exact(&mut vec![0; length]).await.unwrap();
        if head[3] == HEADERS {
            return u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        }
    }
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM_AND_HEADERS: u8 = 5;
/// HPACK: `:status: 200`.
const STATUS_200: &[u8] = &[0x88];

#[tokio::test]
async fn request_is_retried_only_if_goaway_excludes_its_stream() {
    for (last_stream, expected) in [(1, [0, 1, 0]), (3, [0, 0, 0])] {
        let server = TlsServer::start(&["h2"]).await;
        let serving = async {
            let mut stream = server.accept().await.unwrap();
            stream.read_exact(&mut [0; 24]).await.unwrap();
            write_frame(&mut stream, SETTINGS, 0, 0, &[]).await;
            let first = read_to_headers(&mut stream).await;
            write_frame(&mut stream, HEADERS, END_STREAM_AND_HEADERS, first, STATUS_200).await;
            let second = read_to_headers(&mut stream).await;
            assert_eq!((first, second), (1, 3));
            let no_error = [0; 4];
            let payload = [u32::to_be_bytes(last_stream), no_error].concat();
            write_frame(&mut stream, GOAWAY, 0, 0, &payload).await;
            if last_stream == 1 {
                let mut connection = server::handshake(server.accept().await.unwrap()).await.unwrap();
                let (_, mut respond) = connection.accept().await.unwrap().unwrap();
                respond.send_response(ok(), true).unwrap();
                while connection.accept().await.is_some() {}
            } else {
                // Wait longer than a close counts as a keep-alive race.
                tokio::time::sleep(CLOSE_RACE * 3 / 2).await;
            }
        };
        let asking = async {
            read(&mut server.send().await.unwrap()).await.unwrap();
            server.send().await
        };
        let mut asking = pin!(asking);
        let sent = tokio::select! {
            sent = &mut asking => sent,
            () = serving => asking.await,
        };
        assert_eq!(retries(&server), expected, "{last_stream}");
        assert_eq!(sent.is_ok(), last_stream == 1);
    }
}
