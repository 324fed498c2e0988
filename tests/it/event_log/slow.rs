//! A backend behind a slow and lossy network: the contract, as a log in another process must keep it.
//!
//! [`Server`] holds the logs; [`Slow`] is one process that uses them. Every call may be lost on the way there, and is then
//! sent again; its reply may be lost on the way back, and the call is sent again although it was carried out. Copies of
//! logs are read as they were, and wakes come without a reason.

use std::collections::HashMap;
use std::future::{poll_fn, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokenrill::domain::{
    CancelReason, ChatKey, ChatTurn, Claim, Epoch, Event, GenerationId, IdempotencyKey, Listed, Principal, Sequence,
    Start,
};
use tokenrill::event_log::{
    AppendError, ChatGeneration, Chats, ClaimError, CloseOutcome, Control, CreateError, Created, EventLog, Events,
    GenerationEnded, GenerationLog, Limit, LogTerms, LogUnavailable, Memory, MemoryLimits, NamedChat, Page, ReadError,
    Readable, Tail, TailState, ViewerLease, ViewerPresence, Wake, Writer,
};
use tokio::task::yield_now;
use tokio_util::task::TaskTracker;

use super::{Backend, OwnedLog, Random};

contract!(Slow);

/// One process. Clones are the same process.
#[derive(Clone)]
pub struct Slow {
    server: Arc<Server>,
    network: Arc<Network>,
    copies: Arc<Mutex<HashMap<GenerationId, Weak<Copied>>>>,
}

/// The shared store. Its methods are carried out whole, and may be called again with the same nonce.
struct Server {
    memory: Memory,
    heads: Mutex<HashMap<GenerationId, Head>>,
    viewers: Mutex<HashMap<Nonce, ViewerLease>>,
}

/// What the store knows about the owner of a log.
struct Head {
    /// `None` once the lease has expired and the log is taken over.
    writer: Option<Box<dyn Writer>>,
    epoch: Epoch,
    /// The last append or close that was carried out.
    last: Option<(Nonce, Applied)>,
    has_lease: bool,
    if_orphaned: Event,
}

#[derive(Clone)]
enum Applied {
    Append(Sequence),
    Close,
}

/// Identifies one call, however often it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Nonce(u64);

/// Delays and loses messages. The same seed gives the same faults for the same calls.
struct Network {
    faults: Mutex<Random>,
    /// While it is set, no reply arrives.
    silent: tokio::sync::watch::Sender<bool>,
}

static NONCES: AtomicU64 = AtomicU64::new(1);

fn nonce() -> Nonce {
    Nonce(NONCES.fetch_add(1, Ordering::Relaxed))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}

/// Returns the result of a future of the store, which is ready at once.
fn done<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a log in memory is ready at once")
}

impl Network {
    fn new() -> Arc<Self> {
        Arc::new(Self { faults: Mutex::new(Random(7)), silent: tokio::sync::watch::Sender::new(false) })
    }

    fn chance(&self, of: usize) -> bool {
        lock(&self.faults).below(of) == 0
    }

    async fn delay(&self) {
        let turns = lock(&self.faults).below(3);
        for _ in 0..turns {
            yield_now().await;
        }
    }

    /// Calls the store until a reply arrives.
    async fn call<T>(self: Arc<Self>, call: impl Fn() -> T + Send + 'static) -> T
    where
        T: Send,
    {
        loop {
            self.delay().await;
            if self.chance(16) {
                continue;
            }
            let reply = call();
            self.delay().await;
            let mut silent = self.silent.subscribe();
            _ = silent.wait_for(|silent| !silent).await;
            if !self.chance(16) {
                return reply;
            }
        }
    }
}

impl Server {
    fn create(&self, start: &Arc<Start>, terms: &LogTerms) -> Result<Option<GenerationId>, CreateError> {
        let id = start.generation;
        let mut heads = lock(&self.heads);
        if heads.contains_key(&id) {
            return Ok(None);
        }
        match done(self.memory.create(Arc::clone(start), terms.clone()))? {
            Created::Known(known) => Ok(Some(known)),
            Created::New { writer, viewer } => {
                lock(&self.viewers).insert(first_viewer(id), viewer);
                let if_orphaned = terms.if_orphaned.clone();
                let head = Head { writer: Some(writer), epoch: Epoch::FIRST, last: None, has_lease: true, if_orphaned };
                heads.insert(id, head);
                Ok(None)
            }
        }
    }

