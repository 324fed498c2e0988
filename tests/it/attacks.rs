//! Hostile or broken clients cost the service little, and other clients nothing.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use tokenrill::settings::Settings;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::support::{Answer, Service, Upstream, sized, sockets, soon, text, within};

/// A deadline of the listener, as short as a machine under load allows: well-behaved clients must keep it.
const LIMIT: Duration = Duration::from_secs(5);
/// A connection that exceeds its limit has been closed after this time.
const PATIENCE: Duration = Duration::from_mins(2);

/// Runs an attack once, or in `make soak` again and again for five minutes.
async fn attack(wave: impl AsyncFn()) {
    let end = Instant::now() + sized(Duration::ZERO, Duration::from_mins(5));
    wave().await;
    while Instant::now() < end {
        wave().await;
    }
}

fn strict() -> Settings {
    let mut settings = Settings::default();
    settings.server.head_timeout = LIMIT;
    settings.server.body_timeout = LIMIT;
    settings.server.ping_interval = LIMIT;
    settings.server.ping_timeout = LIMIT;
    settings.generation.write_timeout = LIMIT;
    settings
}

async fn connect(address: SocketAddr) -> TcpStream {
    soon(TcpStream::connect(address)).await.expect("a connection")
}

/// Sends `begins`, then `rest` byte by byte, again and again, until the service closes the connection.
async fn drip(address: SocketAddr, begins: &str, rest: &str) {
    let mut socket = connect(address).await;
    soon(socket.write_all(begins.as_bytes())).await.expect("sent");
    let (reading, mut writing) = socket.into_split();
    let writes = async {
        for byte in rest.bytes().cycle() {
            // A real wait: the attacker's pace, against the service's real timeouts.
            sleep(Duration::from_millis(300)).await;
            if writing.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    };
    // Any bytes of a response are ignored: only EOF or an error ends the attack.
    tokio::select! {
        () = ends(reading) => {}
        () = writes => {}
    }
}

/// Discards all bytes until the service closes the connection.
async fn ends(mut socket: impl AsyncRead + Unpin) {
    let mut said = vec![0; 64 * 1024];
    while socket.read(&mut said).await.is_ok_and(|read| read > 0) {}
}

/// Returns all bytes that the service sends until it closes the connection.
async fn read_to_end(socket: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset after the response is a close too.
    _ = socket.read_to_end(&mut said).await;
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_hostile_clients_are_disconnected_in_time_and_fifty_others_lose_nothing() {
    let service = Service::with(strict()).await;
    attack(async || two_thousand_hostile_clients(&service).await).await;
}

async fn two_thousand_hostile_clients(service: &Service) {
    const EACH: usize = 500;
    let (address, tasks) = (service.address, TaskTracker::new());
    let (mut hostile, mut stuck) = (Vec::new(), Vec::new());
    // Larger than all buffers between the service and the client.
    let long = json!({"input": "Hello", "model": "demo?tokens=20000&rate=max", "on_disconnect": "continue"});
    let mut writer = service.generate(&long).await;
    let long = writer.expect("start").await.generation().to_owned();
    while writer.next().await.is_some() {}
    let before = sockets(address.port());

    for _ in 0..EACH {
        hostile.push(tasks.spawn(async move { ends(connect(address).await).await }));
        hostile.push(tasks.spawn(async move {
            drip(address, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n", "x-slow: y\r\n").await;
        }));
        hostile.push(tasks.spawn(async move {
            let head = "POST /v1/generations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n";
            drip(address, head, " ").await;
        }));
        // These are not awaited: whether a client that does not read learns of the close is up to the kernel.
        let request = format!("GET /v1/generations/{long}/events HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stuck.push(async move {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_recv_buffer_size(4096).expect("a size");
            let mut socket = soon(socket.connect(address)).await.expect("a connection");
            soon(socket.write_all(request.as_bytes())).await.expect("sent");
            socket
        });
    }
    let _stuck = join_all(stuck).await;
    let body = json!({"input": "Hello", "model": "demo?tokens=40&rate=10"});
    let normal = join_all((0..50).map(|_| async {
        let events = service.generate(&body).await.events().await;
        let deltas = events.iter().filter(|event| event.name == "delta").count();
        assert_eq!((deltas, events.last().map(|event| event.name.as_str())), (40, Some("done")));
        text(&events)
    }));
    // The kernel's socket table has no notification, so it is polled.
    let crowd = async {
        while sockets(address.port()) < before + 2 * EACH {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let (texts, ()) = futures_util::join!(normal, within(PATIENCE, crowd));
    assert!(texts.iter().all(|text| *text == texts[0] && !text.is_empty()));

    let gone = within(PATIENCE, join_all(hostile)).await;
    assert!(gone.iter().all(Result::is_ok), "each hostile client ran to its end");
    soon(async {
        while sockets(address.port()) > before {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    service.metric_becomes("tokenrill_viewers_live", 0.0).await;
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

/// The client connection preface (RFC 9113, section 3.4) with an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Returns the bytes to send in a round.
type Flood<'a> = dyn Fn(u32) -> Vec<u8> + Sync + 'a;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET /v1/models` of `localhost`, in HPACK without the dynamic table (RFC 7541).
fn headers(stream: u32) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, 10];
    block.extend_from_slice(b"/v1/models");
    block.extend_from_slice(&[0x01, 9]);
    block.extend_from_slice(b"localhost");
    frame(1, 0x5, stream, &block)
}

/// `POST /v1/generations` with a body whose grace is zero.
fn post(stream: u32) -> Vec<u8> {
    let mut block = vec![0x83, 0x86, 0x04, 15];
    block.extend_from_slice(b"/v1/generations");
    block.extend_from_slice(&[0x01, 9]);
    block.extend_from_slice(b"localhost");
    block.extend_from_slice(&[0x0f, 0x10, 16]);
    block.extend_from_slice(b"application/json");
    let body = br#"{"input":"Hello","model":"demo?stall_at=1","grace_ms":0}"#;
    [frame(1, 0x4, stream, &block), frame(0, 0x1, stream, body)].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_frame_floods_end_at_most_their_own_connection() {
    let service = Service::with(strict()).await;
    attack(async || each_flood_of_http2_frames(&service).await).await;
}

async fn each_flood_of_http2_frames(service: &Service) {
    let address = service.address;
    let rapid_reset = |round: u32| {
        let stream = round * 2 + 1;
        [headers(stream), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    // Requests that would start a generation: the reset ends each before the upstream request or cancels it.
    let rapid_reset_of_posts = |round: u32| {
        let stream = round * 2 + 1;
        [post(stream), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    let continuation = |round: u32| match round {
        0 => frame(1, 0, 1, &[0x82]),
        _ => frame(9, 0, 1, &[0; 1024]),
    };
    let ping = |_| frame(6, 0, 0, b"tokenril");
    let settings = |_| frame(4, 0, 0, &[]);
    let empty_data = |round: u32| match round {
        0 => {
            headers(1)[..].to_vec().into_iter().enumerate().map(|(at, byte)| if at == 4 { 0x4 } else { byte }).collect()
        }
        _ => frame(0, 0, 1, &[]),
    };
    let priority = |round: u32| frame(2, 0, round * 2 + 1, &[0, 0, 0, 0, 16]);
    let garbage = |round: u32| frame(u8::try_from(round % 256).expect("a byte"), 0xff, round, &[0xff; 64]);
    let floods: [(&str, &Flood<'_>); 8] = [
        ("rapid reset", &rapid_reset),
        ("rapid reset of posts", &rapid_reset_of_posts),
        ("CONTINUATION", &continuation),
        ("PING", &ping),
        ("SETTINGS", &settings),
        ("empty DATA", &empty_data),
        ("PRIORITY", &priority),
        ("garbage", &garbage),
    ];
    for (what, flood) in floods {
        let flooding = async {
            let mut socket = connect(address).await;
            _ = socket.write_all(PREFACE).await;
            let (mut reading, mut writing) = socket.split();
            let reads = async {
                let mut said = vec![0; 64 * 1024];
                while reading.read(&mut said).await.is_ok_and(|read| read > 0) {}
            };
            let writes = async {
                for round in 0..20_000 {
                    if writing.write_all(&flood(round)).await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! {
                () = reads => {}
                () = writes => {}
            }
        };
        let others = async {
            for _ in 0..20 {
                assert_eq!(service.get("/healthz").await.status, 200, "{what}");
                let body = json!({"input": "Hello", "model": "demo?tokens=3&rate=max"});
                let events = service.generate(&body).await.events().await;
                assert_eq!(events.last().map(|event| event.name.as_str()), Some("done"), "{what}");
            }
        };
        let (flooded, ()) = futures_util::join!(timeout(PATIENCE, flooding), others);
        flooded.unwrap_or_else(|_| panic!("{what} goes on"));
    }
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn above_max_connections_new_requests_are_refused_and_resumes_are_served() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.server.max_connections = NonZeroU32::new(20).expect("not zero");
    let service = Service::with(settings).await;
    let client = || reqwest::Client::builder().no_proxy().build().expect("a client");
    let post = |client: reqwest::Client| {
        let url = format!("http://{}/v1/generations", service.address);
        client.post(url).header("content-type", "application/json").body(json!({"input": "Hello"}).to_string())
    };
    let mut viewer = Answer::to(post(client()).header("accept", "text/event-stream")).await;
    let start = viewer.expect("start").await;
    let mut call = upstream.call().await;
    call.ok().await;
    let mut viewers = join_all((0..19).map(|_| {
        let follow = client().get(format!("http://{}/v1/generations/{}/events", service.address, start.generation()));
        Answer::to(follow.header("accept", "text/event-stream"))
    }))
    .await;

    // A resuming client gets a connection above the limit.
    let late = client();
    let refused = Answer::to(post(late.clone())).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "5"));
    assert_eq!(refused.json().await["code"], "overloaded");
    let mut back = Answer::to(post(late).header("last-event-id", start.id.expect("an id"))).await;
    assert_eq!(back.status, 200);
    call.text("Hello").await;
    assert_eq!(back.expect("delta").await.data["text"], "Hello");
    assert!(soon(viewer.into_body().bytes()).await.is_err(), "the oldest stream of the same client is closed");
    let mut viewer = viewers.remove(0);
    viewer.expect("start").await;
    viewer.expect("delta").await;

    // Further connections are refused without their requests being read: 20 are open, and 23 may be.
    let mut crowd = join_all((0..10).map(|_| connect(service.address))).await;
    let mut closed: FuturesUnordered<_> = crowd.iter_mut().map(read_to_end).collect();
    for _ in 0..7 {
        let said = soon(closed.next()).await.expect("ten clients");
        assert!(said.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&said));
    }
    // Connections are admitted in the order in which they are accepted, so the last refusal follows each admission.
    assert!(closed.next().now_or_never().is_none(), "three are open");
    drop(closed);
    call.finish("stop").await;
    call.done().await;
    viewer.expect("done").await;
    back.expect("done").await;
    drop((viewers, crowd));
    soon(async { while Answer::to(post(client())).await.status != 200 {} }).await;
}
