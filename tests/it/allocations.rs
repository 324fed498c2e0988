//! Relaying a token through a running service costs few allocations.

use std::net::SocketAddr;
use std::thread;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

use crate::support::{Call, Service, Upstream, case, soon};

/// Allocations per token, if each token is read, appended and written by itself: from the read of the upstream's socket
/// to the write of the client's. Measured in a debug build, where nothing is optimized away.
///
/// A text of up to 24 bytes is stored inline in its value, as are one or two signals, events and entries. A longer text
/// or a larger batch takes an allocation each.
const BUDGET: u64 = 0;
/// Allocations of a stretch beside its tokens: the log grows by doubling.
const GROWTH: u64 = 10;

const TOKEN: &str = " token";
/// Tokens after which every buffer has its final size and the chunk template is known.
const WARM: usize = 64;
/// Tokens of one stretch.
const TOKENS: usize = 400;
/// A stretch may include the service's work of each second, so the one with the fewest allocations counts.
const STRETCHES: usize = 3;

/// A service that runs all its tasks on one thread, which counts its allocations.
struct Counted {
    address: SocketAddr,
    marks: mpsc::Sender<oneshot::Sender<u64>>,
}

impl Counted {
    async fn before(base_url: String) -> Self {
        let (started, address) = oneshot::channel();
        let (marks, mut asked) = mpsc::channel::<oneshot::Sender<u64>>(1);
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            let service = runtime.block_on(Service::before(&base_url));
            started.send(service.address).expect("the test waits");
            loop {
                let mut mark = None;
                let counted = allocation_counter::measure(|| mark = runtime.block_on(asked.recv()));
                let Some(mark) = mark else { break };
                mark.send(counted.count_total).expect("the test waits");
            }
        });
        Self { address: address.await.expect("it starts"), marks }
    }

    /// Returns the number of allocations since the last call.
    async fn allocations(&self) -> u64 {
        let (mark, counted) = oneshot::channel();
        self.marks.send(mark).await.expect("it runs");
        soon(counted).await.expect("it runs")
    }
}

/// Sends each token and waits until the client has it: each is a read, an append and a write of its own.
async fn relay(call: &mut Call, client: &mut TcpStream, tokens: usize) {
    let mut read = Vec::with_capacity(1024);
    for _ in 0..tokens {
        call.text(TOKEN).await;
        read.clear();
        // The response head and the first events precede the first token.
        while !read.ends_with(b"\n\n\r\n") || !read.windows(TOKEN.len()).any(|some| some == TOKEN.as_bytes()) {
            assert_ne!(soon(client.read_buf(&mut read)).await.expect("no cut"), 0, "the stream continues");
        }
    }
}

#[tokio::test]
async fn a_token_costs_no_more_allocations_than_its_budget() {
    for (path, body) in [
        ("/v1/generations", json!({"input": "Hello"})),
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": "Hello"}], "stream": true})),
        ("/v1/responses", json!({"input": "Hello", "stream": true})),
        ("/v1/messages", json!({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9, "stream": true})),
        (
            "/v1/ui/chat",
            json!({
                "id": "chat_0123456789abcdef",
                "messages": [{"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}],
            }),
        ),
    ] {
        case(path, async {
            let upstream = Upstream::start().await;
            let service = Counted::before(upstream.base_url()).await;
            let mut client = TcpStream::connect(service.address).await.expect("a connection");
            let body = body.to_string();
            let head = "host: localhost\r\naccept: text/event-stream\r\ncontent-type: application/json";
            let request = format!("POST {path} HTTP/1.1\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            client.write_all(request.as_bytes()).await.expect("a request");
            let mut call = upstream.call().await;
            call.ok().await;
            relay(&mut call, &mut client, WARM).await;
            assert_ne!(service.allocations().await, 0, "the connection is served on a thread that does not count");
            let mut stretches = Vec::new();
            for _ in 0..STRETCHES {
                relay(&mut call, &mut client, TOKENS).await;
                stretches.push(service.allocations().await);
            }
            let least = stretches.iter().copied().min().expect("a stretch");
            assert!(least <= BUDGET * TOKENS as u64 + GROWTH, "{TOKENS} tokens took {least} allocations");
        })
        .await;
    }
}