    fn append(
        &self,
        id: GenerationId,
        (epoch, tail, nonce): (Epoch, Sequence, Nonce),
        events: &Events,
    ) -> Result<Sequence, AppendError> {
        let mut heads = lock(&self.heads);
        let head = heads.get_mut(&id).ok_or(AppendError::Lost)?;
        if let Some((last, Applied::Append(tail))) = &head.last
            && *last == nonce
        {
            return Ok(*tail);
        }
        if head.epoch != epoch {
            return Err(AppendError::Fenced);
        }
        let writer = head.writer.as_mut().ok_or(AppendError::Fenced)?;
        if writer.tail() != tail {
            return Err(AppendError::Lost);
        }
        writer.push(events.clone());
        done(poll_fn(|context| writer.poll_append(context)))?;
        let tail = writer.tail();
        head.last = Some((nonce, Applied::Append(tail)));
        Ok(tail)
    }

    fn close(
        &self,
        id: GenerationId,
        (epoch, nonce): (Epoch, Nonce),
        events: &Events,
        terminal: &Event,
    ) -> Result<CloseOutcome, Limit> {
        let mut heads = lock(&self.heads);
        let head = heads.get_mut(&id).expect("it was created");
        if let Some((last, Applied::Close)) = &head.last
            && *last == nonce
        {
            return Ok(CloseOutcome::Won);
        }
        let Some(writer) = head.writer.as_mut().filter(|_| head.epoch == epoch) else {
            return Ok(CloseOutcome::Lost(head.if_orphaned.clone()));
        };
        if !events.is_empty() {
            writer.push(events.clone());
        }
        let closed = done(writer.close(terminal.clone()))?;
        if closed == CloseOutcome::Won {
            head.last = Some((nonce, Applied::Close));
        }
        Ok(closed)
    }

    /// Closes the log if its owner's lease has expired.
    fn take_over(&self, id: GenerationId) {
        if let Some(head) = lock(&self.heads).get_mut(&id)
            && !head.has_lease
            && let Some(mut writer) = head.writer.take()
        {
            head.epoch = head.epoch.next();
            _ = done(writer.close(head.if_orphaned.clone()));
        }
    }

    fn join(&self, id: GenerationId, nonce: Nonce) -> Result<(), GenerationEnded> {
        let mut viewers = lock(&self.viewers);
        if let std::collections::hash_map::Entry::Vacant(place) = viewers.entry(nonce) {
            place.insert(done(self.memory.join(id))?);
        }
        Ok(())
    }

    fn leave(&self, nonce: Nonce) {
        let viewer = lock(&self.viewers).remove(&nonce);
        drop(viewer);
    }
}

/// The nonce of the viewer that makes the log. Others are counted from 1.
fn first_viewer(id: GenerationId) -> Nonce {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    Nonce(BuildHasherDefault::<DefaultHasher>::default().hash_one(id) | 1 << 63)
}

/// Removes a viewer from the store when it is dropped.
struct Leaving {
    slow: Slow,
    nonce: Nonce,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let (server, nonce) = (Arc::clone(&self.slow.server), self.nonce);
        let left = Arc::clone(&self.slow.network).call(move || server.leave(nonce));
        TaskTracker::new().spawn(left);
    }
}

impl Slow {
    fn call<T: Send + 'static>(&self, call: impl Fn(&Server) -> T + Send + 'static) -> BoxFuture<'static, T> {
        let server = Arc::clone(&self.server);
        let network = Arc::clone(&self.network);
        network.call(move || call(&server)).boxed()
    }

    /// Returns the logs as they are stored.
    pub fn store(&self) -> &Memory {
        &self.server.memory
    }

    /// Makes all replies to this process wait until the returned guard is dropped.
    pub fn silence(&self) -> Silence {
        self.network.silent.send_replace(true);
        Silence(Arc::clone(&self.network))
    }

    /// Returns this process's copy of a log.
    fn copy(&self, log: Arc<dyn GenerationLog>) -> Arc<Copied> {
        let id = log.start().generation;
        let mut copies = lock(&self.copies);
        if let Some(copy) = copies.get(&id).and_then(Weak::upgrade) {
            return copy;
        }
        let seen = Arc::new(Mutex::new(Sequence::START));
        let copy = Arc::new(Copied { start: Arc::clone(log.start()), log, seen, network: Arc::clone(&self.network) });
        copies.insert(id, Arc::downgrade(&copy));
        copy
    }
}

