//! The requests in flight, and which of them give way when there are too many.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection::{Connection, ConnectionKind, ConnectionRecord};
use super::extract::Caller;
use crate::domain::{Account, ConnectionId, Lookup};
use crate::limits::WhenFull;
use crate::server::Load;

/// All connections of this process: event streams, waits for JSON and unfinished request bodies. Clones share them.
///
/// - An account may have `limits.connections` of them.
/// - When there are `server.max_connections` in all (or `limits.connections_total`), an account at its share (the whole
///   divided by the accounts that have any) is refused. For one below its share the account that has most gives way, in
///   the order of `ConnectionKind`.
/// - A client that resumes is not refused: a stream of its own account gives way.
#[derive(Clone)]
pub struct Connections(Arc<Shared>);

struct Shared {
    /// `server.max_connections`
    most: usize,
    draining: AtomicBool,
    ending: AtomicBool,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last: u64,
    /// In the order in which they were opened.
    all: BTreeMap<u64, Entry>,
    accounts: Lookup<Account, AccountConnections>,
}

struct Entry {
    open: Arc<ConnectionRecord>,
    kind: ConnectionKind,
}

/// The numbers of an account's connections, by kind.
#[derive(Default)]
struct AccountConnections {
    bodies: BTreeSet<u64>,
    waits: BTreeSet<u64>,
    resumable: BTreeSet<u64>,
    streams: BTreeSet<u64>,
    /// Those that have given way and are not over yet. They count no longer.
    leaving: usize,
}

/// Whether a client opens a connection for the first time, or resumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coming {
    New,
    /// Never refused for load: where there is no room, another of its account's streams makes some.
    Back,
}

/// There is no room for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    ForCaller(NonZeroU32),
    AtAll,
}

