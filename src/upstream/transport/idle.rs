//! The pool of idle HTTP/1.1 connections.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::{Handle, Id};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::stream::Stream;
use crate::domain::Lookup;

/// Idle connections to one server. Clones share them.
///
/// A connection is reused only on the runtime that used it: its I/O events arrive there, and a task on another runtime
/// would have to be woken across threads. A connection that its server closes, or that receives bytes, is removed at
/// once.
#[derive(Clone, Default)]
pub struct Idle(Arc<Mutex<IdleTable>>);

#[derive(Default)]
struct IdleTable {
    waiting: Lookup<Id, VecDeque<IdleConnection>>,
    last: u64,
}

struct IdleConnection {
    number: u64,
    stream: Stream,
    until: Instant,
}

/// Removes an idle connection when it becomes readable: it received unsolicited bytes, or it ended.
struct Watch {
    idle: Weak<Mutex<IdleTable>>,
    runtime: Id,
    number: u64,
}

/// Maximum idle connections for each runtime.
const CAPACITY: usize = 1024;

impl Idle {
    /// Returns the most recently used connection that is still open.
    pub fn take(&self) -> Option<Stream> {
        let runtime = Handle::current().id();
        loop {
            // Check, and close, the connection outside the lock.
            let last = self.lock().waiting.get_mut(&runtime)?.pop_back()?;
            if Instant::now() < last.until && is_quiet(&last.stream) {
                return Some(last.stream);
            }
        }
    }

    /// Adds a connection for at most `keepalive`.
    pub fn put(&self, mut stream: Stream, keepalive: Duration) {
        let runtime = Handle::current().id();
        let mut table = self.lock();
        table.last += 1;
        let number = table.last;
        let waker = Waker::from(Arc::new(Watch { idle: Arc::downgrade(&self.0), runtime, number }));
        // Poll under the lock: otherwise the watch could wake before the connection is in the table. Unconstrained: an
        // exhausted coop budget would wake the watch at once.
        let is_readable = {
            let mut byte = [0];
            let read = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut byte)));
            pin!(unconstrained(read)).poll(&mut Context::from_waker(&waker)).is_ready()
        };
        if is_readable {
            return;
        }
        let waiting = table.waiting.entry(runtime).or_default();
        if waiting.len() < CAPACITY {
            waiting.push_back(IdleConnection { number, stream, until: Instant::now() + keepalive });
        }
    }

    /// Closes expired connections.
    pub fn expire(&self) {
        let now = Instant::now();
        let mut expired = Vec::new();
        self.lock().waiting.retain(|_, waiting| {
            let (old, young): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(waiting).into_iter().partition(|waiting| waiting.until <= now);
            expired.extend(old);
            *waiting = young;
            !waiting.is_empty()
        });
        // Close the connections outside the lock.
        drop(expired);
    }

    /// Returns the number of idle connections.
    pub fn count(&self) -> usize {
        self.lock().waiting.values().map(VecDeque::len).sum()
    }

    fn lock(&self) -> MutexGuard<'_, IdleTable> {
        lock(&self.0)
    }
}

fn lock(table: &Mutex<IdleTable>) -> MutexGuard<'_, IdleTable> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wake for Watch {
    fn wake(self: Arc<Self>) {
        let Some(table) = self.idle.upgrade() else { return };
        // The connection is not found if it was taken in the meantime.
        let closed = lock(&table).waiting.get_mut(&self.runtime).and_then(|waiting| {
            let at = waiting.iter().position(|waiting| waiting.number == self.number)?;
            waiting.remove(at)
        });
        drop(closed);
    }
}

/// Returns whether a connection has neither ended nor received bytes. Asks the operating system, because the runtime's
/// readiness is as old as its last poll.
fn is_quiet(stream: &Stream) -> bool {
    let peeked = SockRef::from(stream.socket()).peek(&mut [MaybeUninit::uninit()]);
    peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const KEEPALIVE: Duration = Duration::from_secs(4);

    async fn pair(listener: &TcpListener) -> (Stream, TcpStream) {
        let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (Stream::Clear(client.unwrap()), accepted.unwrap().0)
    }

    #[tokio::test(start_paused = true)]
    async fn connection_is_removed_after_its_own_keepalive_and_at_once_when_it_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let idle = Idle::default();
        let ((long, _one), (short, _two), (new, three)) =
            (pair(&listener).await, pair(&listener).await, pair(&listener).await);
        idle.put(long, KEEPALIVE);
        idle.put(short, KEEPALIVE / 2);
        tokio::time::advance(KEEPALIVE / 2).await;
        idle.put(new, KEEPALIVE);
        idle.expire();
        assert_eq!(idle.count(), 2);
        drop(three);
        while idle.count() > 1 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(KEEPALIVE / 2).await;
        assert!(idle.take().is_none(), "expired, although no sweep has run");
    }

    #[tokio::test]
    async fn a_connection_that_receives_bytes_between_two_requests_is_removed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let idle = Idle::default();
        let (stream, other) = pair(&listener).await;
        idle.put(stream, KEEPALIVE);
        other.writable().await.unwrap();
        other.try_write(b"!").unwrap();
        while idle.count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn connection_is_not_reused_on_another_runtime() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let idle = Idle::default();
        let (stream, _other) = pair(&listener).await;
        idle.put(stream, KEEPALIVE);
        let shared = idle.clone();
        let elsewhere = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async { shared.take().is_some() })
        });
        assert!(!elsewhere.join().unwrap());
        assert!(idle.take().is_some());
    }
}