/// While it is kept, no reply reaches its process.
pub struct Silence(Arc<Network>);

impl Drop for Silence {
    fn drop(&mut self) {
        self.0.silent.send_replace(false);
    }
}

impl Backend for Slow {
    fn start(limits: MemoryLimits) -> Self {
        let server = Server { memory: Memory::start(limits), heads: Mutex::default(), viewers: Mutex::default() };
        Self { server: Arc::new(server), network: Network::new(), copies: Arc::default() }
    }

    fn replica(&self) -> Self {
        Self { server: Arc::clone(&self.server), network: Network::new(), copies: Arc::default() }
    }

    fn expire_lease(&self, log: Arc<OwnedLog>) -> Option<Arc<OwnedLog>> {
        let id = log.start().generation;
        lock(&self.server.heads).get_mut(&id).expect("it was created").has_lease = false;
        Some(log)
    }

    fn check(&self, limits: MemoryLimits) {
        self.server.memory.check(limits);
    }
}

impl EventLog for Slow {
    fn create(&self, start: Arc<Start>, terms: LogTerms) -> BoxFuture<'static, Result<Created, CreateError>> {
        let (slow, id) = (self.clone(), start.generation);
        let created = self.call({
            let start = Arc::clone(&start);
            move |server| server.create(&start, &terms)
        });
        async move {
            if let Some(known) = created.await? {
                return Ok(Created::Known(known));
            }
            let stored = slow.call(move |server| {
                let heads = lock(&server.heads);
                heads.get(&id).and_then(|head| head.writer.as_ref()).map(|writer| Arc::clone(writer.log()))
            });
            let copy = slow.copy(stored.await.expect("it was just created"));
            copy.see(Sequence::new(1));
            let viewer = ViewerLease::new(Leaving { slow: slow.clone(), nonce: first_viewer(id) });
            let log = Arc::clone(&copy) as Arc<dyn GenerationLog>;
            let writer = SlowWriter {
                slow,
                id,
                log,
                copy,
                epoch: Epoch::FIRST,
                tail: Sequence::new(1),
                pending: Events::new(),
                in_flight: None,
                closing: None,
            };
            Ok(Created::New { writer: Box::new(writer), viewer })
        }
        .boxed()
    }

    fn open(
        &self,
        generation: GenerationId,
        at_least: Sequence,
    ) -> BoxFuture<'static, Result<Option<Arc<dyn GenerationLog>>, LogUnavailable>> {
        let slow = self.clone();
        let opened = self.call(move |server| {
            server.take_over(generation);
            done(server.memory.open(generation, at_least))
        });
        async move {
            let Some(log) = opened.await? else { return Ok(None) };
            let copy = slow.copy(log);
            if *lock(&copy.seen) < at_least {
                copy.refresh().await;
            }
            Ok(Some(copy as Arc<dyn GenerationLog>))
        }
        .boxed()
    }

    fn claimed(
        &self,
        owner: &Principal,
        claim: &Claim,
    ) -> BoxFuture<'static, Result<Option<GenerationId>, ClaimError>> {
        let (owner, claim) = (owner.clone(), claim.clone());
        self.call(move |server| done(server.memory.claimed(&owner, &claim)))
    }

    fn knows(&self, owner: &Principal, key: &IdempotencyKey) -> BoxFuture<'static, Result<bool, LogUnavailable>> {
        let (owner, key) = (owner.clone(), key.clone());
        self.call(move |server| done(server.memory.knows(&owner, &key)))
    }

    fn release(&self, generation: GenerationId) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        self.call(move |server| done(server.memory.release(generation)))
    }

    fn list(
        &self,
        owner: &Principal,
        before: Option<Listed>,
        most: usize,
    ) -> BoxFuture<'static, Result<Vec<Listed>, LogUnavailable>> {
        let owner = owner.clone();
        self.call(move |server| done(server.memory.list(&owner, before, most)))
    }

    fn remove(&self, generation: GenerationId) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        self.call(move |server| done(server.memory.remove(generation)))
    }

    fn discard(&self, generation: GenerationId) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        self.call(move |server| done(server.memory.discard(generation)))
    }
}

