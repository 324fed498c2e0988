//! One generation, any number of viewers: all receive the same events, and none can harm another.

use std::hash::{DefaultHasher, Hasher};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio_util::task::TaskTracker;

use crate::support::{Answer, Event, Service, ServiceProcess, Upstream, sockets, soon, text, within};

#[tokio::test]
async fn early_and_late_viewers_on_both_wires_get_the_same_events_and_ids() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut first = service.generate(&json!({"input": "Hello"})).await;
    let start = first.expect("start").await;
    let (native, chunks) = {
        let path = format!("/v1/generations/{}/events", start.generation());
        (path.clone(), format!("{path}?format=openai"))
    };
    let mut call = upstream.call().await;
    call.ok().await;
    let mut viewers = vec![service.get(&native).await];
    let mut readers = vec![service.get(&chunks).await];
    for word in ["Zür", "ich ", "東", "京"] {
        call.text(word).await;
        first.expect("delta").await;
        viewers.push(service.get(&native).await);
        readers.push(service.get(&chunks).await);
    }
    call.finish("stop").await;
    call.done().await;
    viewers.push(service.get(&native).await);
    readers.push(service.get(&chunks).await);
    let seen = join_all(viewers.into_iter().map(Answer::text)).await;
    assert!(seen.iter().all(|one| *one == seen[0]));
    assert_eq!(text(&Event::all(&seen[0])), "Zürich 東京");
    let read = join_all(readers.into_iter().map(Answer::text)).await;
    assert!(read.iter().all(|one| *one == read[0]));
    let ids = |stream: &str| {
        let lines = stream.lines().filter_map(|line| line.strip_prefix("id: ").map(str::to_owned));
        lines.collect::<Vec<_>>()
    };
    // `start` has no chunk; all other ids are the same.
    let (native, chunks) = (ids(&seen[0]), ids(&read[0]));
    assert_eq!(native[1..], chunks[..], "one log, one numbering");
}

