//! Leases of several processes that share a store.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// How long a process keeps what it holds after its last renewal.
pub const LEASE: Duration = Duration::from_secs(5);

/// What each process of a deployment holds.
pub struct Leases<H>(Mutex<Vec<ProcessLease<H>>>);

struct ProcessLease<H> {
    renewed: Instant,
    held: Vec<H>,
}

/// One process of a deployment.
#[derive(Debug, Clone, Copy)]
pub struct ProcessNumber(usize);

impl<H: PartialEq> Leases<H> {
    pub fn new() -> Self {
        Self(Mutex::default())
    }

    pub fn add_process(&self) -> ProcessNumber {
        let mut leases = self.lock();
        leases.push(ProcessLease { renewed: Instant::now(), held: Vec::new() });
        ProcessNumber(leases.len() - 1)
    }

    pub fn hold(&self, process: ProcessNumber, held: H) {
        let held_by_it = &mut self.lock()[process.0].held;
        if !held_by_it.contains(&held) {
            held_by_it.push(held);
        }
    }

    pub fn give_back(&self, process: ProcessNumber, held: &H) {
        self.lock()[process.0].held.retain(|other| other != held);
    }

    /// Renews the lease of a process. Returns what the processes held whose lease has expired.
    pub fn renew(&self, process: ProcessNumber) -> Vec<H> {
        let mut leases = self.lock();
        leases[process.0].renewed = Instant::now();
        let expired = leases.iter_mut().filter(|lease| lease.renewed.elapsed() > LEASE);
        expired.flat_map(|lease| std::mem::take(&mut lease.held)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ProcessLease<H>>> {
        self.0.lock().expect("no panic")
    }
}
