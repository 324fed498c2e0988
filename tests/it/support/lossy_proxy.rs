//! A connection to Redis that loses the first reply of each script.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// Passes bytes between clients and a server. When a script is called for the first time, its call is passed on, and the
/// connection breaks before the reply arrives.
pub struct LossyProxy {
    pub port: u16,
    lost: LostReplies,
    admits: watch::Sender<bool>,
}

/// The scripts whose first reply is lost, by their digests.
#[derive(Clone, Default)]
struct LostReplies(Arc<Mutex<HashSet<String>>>);

impl LossyProxy {
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (lost, tracker) = (LostReplies::default(), TaskTracker::new());
        let admits = watch::Sender::new(true);
        tracker.clone().spawn({
            let (lost, mut admits) = (lost.clone(), admits.subscribe());
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    if admits.wait_for(|admits| *admits).await.is_err() {
                        return;
                    }
                    tracker.spawn(pass(client, server, lost.clone()));
                }
            }
        });
        Self { port, lost, admits }
    }

    /// From now on, a new connection waits for [`LossyProxy::admit_new_connections`].
    pub fn hold_new_connections(&self) {
        self.admits.send_replace(false);
    }

    pub fn admit_new_connections(&self) {
        self.admits.send_replace(true);
    }

    /// Returns the number of scripts whose first reply was lost.
    pub fn lost(&self) -> usize {
        self.lost.0.lock().expect("no panic").len()
    }
}

async fn pass(client: TcpStream, server: u16, lost: LostReplies) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let called = Arc::default();
    let calls = pass_calls(from_client, to_server, (lost.clone(), Arc::clone(&called)));
    let replies = pass_replies(from_server, to_client, (lost, called));
    tokio::select! {
        () = calls => {}
        () = replies => {}
    }
}

/// The script that was called for the first time on this connection and is not answered.
type Called = Arc<Mutex<Option<String>>>;

async fn pass_calls(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, (lost, called): (LostReplies, Called)) {
    let mut bytes = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        // A call begins with the name of its command and the digest of the script, each after its length.
        for call in String::from_utf8_lossy(&bytes[..read]).split("EVALSHA\r\n$40\r\n").skip(1) {
            let digest = call[..40].to_owned();
            if lost.0.lock().expect("no panic").insert(digest.clone()) {
                *called.lock().expect("no panic") = Some(digest);
            }
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

async fn pass_replies(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, (lost, called): (LostReplies, Called)) {
    let mut bytes = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let unanswered = called.lock().expect("no panic").take();
        if let Some(digest) = unanswered {
            // A script that the server does not know yet was not carried out.
            if !bytes[..read].starts_with(b"-NOSCRIPT") {
                return;
            }
            lost.0.lock().expect("no panic").remove(&digest);
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
