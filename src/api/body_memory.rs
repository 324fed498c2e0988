//! The memory that bodies hold, shared fairly between accounts.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use futures_util::task::AtomicWaker;

use super::problem::{ErrorCode, Problem};
use crate::domain::{Account, Lookup};

/// The budget for all request bodies and for responses that are buffered whole (`server.max_body_memory`). Clones share
/// it.
///
/// A request's body counts from its first byte until the upstream has responded, while unfinished by the capacity of
/// its buffer. A response counts until its client has received it.
///
/// - Unfinished bodies take free bytes. If none are free, an account above its share (the budget divided by the number
///   of accounts that hold bytes) is refused. For an account below its share, the largest unfinished body of the
///   account that holds most is displaced and ends with a `408`.
/// - A finished body cannot be displaced: its generation may wait for a slot. An account may hold as many bytes of
///   finished bodies as then remain free of three quarters of the budget. The last quarter is reserved for accounts
///   that hold at most 1/1024 of the budget, so that a few accounts with large bodies cause no refusal of small ones.
#[derive(Clone)]
pub struct BodyMemory(Arc<BodyMemoryState>);

struct BodyMemoryState {
    most: usize,
    table: Mutex<BodyTable>,
}

#[derive(Default)]
struct BodyTable {
    last: u64,
    bytes: usize,
    finished: usize,
    accounts: Lookup<Account, AccountBodies>,
}

#[derive(Default)]
struct AccountBodies {
    finished: usize,
    unfinished: BTreeMap<u64, Unfinished>,
    /// The sum over `unfinished`.
    unfinished_bytes: usize,
}

struct Unfinished {
    bytes: usize,
    displaced: Arc<Displaced>,
}

#[derive(Default)]
struct Displaced {
    is_set: AtomicBool,
    waker: AtomicWaker,
}

/// The reserved bytes of a body that is being read; dropping it returns them.
pub struct UnfinishedBody {
    memory: BodyMemory,
    account: Account,
    number: u64,
    displaced: Arc<Displaced>,
}

/// The reserved bytes of a body that was read whole; dropping it returns them.
pub struct FinishedBody {
    memory: BodyMemory,
    account: Account,
    bytes: usize,
}

struct HeldBytes {
    bytes: Bytes,
    _memory: FinishedBody,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The reasons for which a body gets no more memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyMemoryError {
    #[error("the account holds its share of the memory for request bodies")]
    AboveShare,
    #[error("the body was displaced by that of another account")]
    Displaced,
}

impl BodyMemory {
    pub fn new(most: usize) -> Self {
        Self(Arc::new(BodyMemoryState { most, table: Mutex::default() }))
    }

    /// Returns the bytes that are reserved now.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Registers an unfinished body of zero bytes.
    pub fn begin(&self, account: Account) -> UnfinishedBody {
        let displaced = Arc::<Displaced>::default();
        let mut table = self.lock();
        table.last += 1;
        let number = table.last;
        let unfinished = Unfinished { bytes: 0, displaced: Arc::clone(&displaced) };
        table.accounts.entry(account.clone()).or_default().unfinished.insert(number, unfinished);
        drop(table);
        UnfinishedBody { memory: self.clone(), account, number, displaced }
    }

    /// Reserves memory for the bytes of a response until the last clone of them is dropped.
    pub fn hold_bytes(&self, account: &Account, bytes: Bytes) -> Result<Bytes, BodyMemoryError> {
        let memory = self.hold(account, bytes.len())?;
        Ok(Bytes::from_owner(HeldBytes { bytes, _memory: memory }))
    }

    /// Reserves `bytes` at once, for data that was not read in pieces.
    pub fn hold(&self, account: &Account, bytes: usize) -> Result<FinishedBody, BodyMemoryError> {
        let body = self.begin(account.clone());
        body.grow_to(bytes)?;
        body.finish(bytes)
    }

