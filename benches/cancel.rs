//! Latency of cancellation, in each phase of an answer: from the client's disconnect, the end of its grace, or a call
//! of `cancel`, to the end of the upstream connection.
//!
//! `cargo bench --bench cancel`. The service has its own runtime. The client and the upstream are plain sockets of the
//! main thread, so that one clock measures both ends; the figures include the wake-up of that thread. Exits with 1 if
//! an upstream connection is still open [`NEVER`] after the client's end, or if the service's metrics do not count each
//! generation as cancelled once.
#![expect(clippy::print_stdout, reason = "the table is what this is for")]

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokenrill::app::{self, Kept, Listeners, Reloadable};
use tokenrill::server::{self, Threads};
use tokenrill::settings::{Settings, UpstreamSettings};
use tokenrill::shutdown::Shutdown;
use tokio::runtime::Runtime;

/// Endings per row. Without `--bench`, as in `cargo test --benches`, [`FEW`] are enough to test the benchmark.
const ENDINGS: usize = 200;
/// Endings per row that waits for the grace, which is slow.
const AFTER_GRACE: usize = 20;
const GRACE: Duration = Duration::from_secs(1);
const FEW: usize = 2;
/// An upstream connection that is still open this long after the client's end counts as never closed.
const NEVER: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    BeforeHeaders,
    BeforeFirstToken,
    MidStream,
    /// The request accepts only JSON, so the client has received nothing yet, while the model is sending tokens.
    WaitingJson,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// The client closes; grace 0.
    Fin,
    /// The client resets; grace 0.
    Rst,
    /// The client closes; the clock runs from the end of the grace.
    Grace,
    /// Another client calls `cancel`; the clock runs from that request.
    Stop,
}

const WAYS: [(Way, &str); 4] =
    [(Way::Fin, "FIN"), (Way::Rst, "RST"), (Way::Grace, "after a grace of 1 s"), (Way::Stop, "stopped by a call")];

const ROWS: [(Phase, &str); 4] = [
    (Phase::BeforeHeaders, "before the upstream's headers"),
    (Phase::BeforeFirstToken, "before the first token"),
    (Phase::MidStream, "mid-stream"),
    (Phase::WaitingJson, "waiting JSON request"),
];

