//! An HTTP proxy that opens tunnels (`CONNECT`).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

/// Passes bytes in both directions once a tunnel is open, including closes.
pub struct ConnectProxy {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    /// Starts a proxy. Without `authorization` as the value of `Proxy-Authorization` it refuses with 407.
    pub async fn start(authorization: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (tracker, seen) = (TaskTracker::new(), Arc::clone(&heads));
        tracker.clone().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tracker.spawn(tunnel(client, authorization, Arc::clone(&seen)));
            }
        });
        Self { address, heads }
    }

    /// Returns the heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn tunnel(mut client: TcpStream, authorization: Option<&str>, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).expect("UTF-8");
    heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
    if authorization.is_some_and(|value| !head.contains(&format!("\r\nproxy-authorization: {value}\r\n"))) {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        return client.write_all(refusal).await.expect("written");
    }
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).expect("CONNECT");
    let mut server = TcpStream::connect(target).await.expect("the server listens");
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("written");
    _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}
