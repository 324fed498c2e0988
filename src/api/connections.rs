//! The table of requests in flight, and which of them are displaced if there are too many.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::caller::Caller;
use super::connection_record::{ConnectionKind, ConnectionRecord};
use crate::domain::{Account, ConnectionId, Lookup};
use crate::limits::WhenFull;
use crate::server::Load;

/// All connections of this process: event streams, waits for JSON and unfinished request bodies. Clones share them.
///
/// - An account may have `limits.connections` of them.
/// - At `server.max_connections` in all (or `limits.connections_total`), an account at its share (the maximum divided
///   by the accounts with connections) is refused. For an account below its share, a connection of the account that has
///   most is displaced, in the order of `ConnectionKind`.
/// - A client that resumes is not refused: a stream of its own account is displaced.
#[derive(Clone)]
pub struct Connections(Arc<ConnectionsState>);

struct ConnectionsState {
    /// `server.max_connections`
    most: usize,
    draining: AtomicBool,
    ending: AtomicBool,
    table: Mutex<ConnectionTable>,
}

#[derive(Default)]
struct ConnectionTable {
    last: u64,
    /// All connections by number, and so in the order in which they were opened.
    all: BTreeMap<u64, ConnectionEntry>,
    accounts: Lookup<Account, AccountConnections>,
}

struct ConnectionEntry {
    record: Arc<ConnectionRecord>,
    kind: ConnectionKind,
}

/// The numbers of an account's connections, by kind.
#[derive(Default)]
struct AccountConnections {
    bodies: BTreeSet<u64>,
    waits: BTreeSet<u64>,
    resumable: BTreeSet<u64>,
    streams: BTreeSet<u64>,
    /// The number of displaced connections that have not ended. The limits do not count them.
    displaced: usize,
}

/// Whether a client opens a new connection or resumes an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    New,
    /// Not refused for load: at a limit, another stream of its account is displaced.
    Reconnecting,
}

/// The limit at which a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionLimitError {
    /// The limit of the account.
    Caller(NonZeroU32),
    /// The limit of all accounts together.
    Total,
}

