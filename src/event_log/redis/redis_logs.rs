//! The logs of all generations in Redis.

mod ports;

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::batch::BatchEncoder;
use super::claims::{self, ClaimFate};
use super::creation::{create_call, create_error};
use super::kept_bytes;
use super::keys::Keys;
use super::mirror::{Mirror, RefreshError, RemovedLogs};
use super::mirror_log::MirrorLog;
use super::orphans::Orphans;
use super::owned::{OwnedGenerations, name_of};
use super::owner_list;
use super::redis_writer::RedisWriter;
use super::replica_viewers::{self, ReplicaViewers};
use super::script;
use super::store::{RecoveryMode, RedisTerms, Store};
use super::summary::{self, SummaryReply};
use super::takeover;
use super::writer_calls::{NewLog, WriterCalls};
use crate::domain::{CancelReason, Claim, GenerationId, IdempotencyKey, Listed, Lookup, Principal, Sequence, Start};
use crate::event_log::{
    ClaimError, Conflict, CreateError, Created, EventLog, GenerationLog, LogSummary, LogTerms, LogUnavailable,
    LostAnswer, TakenLog, ViewerLease,
};
use crate::redis_client::{PATIENCE, Patience, RedisClient, ScriptCall};

/// Logs that every process with the same server and prefix shares. Clones are the same process.
#[derive(Clone)]
pub struct RedisLogs(Arc<SharedRedisLogs>);

struct SharedRedisLogs {
    store: Arc<Store>,
    owned: OwnedGenerations,
    viewers: ReplicaViewers,
    mirrors: Mutex<Lookup<GenerationId, Weak<Mirror>>>,
}

/// How long a create without a caller is undone while Redis does not answer.
const UNDO_TIME: Duration = Duration::from_mins(1);
/// How long the stop of an owned generation is repeated while Redis does not answer: longer than a lease and a close.
const STOP_TIME: Duration = Duration::from_mins(1);
/// The wait before the owner asks again whether there is a viewer, if Redis does not answer.
const RETRY: Duration = Duration::from_millis(200);
/// The number of mirrors from which on those without a reader are removed from the table.
const MANY_MIRRORS: usize = 64;

impl RedisLogs {
    pub fn new(client: RedisClient, terms: RedisTerms, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let keys = Keys::new(client.prefix());
        let store = Arc::new(Store { client, keys, terms, tasks, stop, orphans: Orphans::default() });
        let owned = OwnedGenerations::default();
        let receiver = owned.clone();
        let own = format!("{}{}", store.keys.replicas(), store.client.replica);
        store.client.subscriptions.handle(own, move |message| receiver.receive(message));
        let viewers = ReplicaViewers::new(Arc::clone(&store), owned.clone());
        Self(Arc::new(SharedRedisLogs { store, owned, viewers, mirrors: Mutex::default() }))
    }

    /// Keeps the viewers of this process present. Runs until dropped.
    pub async fn run(&self) {
        self.0.viewers.refresh().await;
    }

    pub fn client(&self) -> &RedisClient {
        &self.0.store.client
    }

    pub fn terms(&self) -> RedisTerms {
        self.0.store.terms
    }
}

