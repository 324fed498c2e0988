//! Cost of open streams with few tokens.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::client::{Client, Seen, Wire};
use crate::peer::Peer;
use crate::script::{ENDLESS, Script};
use crate::workload::{Outcome, Scale, compared, figure, micros_each};

/// Streams that have not begun by then are ignored.
const OPENING: Duration = Duration::from_mins(1);

pub async fn run(peer: &Peer, wire: Wire, streams: u32, scale: Scale) -> io::Result<Outcome> {
    let held = scale.lasting(Duration::from_secs(10));
    let spread = scale.lasting(Duration::from_secs(streams.div_ceil(1000).into()));
    let pause = if scale == Scale::Smoke { Duration::from_millis(100) } else { Duration::from_secs(1) };
    let request = peer.target.ask(wire, &Script::new(ENDLESS, pause), true);
    let empty = peer.memory()?;
    let (tasks, mut clients) = (TaskTracker::new(), Vec::new());
    let began = Instant::now();
    for slot in 0..streams {
        let (target, request) = (peer.target.clone(), request.clone());
        clients.push(tasks.spawn(async move {
            sleep(spread * slot / streams).await;
            let (mut client, mut seen) = (Client::connect(&target).await?, Seen::default());
            client.exchange(&request, ENDLESS, &mut seen).await;
            Ok::<_, io::Error>(seen)
        }));
    }
    // Waits until each stream has had its first token, so that the cost of opening them is not measured.
    let open = || peer.target.began.load(Ordering::Relaxed);
    while open() < streams.into() && began.elapsed() < OPENING {
        sleep(Duration::from_millis(10)).await;
    }
    let (opening, open) = (began.elapsed().as_secs_f64(), open());
    sleep(pause * 2).await;
    let (cpu, came, began) = (peer.cpu()?, peer.target.came.load(Ordering::Relaxed), Instant::now());
    sleep(held).await;
    let (cpu, came) = (peer.cpu()?.saturating_sub(cpu), peer.target.came.load(Ordering::Relaxed) - came);
    let (took, full) = (began.elapsed().as_secs_f64(), peer.memory()?);
    peer.target.is_over.store(true, Ordering::Relaxed);
    let mut seen = Seen::default();
    for client in clients {
        seen.add(client.await.map_err(io::Error::other)??);
    }
    let each = |full: u64, empty: u64| match full {
        0 => f64::NAN,
        _ => full.saturating_sub(empty) as f64 / 1024.0 / f64::from(streams),
    };
    let figures = vec![
        figure("open", open as f64),
        figure("after s", opening),
        figure("tokens/s", came as f64 / took),
        compared("KiB/stream", each(full.resident, empty.resident)),
        figure("of its own", each(full.proportional, empty.proportional)),
        compared("CPU µs/token", micros_each(cpu, came)),
    ];
    Ok(Outcome { figures, faults: seen.faults })
}
