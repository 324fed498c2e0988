//! Cost of additional viewers of one answer, finished or running.

use std::io::{self, Error};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::client::{Client, Seen};
use crate::peer::{Kind, Peer};
use crate::script::Script;
use crate::upstream::Scheme;
use crate::workload::{Bench, Outcome, Scale, compared, figure, micros_each, pause_of_connects, percentile};

/// Tokens of the finished answer, and the number of its viewers.
const REPLAYED: u32 = 1000;
const READERS: u32 = 100;

pub async fn replay(bench: &mut Bench, kind: Kind) -> io::Result<Outcome> {
    let (peer, path) = if kind == Kind::Nginx {
        if bench.recording.is_none() {
            let (peer, path) = finished(bench).await?;
            let mut seen = Seen { kept: Some(Vec::new()), ..Seen::default() };
            Client::connect(&peer.target).await?.exchange(&peer.target.get(&path), REPLAYED, &mut seen).await;
            bench.recording = seen.kept;
        }
        let recording = bench.recording.as_deref().unwrap_or_default();
        (Peer::file_server(recording, bench.clock).await?, "/file".to_owned())
    } else {
        finished(bench).await?
    };
    let readers = bench.scale.many(READERS);
    let (tasks, barrier) = (TaskTracker::new(), Arc::new(Barrier::new(readers as usize + 1)));
    let mut clients = Vec::new();
    for _ in 0..readers {
        let (barrier, target, request) = (Arc::clone(&barrier), peer.target.clone(), peer.target.get(&path));
        clients.push(tasks.spawn(async move {
            let client = Client::connect(&target).await;
            barrier.wait().await;
            barrier.wait().await;
            let (mut client, mut seen) = (client?, Seen::default());
            client.exchange(&request, REPLAYED, &mut seen).await;
            Ok::<_, Error>(seen)
        }));
    }
    barrier.wait().await;
    let (cpu, began) = (peer.cpu()?, Instant::now());
    barrier.wait().await;
    let mut seen = Seen::default();
    for client in clients {
        seen.add(client.await.map_err(Error::other)??);
    }
    let (took, cpu) = (began.elapsed(), peer.cpu()?.saturating_sub(cpu));
    let figures = vec![
        compared("all of it ms", took.as_secs_f64() * 1e3),
        figure("tokens/s", seen.tokens as f64 / took.as_secs_f64()),
        compared("CPU µs/token", micros_each(cpu, seen.tokens)),
    ];
    Ok(Outcome { figures, faults: seen.faults })
}

/// Starts a Tokenrill with a finished answer, and returns it with the path of the events.
async fn finished(bench: &Bench) -> io::Result<(Peer, String)> {
    let peer = Peer::start(Kind::Tokenrill, bench, Scheme::Http).await?;
    let path = begin(&peer, &Script { batch: 8, ..Script::new(REPLAYED, Duration::ZERO) }).await?;
    // Reads the answer to its end, to be sure that it has ended.
    let mut seen = Seen::default();
    Client::connect(&peer.target).await?.exchange(&peer.target.get(&path), REPLAYED, &mut seen).await;
    Ok((peer, path))
}

/// Starts an answer and returns the path of its events.
async fn begin(peer: &Peer, script: &Script) -> io::Result<String> {
    let mut seen = Seen::default();
    Client::connect(&peer.target).await?.exchange(&peer.target.begin(script), 0, &mut seen).await;
    let generation = seen.generation.ok_or_else(|| Error::other("no generation was begun"))?;
    Ok(format!("/v1/generations/{generation}/events"))
}

pub async fn audience(peer: &Peer, scale: Scale) -> io::Result<Outcome> {
    let (mut seen, cpu) = follow(peer, 1, scale.many(1000), Duration::from_millis(50), scale).await?;
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| percentile(&mut seen.relay, part));
    let figures = vec![
        figure("delivered", seen.tokens as f64),
        figure("relay p50 ms", p50),
        figure("p99 ms", p99),
        figure("p99.9 ms", p999),
        figure("CPU µs/delivery", micros_each(cpu, seen.tokens)),
    ];
    Ok(Outcome { figures, faults: seen.faults })
}

pub async fn second_viewer(peer: &Peer, scale: Scale) -> io::Result<Outcome> {
    let (answers, pause) = (scale.many(50), Duration::from_millis(20));
    let (one, cpu_of_one) = follow(peer, answers, 1, pause, scale).await?;
    let (five, cpu_of_five) = follow(peer, answers, 5, pause, scale).await?;
    let (with_one, with_five) = (micros_each(cpu_of_one, one.tokens), micros_each(cpu_of_five, five.tokens / 5));
    let figures = vec![
        figure("1 viewer CPU µs/token", with_one),
        figure("5 viewers CPU µs/token", with_five),
        figure("a further viewer, of the first", (with_five - with_one) / 4.0 / with_one),
    ];
    let mut faults = one.faults;
    faults.add(five.faults);
    Ok(Outcome { figures, faults })
}

/// Runs this many answers with this many viewers each. All viewers connect before the first token.
async fn follow(
    peer: &Peer,
    answers: u32,
    viewers: u32,
    pause: Duration,
    scale: Scale,
) -> io::Result<(Seen, Duration)> {
    let lead = scale.lasting(Duration::from_secs(3)).max(Duration::from_millis(500));
    let tokens = u32::try_from(scale.lasting(Duration::from_secs(10)).as_millis() / pause.as_millis()).unwrap_or(1);
    let script = Script { lead, ..Script::new(tokens, pause) };
    let began = Instant::now();
    let (tasks, mut clients) = (TaskTracker::new(), Vec::new());
    for _ in 0..answers {
        let path = begin(peer, &script).await?;
        for viewer in 0..viewers {
            pause_of_connects(viewer).await;
            let (target, request) = (peer.target.clone(), peer.target.get(&path));
            clients.push(tasks.spawn(async move {
                let (mut client, mut seen) = (Client::connect(&target).await?, Seen::default());
                client.exchange(&request, tokens, &mut seen).await;
                Ok::<_, Error>(seen)
            }));
        }
    }
    let left = lead.checked_sub(began.elapsed()).ok_or_else(|| Error::other("the viewers came too late"))?;
    sleep(left / 2).await;
    let cpu = peer.cpu()?;
    let mut seen = Seen::default();
    for client in clients {
        seen.add(client.await.map_err(Error::other)??);
    }
    Ok((seen, peer.cpu()?.saturating_sub(cpu)))
}
