//! Clients that read almost nothing of a response.

use std::io;
use std::net::IpAddr;

use reqwest::{RequestBuilder, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The receive buffer of an HTTP/1.1 client, and the window of an HTTP/2 stream, in bytes.
const WINDOW: u32 = 4096;

/// A response of which only the head and the first bytes are read. Dropping it closes it.
pub struct SlowReader {
    pub status: u16,
    _unread: Unread,
}

/// Held open, and never read.
enum Unread {
    Http1 { _socket: TcpStream },
    Http2 { _response: Response },
}

/// Returns an HTTP/2 client whose streams have small windows, and whose connection window has room for all of them.
pub fn slow_http2_client() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().http2_prior_knowledge();
    let builder = builder.http2_initial_stream_window_size(WINDOW).http2_initial_connection_window_size(64 << 20);
    builder.build().expect("a client")
}

impl SlowReader {
    /// Sends the request over HTTP/1.1, on its own connection. The body of the request must be in memory.
    pub async fn http1(request: RequestBuilder) -> io::Result<Self> {
        let request = request.build().expect("a request");
        let url = request.url();
        let host: IpAddr = url.host_str().expect("a host").parse().expect("an address");
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(WINDOW)?;
        let mut socket = socket.connect((host, url.port().expect("a port")).into()).await?;
        let target = &url[url::Position::BeforePath..];
        let body = request.body().map_or(&[][..], |body| body.as_bytes().expect("a body in memory"));
        let mut head =
            format!("{} {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", request.method(), body.len());
        for (name, value) in request.headers() {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().expect("ASCII")));
        }
        socket.write_all(&[head.as_bytes(), b"\r\n", body].concat()).await?;
        let mut first = [0; "HTTP/1.1 200".len()];
        socket.read_exact(&mut first).await?;
        let status = String::from_utf8_lossy(&first).split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Self { status: status.expect("a status"), _unread: Unread::Http1 { _socket: socket } })
    }

    /// Sends a request of [`slow_http2_client`], as a stream of its connection.
    pub async fn http2(request: RequestBuilder) -> reqwest::Result<Self> {
        let mut response = request.send().await?;
        let status = response.status().as_u16();
        response.chunk().await?;
        Ok(Self { status, _unread: Unread::Http2 { _response: response } })
    }
}
