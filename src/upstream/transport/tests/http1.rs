use tokio::io::AsyncWriteExt;

use super::*;

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::test]
async fn connection_is_reused_only_after_an_accepted_and_complete_body() {
    for (response, connections) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", 1),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 1),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nx: y\r\n\r\n", 1),
        ("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\nhi", 1),
        ("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\nhi", 1),
        ("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", 1),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: timeout=5\r\n\r\nhi", 1),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: timeout=1\r\n\r\nhi", 0),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi!", 0),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x, Close\r\n\r\nhi", 0),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 0),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", 0),
        ("HTTP/1.1 204 No Content\r\n\r\n", 0),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n", 0),
        ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 0),
        ("HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n", 0),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n", 0),
        ("HTTP/1.1 307 Temporary Redirect\r\ncontent-length: 2\r\n\r\nhi", 0),
        ("HTTP/1.1 600 Unknown\r\ncontent-length: 2\r\n\r\nhi", 0),
        ("HTTP/1.1 999 Unknown\r\ncontent-length: 2\r\n\r\nhi", 0),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 0),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 0),
        ("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n", 0),
    ] {
        let server = ScriptedServer::start().await;
        let serving = async {
            let mut stream = server.accept().await;
            stream.write_all(response.as_bytes()).await.unwrap();
            stream
        };
        let (sent, mut stream) = tokio::join!(server.send(b""), serving);
        assert!(matches!(accepted(sent.unwrap()).await.as_slice(), b"hi" | b""), "{response}");
        assert_eq!(server.transport.connections(), connections, "{response}");
        if connections > 0 {
            let serving = async {
                let head = read_head(&mut stream).await;
                stream.write_all(HELLO).await.unwrap();
                head
            };
            let (sent, head) = tokio::join!(server.send(b""), serving);
            sent.unwrap();
            assert!(head.starts_with("POST /v1?q HTTP/1.1\r\n"), "{head}");
            assert!(head.contains(&format!("host: {}\r\n", server.address())), "{head}");
        }
    }
}

#[tokio::test]
async fn truncated_or_non_http_response_is_an_error() {
    use TransportErrorKind::{Disconnected, Protocol};
    for (response, kind, cause) in [
        ("", Disconnected, "closed before a response"),
        ("HTTP/1.1 200", Disconnected, "closed before the end of the response"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi", Disconnected, "closed before the end of the response"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",
            Disconnected,
            "closed before the end of the response",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi!!",
            Protocol,
            "the response's body is not valid HTTP",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            Protocol,
            "the response's Transfer-Encoding is not supported",
        ),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Protocol, "the server switched protocols"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", Protocol, "the response is not HTTP"),
        ("HTTP/2 200\r\n\r\n", Protocol, "the response is not HTTP"),
        ("SSH-2.0-OpenSSH_9.2\r\n", Protocol, "the response is not HTTP"),
    ] {
        let server = ScriptedServer::start().await;
        let serving = async {
            let mut stream = server.accept().await;
            stream.write_all(response.as_bytes()).await.unwrap();
        };
        let (sent, ()) = tokio::join!(server.send(b""), serving);
        let read = match sent {
            Ok(mut response) => read(&mut response).await,
            Err(error) => Err(error),
        };
        let error = read.unwrap_err();
        let sent = if response.is_empty() { Sent::Maybe } else { Sent::Yes };
        assert_eq!((error.kind, &*error.cause, error.sent), (kind, cause, sent), "{response}");
        assert_eq!(server.transport.connections(), 0);
    }
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_its_connection() {
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        let server = ScriptedServer::start().await;
        let response = format!("{version} 200 OK\r\n\r\nhi");
        let serving = async { server.accept().await.write_all(response.as_bytes()).await.unwrap() };
        let (sent, ()) = tokio::join!(server.send(b""), serving);
        assert_eq!(read(&mut sent.unwrap()).await.unwrap(), b"hi");
    }
}

#[tokio::test]
async fn a_response_before_the_end_of_the_request_is_returned() {
    let server = ScriptedServer::start().await;
    let serving = async {
        let mut stream = server.accept().await;
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        stream
    };
    let large = vec![b'x'; 64 << 20];
    let (sent, _unread) = tokio::join!(server.send(&large), serving);
    assert_eq!(sent.unwrap().status, 413);
    assert_eq!(server.transport.connections(), 0, "the rest of the request would be read as the next request");
}