impl Control for Slow {
    fn request_end(
        &self,
        generation: GenerationId,
        reason: CancelReason,
    ) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        self.call(move |server| done(server.memory.request_end(generation, reason)))
    }

    fn end_requested(&self, generation: GenerationId) -> BoxFuture<'static, CancelReason> {
        let requested = self.server.memory.end_requested(generation);
        let network = Arc::clone(&self.network);
        async move {
            let reason = requested.await;
            network.delay().await;
            reason
        }
        .boxed()
    }
}

impl ViewerPresence for Slow {
    fn join(&self, generation: GenerationId) -> BoxFuture<'static, Result<ViewerLease, GenerationEnded>> {
        let (slow, nonce) = (self.clone(), nonce());
        let joined = self.call(move |server| server.join(generation, nonce));
        async move {
            // Made first, so that a join that was carried out and is dropped leaves again.
            let leaving = Leaving { slow, nonce };
            joined.await.map(|()| ViewerLease::new(leaving))
        }
        .boxed()
    }

    fn shut_when_empty(&self, generation: GenerationId, grace: Duration) -> BoxFuture<'static, ()> {
        let shut = self.server.memory.shut_when_empty(generation, grace);
        let network = Arc::clone(&self.network);
        async move {
            shut.await;
            network.delay().await;
        }
        .boxed()
    }

    fn shut_if_empty(&self, generation: GenerationId) -> BoxFuture<'static, Result<bool, LogUnavailable>> {
        self.call(move |server| done(server.memory.shut_if_empty(generation)))
    }
}

impl Chats for Slow {
    fn name(
        &self,
        owner: &Principal,
        turn: ChatTurn,
        generation: GenerationId,
        ended: Option<GenerationId>,
    ) -> BoxFuture<'static, Result<NamedChat, LogUnavailable>> {
        let owner = owner.clone();
        self.call(move |server| done(server.memory.name(&owner, turn, generation, ended)))
    }

    fn chat(
        &self,
        owner: &Principal,
        chat: ChatKey,
    ) -> BoxFuture<'static, Result<Option<ChatGeneration>, LogUnavailable>> {
        let owner = owner.clone();
        self.call(move |server| done(server.memory.chat(&owner, chat)))
    }

    fn close_chat(
        &self,
        owner: &Principal,
        chat: ChatKey,
        generation: GenerationId,
    ) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        let owner = owner.clone();
        self.call(move |server| done(server.memory.close_chat(&owner, chat, generation)))
    }
}

/// This process's copy of a log, which may be behind the store.
struct Copied {
    start: Arc<Start>,
    /// The log in the store.
    log: Arc<dyn GenerationLog>,
    /// The copy holds the entries up to here.
    seen: Arc<Mutex<Sequence>>,
    network: Arc<Network>,
}

impl Copied {
    fn see(&self, tail: Sequence) {
        let mut seen = lock(&self.seen);
        *seen = tail.max(*seen);
    }

    /// Copies what the store has.
    fn refresh(&self) -> impl Future<Output = Tail> + Send + use<> {
        let (log, seen) = (Arc::clone(&self.log), Arc::clone(&self.seen));
        let read = Arc::clone(&self.network).call(move || done(log.tail()).expect("a log in memory"));
        async move {
            let tail = read.await;
            let mut seen = lock(&seen);
            *seen = tail.sequence.max(*seen);
            tail
        }
    }
}

impl GenerationLog for Copied {
    fn start(&self) -> &Arc<Start> {
        &self.start
    }
}

impl Readable for Copied {
    type Event = Event;

    fn try_read(&self, _after: Sequence) -> Option<Result<Page, ReadError>> {
        None
    }

    fn read(&self, after: Sequence) -> BoxFuture<'static, Result<Page, ReadError>> {
        let (log, network, seen) = (Arc::clone(&self.log), Arc::clone(&self.network), *lock(&self.seen));
        if after < seen {
            // From the copy: what the store has beyond it is not there.
            return async move {
                network.delay().await;
                let mut page = done(log.read(after))?;
                page.entries.retain(|entry| entry.sequence <= seen);
                if page.tail.sequence > seen {
                    page.tail = Tail { sequence: seen, state: TailState::Open };
                }
                Ok(page)
            }
            .boxed();
        }
        let refreshed = self.refresh();
        async move {
            let tail = refreshed.await;
            let mut page = done(log.read(after))?;
            page.entries.retain(|entry| entry.sequence <= tail.sequence);
            page.tail = tail;
            Ok(page)
        }
        .boxed()
    }

    fn tail(&self) -> BoxFuture<'static, Result<Tail, ReadError>> {
        let (log, seen) = (Arc::clone(&self.log), *lock(&self.seen));
        let stored = done(log.tail());
        if seen > Sequence::START && self.network.chance(2) && stored.is_ok_and(|tail| tail.sequence > seen) {
            return ready(Ok(Tail { sequence: seen, state: TailState::Open })).boxed();
        }
        self.refresh().map(Ok).boxed()
    }

    fn wake(&self) -> Box<dyn Wake> {
        Box::new(HintedWake { wake: self.log.wake(), network: Arc::clone(&self.network) })
    }
}