    fn lock(&self) -> MutexGuard<'_, BodyTable> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an account that holds `own` of the `finished` bytes may hold `more` bytes in addition.
fn may_finish(most: usize, own: usize, finished: usize, more: usize) -> bool {
    let (own, finished) = (own + more, finished + more);
    let free = (most / 4 * 3).saturating_sub(finished);
    own <= free || (own <= most / FLOORS && finished <= most)
}

/// The divisor of the budget that gives the floor of each account; a quarter of the budget is reserved for the floors.
const FLOORS: usize = 1024;

impl UnfinishedBody {
    /// Grows the reservation to `bytes`. Does nothing if it is that large already.
    pub fn grow_to(&self, bytes: usize) -> Result<(), BodyMemoryError> {
        let most = self.memory.0.most;
        let mut table = self.memory.lock();
        let held = table.unfinished(&self.account, self.number).ok_or(BodyMemoryError::Displaced)?.bytes;
        let more = bytes.saturating_sub(held);
        while table.bytes + more > most {
            let share = most / table.accounts.len().max(1);
            let own = table.accounts.get(&self.account).map_or(0, AccountBodies::bytes);
            if own + more > share || !table.displace_largest(&self.account, share) {
                return Err(BodyMemoryError::AboveShare);
            }
        }
        table.add(&self.account, self.number, more);
        Ok(())
    }

    /// Converts it into a finished body of `bytes`, clamped to its reservation.
    pub fn finish(self, bytes: usize) -> Result<FinishedBody, BodyMemoryError> {
        let (memory, account) = (self.memory.clone(), self.account.clone());
        let mut table = memory.lock();
        let held = table.unfinished(&account, self.number).ok_or(BodyMemoryError::Displaced)?.bytes;
        let bytes = bytes.min(held);
        let own = table.accounts.get(&account).map_or(0, |bodies| bodies.finished);
        if !may_finish(memory.0.most, own, table.finished, bytes) {
            return Err(BodyMemoryError::AboveShare);
        }
        table.bytes += bytes;
        table.finished += bytes;
        if let Some(bodies) = table.accounts.get_mut(&account) {
            bodies.finished += bytes;
        }
        table.remove(&account, self.number);
        drop(table);
        Ok(FinishedBody { memory, account, bytes })
    }

