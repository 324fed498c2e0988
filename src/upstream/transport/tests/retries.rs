use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt;

use super::*;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn retries(server: &ScriptedServer) -> [u64; 3] {
    RetryReason::ALL.map(|reason| server.transport.0.retries.count(reason))
}

/// Returns the server's end of a connection that has served one request and is idle.
async fn idle(server: &ScriptedServer) -> TcpStream {
    let serving = async {
        let mut stream = server.accept().await;
        stream.write_all(OK).await.unwrap();
        stream
    };
    let (sent, stream) = tokio::join!(server.send(b""), serving);
    accepted(sent.unwrap()).await;
    assert_eq!(server.transport.connections(), 1);
    stream
}

#[tokio::test]
async fn request_is_retried_once_on_a_new_connection_if_a_reused_one_closes_at_once() {
    let server = ScriptedServer::start().await;
    let mut stream = idle(&server).await;
    let serving = async {
        // The server decided to close before it read this request.
        read_head(&mut stream).await;
        drop(stream);
        server.accept().await.write_all(OK).await.unwrap();
    };
    let (sent, ()) = tokio::join!(server.send(b""), serving);
    assert_eq!(read(&mut sent.unwrap()).await.unwrap(), b"ok");
    assert_eq!(retries(&server), [0, 0, 1]);
}

#[tokio::test]
async fn request_is_not_retried_if_a_new_connection_closes() {
    let server = ScriptedServer::start().await;
    let (sent, stream) = tokio::join!(server.send(b""), async { drop(server.accept().await) });
    let () = stream;
    assert_eq!(&*sent.err().unwrap().cause, "closed before a response");
    assert_eq!(retries(&server), [0, 0, 0]);

    // The new connection of a retry is not retried either.
    let mut stream = idle(&server).await;
    let serving = async {
        read_head(&mut stream).await;
        drop(stream);
        drop(server.accept().await);
    };
    let (sent, ()) = tokio::join!(server.send(b""), serving);
    assert_eq!(sent.err().unwrap().sent, Sent::Maybe);
    assert_eq!(retries(&server), [0, 0, 1]);
}

#[tokio::test]
async fn request_is_not_retried_if_a_reused_connection_closes_two_seconds_later() {
    let server = ScriptedServer::start().await;
    let mut stream = idle(&server).await;
    let serving = async {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop(stream);
    };
    let (sent, ()) = tokio::join!(server.send(b""), serving);
    let error = sent.err().unwrap();
    assert_eq!((error.kind, error.sent), (TransportErrorKind::Disconnected, Sent::Maybe));
    assert_eq!(retries(&server), [0, 0, 0]);
}

#[tokio::test]
async fn partly_written_request_is_retried_after_any_delay() {
    let server = ScriptedServer::start().await;
    let mut stream = idle(&server).await;
    let large = vec![b'x'; 64 << 20];
    let serving = async {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        stream.set_zero_linger().unwrap();
        drop(stream);
        let mut stream = server.accept().await;
        stream.read_exact(&mut vec![0; 64 << 20]).await.unwrap();
        stream.write_all(OK).await.unwrap();
    };
    let (sent, ()) = tokio::join!(server.send(&large), serving);
    assert_eq!(read(&mut sent.unwrap()).await.unwrap(), b"ok");
    assert_eq!(retries(&server), [1, 0, 0]);
}

#[tokio::test]
async fn request_is_not_retried_after_a_byte_of_the_response() {
    let server = ScriptedServer::start().await;
    let mut stream = idle(&server).await;
    let serving = async {
        read_head(&mut stream).await;
        stream.write_all(b"H").await.unwrap();
        drop(stream);
    };
    let (sent, ()) = tokio::join!(server.send(b""), serving);
    assert_eq!(&*sent.err().unwrap().cause, "closed before the end of the response");
    assert_eq!(retries(&server), [0, 0, 0]);
}

/// Serves requests on one connection. After each response, closes the connection at a random moment, or although the
/// next request is already in its buffer. That request is then not read.
async fn serve_and_close(mut stream: TcpStream, mut random: Random, read: Arc<AtomicUsize>) {
    loop {
        if read_head(&mut stream).await.is_empty() {
            return;
        }
        read.fetch_add(1, Ordering::Relaxed);
        if stream.write_all(OK).await.is_err() {
            return;
        }
        let patience = tokio::time::sleep(Duration::from_micros(random.below(4_000)));
        let mut first = [0];
        let has_begun = tokio::select! {
            biased;
            () = patience => false,
            begun = stream.peek(&mut first) => matches!(begun, Ok(1)) && random.below(4) > 0,
        };
        if !has_begun {
            return;
        }
    }
}

/// xorshift64.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[tokio::test]
async fn two_thousand_requests_are_read_once_each_by_a_server_that_closes_idle_connections() {
    const REQUESTS: usize = 2_000;
    let server = ScriptedServer::start().await;
    let (tasks, read_requests) = (TaskTracker::new(), Arc::new(AtomicUsize::new(0)));
    let serving = async {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        loop {
            let (stream, _) = server.listener.accept().await.unwrap();
            random.below(1);
            tasks.spawn(serve_and_close(stream, random.clone(), Arc::clone(&read_requests)));
        }
    };
    let asking = async {
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        for _ in 0..REQUESTS {
            assert_eq!(accepted(server.send(b"").await.unwrap()).await, b"ok");
            tokio::time::sleep(Duration::from_micros(random.below(3_000))).await;
        }
    };
    tokio::select! {
        () = asking => {}
        () = serving => {}
    }
    assert_eq!(read_requests.load(Ordering::Relaxed), REQUESTS, "none was read twice");
    let retries = retries(&server);
    assert!(retries.iter().sum::<u64>() > 0, "the keep-alive race never occurred");
    println!("retries for not_written, refused_stream, closed_early: {retries:?}");
}