/// The memory of a viewer that stops reading, as in `docs/resuming.md`: hyper's buffers and one page, without the kernel's
/// buffers of both ends.
const VIEWER_BYTES: usize = 192 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundred_stuck_viewers_cost_nine_hundred_others_nothing() {
    const READING: usize = 900;
    const STUCK: usize = 100;
    const TOKENS: usize = 600;
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    // No reading viewer of a thousand stalls this long, even on a machine under load.
    settings.generation.write_timeout = Duration::from_secs(20);
    let service = ServiceProcess::start(&settings).await;
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy().build().expect("a client");
    let url = |path: &str| format!("http://{}{path}", service.address);
    let mut first = Answer::to(client.post(url("/v1/generations")).json(&json!({"input": "Hello"}))).await;
    let start = first.expect("start").await;
    let path = format!("/v1/generations/{}/events", start.generation());
    let mut call = upstream.call().await;
    call.ok().await;
    service.metric_becomes("tokenrill_viewers_live", 1.0).await;
    let (memory_before, sockets_before) = (service.resident(), sockets(service.address.port()));

    let mut stuck = Vec::new();
    for _ in 0..STUCK {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a size");
        let mut socket = soon(socket.connect(service.address)).await.expect("a connection");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        soon(socket.write_all(request.as_bytes())).await.expect("sent");
        stuck.push(socket);
    }
    let reading = join_all((0..READING).map(|_| Answer::to(client.get(url(&path))))).await;
    service.metric_becomes("tokenrill_viewers_live", 1001.0).await;

    // The answer is larger than all buffers on the way to a viewer that does not read.
    let word = "0123456789abcdef".repeat(20);
    let speaks = async {
        for _ in 0..TOKENS {
            call.text(&word).await;
        }
        call.finish("stop").await;
        call.done().await;
    };
    let tasks = TaskTracker::new();
    let reading: Vec<_> = reading.into_iter().map(|viewer| tasks.spawn(digest(viewer))).collect();
    let reads = async {
        let mut digests = Vec::new();
        for viewer in reading {
            digests.push(viewer.await.expect("a clean end"));
        }
        digests
    };
    let all = async { tokio::join!(speaks, reads, first.events()) };
    let ((), digests, own) = within(Duration::from_mins(5), all).await;
    assert_eq!(own.len(), TOKENS + 1);
    let memory = service.resident();
    let allowed = memory_before + (READING + STUCK) * VIEWER_BYTES + (64 << 20);
    assert!(memory <= allowed, "{memory} bytes, {allowed} allowed");

    let replay = digest(Answer::to(client.get(url(&path))).await).await;
    assert!(digests.iter().all(|seen| *seen == replay), "every reading viewer gets every event");

    // Viewers that do not read are disconnected, and may resume for the rest.
    within(Duration::from_mins(2), async {
        while service.metric("tokenrill_viewers_live").await > 0.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut received = Vec::new();
    _ = soon(stuck[0].read_to_end(&mut received)).await;
    let received = String::from_utf8_lossy(&received).into_owned();
    // The id of the last complete block.
    let ids = received.split("\nid: ").skip(1).filter_map(|rest| Some(rest.split_once("\n\n")?.0));
    let last = ids.last().unwrap_or(start.id.as_deref().expect("an id"));
    assert!(!received.contains("event: done"), "it was closed before the end");
    let held_back = Answer::to(client.get(url(&path)).header("last-event-id", last)).await.events().await;
    assert_eq!(held_back.last().map(|event| event.name.as_str()), Some("done"));
    drop(stuck);
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
    service.metric_becomes("tokenrill_viewers_live", 0.0).await;
    // The one remaining connection is that of the requests for `/metrics`.
    soon(async {
        while sockets(service.address.port()) > sockets_before {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Returns a hash of all bytes that a viewer receives up to a clean end.
async fn digest(viewer: Answer) -> u64 {
    let mut digest = DefaultHasher::new();
    let mut body = viewer.into_body();
    while let Some(bytes) = body.chunk().await.expect("a clean end") {
        digest.write(&bytes);
    }
    digest.finish()
}

/// The client leaves the flow-control window of one stream closed, and reads its other streams.
#[tokio::test]
async fn viewer_with_a_closed_http2_window_is_reset_alone() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.generation.write_timeout = Duration::from_secs(3);
    let service = Service::with(settings).await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .http2_initial_stream_window_size(16 * 1024)
        .no_proxy()
        .build()
        .expect("a client");
    let mut first = service.generate(&json!({"input": "Hello"})).await;
    let start = first.expect("start").await;
    let url = format!("http://{}/v1/generations/{}", service.address, start.generation());
    let shut = client.get(format!("{url}/events")).send().await.expect("an answer");
    let mut reading = client.get(format!("{url}/events")).send().await.expect("an answer");
    let mut call = upstream.call().await;
    call.ok().await;
    service.metric_becomes("tokenrill_viewers_live", 3.0).await;
    let word = "x".repeat(1024);
    for _ in 0..64 {
        call.text(&word).await;
        first.expect("delta").await;
    }
    // The reading viewer on the same connection receives all events.
    let mut received = String::new();
    while received.matches("event: delta").count() < 64 {
        received += &String::from_utf8_lossy(&soon(reading.chunk()).await.expect("no cut").expect("more"));
    }
    service.metric_becomes("tokenrill_viewers_live", 2.0).await;
    let cut = shut.bytes().await.expect_err("reset");
    assert!(cut.is_body() || cut.is_decode(), "{cut:?}");
    assert_eq!(client.get(&url).send().await.expect("the connection is well").status(), 200);

    call.text("on").await;
    assert_eq!(first.expect("delta").await.data, json!({"text": "on"}));
    let on = soon(reading.chunk()).await.expect("no cut").expect("more");
    assert!(String::from_utf8_lossy(&on).contains("\"on\""));
    // A stream without events is not a stalled one: the idle stream is older than another stalled one, which is reset at
    // the write timeout.
    let late = client.get(format!("{url}/events")).send().await.expect("an answer");
    assert_eq!(service.metric("tokenrill_viewers_live").await.to_bits(), 3f64.to_bits());
    service.metric_becomes("tokenrill_viewers_live", 2.0).await;
    late.bytes().await.expect_err("reset");
    call.text("still").await;
    assert_eq!(first.expect("delta").await.data, json!({"text": "still"}));
    let still = soon(reading.chunk()).await.expect("no cut").expect("more");
    assert!(String::from_utf8_lossy(&still).contains("\"still\""));
}

/// A state is one large frame of a body. It is written in slices: the write timeout must distinguish a client that
/// reads nothing from one that reads slowly.
#[tokio::test]
async fn large_http2_response_waits_for_a_slow_reader_and_resets_a_stuck_one() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.generation.write_timeout = Duration::from_secs(3);
    let service = Service::with(settings).await;
    let answer = service.generate(&json!({"input": "Hello"})).await;
    let id = answer.header("tokenrill-generation").to_owned();
    let word = "x".repeat(16 * 1024);
    upstream.call().await.answer(&[word.as_str(); 16]).await;
    answer.events().await;

    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .http2_initial_stream_window_size(16 * 1024)
        .no_proxy()
        .build()
        .expect("a client");
    let url = format!("http://{}/v1/generations/{id}", service.address);
    let shut = client.get(&url).send().await.expect("an answer");
    let mut slow = client.get(&url).send().await.expect("an answer");
    let (mut received, began) = (0, Instant::now());
    while let Some(bytes) = soon(slow.chunk()).await.expect("no cut") {
        received += bytes.len();
        // A real wait: the reader's pace, against the service's real write timeout.
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert!(received > 256 * 1024 && began.elapsed() > Duration::from_secs(6), "{received} in {:?}", began.elapsed());
    shut.bytes().await.expect_err("reset");
}

#[tokio::test]
async fn one_generation_is_watched_at_once_in_every_format() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut native = service.generate(&json!({"input": "Hello"})).await;
    let id = native.expect("start").await.generation().to_owned();
    let mut call = upstream.call().await;
    call.ok().await;
    call.text("Hel").await;
    let mut viewers = Vec::new();
    for (format, end) in [
        ("native", "event: done"),
        ("openai", "data: [DONE]"),
        ("responses", "event: response.completed"),
        ("messages", "event: message_stop"),
        ("ui", "data: [DONE]"),
    ] {
        viewers.push((end, service.get(&format!("/v1/generations/{id}/events?format={format}")).await));
    }
    call.text("lo").await;
    call.finish("stop").await;
    call.done().await;
    for (end, viewer) in viewers {
        let stream = viewer.text().await;
        for part in ["\"Hel\"", "\"lo\"", end] {
            assert_eq!(stream.matches(part).count(), 1, "{part}: {stream}");
        }
    }
    assert!(!upstream.was_called());
}
