//! A model's server that says exactly what the test says, when the test says it.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::soon;

/// Listens on a port of its own. Every step of every answer is a call of the test: no step happens by
/// itself, so there is nothing to wait out.
pub struct Upstream {
    listener: TcpListener,
    pub address: SocketAddr,
}

/// One request that has arrived, to be answered step by step. Dropping it closes the connection.
pub struct Call {
    socket: TcpStream,
    pub head: String,
    pub body: Value,
    /// The body as it came.
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

    /// The next request, on a new connection.
    pub async fn call(&self) -> Call {
        let (socket, _) = soon(self.listener.accept()).await.expect("a connection");
        socket.set_nodelay(true).expect("no delay");
        soon(Call::read(socket)).await.expect("a request")
    }

    /// Responds in plain HTTP to whatever comes on the next connection, such as the beginning of TLS.
    pub async fn respond_in_the_clear(&self) {
        let Ok((mut socket, _)) = self.listener.accept().await else { return };
        let mut bytes = [0; 1024];
        _ = socket.read(&mut bytes).await;
        _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    }

    /// As [`Upstream::call`], for as long as the test runs. Connections that bring no request are passed over.
    pub async fn next_call(&self) -> Option<Call> {
        loop {
            let (socket, _) = self.listener.accept().await.ok()?;
            socket.set_nodelay(true).expect("no delay");
            if let Some(call) = Call::read(socket).await {
                return Some(call);
            }
        }
    }

    /// Whether a connection is waiting that nobody has taken.
    pub fn was_called(&self) -> bool {
        // A connection that was begun before the answer we have seen is in the backlog by now.
        futures_util::future::FutureExt::now_or_never(self.listener.accept()).is_some()
    }
}

impl Call {
    /// `None` if the connection ends without a request.
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

    /// The next request on the same connection; `None` if it was closed instead.
    pub async fn next(self) -> Option<Self> {
        soon(Self::read(self.socket)).await
    }

    /// Waits for bytes on the same connection and returns them. Pending for ever where it is closed instead.
    pub async fn arrived(&mut self) -> String {
        let mut bytes = [0; 1024];
        match self.socket.read(&mut bytes).await {
            Ok(0) | Err(_) => std::future::pending().await,
            Ok(read) => String::from_utf8_lossy(&bytes[..read]).into_owned(),
        }
    }

    /// Bytes as they are.
    pub async fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.socket.write_all(bytes.as_ref())).await.expect("the connection stands");
    }

    /// Bytes as they are, as far as the service takes them before it closes the connection.
    pub async fn blurt(&mut self, bytes: impl AsRef<[u8]>) {
        _ = soon(self.socket.write_all(bytes.as_ref())).await;
    }

    /// The same bytes again and again, until the service has closed the connection.
    pub async fn repeat(&mut self, bytes: impl AsRef<[u8]>) {
        soon(async { while self.socket.write_all(bytes.as_ref()).await.is_ok() {} }).await;
    }

    /// Says nothing more, by FIN; the service can still be heard.
    pub async fn fin(&mut self) {
        _ = self.socket.shutdown().await;
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.socket.set_zero_linger().expect("a socket");
    }

    /// The head of a good answer; the body comes in chunks.
    pub async fn ok(&mut self) {
        self.raw(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await;
    }

    /// A part of the body.
    pub async fn body(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.raw([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()).await;
    }

    /// One event with this data.
    pub async fn data(&mut self, data: impl std::fmt::Display) {
        self.body(format!("data: {data}\n\n")).await;
    }

    /// A chunk with this delta.
    pub async fn delta(&mut self, delta: Value) {
        self.data(json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})).await;
    }

    /// A chunk with this text.
    pub async fn text(&mut self, text: &str) {
        self.delta(json!({"content": text})).await;
    }

    /// The chunk that ends choice 0.
    pub async fn finish(&mut self, reason: &str) {
        self.data(json!({"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})).await;
    }

    /// `[DONE]`, and the end of the body.
    pub async fn done(&mut self) {
        self.data("[DONE]").await;
        self.raw("0\r\n\r\n").await;
    }

    /// A whole answer.
    pub async fn answer(&mut self, texts: &[&str]) {
        self.ok().await;
        for text in texts {
            self.text(text).await;
        }
        self.finish("stop").await;
        self.done().await;
    }

    /// A JSON text as the whole body.
    pub async fn json(&mut self, json: &str) {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", json.len());
        self.raw(head + json).await;
    }

    /// A refusal.
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
