//! Latency of cancellation: from the client's disconnect to the end of the upstream connection.

use std::io::{self, Error};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::client::{Client, Faults, Wire, tenths};
use crate::marker::nanos;
use crate::peer::Peer;
use crate::script::{ENDLESS, Hold, Script};
use crate::upstream::Said;
use crate::workload::{Bench, Outcome, compared, figure, percentile};

/// Endings of each phase.
const ENDINGS: u32 = 100;
/// An upstream connection that is still open this long after the client's close counts as never closed.
const NEVER: Duration = Duration::from_secs(5);
/// Long enough for all sent bytes to arrive.
const QUIET: Duration = Duration::from_millis(5);
/// Between two tokens. A peer that detects a close only on a write takes most of this time.
const PAUSE: Duration = Duration::from_millis(20);

const PHASES: [(Hold, [&str; 2]); 3] = [
    (Hold::BeforeHead, ["before the head p50 ms", "p99 ms"]),
    (Hold::AfterHead, ["before a token p50 ms", "p99 ms"]),
    (Hold::Nowhere, ["mid-stream p50 ms", "p99 ms"]),
];

pub async fn run(bench: &mut Bench, peer: &Peer, wire: Wire) -> io::Result<Outcome> {
    let (mut figures, mut faults) = (Vec::new(), Faults::default());
    for (hold, [p50, p99]) in PHASES {
        let mut delays = Vec::new();
        for _ in 0..bench.scale.many(ENDINGS) {
            match end(bench, peer, wire, hold).await? {
                Some(delay) => delays.push(tenths(delay)),
                None => faults.never += 1,
            }
        }
        figures.push(compared(p50, percentile(&mut delays, 0.5)));
        figures.push(figure(p99, percentile(&mut delays, 0.99)));
    }
    Ok(Outcome { figures, faults })
}

/// Returns the nanoseconds from just before the client's close to the close at the model; `None` if that never happens.
async fn end(bench: &mut Bench, peer: &Peer, wire: Wire, hold: Hold) -> io::Result<Option<u64>> {
    bench.watched += 1;
    let watched = bench.watched;
    let script = Script { hold, watched, ..Script::new(ENDLESS, PAUSE) };
    let request = peer.target.ask(wire, &script, true);
    let mut client = Client::connect(&peer.target).await?;
    client.send(&request).await?;
    let said = &mut bench.upstream.said;
    let arrived = until(said, |said| matches!(said, Said::Arrived(number) if number == watched).then_some(()));
    arrived.await.ok_or_else(|| Error::other("the model was not asked"))?;
    if hold == Hold::Nowhere {
        client.first_token().await?;
    }
    client.drain(QUIET).await;
    let began = nanos(bench.clock);
    drop(client);
    let closed = until(said, |said| match said {
        Said::Closed(number, at) if number == watched => Some(at),
        _ => None,
    });
    Ok(closed.await.map(|at| at.saturating_sub(began)))
}

/// Returns the first matching event, or `None` after a timeout.
async fn until<T>(said: &mut mpsc::Receiver<Said>, find: impl Fn(Said) -> Option<T>) -> Option<T> {
    let search = async {
        loop {
            if let Some(found) = find(said.recv().await?) {
                return Some(found);
            }
        }
    };
    timeout(NEVER, search).await.ok().flatten()
}