impl SharedRedisLogs {
    async fn create(&self, start: Arc<Start>, terms: LogTerms) -> Result<Created, CreateError> {
        let generation = start.generation;
        let claim = terms.claim.as_ref().map(|claim| self.store.keys.claim(&start.owner, &claim.key));
        let mut encoder = BatchEncoder::default();
        let mut replaced = String::new();
        loop {
            let call = create_call(&self.store, (&start, &terms), &mut encoder, (claim.as_ref(), &replaced));
            let reply =
                self.store.client.connection.call(&call, Patience::For(PATIENCE)).await.map_err(create_error)?;
            match reply.code() {
                "made" => {
                    let mirror = Mirror::owned(Arc::clone(&self.store), Arc::clone(&start));
                    insert(&mut self.lock(), &mirror);
                    owner_list::add(&self.store, &start).await?;
                    let RedisTerms { lease, retention, .. } = self.store.terms;
                    let calls = WriterCalls {
                        generation,
                        keys: self.store.keys.of(generation),
                        claim,
                        lease,
                        retention,
                        stored: kept_bytes::log_bytes(&start),
                    };
                    let owned = self.owned.own(generation);
                    // The recorded request would be held as long as the log: a log that is made again has none.
                    let terms = LogTerms { recovery: None, ..terms };
                    let again =
                        create_call(&self.store, (&start, &terms), &mut encoder, (calls.claim.as_ref(), &replaced));
                    let new = NewLog { mirror, owned, encoder, create: Some(again), calls };
                    let writer = RedisWriter::new(Arc::clone(&self.store), new);
                    let viewer = ViewerLease::new(self.viewers.first(generation));
                    return Ok(Created::New { writer: Box::new(writer), viewer });
                }
                "known" => {
                    let known = std::str::from_utf8(reply.bytes(1)).unwrap_or_default().to_owned();
                    let Ok(known_id) = known.parse() else { return Err(LogUnavailable.into()) };
                    if self.open(known_id, Sequence::START).await?.is_some() {
                        return Ok(Created::Known(known_id));
                    }
                    // The log was lost without its claim.
                    replaced = known;
                }
                "answer_lost" => return Err(LostAnswer { usage: serde_json::from_slice(reply.bytes(1)).ok() }.into()),
                _ => return Err(Conflict.into()),
            }
        }
    }

    async fn undo_create(&self, generation: GenerationId) {
        let end = Instant::now() + UNDO_TIME;
        while Instant::now() < end && claims::remove(&self.store, generation, ClaimFate::Free).await.is_err() {}
    }

    async fn open(&self, generation: GenerationId, at_least: Sequence) -> Result<Option<Arc<Mirror>>, LogUnavailable> {
        let known = self.lock().get(&generation).and_then(Weak::upgrade).filter(|mirror| !mirror.is_lost());
        let mirror = match known {
            // The owner has the whole log in memory; only whether it was removed is in Redis.
            Some(mirror) if mirror.is_owned() => match self.is_removed(generation).await {
                true => Err(RefreshError::Missing),
                false => Ok(mirror),
            },
            Some(mirror) => mirror.refresh(RemovedLogs::Hidden).await.map(|_| mirror),
            None => self.read_whole(generation, at_least).await,
        };
        match mirror {
            Ok(mirror) => Ok(Some(mirror)),
            Err(RefreshError::Missing) => Ok(None),
            Err(RefreshError::Unavailable) => Err(LogUnavailable),
        }
    }

    async fn take_over(&self, generation: GenerationId) -> Result<Option<TakenLog>, LogUnavailable> {
        // This process may be the one that was taken for lost, and not know it yet.
        if self.owned.get(generation).is_some() {
            return Ok(None);
        }
        match self.open(generation, Sequence::START).await? {
            Some(mirror) => takeover::take_over(&self.store, &self.owned, mirror).await,
            None => Ok(None),
        }
    }

    async fn read_whole(&self, generation: GenerationId, at_least: Sequence) -> Result<Arc<Mirror>, RefreshError> {
        let mirror = self.keep(&Mirror::read_whole(Arc::clone(&self.store), generation).await?);
        if mirror.tail().is_ok_and(|tail| tail.sequence < at_least) {
            mirror.refresh(RemovedLogs::Hidden).await?;
        }
        Ok(mirror)
    }

    /// Returns whether a log of this process was removed, as far as Redis answers.
    async fn is_removed(&self, generation: GenerationId) -> bool {
        let mut commands = redis::pipe();
        commands.hexists(self.store.keys.of(generation).head, "gone");
        self.store.client.connection.send::<(bool,)>(&commands).await.is_ok_and(|(is_removed,)| is_removed)
    }

