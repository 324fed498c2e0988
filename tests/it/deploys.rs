//! Two replicas behind a load balancer under live streams: both are replaced, one is killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder};
use serde_json::json;
use tokenrill::settings::Settings;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::support::redis_server::{RedisServer, unique_prefix};
use crate::support::{Event, ServiceProcess, free_port, soon, within};

/// Live streams of each test.
const STREAMS: usize = 200;
/// 240 tokens at 30 a second: an answer takes eight seconds.
const MODEL: &str = "demo?tokens=240&rate=30";
/// The events of an answer: the start, the tokens, the end.
const EVENTS: usize = 242;
/// The longest that a test may take on a machine under load.
const LONGEST: Duration = Duration::from_mins(2);
/// The wait of a client between two attempts, as clients of event streams wait.
const RETRY: Duration = Duration::from_millis(100);

/// Two replicas behind a load balancer.
struct Site {
    redis: RedisServer,
    settings: Settings,
    ports: [u16; 2],
    client: Client,
    folder: PathBuf,
    proxy: u16,
    _haproxy: Child,
}

impl Site {
    fn new() -> Self {
        let (redis, prefix) = (RedisServer::start(), unique_prefix());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("site-{}-{prefix}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let mut settings = Settings::default();
        redis.serve(&mut settings, &mut BTreeMap::new(), &prefix);
        settings.event_log.redis.url_env = None;
        settings.event_log.redis.url_file = Some(folder.join("redis"));
        settings.event_log.redis.lease = Duration::from_secs(3);
        fs::write(folder.join("redis"), redis.url()).expect("written");
        let (ports, proxy) = ([free_port(), free_port()], free_port());
        let haproxy = format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n option redispatch\n\
             frontend clients\n bind 127.0.0.1:{proxy}\n default_backend tokenrill\n\
             backend tokenrill\n balance leastconn\n option httpchk GET /readyz\n\
             server a 127.0.0.1:{} check inter 100 fall 1 rise 1\n server b 127.0.0.1:{} check inter 100 fall 1 rise 1\n",
            ports[0], ports[1]
        );
        fs::write(folder.join("haproxy.cfg"), haproxy).expect("written");
        let mut command = Command::new("haproxy");
        command.arg("-f").arg(folder.join("haproxy.cfg")).stdout(Stdio::null()).stderr(Stdio::null());
        let haproxy = command.kill_on_drop(true).spawn().expect("haproxy is installed");
        let client = Client::builder().no_proxy().build().expect("a client");
        Self { redis, settings, ports, client, folder, proxy, _haproxy: haproxy }
    }

    /// Starts a replica, and waits until it is sent requests.
    async fn replica(&self, at: usize) -> ServiceProcess {
        let replica = ServiceProcess::start_at(&self.settings, self.ports[at]).await;
        soon(async { while !self.is_ready(self.ports[at]).await {} }).await;
        // Longer than the interval in which the load balancer checks a server.
        sleep(Duration::from_millis(300)).await;
        replica
    }

    async fn is_ready(&self, port: u16) -> bool {
        let answer = self.client.get(format!("http://127.0.0.1:{port}/readyz")).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.proxy)
    }

    /// Starts clients that read one answer each, and reconnect whenever their connection breaks.
    /// Returns once each has a token.
    async fn clients(&self, tracker: &TaskTracker, wave: &str) -> Vec<tokio::task::JoinHandle<Vec<Event>>> {
        let begun = Arc::new(Semaphore::new(0));
        let clients = (0..STREAMS).map(|number| {
            let (client, url, key) = (self.client.clone(), self.url("/v1/generations"), format!("{wave}-{number}"));
            tracker.spawn(read_answer(client, url, key, Arc::clone(&begun)))
        });
        let clients = clients.collect();
        _ = within(LONGEST, begun.acquire_many(u32::try_from(STREAMS).expect("few"))).await.expect("open");
        clients
    }

    /// Returns all events of a generation.
    async fn log(&self, id: &str) -> Vec<Event> {
        loop {
            let request = self.client.get(self.url(&format!("/v1/generations/{id}/events")));
            let answer = request.send().await.expect("an answer");
            if answer.status() == 200 {
                return Event::all(&answer.text().await.expect("a clean end"));
            }
            // The load balancer has not noticed yet that Redis answers again.
            sleep(RETRY).await;
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.folder);
    }
}

/// Reads an answer to its terminal event as fetch-event-source does: the same request again, with the last id.
async fn read_answer(client: Client, url: String, key: String, begun: Arc<Semaphore>) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    while !events.last().is_some_and(|event| ["done", "failed", "cancelled"].contains(&event.name.as_str())) {
        let body = json!({"model": MODEL, "input": key}).to_string();
        let request = client.post(&url).header(CONTENT_TYPE, "application/json").header(ACCEPT, "text/event-stream");
        let mut request = request.header("Idempotency-Key", &key).body(body);
        if let Some(id) = events.last().and_then(|event| event.id.as_deref()) {
            request = request.header("Last-Event-ID", id);
        }
        read_until_it_breaks(request, &mut events, &begun).await;
    }
    events
}

/// `begun` gets a permit for the first token.
async fn read_until_it_breaks(request: RequestBuilder, events: &mut Vec<Event>, begun: &Semaphore) {
    let answer = request.send().await;
    let Ok(mut answer) = answer else { return sleep(RETRY).await };
    if answer.status() != 200 {
        assert!([502, 503, 504].contains(&answer.status().as_u16()), "{}", answer.status());
        return sleep(RETRY).await;
    }
    let mut unread = Vec::new();
    while let Ok(Some(bytes)) = answer.chunk().await {
        unread.extend_from_slice(&bytes);
        while let Some(end) = unread.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = unread.drain(..end + 2).collect();
            let block = String::from_utf8(block).expect("UTF-8");
            // A comment of a draining replica is not an event.
            if block.contains("data: ") {
                begun.add_permits(usize::from(events.len() == 1));
                events.extend(Event::all(&block));
            }
        }
    }
    sleep(RETRY).await;
}