#[tokio::test]
async fn response_is_read_if_the_server_closes_before_it_reads_the_request() {
    let server = ScriptedServer::start().await;
    let serving = async {
        let mut stream = server.accept().await;
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 9\r\n\r\ntoo large").await.unwrap();
        stream.shutdown().await.unwrap();
        // Closing with unread bytes resets the connection. Wait until the response has been sent.
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let large = vec![b'x'; 16 << 20];
    let (sent, ()) = tokio::join!(server.send(&large), serving);
    let mut response = sent.unwrap();
    assert_eq!((response.status.as_u16(), read(&mut response).await.unwrap()), (413, b"too large".to_vec()));
}

#[tokio::test]
async fn a_response_may_begin_before_the_end_of_the_request() {
    let server = ScriptedServer::start().await;
    let large = vec![b'x'; 16 << 20];
    let serving = async {
        let mut stream = server.accept().await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n").await.unwrap();
        let mut rest = vec![0; 16 << 20];
        stream.read_exact(&mut rest).await.unwrap();
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        stream
    };
    let reading = async { accepted(server.send(&large).await.unwrap()).await };
    let (read, _open) = tokio::join!(reading, serving);
    assert_eq!(read, b"hi");
    assert_eq!(server.transport.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_not_reused() {
    let server = ScriptedServer::start().await;
    for _ in 0..2 {
        let serving = async { server.accept().await.write_all(HELLO).await.unwrap() };
        let (sent, ()) = tokio::join!(server.send(b""), serving);
        assert_eq!(accepted(sent.unwrap()).await, b"hello");
    }
}

#[tokio::test]
async fn complete_response_that_is_not_accepted_closes_its_connection() {
    let server = ScriptedServer::start().await;
    let serving = async {
        let mut stream = server.accept().await;
        stream.write_all(HELLO).await.unwrap();
        stream
    };
    let (sent, mut stream) = tokio::join!(server.send(b""), serving);
    let mut response = sent.unwrap();
    assert_eq!(read(&mut response).await.unwrap(), b"hello");
    drop(response);
    closed(&mut stream).await;
}

/// The server closes an idle connection 3 s after the last byte of a response.
#[tokio::test]
async fn a_connection_is_reused_until_a_second_before_the_announced_keep_alive_timeout() {
    const ANNOUNCED: &[u8] = b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=3\r\ncontent-length: 2\r\n\r\nhi";
    for (before, after, is_reused) in [(0, 1_900, true), (0, 2_000, false), (1_000, 900, true), (1_000, 1_000, false)] {
        let server = ScriptedServer::start().await;
        let serving = async {
            let mut stream = server.accept().await;
            stream.write_all(ANNOUNCED).await.unwrap();
            stream
        };
        let (sent, _stream) = tokio::join!(server.send(b""), serving);
        let mut response = sent.unwrap();
        assert_eq!(read(&mut response).await.unwrap(), b"hi");
        tokio::time::pause();
        tokio::time::advance(Duration::from_millis(before)).await;
        response.recycle();
        tokio::time::advance(Duration::from_millis(after)).await;
        assert_eq!(server.transport.reuse().is_some(), is_reused, "{before} ms and {after} ms");
        tokio::time::resume();
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_keepalive() {
    let server = ScriptedServer::with(ConnectionTerms { keepalive: Duration::from_millis(50), ..TERMS }).await;
    let serving = async {
        let mut stream = server.accept().await;
        stream.write_all(HELLO).await.unwrap();
        stream
    };
    let (sent, mut stream) = tokio::join!(server.send(b""), serving);
    accepted(sent.unwrap()).await;
    closed(&mut stream).await;
    assert_eq!(server.transport.connections(), 0);
}

#[tokio::test]
async fn dropping_a_request_or_its_response_closes_the_connection() {
    let server = ScriptedServer::start().await;
    let mark = SentMark::default();
    let mut unanswered = tokio::select! {
        _ = server.transport.send(&server.request, Bytes::new(), &mark) => panic!("no response"),
        stream = server.accept() => stream,
    };
    assert_eq!(mark.get(), Sent::Maybe);
    closed(&mut unanswered).await;

    let serving = async {
        let mut stream = server.accept().await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await.unwrap();
        stream
    };
    let (response, mut stream) = tokio::join!(server.send(b""), serving);
    drop(response);
    closed(&mut stream).await;
}

#[tokio::test]
async fn a_closed_port_and_an_unknown_host_are_unreachable() {
    let ScriptedServer { listener, transport, request, .. } = ScriptedServer::start().await;
    drop(listener);
    let mark = SentMark::default();
    let error = transport.send(&request, Bytes::new(), &mark).await.err().unwrap();
    let refused = TransportError::unreachable("connection refused");
    assert_eq!((error, mark.get()), (refused, Sent::No));

    let request = super::request("http://no-such-host.invalid/v1");
    let transport = builder().build(request.url(), TERMS).unwrap();
    let error = transport.send(&request, Bytes::new(), &mark).await.err().unwrap();
    assert_eq!(error.kind, TransportErrorKind::Unreachable);
    assert!(error.cause.starts_with("no such host"), "{error}");
}

#[tokio::test]
async fn reading_yields_if_bytes_are_always_available() {
    let server = ScriptedServer::start().await;
    let flood = async {
        let mut stream = server.accept().await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let bytes = vec![b'\n'; 64 * 1024];
        while stream.write_all(&bytes).await.is_ok() {}
    };
    let reading = async {
        let mut response = server.send(b"").await.unwrap();
        // Without the coop budget this task would never yield: the next bytes are always readable.
        for _ in 0..5_000 {
            read_some(&mut response, &mut Vec::new()).await.unwrap();
        }
    };
    tokio::select! {
        () = reading => {}
        () = flood => panic!("the reader disconnected"),
    }
}