fn main() -> io::Result<ExitCode> {
    let whole = std::env::args().any(|argument| argument == "--bench");
    let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // If the service refuses a request, none arrives here: that must be an error, not a hang.
    SockRef::from(&upstream).set_read_timeout(Some(NEVER))?;
    let runtime = Runtime::new()?;
    let service = serve(&runtime, upstream.local_addr()?)?;
    let mut bench = Bench { service, upstream, observer: Peer::connect(service)? };

    let cores = available_parallelism()?;
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!("To the end of the upstream's connection; {cores} cores, {profile} build\n");
    println!("| phase | way | n | p50 ms | p99 ms | max ms | never |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: |");
    let (mut never, mut ended) = (0, 0);
    for (phase, phase_name) in ROWS {
        for (way, way_name) in WAYS {
            // The client of a pending JSON request has not received the id that `cancel` needs.
            if (phase, way) == (Phase::WaitingJson, Way::Stop) {
                continue;
            }
            let count = match way {
                _ if !whole => FEW,
                Way::Grace => AFTER_GRACE,
                Way::Fin | Way::Rst | Way::Stop => ENDINGS,
            };
            let delays = (0..count).map(|_| bench.end(phase, way)).collect::<io::Result<Vec<_>>>()?;
            let mut seen: Vec<Duration> = delays.iter().flatten().copied().collect();
            seen.sort_unstable();
            let [p50, p99, max] = [50, 99, 100].map(|percent| percentile(&seen, percent));
            let unseen = count - seen.len();
            println!("| {phase_name} | {way_name} | {count} | {p50} | {p99} | {max} | {unseen} |");
            never += unseen;
            ended += count;
        }
    }
    let recorded = bench.recorded(ended)?;
    println!("\n{ended} generations, {recorded} recorded as cancelled");
    runtime.shutdown_background();
    Ok(if never == 0 && recorded == ended { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts the service as the binary does, with `upstream` as its only upstream.
fn serve(runtime: &Runtime, upstream: SocketAddr) -> io::Result<SocketAddr> {
    let mut settings = Settings::default();
    let base_url = format!("http://{upstream}/v1").parse().map_err(io::Error::other)?;
    settings.upstreams.push(UpstreamSettings::new("scripted", base_url));
    settings.models.default = Some("m".to_owned());
    let limits = app::limits(&settings);
    let _in_runtime = runtime.enter();
    let listener = server::bind((Ipv4Addr::LOCALHOST, 0).into(), &limits)?;
    let address = listener.local_addr()?;
    let tickets = app::tickets(&settings, &BTreeMap::new()).map_err(io::Error::other)?;
    let kept = Kept { tickets, issuer: None, prompts: None };
    let admission = app::admission(&settings, &BTreeMap::new(), kept).map_err(io::Error::other)?;
    let reloadable = Reloadable::new(&settings, admission).map_err(io::Error::other)?;
    let listeners = Listeners { public: listener, admin: None };
    runtime.spawn(async move {
        let threads = Threads::current();
        app::serve(&settings, &BTreeMap::new(), &reloadable, listeners, limits, threads, Shutdown::new()).await
    });
    Ok(address)
}

struct Bench {
    service: SocketAddr,
    upstream: TcpListener,
    /// A second client, which stays connected.
    observer: Peer,
}

impl Bench {
    /// Brings one generation to `phase`, ends it, and waits for the end of its upstream connection. `None` if that does
    /// not happen in time.
    fn end(&mut self, phase: Phase, way: Way) -> io::Result<Option<Duration>> {
        let mut client = Peer::connect(self.service)?;
        client.send(&request(phase, way))?;
        let mut model = Peer::new(self.upstream.accept()?.0)?;
        model.read_until(|request| request.ends_with("}}"))?;
        self.reach(phase, &mut client, &mut model)?;
        let start = client.received.clone();
        if !model.is_quiet()? {
            return Err(io::Error::other("the service said or closed something before its client did"));
        }
        if way == Way::Rst {
            SockRef::from(&client.socket).set_linger(Some(Duration::ZERO))?;
        }
        let mut began = Instant::now();
        if way == Way::Stop {
            let head = "host: localhost\r\ncontent-length: 0\r\n\r\n";
            self.observer.send(&format!("POST /v1/generations/{}/cancel HTTP/1.1\r\n{head}", generation(&start)))?;
        } else {
            drop(client);
        }
        if way == Way::Grace {
            began += GRACE;
        }
        let read = model.read();
        let took = began.elapsed();
        if way == Way::Stop {
            self.observer.read_until(|answer| answer.ends_with('}'))?;
        }
        match read {
            Ok(0) => Ok(Some(took)),
            Ok(_) => Err(io::Error::other("the service sent a second request")),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Err(_) => Ok(Some(took)),
        }
    }

    /// Returns the number of generations that the service counts as cancelled, once all have ended.
    fn recorded(&mut self, expected: usize) -> io::Result<usize> {
        let mut recorded = 0;
        for _ in 0..100 {
            self.observer.send("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
            self.observer.read_until(|answer| answer.ends_with("# EOF\n"))?;
            // Sums the series of all upstreams and models.
            let figure = |start: &str| {
                let lines = self.observer.received.lines().filter(|line| line.starts_with(start));
                let figures = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
                figures.sum::<usize>()
            };
            recorded = figure("tokenrill_generations_total{outcome=\"cancelled\"");
            if recorded >= expected && figure("tokenrill_generations_live ") == 0 {
                break;
            }
        }
        Ok(recorded)
    }

    fn reach(&mut self, phase: Phase, client: &mut Peer, model: &mut Peer) -> io::Result<()> {
        // Reads to the end of the chunk, because closing a socket with unread bytes sends a reset.
        let mut read = |text: &str| client.read_until(|read| read.contains(text) && read.ends_with("\r\n"));
        if phase != Phase::WaitingJson {
            read("event: start\n")?;
        }
        if phase != Phase::BeforeHeaders {
            model.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
        }
        if let Phase::MidStream | Phase::WaitingJson = phase {
            let token = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n";
            model.send(&format!("{:x}\r\n{token}\r\n", token.len()))?;
        }
        if phase == Phase::MidStream {
            read("event: delta\n")?;
        }
        // A round trip gives the service time to process the upstream's bytes even if the client receives nothing.
        self.observer.send("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        self.observer.read_until(|answer| answer.ends_with('}'))
    }
}

/// Returns the generation id of a `start` event.
fn generation(received: &str) -> &str {
    received.split("\"generation\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

fn request(phase: Phase, way: Way) -> String {
    let accept = if phase == Phase::WaitingJson { "application/json" } else { "text/event-stream" };
    let grace = if way == Way::Grace { GRACE } else { Duration::ZERO };
    let body = format!(r#"{{"input":"Hello","grace_ms":{}}}"#, grace.as_millis());
    format!(
        "POST /v1/generations HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// One end of a connection.
struct Peer {
    socket: TcpStream,
    received: String,
}

impl Peer {
    fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect(address)?)
    }

    fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(NEVER))?;
        Ok(Self { socket, received: String::new() })
    }

    fn send(&mut self, text: &str) -> io::Result<()> {
        self.received.clear();
        self.socket.write_all(text.as_bytes())
    }

    fn read_until(&mut self, whole: impl Fn(&str) -> bool) -> io::Result<()> {
        while !whole(&self.received) {
            if self.read()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Returns whether there is nothing to read, not even the end of the connection.
    fn is_quiet(&self) -> io::Result<bool> {
        self.socket.set_nonblocking(true)?;
        let peeked = self.socket.peek(&mut [0]);
        self.socket.set_nonblocking(false)?;
        Ok(peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock))
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 4096];
        let length = self.socket.read(&mut bytes)?;
        self.received.push_str(&String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()));
        Ok(length)
    }
}

/// Returns the percentile by nearest rank, in milliseconds, or a dash if there are no values.
fn percentile(sorted: &[Duration], percent: usize) -> String {
    let rank = (sorted.len() * percent).div_ceil(100);
    let at = rank.checked_sub(1).and_then(|at| sorted.get(at));
    at.map_or_else(|| "-".to_owned(), |delay| format!("{:.2}", delay.as_secs_f64() * 1000.0))
}