/// Wakes without a reason now and then.
struct HintedWake {
    wake: Box<dyn Wake>,
    network: Arc<Network>,
}

impl Wake for HintedWake {
    fn poll_moved(&mut self, seen: Sequence, context: &mut Context<'_>) -> Poll<()> {
        if self.network.chance(8) {
            return Poll::Ready(());
        }
        self.wake.poll_moved(seen, context)
    }
}

struct SlowWriter {
    slow: Slow,
    id: GenerationId,
    log: Arc<dyn GenerationLog>,
    copy: Arc<Copied>,
    epoch: Epoch,
    tail: Sequence,
    pending: Events,
    /// The append that was sent, and how many of the pending events it has.
    in_flight: Option<(usize, BoxFuture<'static, Result<Sequence, AppendError>>)>,
    /// The close that was sent and may have been dropped before its reply.
    closing: Option<(Nonce, Event)>,
}

impl SlowWriter {
    /// Waits for the append in flight. An error discards all that is pending.
    fn poll_in_flight(&mut self, context: &mut Context<'_>) -> Poll<Result<(), AppendError>> {
        let Some((sent, append)) = &mut self.in_flight else { return Poll::Ready(Ok(())) };
        let Poll::Ready(appended) = append.poll_unpin(context) else { return Poll::Pending };
        let sent = *sent;
        self.in_flight = None;
        match appended {
            Ok(tail) => {
                self.pending.drain(..sent);
                self.tail = tail;
                self.copy.see(tail);
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.pending.clear();
                Poll::Ready(Err(error))
            }
        }
    }

    async fn close_now(&mut self, terminal: Event) -> Result<CloseOutcome, Limit> {
        if let Err(AppendError::Full(limit)) = poll_fn(|context| self.poll_in_flight(context)).await {
            return Err(limit);
        }
        let (nonce, terminal) = self.closing.get_or_insert_with(|| (nonce(), terminal)).clone();
        let (id, epoch, events) = (self.id, self.epoch, self.pending.clone());
        let closed = self.slow.call(move |server| server.close(id, (epoch, nonce), &events, &terminal)).await;
        self.pending.clear();
        self.copy.refresh().await;
        // Only now: a close that is dropped before is repeated with the same nonce.
        self.closing = None;
        closed
    }
}

impl Writer for SlowWriter {
    fn log(&self) -> &Arc<dyn GenerationLog> {
        &self.log
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn tail(&self) -> Sequence {
        self.tail
    }

    fn push(&mut self, events: Events) {
        self.pending.extend(events);
    }

    fn pending(&self) -> &[Event] {
        &self.pending
    }

    fn poll_append(&mut self, context: &mut Context<'_>) -> Poll<Result<(), AppendError>> {
        loop {
            match self.poll_in_flight(context) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
            if self.pending.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let (id, call, events) = (self.id, (self.epoch, self.tail, nonce()), self.pending.clone());
            let append = self.slow.call(move |server| server.append(id, call, &events)).boxed();
            self.in_flight = Some((self.pending.len(), append));
        }
    }

    fn poll_renew(&mut self, _context: &mut Context<'_>) -> Poll<()> {
        let is_ours = lock(&self.slow.server.heads).get(&self.id).is_some_and(|head| head.epoch == self.epoch);
        if is_ours { Poll::Pending } else { Poll::Ready(()) }
    }

    fn close(&mut self, terminal: Event) -> BoxFuture<'_, Result<CloseOutcome, Limit>> {
        self.close_now(terminal).boxed()
    }
}

/// A writer that is dropped, as with its process, leaves its log to the lease.
impl Drop for SlowWriter {
    fn drop(&mut self) {
        if let Some(head) = lock(&self.slow.server.heads).get_mut(&self.id) {
            head.has_lease = false;
        }
    }
}
