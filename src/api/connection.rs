//! The event streams that are open.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::extract::Caller;
use super::wire::Retry;
use crate::domain::{Account, ConnectionId, Lookup, Principal, RequestId, Timestamp};
use crate::generation::Origin;
use crate::limits::WhenFull;

/// All event streams of this process. Clones share them.
#[derive(Clone, Default)]
pub struct Connections(Arc<Shared>);

#[derive(Default)]
struct Shared {
    draining: AtomicBool,
    ending: AtomicBool,
    open: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last: u64,
    /// In the order in which they were opened.
    all: BTreeMap<u64, Arc<Open>>,
    of_account: Lookup<Account, usize>,
}

/// One of them; dropping it is its end.
pub struct Connection {
    open: Arc<Open>,
    connections: Connections,
    begun: bool,
    told_to_wait: bool,
    leaving: Option<Retry>,
}

/// Whether a stream is to be broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    No,
    /// When its client has been told to come back so much later: those who displace one another would do so without
    /// end, and those whom nothing was told for long would all come back at once.
    Later(Retry),
    /// When it has no end of its own.
    AtEndOfService,
    Now,
}

/// What is known of one.
pub struct Open {
    pub id: ConnectionId,
    pub principal: Principal,
    pub account: Account,
    pub since: Timestamp,
    number: u64,
    request_id: RequestId,
    opened: Instant,
    /// Milliseconds after it was opened.
    last_write: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    closed: AtomicBool,
    displaced: AtomicBool,
    waker: AtomicWaker,
}

/// Whether a client comes for the first time, or comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coming {
    New,
    /// Never refused for load: where there is no room, another of its caller's streams makes some.
    Back,
}

impl From<Origin> for Coming {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::New => Self::New,
            Origin::Existing => Self::Back,
        }
    }
}

/// There is no room for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    ForCaller(NonZeroU32),
    AtAll,
}

/// Clients that have to come back do so spread over this, in milliseconds.
const SPREAD: std::ops::Range<u32> = 1_000..5_000;
/// When one comes back that had to make room: later than others, and within the grace that generations have by default.
const DISPLACED: Duration = Duration::from_secs(5);

