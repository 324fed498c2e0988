//! Cost of a channel with many subscribers: events are published at a steady rate, and each subscriber must receive all
//! of them in order. For comparison, the same load runs against a handwritten Node server, `benches/peers/channel.mjs`.
//!
//! `cargo bench --bench channel`. The service is the binary with its default settings, in its own process. The
//! subscribers are plain sockets of this process, on the same cores. An event carries the time at which it was sent,
//! from the clock that the subscribers read. Exits with 1 if an event of Tokenrill is missing, duplicated or out of
//! order.
#![expect(clippy::print_stdout, reason = "the table is what this is for")]
#![expect(clippy::cast_precision_loss, reason = "figures of three digits")]
#![expect(clippy::indexing_slicing, reason = "as much as was read")]

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Barrier;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::task::TaskTracker;

/// Subscribers, events a second, seconds.
type Load = (usize, u64, u64);

const LOADS: [Load; 3] = [(1, 100, 5), (1_000, 100, 10), (5_000, 100, 10)];
/// Used without `--bench`, as in `cargo test --benches`: enough to test the benchmark.
const FEW: [Load; 1] = [(20, 50, 1)];
/// A subscriber that receives nothing for this long counts the remaining events as missing.
const LATE: Duration = Duration::from_secs(30);

fn main() -> io::Result<ExitCode> {
    let whole = std::env::args().any(|argument| argument == "--bench");
    let loads: &[Load] = if whole { &LOADS } else { &FEW };
    rlimit::increase_nofile_limit(u64::MAX)?;
    println!(
        "| | subscribers | events/s | delivered | missing or disordered | p50 ms | p99 ms | max ms | CPU µs per delivery | \
         KiB per subscriber, idle | maximum |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut lost = 0;
    for load in loads {
        run(Peer::Node, *load)?;
        lost += run(Peer::Tokenrill, *load)?;
    }
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The server that distributes the events.
#[derive(Clone, Copy)]
enum Peer {
    Tokenrill,
    Node,
}

/// Prints one row. Returns the number of deliveries that were missing or out of order.
fn run(peer: Peer, (subscribers, rate, seconds): Load) -> io::Result<u64> {
    let service = Service::start(peer)?;
    let name = match peer {
        Peer::Tokenrill => "Tokenrill",
        Peer::Node => "Node, hand-written",
    };
    let runtime = Runtime::new()?;
    let (began, events) = (Instant::now(), rate * seconds);
    let empty = service.resident()?;
    let (seen, idle, cpu, most) = runtime.block_on(async {
        let (tasks, all_there) = (TaskTracker::new(), Arc::new(Barrier::new(subscribers + 1)));
        let readers: Vec<_> = (0..subscribers)
            .map(|_| tasks.spawn(subscribe(service.address.clone(), Arc::clone(&all_there), began, events)))
            .collect();
        all_there.wait().await;
        let (idle, cpu) = (service.resident()?, service.cpu()?);
        publish(&service.address, began, rate, events).await?;
        let mut seen = Vec::new();
        for reader in readers {
            seen.push(reader.await.map_err(io::Error::other)??);
        }
        Ok::<_, io::Error>((seen, idle, service.cpu()?.saturating_sub(cpu), service.peak()?))
    })?;
    let expected = events * subscribers as u64;
    let in_order: u64 = seen.iter().map(|reader| reader.in_order).sum();
    let mut latencies: Vec<u32> = seen.into_iter().flat_map(|reader| reader.micros).collect();
    latencies.sort_unstable();
    let [p50, p99, max] = [50, 99, 100].map(|percent| {
        let at = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
        f64::from(latencies.get(at).copied().unwrap_or_default()) / 1e3
    });
    let each = |bytes: u64| bytes.saturating_sub(empty) as f64 / 1024.0 / subscribers as f64;
    let cpu = cpu.as_secs_f64() * 1e6 / expected as f64;
    println!(
        "| {name} | {subscribers} | {rate} | {} | {} | {p50:.2} | {p99:.2} | {max:.2} | {cpu:.2} | {:.1} | {:.1} |",
        latencies.len(),
        expected - in_order,
        each(idle),
        each(most)
    );
    Ok(expected - in_order)
}

/// The events that one subscriber received.
struct Seen {
    /// The number of events received in the order of sending, without gaps.
    in_order: u64,
    micros: Vec<u32>,
}

async fn subscribe(address: String, all_there: Arc<Barrier>, began: Instant, events: u64) -> io::Result<Seen> {
    let mut socket = TcpStream::connect(&address).await?;
    let request = format!("GET /v1/channels/bench/events HTTP/1.1\r\nhost: {address}\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let (mut buffer, mut unread) = (vec![0; 16 * 1024], Vec::new());
    let mut seen = Seen { in_order: 0, micros: Vec::new() };
    let mut is_there = false;
    while seen.in_order < events {
        let Ok(read) = timeout(LATE, socket.read(&mut buffer)).await else { break };
        let read = read?;
        if read == 0 {
            break;
        }
        let now = began.elapsed().as_nanos();
        unread.extend_from_slice(&buffer[..read]);
        let mut rest = unread.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            if let Some((number, at)) = event(line) {
                seen.in_order += u64::from(number == seen.in_order);
                seen.micros.push(u32::try_from(now.saturating_sub(at.into()) / 1000).unwrap_or(u32::MAX));
            } else if !is_there && line.starts_with(b"event: connected") {
                is_there = true;
                all_there.wait().await;
            }
        }
        let unread_from = unread.len() - rest.len();
        unread.drain(..unread_from);
    }
    Ok(seen)
}

/// Returns the number of an event and the time of sending, from its line `data: [number,nanoseconds]`.
fn event(line: &[u8]) -> Option<(u64, u64)> {
    let data = std::str::from_utf8(line.strip_prefix(b"data: [")?).ok()?;
    let (number, at) = data.trim_end().strip_suffix(']')?.split_once(',')?;
    Some((number.parse().ok()?, at.parse().ok()?))
}

/// Publishes on one connection, each event when it is due and the response to the previous one has arrived.
async fn publish(address: &str, began: Instant, rate: u64, events: u64) -> io::Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let mut due = interval(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(1));
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut answer = vec![0; 4096];
    for number in 0..events {
        due.tick().await;
        let body = format!("{{\"data\":[{number},{}]}}", began.elapsed().as_nanos());
        let head = format!(
            "POST /v1/channels/bench/events HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all((head + &body).as_bytes()).await?;
        let read = socket.read(&mut answer).await?;
        if !answer[..read].starts_with(b"HTTP/1.1 200") {
            return Err(io::Error::other(String::from_utf8_lossy(&answer[..read]).into_owned()));
        }
    }
    Ok(())
}

/// A server, killed when this is dropped.
struct Service {
    process: Child,
    address: String,
}

impl Service {
    fn start(peer: Peer) -> io::Result<Self> {
        let mut command = match peer {
            Peer::Tokenrill => {
                let mut program = Command::new(env!("CARGO_BIN_EXE_tokenrill"));
                program.args(["serve", "--listen", "127.0.0.1:0"]).env("RUST_LOG", "warn");
                program
            }
            Peer::Node => {
                let mut node = Command::new("node");
                node.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/channel.mjs"));
                node
            }
        };
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let said = process.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
        let mut greeting = String::new();
        BufReader::new(said).read_line(&mut greeting)?;
        let address = greeting.trim().rsplit("http://").next().unwrap_or_default().to_owned();
        Ok(Self { process, address })
    }

    fn status(&self, field: &str) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let kilobytes =
            status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok());
        kilobytes.map(|kilobytes: u64| kilobytes * 1024).ok_or_else(|| io::Error::other("no such figure"))
    }

    fn resident(&self) -> io::Result<u64> {
        self.status("VmRSS:")
    }

    fn peak(&self) -> io::Result<u64> {
        self.status("VmHWM:")
    }

    /// Returns the CPU time of all threads in user and system mode (proc(5), fields 14 and 15, in hundredths of a
    /// second).
    fn cpu(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
