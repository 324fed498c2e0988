//! Tests of the transport against scripted servers.

mod decoding;
mod http1;
mod http2;
mod proxy;
mod redirects;
mod retries;
mod tls;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::{Sent, SentMark};
use super::*;

/// Timeout of each step of a test.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);
const TERMS: ConnectionTerms = ConnectionTerms::direct(STEP_TIMEOUT, STEP_TIMEOUT);

fn builder() -> TransportBuilder {
    TransportBuilder::new(TaskTracker::new(), CancellationToken::new())
}

/// A TCP server and a transport to it.
struct ScriptedServer {
    listener: TcpListener,
    transport: Transport,
    request: UpstreamRequest,
}

impl ScriptedServer {
    async fn start() -> Self {
        Self::with(TERMS).await
    }

    async fn with(terms: ConnectionTerms) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let request = request(&format!("http://{}/v1?q", listener.local_addr().unwrap()));
        let transport = builder().build(request.url(), terms).unwrap();
        Self { listener, transport, request }
    }

    async fn send(&self, body: &[u8]) -> Result<Response, TransportError> {
        let body = Bytes::copy_from_slice(body);
        soon(self.transport.send(&self.request, body, &SentMark::default())).await
    }

    /// Accepts a connection, reads the head of its request and returns the server's end.
    async fn accept(&self) -> TcpStream {
        let mut stream = soon(self.listener.accept()).await.unwrap().0;
        read_head(&mut stream).await;
        stream
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }
}

fn request(url: &str) -> UpstreamRequest {
    UpstreamRequest::new(Method::POST, url.parse().unwrap(), HeaderMap::new()).unwrap()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(STEP_TIMEOUT, future).await.expect("in time")
}

/// Reads to the end of a head. Returns an empty string if the connection ends before it.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = soon(stream.read_u8()).await else { return String::new() };
        head.push(byte);
    }
    String::from_utf8(head).unwrap()
}

async fn read(response: &mut Response) -> Result<Vec<u8>, TransportError> {
    let mut bytes = Vec::new();
    while read_some(response, &mut bytes).await? == More::Maybe {}
    Ok(bytes)
}

/// Reads a response to its end and recycles it.
async fn accepted(mut response: Response) -> Vec<u8> {
    let bytes = read(&mut response).await.unwrap();
    response.recycle();
    bytes
}

async fn read_some(response: &mut Response, bytes: &mut Vec<u8>) -> Result<More, TransportError> {
    let mut sink = |more: &[u8]| bytes.extend_from_slice(more);
    soon(poll_fn(|cx| response.poll_read(cx, &mut sink))).await
}

/// Waits until the transport closes the connection.
async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = [0; 1024];
    while soon(stream.read(&mut rest)).await.is_ok_and(|read| read > 0) {}
}