impl Connections {
    pub fn open(&self, caller: &Caller, coming: Coming) -> Result<Connection, NoRoom> {
        let limits = caller.spender.connections();
        let mut table = self.lock();
        let when_full = if coming == Coming::Back { WhenFull::CloseOldest } else { limits.when_full };
        let own = table.of_account.get(&caller.spender.account).copied().unwrap_or_default();
        let in_all = limits.in_all.map(|most| most.get() as usize);
        // Who comes back finds a little more, before another has to go for it.
        let reserve = |most: usize| if coming == Coming::Back && own == 0 { most / 10 + 1 } else { 0 };
        let account = &caller.spender.account;
        if let Some(most) = limits.for_account.filter(|most| own >= most.get() as usize) {
            table.make_room(account, when_full).map_err(|()| NoRoom::ForCaller(most))?;
        } else if in_all.is_some_and(|most| table.all.len() >= most + reserve(most)) {
            // Not besides: one that has replaced its own is no more than there were.
            table.make_room(account, when_full).map_err(|()| NoRoom::AtAll)?;
        }
        table.last += 1;
        let open = Arc::new(Open {
            id: ConnectionId::random(),
            principal: caller.principal.clone(),
            account: caller.spender.account.clone(),
            since: Timestamp::now(),
            number: table.last,
            request_id: caller.request_id,
            opened: Instant::now(),
            last_write: AtomicU64::new(0),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            displaced: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        table.all.insert(open.number, Arc::clone(&open));
        *table.of_account.entry(open.account.clone()).or_default() += 1;
        drop(table);
        Ok(Connection { open, connections: self.clone(), begun: false, told_to_wait: false, leaving: None })
    }

    /// The latest first, at most so many; and how many there are.
    pub fn list(&self, most: usize) -> (Vec<Arc<Open>>, usize) {
        let table = self.lock();
        (table.all.values().rev().take(most).cloned().collect(), table.all.len())
    }

    /// Breaks one off; whether there was one.
    pub fn close(&self, id: ConnectionId) -> bool {
        let found = self.lock().all.values().find(|open| open.id == id).cloned();
        found.inspect(|open| open.close()).is_some()
    }

    /// From now on clients are told to come back later, those that are there as well.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
        for open in self.lock().all.values() {
            open.waker.wake();
        }
    }

    /// Breaks off what has no end of its own.
    pub fn end(&self) {
        self.0.ending.store(true, Ordering::Release);
        for open in self.lock().all.values() {
            open.waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The account's oldest goes; that of another only for who has none.
    fn make_room(&mut self, account: &Account, when_full: WhenFull) -> Result<(), ()> {
        if when_full == WhenFull::Refuse {
            return Err(());
        }
        let own = self.all.values().find(|open| open.account == *account);
        let oldest = own.or_else(|| self.all.values().next()).cloned().ok_or(())?;
        oldest.displaced.store(true, Ordering::Release);
        oldest.waker.wake();
        self.remove(&oldest);
        Ok(())
    }

    fn remove(&mut self, open: &Open) {
        if self.all.remove(&open.number).is_none() {
            return;
        }
        if let Some(count) = self.of_account.get_mut(&open.account) {
            *count -= 1;
            if *count == 0 {
                self.of_account.remove(&open.account);
            }
        }
    }
}

impl Connection {
    /// The stream begins, if it has not. When its client should come back, as its first block says.
    pub fn begin(&mut self) -> Option<Retry> {
        if std::mem::replace(&mut self.begun, true) {
            return None;
        }
        tracing::info!(connection = %self.open.id, request_id = %self.open.request_id, "a stream began");
        Some(self.come_back_later().unwrap_or(Retry::SOON))
    }

    /// Lets the stream be polled when it is to end, or to say something that is in no log.
    pub fn watch(&self, context: &Context<'_>) {
        self.open.waker.register(context.waker());
    }

    pub fn closing(&self) -> Closing {
        if self.open.closed.load(Ordering::Acquire) {
            Closing::Now
        } else if self.open.displaced.load(Ordering::Acquire) {
            Closing::Later(Retry::after(DISPLACED))
        } else if let Some(retry) = self.leaving {
            Closing::Later(retry)
        } else if self.connections.0.ending.load(Ordering::Acquire) {
            Closing::AtEndOfService
        } else {
            Closing::No
        }
    }

    /// Comes back when it is to be broken off, for one that is no stream.
    pub async fn closed(&self) {
        poll_fn(|context| {
            self.watch(context);
            if self.closing() == Closing::No { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// What a client is told once, while the service drains.
    pub fn come_back_later(&mut self) -> Option<Retry> {
        if self.told_to_wait || !self.connections.0.draining.load(Ordering::Acquire) {
            return None;
        }
        self.told_to_wait = true;
        Some(spread())
    }

    /// From now on it is to be broken off, and its client to come back some time later.
    pub fn leave(&mut self) {
        self.leaving = Some(spread());
    }

    pub fn id(&self) -> ConnectionId {
        self.open.id
    }

    pub fn since(&self) -> Timestamp {
        self.open.since
    }

    pub fn note_write(&self, now: Instant, bytes: usize) {
        let since = u64::try_from(now.duration_since(self.open.opened).as_millis()).unwrap_or(u64::MAX);
        self.open.last_write.store(since, Ordering::Relaxed);
        self.open.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn note_events(&self, events: usize) {
        self.open.events.fetch_add(events as u64, Ordering::Relaxed);
    }
}

fn spread() -> Retry {
    let mut random = [0; 4];
    // Without randomness all come back together, which is no reason to fail.
    _ = getrandom::fill(&mut random);
    let wait = SPREAD.start + u32::from_le_bytes(random) % (SPREAD.end - SPREAD.start);
    Retry::after(Duration::from_millis(wait.into()))
}

impl Open {
    /// Since something was written to it.
    pub fn idle(&self) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_millis(self.last_write.load(Ordering::Relaxed)))
    }

    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.open);
        if !self.begun {
            return;
        }
        let Open { id, request_id, opened, .. } = &*self.open;
        let (events, bytes) = (self.open.events(), self.open.bytes());
        let duration_ms = u64::try_from(opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(connection = %id, %request_id, events, bytes, duration_ms, "a stream ended");
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.open.id, f)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::auth::Scopes;
    use crate::domain::{AllowedModels, Quota};
    use crate::limits::{Policy, Spender};
    use crate::server::Load;

    fn caller(number: u8, most: u32, in_all: u32, when_full: WhenFull) -> Caller {
        let policy = Policy { connections: NonZeroU32::new(in_all), when_full, ..Policy::default() };
        let account = Account::of_address(IpAddr::from([192, 0, 2, number]));
        let quota = Quota { connections: NonZeroU32::new(most), ..Quota::NONE };
        Caller {
            principal: Principal::Anonymous,
            spender: Spender::new(account, quota, Arc::new(policy)),
            scopes: Scopes::ALL,
            models: AllowedModels::All,
            until: None,
            load: Load::Normal,
            request_id: RequestId::random(),
        }
    }

    fn is_closing(connection: &Connection) -> bool {
        connection.closing() != Closing::No
    }

    #[test]
    fn who_is_one_too_many_is_refused_or_the_oldest_makes_room() {
        let connections = Connections::default();
        let refuse = caller(1, 2, 3, WhenFull::Refuse);
        let first = connections.open(&refuse, Coming::New).expect("room");
        let second = connections.open(&refuse, Coming::New).expect("room");
        assert_eq!(connections.open(&refuse, Coming::New).err(), NonZeroU32::new(2).map(NoRoom::ForCaller));
        let back = connections.open(&refuse, Coming::Back).expect("who comes back is not refused");
        assert_eq!([&first, &second, &back].map(is_closing), [true, false, false]);

        let other = connections.open(&caller(2, 0, 3, WhenFull::Refuse), Coming::New).expect("room");
        let third = caller(3, 0, 3, WhenFull::Refuse);
        assert_eq!(connections.open(&third, Coming::New).err(), Some(NoRoom::AtAll));
        let third = caller(3, 0, 3, WhenFull::CloseOldest);
        let newest = connections.open(&third, Coming::New).expect("the oldest makes room");
        assert_eq!([&second, &back, &other, &newest].map(is_closing), [true, false, false, false]);
        let again = connections.open(&third, Coming::New).expect("its own makes room");
        assert_eq!([&back, &other, &newest, &again].map(is_closing), [false, false, true, false]);
        assert_eq!(connections.list(10).1, 3);
        drop((first, second, back, other, newest, again));
        assert_eq!(connections.list(10).1, 0);
        assert!(connections.lock().of_account.is_empty());
    }
}