impl Connections {
    /// `most` is `server.max_connections`.
    pub fn new(most: usize) -> Self {
        let (draining, ending) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(Shared { most, draining, ending, table: Mutex::default() }))
    }

    pub fn open(&self, caller: &Caller, coming: Coming, kind: ConnectionKind) -> Result<Connection, NoRoom> {
        let limits = caller.spender.connections();
        let account = &caller.spender.account;
        let mut table = self.lock();
        let own = table.count_of(account);
        let closes_oldest = limits.when_full == WhenFull::CloseOldest && kind != ConnectionKind::Body;
        // A client that does not read leaves late: resuming again and again, it would hold any number of streams.
        let may_displace_own = (coming == Coming::Back || closes_oldest) && table.leaving_of(account) <= own;
        if let Some(most) = limits.for_account.filter(|most| own >= most.get() as usize) {
            if !may_displace_own || !table.displace_own(account) {
                return Err(NoRoom::ForCaller(most));
            }
        } else if self.is_full(&table, caller, coming) {
            let made_room = if own < self.share(&table, caller) {
                table.displace_largest(account, own + 1)
            } else {
                may_displace_own && table.displace_own(account)
            };
            if !made_room {
                return Err(NoRoom::AtAll);
            }
        }
        Ok(self.admit(&mut table, caller, kind))
    }

    /// Opens one where nothing has to give way for it.
    pub fn open_if_free(&self, caller: &Caller, kind: ConnectionKind) -> Option<Connection> {
        let mut table = self.lock();
        let own = table.count_of(&caller.spender.account);
        let is_at_limit = caller.spender.connections().for_account.is_some_and(|most| own >= most.get() as usize);
        if is_at_limit || self.is_full(&table, caller, Coming::New) {
            return None;
        }
        Some(self.admit(&mut table, caller, kind))
    }

    fn admit(&self, table: &mut Table, caller: &Caller, kind: ConnectionKind) -> Connection {
        table.last += 1;
        let open = Arc::new(ConnectionRecord::new(caller, table.last));
        table.insert(Arc::clone(&open), kind);
        Connection::new(open, self.clone())
    }

    /// Whether the account may begin something, before it opens a connection for it: on a connection to the listener in
    /// excess of `server.max_connections` only where another account has more in flight.
    pub fn may_begin(&self, caller: &Caller) -> Result<(), NoRoom> {
        if caller.load == Load::Normal {
            return Ok(());
        }
        let table = self.lock();
        let account = &caller.spender.account;
        let own = table.count_of(account);
        let may = own < self.share(&table, caller) && table.largest(account, own + 1).is_some();
        if may { Ok(()) } else { Err(NoRoom::AtAll) }
    }

    /// The latest first, at most so many; and how many there are.
    pub fn list(&self, most: usize) -> (Vec<(Arc<ConnectionRecord>, ConnectionKind)>, usize) {
        let table = self.lock();
        let latest = table.all.values().rev().take(most);
        (latest.map(|entry| (Arc::clone(&entry.open), entry.kind)).collect(), table.all.len())
    }

    pub fn count(&self) -> usize {
        self.lock().all.len()
    }

    /// Ends one; whether there was one.
    pub fn close(&self, id: ConnectionId) -> bool {
        let found = self.lock().all.values().find(|entry| entry.open.id == id).map(|entry| Arc::clone(&entry.open));
        found.inspect(|open| open.close()).is_some()
    }

    /// From now on clients are told to reconnect later, those that are connected as well.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Ends what has no end of its own.
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

    pub(super) fn set_kind(&self, open: &ConnectionRecord, kind: ConnectionKind) -> bool {
        let mut table = self.lock();
        // Absent where it has given way.
        let Some(open) = table.remove(open.number) else { return false };
        table.insert(open, kind);
        true
    }

    pub(super) fn remove(&self, open: &ConnectionRecord) {
        let mut table = self.lock();
        if table.remove(open.number).is_none() {
            table.left(open);
        }
    }

    /// The most of all accounts together.
    fn most(&self, caller: &Caller) -> usize {
        caller.spender.connections().in_all.map_or(self.0.most, |most| self.0.most.min(most.get() as usize))
    }

    /// A client that resumes finds a tenth more where its account has none.
    fn is_full(&self, table: &Table, caller: &Caller, coming: Coming) -> bool {
        let most = self.most(caller);
        match coming {
            Coming::New => table.all.len() >= most || caller.load == Load::Crowded,
            Coming::Back if table.count_of(&caller.spender.account) == 0 => table.all.len() > most + most / 10,
            Coming::Back => table.all.len() >= most,
        }
    }

    fn share(&self, table: &Table, caller: &Caller) -> usize {
        let others = usize::from(!table.accounts.contains_key(&caller.spender.account));
        self.most(caller) / (table.accounts.len() + others)
    }

    fn wake_all(&self) {
        for entry in self.lock().all.values() {
            entry.open.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn count_of(&self, account: &Account) -> usize {
        self.accounts.get(account).map_or(0, AccountConnections::count)
    }

    fn insert(&mut self, open: Arc<ConnectionRecord>, kind: ConnectionKind) {
        self.accounts.entry(open.account.clone()).or_default().of_kind(kind).insert(open.number);
        self.all.insert(open.number, Entry { open, kind });
    }

    fn remove(&mut self, number: u64) -> Option<Arc<ConnectionRecord>> {
        let Entry { open, kind } = self.all.remove(&number)?;
        if let Some(own) = self.accounts.get_mut(&open.account) {
            own.of_kind(kind).remove(&number);
        }
        self.forget_if_empty(&open.account);
        Some(open)
    }

    /// One that has given way is over.
    fn left(&mut self, open: &ConnectionRecord) {
        if let Some(own) = self.accounts.get_mut(&open.account) {
            own.leaving = own.leaving.saturating_sub(1);
        }
        self.forget_if_empty(&open.account);
    }

    fn leaving_of(&self, account: &Account) -> usize {
        self.accounts.get(account).map_or(0, |own| own.leaving)
    }

    fn forget_if_empty(&mut self, account: &Account) {
        if self.accounts.get(account).is_some_and(|own| own.count() == 0 && own.leaving == 0) {
            self.accounts.remove(account);
        }
    }

    /// The account's oldest event stream gives way, or what it has instead.
    fn displace_own(&mut self, account: &Account) -> bool {
        self.accounts.get(account).and_then(AccountConnections::oldest_stream).is_some_and(|it| self.displace(it))
    }

    /// The account that has most gives way, if it has more than `more_than`.
    fn displace_largest(&mut self, except: &Account, more_than: usize) -> bool {
        let victim = self.largest(except, more_than).and_then(AccountConnections::least_missed);
        victim.is_some_and(|number| self.displace(number))
    }

    fn largest(&self, except: &Account, more_than: usize) -> Option<&AccountConnections> {
        let others = self.accounts.iter().filter(|(account, own)| *account != except && own.count() > more_than);
        others.max_by_key(|(_, own)| own.count()).map(|(_, own)| own)
    }

    fn displace(&mut self, number: u64) -> bool {
        let Some(open) = self.remove(number) else { return false };
        self.accounts.entry(open.account.clone()).or_default().leaving += 1;
        open.displace();
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

    /// An unfinished body, else a wait, else the newest event stream, those with ids first.
    fn least_missed(&self) -> Option<u64> {
        let kinds = [&self.bodies, &self.waits, &self.resumable, &self.streams];
        kinds.into_iter().find_map(|kind| kind.last()).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::connection::Closing;
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
        }
    }

    fn is_closing(connection: &Connection) -> bool {
        connection.closing() != Closing::No
    }

    #[test]
    fn above_the_limit_of_an_account_a_new_connection_is_refused_or_the_oldest_stream_gives_way() {
        let connections = Connections::new(100);
        for (when_full, coming, is_refused) in [
            (WhenFull::Refuse, Coming::New, true),
            (WhenFull::CloseOldest, Coming::New, false),
            (WhenFull::Refuse, Coming::Back, false),
        ] {
            let one = caller(1, 3, when_full);
            let open = |kind| connections.open(&one, Coming::New, kind).expect("room");
            let opened = [open(ConnectionKind::Wait), open(STREAM), open(STREAM)];
            let next = connections.open(&one, coming, STREAM);
            assert_eq!(
                next.as_ref().err(),
                is_refused.then_some(&NoRoom::ForCaller(NonZeroU32::new(3).expect("not 0")))
            );
            assert_eq!(opened.each_ref().map(is_closing), [false, !is_refused, false]);
        }
        assert_eq!(connections.count(), 0);
        assert!(connections.lock().accounts.is_empty());
    }

    #[test]
    fn when_full_the_account_with_most_gives_way_to_one_below_its_share() {
        let connections = Connections::new(4);
        let (one, two, three) =
            (caller(1, 0, WhenFull::Refuse), caller(2, 0, WhenFull::Refuse), caller(3, 0, WhenFull::Refuse));
        let open = |of, kind| connections.open(of, Coming::New, kind);
        let kinds = [STREAM, ConnectionKind::Stream, ConnectionKind::Wait, ConnectionKind::Body];
        let held = kinds.map(|kind| open(&one, kind).expect("all is free"));
        assert_eq!(open(&one, STREAM).err(), Some(NoRoom::AtAll));
        let first = open(&two, STREAM).expect("below its share");
        assert_eq!(held.each_ref().map(is_closing), [false, false, false, true]);
        let second = open(&two, STREAM).expect("below its share");
        assert_eq!(held.each_ref().map(is_closing), [false, false, true, true]);
        assert_eq!(open(&two, STREAM).err(), Some(NoRoom::AtAll), "it has its share");
        let third = open(&three, STREAM).expect("below its share");
        let ended = [&held[0], &held[1], &first, &second].map(is_closing);
        assert_eq!(ended.iter().filter(|ended| **ended).count(), 1, "one of those that have two");
        assert!(!is_closing(&third) && !is_closing(&held[1]));
        assert_eq!(connections.count(), 4);
    }

    #[test]
    fn streams_that_have_given_way_and_are_not_over_bound_what_a_client_can_resume() {
        let connections = Connections::new(100);
        let one = caller(1, 2, WhenFull::Refuse);
        let mut held = Vec::new();
        while let Ok(stream) = connections.open(&one, Coming::Back, STREAM) {
            held.push(stream);
            assert!(held.len() < 10, "it ends");
        }
        assert_eq!((held.len(), connections.count()), (5, 2));
        drop(held.remove(0));
        assert!(connections.open(&one, Coming::Back, STREAM).is_ok(), "one that had given way is over");
        drop(held);
        assert!(connections.lock().accounts.is_empty());
    }

    #[test]
    fn a_client_that_resumes_finds_a_reserve() {
        let connections = Connections::new(10);
        let one = caller(1, 0, WhenFull::Refuse);
        let held: Vec<_> = (0..10).map(|_| connections.open(&one, Coming::New, STREAM).expect("room")).collect();
        let back = connections.open(&caller(2, 0, WhenFull::Refuse), Coming::Back, STREAM).expect("the reserve");
        assert!(!held.iter().any(is_closing));
        drop((held, back));
    }

    #[test]
    fn on_a_connection_in_excess_a_request_begins_only_where_another_account_has_more() {
        let connections = Connections::new(4);
        let crowded = |number| Caller { load: Load::Crowded, ..caller(number, 0, WhenFull::Refuse) };
        assert_eq!(connections.may_begin(&crowded(1)), Err(NoRoom::AtAll));
        assert_eq!(connections.open(&crowded(1), Coming::New, STREAM).err(), Some(NoRoom::AtAll));
        let other = caller(2, 0, WhenFull::Refuse);
        let held = [(); 2].map(|()| connections.open(&other, Coming::New, STREAM).expect("room"));
        assert_eq!(connections.may_begin(&crowded(1)), Ok(()));
        assert!(connections.open(&crowded(1), Coming::New, STREAM).is_ok());
        assert_eq!(held.each_ref().map(is_closing), [false, true], "the newest");
    }

    #[test]
    fn a_connection_that_has_given_way_stays_out_of_the_table() {
        let connections = Connections::new(2);
        let one = caller(1, 0, WhenFull::CloseOldest);
        let [first, _second] =
            [(); 2].map(|()| connections.open(&one, Coming::New, ConnectionKind::Body).expect("room"));
        let _third = connections.open(&one, Coming::New, STREAM).expect("the oldest gives way");
        first.set_kind(STREAM);
        assert_eq!((connections.count(), is_closing(&first)), (2, true));
    }
}
