//! Connections between two requests.

use std::collections::{HashMap, VecDeque};
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, interval};

/// Where a connection leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    host: Box<str>,
    port: u16,
}

impl Origin {
    /// `host` as an URL has it, an IPv6 address in brackets.
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.trim_matches(['[', ']']).into(), port }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// Connections that wait for a request. Clones share them.
///
/// Each goes on in the runtime in which it was opened: its events come there, and would have to wake another thread.
#[derive(Debug, Clone, Default)]
pub struct Idle(Arc<Mutex<HashMap<(Id, Origin), VecDeque<Waiting>>>>);

#[derive(Debug)]
struct Waiting {
    stream: TcpStream,
    since: Instant,
}

/// Servers close what is idle for longer than a minute or two; who is first does not break a request.
const PATIENCE: Duration = Duration::from_secs(90);
const SWEEP: Duration = Duration::from_secs(10);
/// For each runtime and origin.
const MOST: usize = 1024;

impl Idle {
    /// The one that was used last, if it is still open.
    pub fn take(&self, origin: &Origin) -> Option<TcpStream> {
        let mut all = self.lock();
        let waiting = all.get_mut(&(Handle::current().id(), origin.clone()))?;
        while let Some(last) = waiting.pop_back() {
            if last.is_good(Instant::now()) {
                return Some(last.stream);
            }
        }
        None
    }

    pub fn put(&self, origin: Origin, stream: TcpStream) {
        let mut all = self.lock();
        let waiting = all.entry((Handle::current().id(), origin)).or_default();
        if waiting.len() < MOST {
            waiting.push_back(Waiting { stream, since: Instant::now() });
        }
    }

    /// Lets go of those that have waited for long or were closed by their servers. Runs until dropped.
    pub async fn sweep(&self) {
        let mut due = interval(SWEEP);
        loop {
            due.tick().await;
            let now = Instant::now();
            self.lock().retain(|_, waiting| {
                waiting.retain(|waiting| waiting.is_good(now));
                !waiting.is_empty()
            });
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.lock().values().map(VecDeque::len).sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Id, Origin), VecDeque<Waiting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Whether it has neither ended nor said anything, which would be no answer. Asks the operating system: what
    /// the runtime knows is as old as its last look.
    fn is_good(&self, now: Instant) -> bool {
        let quiet = SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]);
        now.duration_since(self.since) < PATIENCE
            && quiet.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_too_long_or_has_ended_goes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (idle, origin) = (Idle::default(), Origin::new("[::1]", 80));
        let ((old, _one), (new, two)) = (pair(&listener).await, pair(&listener).await);
        idle.put(origin.clone(), old);
        tokio::time::advance(PATIENCE / 2).await;
        idle.put(origin.clone(), new);
        tokio::time::timeout(PATIENCE / 2 + SWEEP, idle.sweep()).await.expect_err("it goes on");
        assert_eq!(idle.count(), 1);
        assert!(idle.take(&Origin::new("::1", 81)).is_none());
        drop(two);
        assert!(idle.take(&origin).is_none());
    }

    #[tokio::test]
    async fn each_runtime_has_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (idle, origin) = (Idle::default(), Origin::new("localhost", 80));
        let (stream, _other) = pair(&listener).await;
        idle.put(origin.clone(), stream);
        let (shared, asked) = (idle.clone(), origin.clone());
        let elsewhere = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async { shared.take(&asked).is_some() })
        });
        assert!(!elsewhere.join().unwrap());
        assert!(idle.take(&origin).is_some());
    }
}
