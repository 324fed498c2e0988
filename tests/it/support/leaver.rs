//! A client that disconnects when and how the test requests.

use std::mem::replace;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::soon;

/// One request for a generation, on a connection of its own.
pub struct Leaver {
    connection: Connection,
    /// All received bytes: with HTTP/1.1 those on the wire, with HTTP/2 those of the body.
    pub received: String,
}

/// How a client disconnects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// HTTP/1.1: closes the connection.
    Fin,
    /// HTTP/1.1: resets it.
    Rst,
    /// HTTP/1.1: closes its sending half, and continues to read.
    HalfClose,
    /// HTTP/2: resets its stream; the connection stays.
    StreamReset,
    /// HTTP/2: its process ends, and with it the connection.
    ConnectionClose,
}

enum Connection {
    Http1(TcpStream),
    /// The client keeps the connection open after the stream has ended.
    Http2 {
        client: reqwest::Client,
        reading: JoinHandle<()>,
        chunks: mpsc::Receiver<Bytes>,
        process: Process,
    },
    Gone,
}

/// The client's own runtime. Dropping it closes its sockets without an HTTP/2 frame.
struct Process(Option<Runtime>);

impl Leaver {
    /// Requests a generation in the protocol of `way`.
    pub async fn ask(way: Way, address: SocketAddr, accept: &str, body: &str) -> Self {
        match way {
            Way::Fin | Way::Rst | Way::HalfClose => Self::http1(address, accept, body, "").await,
            Way::StreamReset | Way::ConnectionClose => Self::http2(address, accept, body),
        }
    }

    /// Requests a generation with HTTP/1.1, and sends `stray` after the end of the body.
    pub async fn http1(address: SocketAddr, accept: &str, body: &str, stray: &str) -> Self {
        let mut socket = soon(TcpStream::connect(address)).await.expect("a connection");
        let length = body.len();
        let head = format!(
            "POST /v1/generations HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        soon(socket.write_all([&head, body, stray].concat().as_bytes())).await.expect("sent");
        Self { connection: Connection::Http1(socket), received: String::new() }
    }

    fn http2(address: SocketAddr, accept: &str, body: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().expect("a client");
        let request = client
            .post(format!("http://{address}/v1/generations"))
            .header(ACCEPT, accept)
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_owned());
        let (sender, chunks) = mpsc::channel(16);
        let reading = runtime.spawn(async move {
            let mut response = request.send().await.expect("an answer");
            while let Ok(Some(chunk)) = response.chunk().await {
                _ = sender.send(chunk).await;
            }
        });
        let process = Process(Some(runtime));
        Self { connection: Connection::Http2 { client, reading, chunks, process }, received: String::new() }
    }

    /// Disconnects. If `way` keeps the connection open, it stays open until this is dropped.
    pub async fn leave(&mut self, way: Way) {
        let connection = replace(&mut self.connection, Connection::Gone);
        self.connection = match (way, connection) {
            (Way::Rst, Connection::Http1(socket)) => {
                SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("a reset in place of a close");
                Connection::Gone
            }
            (Way::HalfClose, Connection::Http1(mut socket)) => {
                socket.shutdown().await.expect("half closed");
                Connection::Http1(socket)
            }
            (Way::StreamReset, Connection::Http2 { client, reading, chunks, process }) => {
                reading.abort();
                Connection::Http2 { client, reading, chunks, process }
            }
            (Way::Fin, Connection::Http1(_)) | (Way::ConnectionClose, Connection::Http2 { .. }) => Connection::Gone,
            _ => panic!("{way:?} is not of this protocol"),
        };
    }

    /// Waits for `text`; with HTTP/1.1 also for the end of its chunk, since closing a socket with unread bytes sends a
    /// reset.
    pub async fn read_until(&mut self, text: &str) {
        let end = if matches!(self.connection, Connection::Http1(_)) { "\r\n" } else { "" };
        soon(async {
            while !(self.received.contains(text) && self.received.ends_with(end)) {
                assert!(self.read().await, "it ended before {text:?}: {}", self.received);
            }
        })
        .await;
    }

    /// Waits until the service has closed the connection.
    pub async fn closed(&mut self) {
        soon(async { while self.read().await {} }).await;
    }

    async fn read(&mut self) -> bool {
        let bytes = match &mut self.connection {
            Connection::Http1(socket) => {
                let mut bytes = Vec::new();
                _ = socket.read_buf(&mut bytes).await;
                bytes.into()
            }
            Connection::Http2 { chunks, .. } => chunks.recv().await.unwrap_or_default(),
            Connection::Gone => Bytes::new(),
        };
        self.received.push_str(&String::from_utf8_lossy(&bytes));
        !bytes.is_empty()
    }

    /// Returns the generation id of the first event.
    pub fn generation(&self) -> String {
        let (_, id) = self.received.split_once("\"generation\":\"").expect("a start");
        id.split('"').next().expect("an id").to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
