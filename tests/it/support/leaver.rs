//! A client that leaves when the test says, in the way that the test says.

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
    /// All that has come: with HTTP/1.1 the bytes on the wire, with HTTP/2 those of the body.
    pub received: String,
}

/// What a client does to its connection, or to its part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// HTTP/1.1: closes the connection.
    Fin,
    /// HTTP/1.1: resets it.
    Rst,
    /// HTTP/1.1: closes its sending half, and reads on.
    HalfClose,
    /// HTTP/2: resets its stream; the connection stays.
    StreamReset,
    /// HTTP/2: its process is gone, and the connection with it.
    ConnectionClose,
}

enum Connection {
    Http1(TcpStream),
    /// The client keeps the connection open when the stream has gone.
    Http2 {
        client: reqwest::Client,
        reading: JoinHandle<()>,
        chunks: mpsc::Receiver<Bytes>,
        process: Process,
    },
    Gone,
}

/// A runtime of the client's own. With it go its sockets, without a frame to say so.
struct Process(Option<Runtime>);

impl Leaver {
    /// Asks for a generation in the protocol of `way`.
    pub async fn ask(way: Way, address: SocketAddr, accept: &str, body: &str) -> Self {
        match way {
            Way::Fin | Way::Rst | Way::HalfClose => Self::http1(address, accept, body, "").await,
            Way::StreamReset | Way::ConnectionClose => Self::http2(address, accept, body),
        }
    }

    /// Asks with HTTP/1.1, and sends `stray` behind the body's end.
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

    /// Leaves. What `way` keeps open stays open until this is dropped.
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

    /// Waits for `text`; with HTTP/1.1 also for the end of its chunk, since a socket that is closed with
    /// bytes unread sends a reset.
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

    /// The generation that its first event names.
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