    /// Returns when the body has been displaced. Cancellation safe.
    pub async fn displaced(&self) {
        poll_fn(|context| {
            self.displaced.waker.register(context.waker());
            if self.displaced.is_set.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl From<BodyMemoryError> for Problem {
    fn from(error: BodyMemoryError) -> Self {
        match error {
            BodyMemoryError::AboveShare => {
                let detail = "Your requests and responses hold your share of the memory for bodies (the setting \
                              server.max_body_memory). Send fewer at a time, or try again in a few seconds.";
                Self::new(ErrorCode::Overloaded, detail)
            }
            BodyMemoryError::Displaced => {
                let detail = "The service ended this unfinished request body to make room for those of other callers. \
                              Try again in a few seconds.";
                Self::new(ErrorCode::RequestTimeout, detail)
            }
        }
    }
}

impl FinishedBody {
    /// Reserves `more` bytes in addition.
    pub fn grow(&mut self, more: usize) -> Result<(), BodyMemoryError> {
        let mut added = self.memory.hold(&self.account, more)?;
        // `self` returns both reservations when it is dropped.
        self.bytes += std::mem::take(&mut added.bytes);
        Ok(())
    }
}

impl BodyTable {
    fn unfinished(&self, account: &Account, number: u64) -> Option<&Unfinished> {
        self.accounts.get(account)?.unfinished.get(&number)
    }

    fn add(&mut self, account: &Account, number: u64, bytes: usize) {
        let Some(bodies) = self.accounts.get_mut(account) else { return };
        let Some(unfinished) = bodies.unfinished.get_mut(&number) else { return };
        unfinished.bytes += bytes;
        bodies.unfinished_bytes += bytes;
        self.bytes += bytes;
    }

    fn remove(&mut self, account: &Account, number: u64) -> Option<Unfinished> {
        let bodies = self.accounts.get_mut(account)?;
        let removed = bodies.unfinished.remove(&number)?;
        bodies.unfinished_bytes -= removed.bytes;
        self.bytes -= removed.bytes;
        self.forget_if_empty(account);
        Some(removed)
    }

    fn forget_if_empty(&mut self, account: &Account) {
        if self.accounts.get(account).is_some_and(|bodies| bodies.finished == 0 && bodies.unfinished.is_empty()) {
            self.accounts.remove(account);
        }
    }

    /// Displaces the largest unfinished body of the account that holds most. Returns `false` if no other account above
    /// its share has one.
    fn displace_largest(&mut self, except: &Account, share: usize) -> bool {
        let above = self
            .accounts
            .iter()
            .filter(|(account, bodies)| *account != except && bodies.unfinished_bytes > 0 && bodies.bytes() > share);
        let Some((account, bodies)) = above.max_by_key(|(_, bodies)| bodies.bytes()) else { return false };
        let largest =
            bodies.unfinished.iter().max_by_key(|(_, unfinished)| unfinished.bytes).map(|(number, _)| *number);
        let account = account.clone();
        let removed = largest.and_then(|number| self.remove(&account, number));
        let Some(Unfinished { displaced, .. }) = removed else { return false };
        displaced.is_set.store(true, Ordering::Release);
        displaced.waker.wake();
        true
    }
}

impl AccountBodies {
    fn bytes(&self) -> usize {
        self.finished + self.unfinished_bytes
    }
}

impl Drop for UnfinishedBody {
    fn drop(&mut self) {
        self.memory.lock().remove(&self.account, self.number);
    }
}

impl Drop for FinishedBody {
    fn drop(&mut self) {
        let mut table = self.memory.lock();
        table.bytes -= self.bytes;
        table.finished -= self.bytes;
        if let Some(bodies) = table.accounts.get_mut(&self.account) {
            bodies.finished -= self.bytes;
        }
        table.forget_if_empty(&self.account);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn account(number: u8) -> Account {
        Account::of_address([192, 0, 2, number].into())
    }

    fn body(memory: &BodyMemory, of: u8, bytes: usize) -> Result<UnfinishedBody, BodyMemoryError> {
        let body = memory.begin(account(of));
        body.grow_to(bytes).map(|()| body)
    }

    fn is_displaced(body: &UnfinishedBody) -> bool {
        body.displaced().now_or_never().is_some()
    }

    #[test]
    fn account_above_its_share_is_refused_and_its_largest_body_is_displaced_by_one_below() {
        let memory = BodyMemory::new(100);
        let [small, large] = [40, 60].map(|bytes| body(&memory, 1, bytes).expect("all is free"));
        assert_eq!(body(&memory, 1, 1).err(), Some(BodyMemoryError::AboveShare));
        let other = body(&memory, 2, 50).expect("its share");
        assert_eq!([&small, &large, &other].map(is_displaced), [false, true, false]);
        assert_eq!(large.grow_to(1), Err(BodyMemoryError::Displaced));
        assert_eq!(other.grow_to(61), Err(BodyMemoryError::AboveShare));
        assert_eq!(memory.bytes(), 90);
        drop((small, large, other));
        assert_eq!((memory.bytes(), memory.lock().accounts.len()), (0, 0));
    }

    #[test]
    fn finished_bodies_of_nine_accounts_leave_memory_for_a_tenth() {
        let memory = BodyMemory::new(1000);
        let mut held = Vec::new();
        for number in 0..9 {
            while let Ok(body) = body(&memory, number, 10).and_then(|body| body.finish(10)) {
                held.push(body);
            }
        }
        assert!(memory.bytes() < 1000, "{}", memory.bytes());
        let last = body(&memory, 10, 1).and_then(|body| body.finish(1));
        assert!(last.is_ok());
        drop((held, last));
        assert_eq!((memory.bytes(), memory.lock().accounts.len()), (0, 0));
    }

    #[test]
    fn large_finished_bodies_of_100_accounts_leave_100_others_memory_for_small_ones() {
        let most = 128 << 20;
        let memory = BodyMemory::new(most);
        let mut held = Vec::new();
        for number in 0..100 {
            for bytes in [16 << 20, 4 << 20, 1 << 20, 64 << 10] {
                while let Ok(body) = body(&memory, number, bytes).and_then(|body| body.finish(bytes)) {
                    held.push(body);
                }
            }
        }
        let small = |number| body(&memory, number, 100 << 10).and_then(|body| body.finish(100 << 10));
        let others: Vec<_> = (100..200).map(|number| small(number).expect("its floor")).collect();
        assert!(memory.bytes() <= most);
        drop((held, others));
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn finished_body_counts_its_length_and_not_its_buffer() {
        let memory = BodyMemory::new(100);
        let finished = body(&memory, 1, 64).and_then(|body| body.finish(33)).expect("room");
        assert_eq!(memory.bytes(), 33);
        drop(finished);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn unfinished_bodies_of_100_accounts_leave_100_others_memory_for_small_ones() {
        let memory = BodyMemory::new(128 << 20);
        let mut held = Vec::new();
        for number in 0..100 {
            while let Ok(body) = body(&memory, number, 4 << 20) {
                held.push(body);
            }
        }
        let others: Vec<_> = (100..200).map(|number| body(&memory, number, 16 << 10).expect("its share")).collect();
        assert!(others.iter().all(|body| !is_displaced(body)));
        assert!(memory.bytes() <= 128 << 20);
    }
}
