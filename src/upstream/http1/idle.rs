//! Connections between two requests.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::runtime::{Handle, Id};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, interval};

use crate::domain::Lookup;

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
/// Each stays in the runtime whose task has used it: its events come there, and would have to wake another thread.
/// One that its server closes, or says something on that nobody asked for, is let go of at once.
#[derive(Debug, Clone, Default)]
pub struct Idle(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    waiting: Lookup<Place, VecDeque<Waiting>>,
    last: u64,
}

type Place = (Id, Origin);

#[derive(Debug)]
struct Waiting {
    number: u64,
    stream: TcpStream,
    since: Instant,
}

/// Is woken when there is something to be read where nothing should be.
struct Watch {
    idle: Weak<Mutex<Table>>,
    place: Place,
    number: u64,
}

/// Many servers keep a connection for longer; those that do not close it, which is noticed at once.
const PATIENCE: Duration = Duration::from_secs(90);
const SWEEP: Duration = Duration::from_secs(10);
/// For each runtime and origin.
const MOST: usize = 1024;

impl Idle {
    /// The one that was used last, if it is still open.
    pub fn take(&self, origin: &Origin) -> Option<TcpStream> {
        let place = (Handle::current().id(), origin.clone());
        loop {
            // Looked at, and closed, outside the lock.
            let last = self.lock().waiting.get_mut(&place)?.pop_back()?;
            if last.is_young(Instant::now()) && last.is_quiet() {
                return Some(last.stream);
            }
        }
    }

    pub fn put(&self, origin: Origin, stream: TcpStream) {
        let place = (Handle::current().id(), origin);
        let mut table = self.lock();
        table.last += 1;
        let number = table.last;
        let watch = Watch { idle: Arc::downgrade(&self.0), place: place.clone(), number };
        let waker = Waker::from(Arc::new(watch));
        // Under the lock, so that who is woken finds it. Without a budget: one that is spent would wake at once.
        let readable = pin!(unconstrained(poll_fn(|context| stream.poll_read_ready(context))));
        if readable.poll(&mut Context::from_waker(&waker)).is_ready() {
            return;
        }
        let waiting = table.waiting.entry(place).or_default();
        if waiting.len() < MOST {
            waiting.push_back(Waiting { number, stream, since: Instant::now() });
        }
    }

    /// Lets go of those that have waited for long. Runs until dropped.
    pub async fn sweep(&self) {
        let mut due = interval(SWEEP);
        loop {
            due.tick().await;
            let now = Instant::now();
            let mut old = Vec::new();
            self.lock().waiting.retain(|_, waiting| {
                let first_young = waiting.partition_point(|waiting| !waiting.is_young(now));
                old.extend(waiting.drain(..first_young));
                !waiting.is_empty()
            });
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.lock().waiting.values().map(VecDeque::len).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.0)
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wake for Watch {
    fn wake(self: Arc<Self>) {
        let Some(table) = self.idle.upgrade() else { return };
        // One that has been taken meanwhile is no longer here.
        let found = lock(&table).waiting.get_mut(&self.place).and_then(|waiting| {
            let at = waiting.iter().position(|waiting| waiting.number == self.number)?;
            waiting.remove(at)
        });
        drop(found);
    }
}

impl Waiting {
    fn is_young(&self, now: Instant) -> bool {
        now.duration_since(self.since) < PATIENCE
    }

    /// Whether it has neither ended nor said anything. Asks the operating system: what the runtime knows is as old as its
    /// last look.
    fn is_quiet(&self) -> bool {
        let peeked = SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
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
        while idle.count() > 0 {
            tokio::task::yield_now().await;
        }
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