impl Connections {
    /// `most` is `server.max_connections`.
    pub fn new(most: usize) -> Self {
        let (draining, ending) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(ConnectionsState { most, draining, ending, table: Mutex::default() }))
    }

    /// Adds a connection, or refuses it at a limit unless another can be displaced. The caller wraps the record into a
    /// `Connection`, which removes it.
    pub(super) fn add(
        &self,
        caller: &Caller,
        arrival: Arrival,
        kind: ConnectionKind,
    ) -> Result<Arc<ConnectionRecord>, ConnectionLimitError> {
        let limits = caller.spender.connections();
        let account = &caller.spender.account;
        let mut table = self.lock();
        let own = table.count_of(account);
        let closes_oldest = limits.when_full == WhenFull::CloseOldest && kind != ConnectionKind::Body;
        // A displaced stream whose client does not read ends late. Without this bound, a client could hold any number
        // of streams by resuming repeatedly.
        let may_displace_own =
            (arrival == Arrival::Reconnecting || closes_oldest) && table.displaced_of(account) <= own;
        if let Some(most) = limits.for_account.filter(|most| own >= most.get() as usize) {
            if !may_displace_own || !table.displace_own(account) {
                return Err(ConnectionLimitError::Caller(most));
            }
        } else if self.is_full(&table, caller, arrival) {
            let made_room = if own < self.share(&table, caller) {
                table.displace_largest(account, own + 1)
            } else {
                may_displace_own && table.displace_own(account)
            };
            if !made_room {
                return Err(ConnectionLimitError::Total);
            }
        }
        Ok(table.add(caller, kind))
    }

    /// Adds a connection only if no other has to be displaced for it.
    pub(super) fn add_if_free(&self, caller: &Caller, kind: ConnectionKind) -> Option<Arc<ConnectionRecord>> {
        let mut table = self.lock();
        let own = table.count_of(&caller.spender.account);
        let is_at_limit = caller.spender.connections().for_account.is_some_and(|most| own >= most.get() as usize);
        if is_at_limit || self.is_full(&table, caller, Arrival::New) {
            return None;
        }
        Some(table.add(caller, kind))
    }

    /// Checks whether the account may start an operation before it opens a connection for it. On a TCP connection above
    /// `server.max_connections`, it may do so only if another account has more requests in flight.
    pub fn check_load(&self, caller: &Caller) -> Result<(), ConnectionLimitError> {
        if caller.load == Load::Normal {
            return Ok(());
        }
        let table = self.lock();
        let account = &caller.spender.account;
        let own = table.count_of(account);
        let may = own < self.share(&table, caller) && table.largest(account, own + 1).is_some();
        if may { Ok(()) } else { Err(ConnectionLimitError::Total) }
    }

    /// Returns at most `most` connections, newest first, and the number of all connections.
    pub fn list(&self, most: usize) -> (Vec<(Arc<ConnectionRecord>, ConnectionKind)>, usize) {
        let table = self.lock();
        let latest = table.all.values().rev().take(most);
        (latest.map(|entry| (Arc::clone(&entry.record), entry.kind)).collect(), table.all.len())
    }

    /// Returns the event streams that their clients can resume.
    pub(super) fn resumable(&self) -> Vec<Arc<ConnectionRecord>> {
        let table = self.lock();
        let resumable = table.all.values().filter(|entry| entry.kind == ConnectionKind::ResumableStream);
        resumable.map(|entry| Arc::clone(&entry.record)).collect()
    }

    pub fn count(&self) -> usize {
        self.lock().all.len()
    }

    /// Closes a connection. Returns whether it exists.
    pub fn close(&self, id: ConnectionId) -> bool {
        let found = self.lock().all.values().find(|entry| entry.record.id == id).map(|entry| Arc::clone(&entry.record));
        found.inspect(|record| record.close()).is_some()
    }

    /// Starts the drain: from now on all clients, connected ones included, are sent a later reconnection delay.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Closes all connections that have no end of their own.
    pub fn end(&self) {
        self.0.ending.store(true, Ordering::Release);
        self.wake_all();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    pub(super) fn is_ending(&self) -> bool {
        self.0.ending.load(Ordering::Acquire)
    }

    pub(super) fn set_kind(&self, record: &ConnectionRecord, kind: ConnectionKind) -> bool {
        let mut table = self.lock();
        // Absent if the connection was displaced.
        let Some(record) = table.remove(record.number) else { return false };
        table.insert(record, kind);
        true
    }

    pub(super) fn remove(&self, record: &ConnectionRecord) {
        let mut table = self.lock();
        if table.remove(record.number).is_none() {
            table.remove_displaced(record);
        }
    }

    /// Returns the most connections of all accounts together.
    fn most(&self, caller: &Caller) -> usize {
        caller.spender.connections().in_all.map_or(self.0.most, |most| self.0.most.min(most.get() as usize))
    }

    /// Whether the limit for all accounts is reached. For a client that resumes and whose account has no connections,
    /// the limit is a tenth higher.
    fn is_full(&self, table: &ConnectionTable, caller: &Caller, arrival: Arrival) -> bool {
        let most = self.most(caller);
        match arrival {
            Arrival::New => table.all.len() >= most || caller.load == Load::Crowded,
            Arrival::Reconnecting if table.count_of(&caller.spender.account) == 0 => table.all.len() > most + most / 10,
            Arrival::Reconnecting => table.all.len() >= most,
        }
    }

    fn share(&self, table: &ConnectionTable, caller: &Caller) -> usize {
        let others = usize::from(!table.accounts.contains_key(&caller.spender.account));
        self.most(caller) / (table.accounts.len() + others)
    }

    fn wake_all(&self) {
        for entry in self.lock().all.values() {
            entry.record.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, ConnectionTable> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionTable {
    fn count_of(&self, account: &Account) -> usize {
        self.accounts.get(account).map_or(0, AccountConnections::count)
    }

    fn add(&mut self, caller: &Caller, kind: ConnectionKind) -> Arc<ConnectionRecord> {
        self.last += 1;
        let record = Arc::new(ConnectionRecord::new(caller, self.last));
        self.insert(Arc::clone(&record), kind);
        record
    }

    fn insert(&mut self, record: Arc<ConnectionRecord>, kind: ConnectionKind) {
        self.accounts.entry(record.account.clone()).or_default().of_kind(kind).insert(record.number);
        self.all.insert(record.number, ConnectionEntry { record, kind });
    }

    fn remove(&mut self, number: u64) -> Option<Arc<ConnectionRecord>> {
        let ConnectionEntry { record, kind } = self.all.remove(&number)?;
        if let Some(own) = self.accounts.get_mut(&record.account) {
            own.of_kind(kind).remove(&number);
        }
        self.forget_if_empty(&record.account);
        Some(record)
    }

    /// Counts the end of a displaced connection.
    fn remove_displaced(&mut self, record: &ConnectionRecord) {
        if let Some(own) = self.accounts.get_mut(&record.account) {
            own.displaced = own.displaced.saturating_sub(1);
        }
        self.forget_if_empty(&record.account);
    }

    fn displaced_of(&self, account: &Account) -> usize {
        self.accounts.get(account).map_or(0, |own| own.displaced)
    }

    fn forget_if_empty(&mut self, account: &Account) {
        if self.accounts.get(account).is_some_and(|own| own.count() == 0 && own.displaced == 0) {
            self.accounts.remove(account);
        }
    }

    /// Displaces the account's oldest event stream, or else its oldest wait or body.
    fn displace_own(&mut self, account: &Account) -> bool {
        self.accounts.get(account).and_then(AccountConnections::oldest_stream).is_some_and(|it| self.displace(it))
    }

    /// Displaces a connection of the account that has most, if that account has more than `more_than`.
    fn displace_largest(&mut self, except: &Account, more_than: usize) -> bool {
        let victim = self.largest(except, more_than).and_then(AccountConnections::next_victim);
        victim.is_some_and(|number| self.displace(number))
    }

    fn largest(&self, except: &Account, more_than: usize) -> Option<&AccountConnections> {
        let others = self.accounts.iter().filter(|(account, own)| *account != except && own.count() > more_than);
        others.max_by_key(|(_, own)| own.count()).map(|(_, own)| own)
    }

    fn displace(&mut self, number: u64) -> bool {
        let Some(record) = self.remove(number) else { return false };
        self.accounts.entry(record.account.clone()).or_default().displaced += 1;
        record.displace();
        true
    }
}

impl AccountConnections {
    fn of_kind(&mut self, kind: ConnectionKind) -> &mut BTreeSet<u64> {
        match kind {
            ConnectionKind::Body => &mut self.bodies,
            ConnectionKind::Wait => &mut self.waits,
            ConnectionKind::ResumableStream => &mut self.resumable,
            ConnectionKind::Stream => &mut self.streams,
        }
    }

    fn count(&self) -> usize {
        [&self.bodies, &self.waits, &self.resumable, &self.streams].iter().map(|kind| kind.len()).sum()
    }

    fn oldest_stream(&self) -> Option<u64> {
        let streams = self.resumable.first().into_iter().chain(self.streams.first()).min();
        streams.or_else(|| self.waits.first()).or_else(|| self.bodies.first()).copied()
    }

    /// Returns the connection whose loss costs least: an unfinished body, else a wait, else the newest event stream
    /// with ids, else the newest one without.
    fn next_victim(&self) -> Option<u64> {
        let kinds = [&self.bodies, &self.waits, &self.resumable, &self.streams];
        kinds.into_iter().find_map(|kind| kind.last()).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::connection::{Connection, ConnectionClosing};
    use super::*;
    use crate::auth::Scopes;
    use crate::domain::{AllowedModels, Principal, Quota, RequestId};
    use crate::limits::{Policy, Spender};

    const STREAM: ConnectionKind = ConnectionKind::ResumableStream;

    fn caller(number: u8, most: u32, when_full: WhenFull) -> Caller {
        let policy = Policy { when_full, ..Policy::default() };
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
            hosts: crate::api::Hosts::Loopback,
        }
    }

    fn is_closing(connection: &Connection) -> bool {
        connection.closing() != ConnectionClosing::No
    }

    #[test]
    fn new_connection_above_the_account_limit_is_refused_or_displaces_the_oldest_stream() {
        let connections = Connections::new(100);
        for (when_full, arrival, is_refused) in [
            (WhenFull::Refuse, Arrival::New, true),
            (WhenFull::CloseOldest, Arrival::New, false),
            (WhenFull::Refuse, Arrival::Reconnecting, false),
        ] {
            let one = caller(1, 3, when_full);
            let open = |kind| connections.open(&one, Arrival::New, kind).expect("room");
            let opened = [open(ConnectionKind::Wait), open(STREAM), open(STREAM)];
            let next = connections.open(&one, arrival, STREAM);
            assert_eq!(
                next.as_ref().err(),
                is_refused.then_some(&ConnectionLimitError::Caller(NonZeroU32::new(3).expect("not 0")))
            );
            assert_eq!(opened.each_ref().map(is_closing), [false, !is_refused, false]);
        }
        assert_eq!(connections.count(), 0);
        assert!(connections.lock().accounts.is_empty());
    }

    #[test]
    fn account_below_its_share_displaces_the_account_with_most_when_full() {
        let connections = Connections::new(4);
        let (one, two, three) =
            (caller(1, 0, WhenFull::Refuse), caller(2, 0, WhenFull::Refuse), caller(3, 0, WhenFull::Refuse));
        let open = |of, kind| connections.open(of, Arrival::New, kind);
        let kinds = [STREAM, ConnectionKind::Stream, ConnectionKind::Wait, ConnectionKind::Body];
        let held = kinds.map(|kind| open(&one, kind).expect("all is free"));
        assert_eq!(open(&one, STREAM).err(), Some(ConnectionLimitError::Total));
        let first = open(&two, STREAM).expect("below its share");
        assert_eq!(held.each_ref().map(is_closing), [false, false, false, true]);
        let second = open(&two, STREAM).expect("below its share");
        assert_eq!(held.each_ref().map(is_closing), [false, false, true, true]);
        assert_eq!(open(&two, STREAM).err(), Some(ConnectionLimitError::Total), "the account has its share");
        let third = open(&three, STREAM).expect("below its share");
        let ended = [&held[0], &held[1], &first, &second].map(is_closing);
        assert_eq!(ended.iter().filter(|ended| **ended).count(), 1, "one connection of an account that has two");
        assert!(!is_closing(&third) && !is_closing(&held[1]));
        assert_eq!(connections.count(), 4);
    }

    #[test]
    fn displaced_streams_that_have_not_ended_bound_how_many_a_client_can_resume() {
        let connections = Connections::new(100);
        let one = caller(1, 2, WhenFull::Refuse);
        let mut held = Vec::new();
        while let Ok(stream) = connections.open(&one, Arrival::Reconnecting, STREAM) {
            held.push(stream);
            assert!(held.len() < 10, "resuming is bounded");
        }
        assert_eq!((held.len(), connections.count()), (5, 2));
        drop(held.remove(0));
        assert!(connections.open(&one, Arrival::Reconnecting, STREAM).is_ok(), "one displaced stream has ended");
        drop(held);
        assert!(connections.lock().accounts.is_empty());
    }

    #[test]
    fn resuming_client_without_connections_may_use_the_reserve() {
        let connections = Connections::new(10);
        let one = caller(1, 0, WhenFull::Refuse);
        let held: Vec<_> = (0..10).map(|_| connections.open(&one, Arrival::New, STREAM).expect("room")).collect();
        let back =
            connections.open(&caller(2, 0, WhenFull::Refuse), Arrival::Reconnecting, STREAM).expect("the reserve");
        assert!(!held.iter().any(is_closing));
        drop((held, back));
    }

    #[test]
    fn request_on_an_excess_connection_is_accepted_only_if_another_account_has_more() {
        let connections = Connections::new(4);
        let crowded = |number| Caller { load: Load::Crowded, ..caller(number, 0, WhenFull::Refuse) };
        assert_eq!(connections.check_load(&crowded(1)), Err(ConnectionLimitError::Total));
        assert_eq!(connections.open(&crowded(1), Arrival::New, STREAM).err(), Some(ConnectionLimitError::Total));
        let other = caller(2, 0, WhenFull::Refuse);
        let held = [(); 2].map(|()| connections.open(&other, Arrival::New, STREAM).expect("room"));
        assert_eq!(connections.check_load(&crowded(1)), Ok(()));
        assert!(connections.open(&crowded(1), Arrival::New, STREAM).is_ok());
        assert_eq!(held.each_ref().map(is_closing), [false, true], "the newest connection is closed");
    }

    #[test]
    fn displaced_connection_stays_out_of_the_table() {
        let connections = Connections::new(2);
        let one = caller(1, 0, WhenFull::CloseOldest);
        let [first, _second] =
            [(); 2].map(|()| connections.open(&one, Arrival::New, ConnectionKind::Body).expect("room"));
        let _third = connections.open(&one, Arrival::New, STREAM).expect("the oldest is displaced");
        first.set_kind(STREAM);
        assert_eq!((connections.count(), is_closing(&first)), (2, true));
    }
}