    /// Adds a mirror, unless another reader has added one of the same log meanwhile, which is returned.
    fn keep(&self, mirror: &Arc<Mirror>) -> Arc<Mirror> {
        let mut mirrors = self.lock();
        if let Some(other) = mirrors.get(&mirror.generation()).and_then(Weak::upgrade).filter(|other| !other.is_lost())
        {
            return other;
        }
        insert(&mut mirrors, mirror);
        Arc::clone(mirror)
    }

    async fn request_end(&self, generation: GenerationId, reason: CancelReason) -> Result<(), LogUnavailable> {
        let keys = self.store.keys.of(generation);
        let call = ScriptCall::new(&script::REQUEST_END, [&keys.head])
            .arg(generation.to_string())
            .arg(name_of(reason))
            .arg(self.store.keys.replicas());
        // The owner needs no message, unless another process has taken the log over, which this one may not know yet.
        if let Some(owned) = self.owned.get(generation) {
            owned.request_end(name_of(reason));
            if self.store.terms.recovery == RecoveryMode::TakeOver {
                let connection = self.store.client.connection.clone();
                self.store.tasks.spawn(async move { connection.call(&call, Patience::For(STOP_TIME)).await });
            }
            return Ok(());
        }
        self.store.client.connection.call(&call, Patience::For(PATIENCE)).await.map(drop).map_err(|_| LogUnavailable)
    }

    async fn shut_when_empty(&self, generation: GenerationId, grace: Duration) {
        let Some(owned) = self.owned.get(generation) else { return pending().await };
        let keys = self.store.keys.of(generation);
        let call = ScriptCall::new(&script::SHUT, [&keys.head, &keys.viewers])
            .millis(grace)
            .millis(replica_viewers::REFRESH + PATIENCE);
        loop {
            if self.viewers.is_present(generation).await {
                owned.viewers_changed.notified().await;
                continue;
            }
            let wait = match self.store.client.connection.call(&call, Patience::For(PATIENCE)).await {
                Ok(reply) if reply.code() == "shut" => return,
                Ok(reply) if reply.code() == "wait" => Duration::from_millis(reply.number(1)),
                Ok(reply) if reply.code() == "ended" => return pending().await,
                // Redis does not answer, or has lost the log, which is made again.
                _ => RETRY,
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = owned.viewers_changed.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lookup<GenerationId, Weak<Mirror>>> {
        self.mirrors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Inserts a mirror. Mirrors without a reader are removed whenever the table is full.
fn insert(mirrors: &mut Lookup<GenerationId, Weak<Mirror>>, mirror: &Arc<Mirror>) {
    if mirrors.len() >= MANY_MIRRORS && mirrors.len() == mirrors.capacity() {
        mirrors.retain(|_, mirror| mirror.strong_count() > 0);
    }
    mirrors.insert(mirror.generation(), Arc::downgrade(mirror));
}

impl EventLog for RedisLogs {
    /// Redis must answer commands and deliver messages.
    fn check_available(&self) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        let logs = Arc::clone(&self.0);
        async move { if logs.store.client.is_usable().await { Ok(()) } else { Err(LogUnavailable) } }.boxed()
    }

    fn new_id(&self, owner: &Principal, key: Option<&IdempotencyKey>) -> GenerationId {
        key.map_or_else(GenerationId::random, |key| Keys::new_id(owner, key))
    }

    /// A create whose caller has left, or that was not answered in time, is undone: its claim would name a log without
    /// an owner.
    fn create(&self, start: Arc<Start>, terms: LogTerms) -> BoxFuture<'static, Result<Created, CreateError>> {
        let logs = Arc::clone(&self.0);
        let (created, receiver) = oneshot::channel();
        self.0.store.tasks.spawn(async move {
            let generation = start.generation;
            let result = match kept_bytes::reserve(&logs.store, &start, &terms).await {
                Ok(()) => logs.create(start, terms).await,
                Err(error) => Err(error),
            };
            if !matches!(result, Ok(Created::New { .. })) {
                kept_bytes::release(&logs.store, generation).await;
            }
            let is_unanswered = matches!(result, Err(CreateError::Unavailable(_)));
            let is_abandoned = matches!(created.send(result), Err(Ok(Created::New { .. })));
            if is_unanswered || is_abandoned {
                logs.undo_create(generation).await;
            }
        });
        receiver.map(|created| created.unwrap_or(Err(LogUnavailable.into()))).boxed()
    }

    fn open(
        &self,
        generation: GenerationId,
        at_least: Sequence,
    ) -> BoxFuture<'static, Result<Option<Arc<dyn GenerationLog>>, LogUnavailable>> {
        let logs = Arc::clone(&self.0);
        async move {
            let mirror = logs.open(generation, at_least).await?;
            Ok(mirror.map(|mirror| Arc::new(MirrorLog(mirror)) as Arc<dyn GenerationLog>))
        }
        .boxed()
    }

    /// An ended log is not read whole.
    fn summary(&self, generation: GenerationId) -> BoxFuture<'static, Result<Option<LogSummary>, LogUnavailable>> {
        let logs = Arc::clone(&self.0);
        async move {
            match summary::read(&logs.store, generation).await? {
                SummaryReply::Closed(summary) => Ok(Some(summary)),
                SummaryReply::Missing => Ok(None),
                SummaryReply::Open => match logs.open(generation, Sequence::START).await? {
                    Some(mirror) => Ok(LogSummary::of(&MirrorLog(mirror)).await),
                    None => Ok(None),
                },
            }
        }
        .boxed()
    }

    fn claimed(
        &self,
        owner: &Principal,
        claim: &Claim,
    ) -> BoxFuture<'static, Result<Option<GenerationId>, ClaimError>> {
        let (logs, owner, claim) = (Arc::clone(&self.0), owner.clone(), claim.clone());
        async move { claims::claimed(&logs.store, &owner, &claim).await }.boxed()
    }

