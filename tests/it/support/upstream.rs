//! An upstream that sends exactly the bytes that the test requests, at the time of the request.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::soon;

/// Listens on its own port. Each step of each answer is a call of the test, so that tests need no delays.
pub struct Upstream {
    listener: TcpListener,
    pub address: SocketAddr,
}

/// A received request, which the test answers step by step. Dropping it closes the connection.
pub struct Call {
    socket: TcpStream,
    pub head: String,
    pub body: Value,
    /// The body as received.
    pub raw_body: String,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        Self { listener, address }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Accepts a new connection and returns its first request.
    pub async fn call(&self) -> Call {
        let (socket, _) = soon(self.listener.accept()).await.expect("a connection");
        socket.set_nodelay(true).expect("no delay");
        soon(Call::read(socket)).await.expect("a request")
    }

    /// Responds in plain HTTP to any bytes on the next connection, such as a TLS handshake.
    pub async fn respond_in_the_clear(&self) {
        let Ok((mut socket, _)) = self.listener.accept().await else { return };
        let mut bytes = [0; 1024];
        _ = socket.read(&mut bytes).await;
        _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    }

    /// Like [`Upstream::call`], without a deadline. Ignores connections that send no request.
    pub async fn next_call(&self) -> Option<Call> {
        loop {
            let (socket, _) = self.listener.accept().await.ok()?;
            socket.set_nodelay(true).expect("no delay");
            if let Some(call) = Call::read(socket).await {
                return Some(call);
            }
        }
    }

    /// Returns whether a connection is waiting to be accepted.
    pub fn was_called(&self) -> bool {
        // A connection that was opened before the response that the test has read is already in the backlog.
        futures_util::future::FutureExt::now_or_never(self.listener.accept()).is_some()
    }
}

impl Call {
    /// Reads a request; `None` if the connection ends without one.
    async fn read(mut socket: TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let head_end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if socket.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(bytes[..head_end].to_vec()).expect("a head in UTF-8").to_ascii_lowercase();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok()).unwrap_or(0);
        while bytes.len() < head_end + length {
            if socket.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        let raw_body = String::from_utf8(bytes[head_end..].to_vec()).expect("a body in UTF-8");
        let body = serde_json::from_str(&raw_body).unwrap_or(Value::Null);
        Some(Self { socket, head, body, raw_body })
    }

    /// Returns the next request on the same connection; `None` if the service closes it instead.
    pub async fn next(self) -> Option<Self> {
        soon(Self::read(self.socket)).await
    }

    /// Waits for bytes on the same connection and returns them. Stays pending if the service closes it instead.
    pub async fn arrived(&mut self) -> String {
        let mut bytes = [0; 1024];
        match self.socket.read(&mut bytes).await {
            Ok(0) | Err(_) => std::future::pending().await,
            Ok(read) => String::from_utf8_lossy(&bytes[..read]).into_owned(),
        }
    }

    /// Sends bytes unchanged.
    pub async fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.socket.write_all(bytes.as_ref())).await.expect("the connection stands");
    }

    /// Sends bytes unchanged. Ignores the error if the service closes the connection before it has read all of them.
    pub async fn blurt(&mut self, bytes: impl AsRef<[u8]>) {
        _ = soon(self.socket.write_all(bytes.as_ref())).await;
    }

    /// Sends the same bytes repeatedly, until the service has closed the connection.
    pub async fn repeat(&mut self, bytes: impl AsRef<[u8]>) {
        soon(async { while self.socket.write_all(bytes.as_ref()).await.is_ok() {} }).await;
    }

    /// Closes the sending half with a FIN; the test can still read from the connection.
    pub async fn fin(&mut self) {
        _ = self.socket.shutdown().await;
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.socket.set_zero_linger().expect("a socket");
    }

    /// Sends the head of a successful, chunked response.
    pub async fn ok(&mut self) {
        self.raw(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await;
    }

    /// Sends a chunk of the body.
    pub async fn body(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.raw([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()).await;
    }

    /// Sends an event with this data.
    pub async fn data(&mut self, data: impl std::fmt::Display) {
        self.body(format!("data: {data}\n\n")).await;
    }

    /// Sends a completion chunk with this delta.
    pub async fn delta(&mut self, delta: Value) {
        self.data(json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})).await;
    }

    /// Sends a completion chunk with this text.
    pub async fn text(&mut self, text: &str) {
        self.delta(json!({"content": text})).await;
    }

    /// Sends the completion chunk that ends choice 0.
    pub async fn finish(&mut self, reason: &str) {
        self.data(json!({"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})).await;
    }

    /// Sends `[DONE]`, and the end of the body.
    pub async fn done(&mut self) {
        self.data("[DONE]").await;
        self.raw("0\r\n\r\n").await;
    }

    /// Sends a complete answer.
    pub async fn answer(&mut self, texts: &[&str]) {
        self.ok().await;
        for text in texts {
            self.text(text).await;
        }
        self.finish("stop").await;
        self.done().await;
    }

    /// Sends a response whose body is this JSON text.
    pub async fn json(&mut self, json: &str) {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", json.len());
        self.raw(head + json).await;
    }

    /// Sends an error response.
    pub async fn refuse(&mut self, status: u16, headers: &str, body: &str) {
        let length = body.len();
        self.raw(format!("HTTP/1.1 {status} No\r\n{headers}content-length: {length}\r\n\r\n{body}")).await;
    }

    /// Waits until the service has closed the connection, by FIN or RST.
    pub async fn closed(&mut self) {
        let mut byte = [0];
        match soon(self.socket.read(&mut byte)).await {
            Ok(0) | Err(_) => {}
            Ok(_) => panic!("more was sent where the connection should have been closed"),
        }
    }
}
