use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The threads that connections are spread over, each with its own runtime.
///
/// A connection and everything that its requests start stay on one thread. A token of an upstream without TLS is
/// received, stored and sent to its first viewer without waking another thread. One thread accepts all connections and
/// assigns them. With one listener per thread (`SO_REUSEPORT`) the kernel would assign them by a hash, and few streams
/// would share one core while another is idle.
#[derive(Clone)]
pub struct Threads(Arc<[Thread]>);

struct Thread {
    runtime: Handle,
    connections: AtomicUsize,
}

impl Threads {
    /// Returns the current runtime as one entry, even if it has several threads.
    pub fn current() -> Self {
        Self::of([Handle::current()])
    }

    fn of(runtimes: impl IntoIterator<Item = Handle>) -> Self {
        Self(runtimes.into_iter().map(|runtime| Thread { runtime, connections: AtomicUsize::new(0) }).collect())
    }

    /// Assigns a connection to the thread with the fewest.
    pub(super) fn assign(&self) -> OnThread {
        let counts = self.0.iter().map(|thread| thread.connections.load(Ordering::Relaxed));
        let index = counts.enumerate().min_by_key(|(_, count)| *count).map_or(0, |(index, _)| index);
        if let Some(thread) = self.0.get(index) {
            thread.connections.fetch_add(1, Ordering::Relaxed);
        }
        OnThread { threads: self.clone(), index }
    }
}

/// The assignment of one connection to a thread, counted until dropped.
pub(super) struct OnThread {
    threads: Threads,
    index: usize,
}

impl OnThread {
    fn thread(&self) -> Option<&Thread> {
        self.threads.0.get(self.index)
    }

    /// Returns the assigned runtime, unless it is the current one.
    pub fn other_runtime(&self) -> Option<Handle> {
        let thread = self.thread()?;
        (thread.runtime.id() != Handle::current().id()).then(|| thread.runtime.clone())
    }
}

impl Drop for OnThread {
    fn drop(&mut self) {
        if let Some(thread) = self.thread() {
            thread.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Threads that this process started. Dropping this ends them and the tasks that still run on them.
pub struct StartedThreads {
    stop: CancellationToken,
    runtimes: Vec<Handle>,
    joins: Vec<JoinHandle<()>>,
}

impl StartedThreads {
    /// Starts `count - 1` threads beside the calling one, which should drive a current-thread runtime.
    pub fn beside(count: NonZeroUsize) -> io::Result<Self> {
        let mut started = Self { stop: CancellationToken::new(), runtimes: Vec::new(), joins: Vec::new() };
        for number in 1..count.get() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            started.runtimes.push(runtime.handle().clone());
            let stop = started.stop.clone();
            let thread = thread::Builder::new().name(format!("worker-{number}"));
            started.joins.push(thread.spawn(move || {
                runtime.block_on(stop.cancelled());
                runtime.shutdown_background();
            })?);
        }
        Ok(started)
    }

    /// Returns these threads and the current runtime.
    pub fn and_current(&self) -> Threads {
        Threads::of([Handle::current()].into_iter().chain(self.runtimes.iter().cloned()))
    }
}

impl Drop for StartedThreads {
    fn drop(&mut self) {
        self.stop.cancel();
        for join in self.joins.drain(..) {
            _ = join.join();
        }
    }
}