    fn knows(&self, owner: &Principal, key: &IdempotencyKey) -> BoxFuture<'static, Result<bool, LogUnavailable>> {
        let (logs, owner, key) = (Arc::clone(&self.0), owner.clone(), key.clone());
        async move { claims::knows(&logs.store, &owner, &key).await }.boxed()
    }

    fn recovers(&self) -> bool {
        self.0.store.terms.recovery == RecoveryMode::TakeOver
    }

    fn orphan(&self) -> BoxFuture<'static, GenerationId> {
        let logs = Arc::clone(&self.0);
        async move { logs.store.orphans.next().await }.boxed()
    }

    fn take_over(&self, generation: GenerationId) -> BoxFuture<'static, Result<Option<TakenLog>, LogUnavailable>> {
        let logs = Arc::clone(&self.0);
        async move { logs.take_over(generation).await }.boxed()
    }

    fn release(&self, generation: GenerationId) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        let logs = Arc::clone(&self.0);
        async move { claims::release(&logs.store, generation).await }.boxed()
    }

    fn list(
        &self,
        owner: &Principal,
        before: Option<Listed>,
        most: usize,
    ) -> BoxFuture<'static, Result<Vec<Listed>, LogUnavailable>> {
        let (logs, owner) = (Arc::clone(&self.0), owner.clone());
        async move { owner_list::list(&logs.store, &owner, before, most).await }.boxed()
    }

    fn remove(&self, generation: GenerationId) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        let logs = Arc::clone(&self.0);
        async move { claims::remove(&logs.store, generation, ClaimFate::Free).await }.boxed()
    }

    fn discard(&self, generation: GenerationId) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        let logs = Arc::clone(&self.0);
        async move { claims::remove(&logs.store, generation, ClaimFate::Tombstone).await }.boxed()
    }
}