/// Asserts that the events are numbered from 1 without a gap or a repeat, and that only the last one is terminal.
fn assert_once_and_in_order(events: &[Event]) {
    let sequences: Vec<_> = events.iter().map(Event::sequence).collect();
    assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>());
    assert!(events[1..events.len() - 1].iter().all(|event| event.name == "delta"));
}

fn parts(events: &[Event]) -> Vec<(&str, &serde_json::Value)> {
    events.iter().map(|event| (event.name.as_str(), &event.data)).collect()
}

#[tokio::test]
async fn rolling_restart_of_both_replicas_loses_no_token_and_fails_no_generation() {
    let (site, tracker) = (Site::new(), TaskTracker::new());
    let mut replicas = [site.replica(0).await, site.replica(1).await].map(Some);
    let mut clients = Vec::new();
    for at in [0, 1] {
        clients.extend(site.clients(&tracker, &format!("wave-{at}")).await);
        let old = replicas[at].take().expect("it runs");
        let ended = within(LONGEST, old.terminate()).await;
        assert!(ended.success(), "{ended}");
        replicas[at] = Some(site.replica(at).await);
    }
    for client in clients {
        let events = within(LONGEST, client).await.expect("no panic");
        assert_once_and_in_order(&events);
        assert_eq!((events.last().expect("an end").name.as_str(), events.len()), ("done", EVENTS));
    }
}

#[tokio::test]
async fn every_viewer_of_a_killed_replica_holds_what_the_log_holds_and_then_one_ending() {
    let (site, tracker) = (Site::new(), TaskTracker::new());
    let [killed, _other] = [site.replica(0).await, site.replica(1).await];
    let clients = site.clients(&tracker, "all").await;
    site.redis.pause();
    // A real wait: the replica is killed during the silence, which is shorter than `hold`.
    sleep(Duration::from_millis(400)).await;
    killed.kill().await;
    site.redis.resume();
    let ends = within(LONGEST, join_all(clients)).await;
    let mut names = BTreeMap::new();
    for events in ends {
        let events = events.expect("no panic");
        assert_once_and_in_order(&events);
        let log = timeout(LONGEST, site.log(events[0].generation())).await.expect("an answer");
        assert_eq!(parts(&events), parts(&log));
        let end = events.last().expect("an end");
        *names.entry(end.data["error"]["code"].as_str().unwrap_or("done").to_owned()).or_insert(0) += 1;
    }
    assert_eq!(names.keys().collect::<Vec<_>>(), ["done", "replica_lost"], "{names:?}");
    assert_eq!(names.values().sum::<usize>(), STREAMS);
}

#[tokio::test]
async fn viewers_of_a_draining_replica_continue_on_the_other_one_and_streams_without_ids_stay() {
    let (site, tracker) = (Site::new(), TaskTracker::new());
    let [draining, _other] = [site.replica(0).await, site.replica(1).await];
    let post = |path: &str, accept: &str, body: serde_json::Value| {
        let request = site.client.post(format!("http://127.0.0.1:{}{path}", site.ports[0]));
        request.header(CONTENT_TYPE, "application/json").header(ACCEPT, accept).body(body.to_string()).send()
    };
    // An answer takes longer than the replica waits before it sends its viewers away. Without a grace, a viewer that
    // leaves would otherwise end its generation.
    let native = json!({"model": MODEL, "input": "Hello", "grace_ms": 0});
    let chat = json!({"model": MODEL, "stream": true, "messages": [{"role": "user", "content": "Hello"}]});
    let mut viewer = post("/v1/generations", "text/event-stream", native).await.expect("a stream");
    let without_ids = post("/v1/chat/completions", "*/*", chat).await.expect("a stream");
    let whole = tracker.spawn(without_ids.text());
    let mut seen = String::new();
    seen += std::str::from_utf8(&viewer.chunk().await.expect("no cut").expect("a start")).expect("UTF-8");
    let ended = tracker.spawn(draining.terminate());
    let cut = within(LONGEST, async {
        loop {
            match viewer.chunk().await {
                Ok(Some(bytes)) => seen += std::str::from_utf8(&bytes).expect("UTF-8"),
                Ok(None) => break false,
                Err(_) => break true,
            }
        }
    });
    assert!(cut.await, "a clean end would end the client too");
    assert!(seen.rsplit("\n\n").next().expect("a part").starts_with("retry: "), "{seen}");
    let draining = site.client.get(format!("http://127.0.0.1:{}/readyz", site.ports[0])).send().await;
    assert_eq!(draining.expect("it still runs").status(), 503);
    let before = Event::all(&seen[..seen.rfind("\n\n").expect("blocks") + 2]);
    let last = before.last().expect("events").id.clone().expect("an id");
    let url = format!("http://127.0.0.1:{}/v1/generations/{}/events", site.ports[1], before[0].generation());
    let rest = site.client.get(url).header("Last-Event-ID", last).send().await.expect("a stream");
    let rest = within(LONGEST, rest.text()).await.expect("a clean end");
    let events = [before, Event::all(&rest)].concat();
    assert_once_and_in_order(&events);
    assert_eq!((events.last().expect("an end").name.as_str(), events.len()), ("done", EVENTS));
    let whole = within(LONGEST, whole).await.expect("no panic").expect("a clean end");
    assert!(whole.ends_with("data: [DONE]\n\n"), "{whole}");
    assert!(within(LONGEST, ended).await.expect("no panic").success());
}
