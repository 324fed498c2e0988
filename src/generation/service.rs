//! The use cases: start, follow, inspect, stop, erase.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::assembly::{Assembly, NewRunning};
use super::attempt_failure::UpstreamMessages;
use super::audience::{Audience, OnDisconnect};
use super::ending::Ending;
use super::following::{FollowError, Following, ViewerHandle};
use super::recorded_request::RecordedRequest;
use super::registry::{Registration, Registry};
use super::start::{NewGeneration, Origin, StartError, StartedGeneration};
use super::storage::{Record, Storage, Unkept};
use super::subject::{PromptSource, RepeatPolicy, Subject};
use super::task::{self, Work};
use super::tokens::TokenCounter;
use crate::domain::{
    ChatRequest, Claim, EventPosition, FailureCode, GenerationId, OnUpstreamFailure, Principal, Sequence, Start,
};
use crate::event_log::{CreateError, Created, EventLog, LogTerms, LogUnavailable, ViewerLease, Writer};
use crate::limits::{Allowance, Limiter, Permit, RequestPermit, Spender};
use crate::telemetry::Metrics;
use crate::upstream::{Delivery, ListedModels, PlannedRequest, Router, UpstreamStatus};
use crate::usage::Ledger;

/// The log of a new generation, or the generation that its claim names.
enum MadeLog {
    New(Box<dyn Writer>, ViewerLease),
    Known(Box<Following>),
}

/// How often a log is made whose claim names a generation that is removed at the same moment.
const MOST_CREATES: usize = 3;

/// All generations of this process.
#[derive(Clone)]
pub struct Generations(pub(super) Arc<GenerationService>);

pub struct GenerationService {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) router: Router,
    pub(super) terms: Terms,
    pub(super) limits: Limiter,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tasks: TaskTracker,
    pub(super) registry: Registry,
    pub(super) unkept: Unkept,
    pub(super) counter: TokenCounter,
    pub(super) ledger: Ledger,
    draining: AtomicBool,
    /// Cancelled when viewers are sent to other replicas.
    pub(super) moving: CancellationToken,
}

/// How long one generation may take.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// From its acceptance to its end (`generation.max_duration`).
    pub max_duration: Duration,
    /// Default of requests that do not set it (`generation.on_disconnect`).
    pub on_disconnect: OnDisconnect,
    /// How long it waits for a viewer to reconnect; a request may ask for less (`generation.grace`).
    pub grace: Duration,
    /// Whether error messages of upstreams are logged (`telemetry.upstream_messages`).
    pub upstream_messages: UpstreamMessages,
}

impl Generations {
    pub fn new(
        log: Arc<dyn EventLog>,
        router: Router,
        terms: Terms,
        limits: Limiter,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
        ledger: Ledger,
    ) -> Self {
        let (registry, draining, moving) = (Registry::default(), AtomicBool::new(false), CancellationToken::new());
        let (unkept, counter) = (Unkept::new(Arc::clone(&log), tasks.clone()), TokenCounter::new(tasks.clone()));
        Self(Arc::new(GenerationService {
            log,
            router,
            terms,
            limits,
            metrics,
            tasks,
            registry,
            unkept,
            counter,
            ledger,
            draining,
            moving,
        }))
    }

    /// Starts a generation, or joins the one that its claim names. Its log is created before the upstream request is
    /// sent, and its first viewer counts from here on.
    pub async fn start(&self, mut new: NewGeneration) -> Result<StartedGeneration, StartError> {
        let inner = &self.0;
        // A repeat of a chat's request starts nothing, so it needs no slot.
        if let Some(following) = self.running_turn(&new.owner, new.chat).await? {
            return Ok(StartedGeneration::joined(following));
        }
        if self.is_draining() {
            return Err(StartError::Draining);
        }
        let plan = inner.plan(&new)?;
        let messages_form = new.messages_form.take().map(Arc::new);
        let mut request =
            ChatRequest { messages_form, ..ChatRequest::new(plan.model.to_string(), std::mem::take(&mut new.fields)) };
        let prompt = Arc::new(request.prompt());
        let (Permit { id, slot, reservations }, reserved, cost) = inner
            .admit(&new.spender, (&plan, &mut request), &prompt, (new.wait_policy, std::mem::take(&mut new.request)))
            .await?;
        let start = Arc::new(new.take_start(id, &request.model));
        let grace = new.grace.unwrap_or(inner.terms.grace).min(inner.terms.grace);
        let on_disconnect = new.on_disconnect.unwrap_or(inner.terms.on_disconnect);
        // A client that reconnects within the grace needs the tokens so far, and only a streamed answer has them.
        let delivery =
            if grace.is_zero() && on_disconnect == OnDisconnect::Cancel { new.delivery } else { Delivery::Stream };
        let (log, moving) = (Arc::clone(&inner.log), inner.moving.clone());
        let audience = Audience { log, generation: id, on_disconnect, grace, moving };
        let subject = Subject {
            request_id: new.request_id,
            principal: start.owner.clone(),
            model: request.model.clone(),
            output_limit: request.output_limit(),
            choices: usize::try_from(request.choices()).unwrap_or(usize::MAX),
            repeats: if new.claim.is_some() { RepeatPolicy::Attach } else { RepeatPolicy::StartNew },
            source: if start.prompt.is_some() { PromptSource::Service } else { PromptSource::Caller },
        };
        let wait = new.spender.wait(new.wait_policy);
        let may_be_taken_over = new.on_upstream_failure == OnUpstreamFailure::Restart && inner.log.recovers();
        let recorded = may_be_taken_over.then(|| RecordedRequest {
            request_id: new.request_id,
            model: request.model.clone(),
            fields_json: request.fields.to_json(),
            added_limit: request.added_limit,
            account: new.spender.account.clone(),
            quota: new.spender.quota(),
            budget: new.spender.budget(),
            reserved,
            cost,
            wait,
            on_disconnect,
            grace,
            ends_at: start.created_at.after(inner.terms.max_duration),
            repeats: subject.repeats,
            source: subject.source,
            storage: new.storage,
        });
        let if_orphaned = subject.orphaned();
        let running = inner.assembly().running(NewRunning {
            id,
            subject,
            request: &request,
            prompt,
            plan: &plan,
            account: &new.spender.account,
            reserved,
            reservations,
            queue_state: slot.queue_state(),
            earlier: None,
        });
        let record = (new.storage == Storage::UntilRead).then(|| inner.unkept.hold(id));
        let mut registration = inner.registry.register(Arc::new(running), inner.tasks.clone());
        let log_terms = LogTerms {
            account: new.spender.account.clone(),
            claim: new.claim.clone(),
            if_orphaned,
            recovery: recorded.map(|recorded| recorded.to_recovery()),
        };
        let (writer, viewer) = match self.make_log(&start, &log_terms).await? {
            MadeLog::New(writer, viewer) => (writer, viewer),
            MadeLog::Known(following) => return Ok(StartedGeneration::joined(*following)),
        };
        if let Some(turn) = new.chat
            && let Some(following) = self.enter_chat(&start.owner, turn, id).await?
        {
            return Ok(StartedGeneration::joined(following));
        }
        let log = Arc::clone(writer.log());
        registration.begin(Arc::clone(&inner.log), writer, inner.metrics.generation());
        // Check again, now that the generation is registered: a drain that began in between did not see it.
        if self.is_draining() {
            registration.running().request_end(Ending::failed(FailureCode::ShuttingDown));
            _ = inner.log.remove(id).await;
            return Err(StartError::Draining);
        }
        let handle = ViewerHandle::new(Some(viewer), record.clone(), inner.metrics.viewer(), slot.queue_state())
            .of_chat(self.chat_end(&start));
        let following = Following::new(log, Sequence::START, handle);
        let deadline = Instant::now() + inner.terms.max_duration;
        let planned = PlannedRequest { plan, request: Arc::new(request), delivery, deadline };
        let on_upstream_failure = new.on_upstream_failure;
        let work = Work { planned, audience, slot, wait, on_upstream_failure, lost_answer: None, memory: None };
        inner.spawn_task(registration, record, work);
        Ok(StartedGeneration { following, origin: Origin::New })
    }

    /// Makes the log, or follows the generation that the claim names. If that was removed in between, its key is free, and
    /// the log is made.
    async fn make_log(&self, start: &Arc<Start>, terms: &LogTerms) -> Result<MadeLog, StartError> {
        for _ in 0..MOST_CREATES {
            let created = self.0.log.create(Arc::clone(start), terms.clone()).await;
            let known = match created.inspect_err(|error| self.0.count_refusal(error))? {
                Created::New { writer, viewer } => return Ok(MadeLog::New(writer, viewer)),
                Created::Known(known) => known,
            };
            match self.follow(&start.owner, known, EventPosition::START).await {
                Ok(following) => return Ok(MadeLog::Known(Box::new(following))),
                Err(gone) => match self.lost(&start.owner, terms.claim.as_ref()).await {
                    Some(lost) => return Err(lost),
                    None if gone == FollowError::NotFound => {}
                    None => return Err(gone.into()),
                },
            }
        }
        Err(FollowError::NotFound.into())
    }

    /// Takes one request from the caller's rate for a new generation, before the body of its request is read.
    pub async fn take_request(&self, spender: &Spender, id: GenerationId) -> Result<RequestPermit, StartError> {
        match self.0.limits.take_request_for(id, spender).await {
            Ok(taken) => Ok(taken),
            Err(error) => Err(self.0.refused(error, spender, "").await),
        }
    }

    /// Counts a request that was refused for its body, if the caller's rate has one left.
    pub fn charge_request(&self, spender: &Spender) {
        self.0.limits.charge_request(spender);
    }

    /// Follows the generation that the claim names from its beginning; `None` if it names none. Never refused for load,
    /// also while draining.
    ///
    /// # Errors
    ///
    /// [`StartError::Log`]: a conflict, or an answer that was evicted or discarded.
    pub async fn claimed(&self, principal: &Principal, claim: &Claim) -> Result<Option<Following>, StartError> {
        let Some(id) = self.0.log.claimed(principal, claim).await? else { return Ok(None) };
        match self.follow(principal, id, EventPosition::START).await {
            Ok(following) => Ok(Some(following)),
            // If the log was removed or has expired since the lookup, the key is free; if it was evicted, it is not.
            Err(_) => self.lost(principal, Some(claim)).await.map_or(Ok(None), Err),
        }
    }

    /// Returns the error of a claim whose answer is lost.
    async fn lost(&self, principal: &Principal, claim: Option<&Claim>) -> Option<StartError> {
        let claimed = self.0.log.claimed(principal, claim?).await;
        claimed.err().map(StartError::from)
    }

    /// Returns the rest of a caller's limits, including those of the model.
    pub async fn left(&self, spender: &Spender, model: Option<&str>) -> Allowance {
        self.0.limits.left(spender, model.unwrap_or_default()).await
    }

    pub async fn models(&self) -> Arc<ListedModels> {
        self.0.router.models().await
    }

    /// Returns the health of all upstreams.
    pub fn upstreams(&self) -> Vec<UpstreamStatus> {
        self.0.router.status()
    }

    /// Refuses new generations from now on.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Gives the viewers of all generations the time to continue on another replica, whatever the grace is.
    pub fn expect_moves(&self) {
        self.0.moving.cancel();
    }

    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Checks that the event log accepts new generations.
    pub async fn check_log(&self) -> Result<(), LogUnavailable> {
        self.0.log.check_available().await
    }

    /// Returns the number of running generations.
    pub fn count(&self) -> usize {
        self.0.registry.count()
    }

    /// Asks all running generations to end, because the service is shutting down.
    pub fn end_all(&self) {
        self.0.registry.request_end_of_all(&Ending::failed(FailureCode::ShuttingDown));
    }

    /// Aborts the tasks of all running generations.
    pub fn abort_all(&self) {
        self.0.registry.abort_all();
    }
}

impl GenerationService {
    fn count_refusal(&self, error: &CreateError) {
        match error {
            CreateError::Full => self.metrics.refused("memory"),
            CreateError::TooManyTombstones(_) => self.metrics.refused("lost_answers"),
            CreateError::Unavailable(_) => self.metrics.refused("event_log"),
            CreateError::Conflict(_) | CreateError::Lost(_) => {}
        }
    }

    pub(super) fn assembly(&self) -> Assembly<'_> {
        let Self { ledger, limits, metrics, counter, terms, .. } = self;
        Assembly { messages: terms.upstream_messages, ledger, limits, metrics, counter }
    }

    /// Spawns the task that writes the answer into the log.
    pub(super) fn spawn_task(&self, mut registration: Registration, record: Option<Arc<Record>>, work: Work) {
        let id = registration.running().id;
        let logs = Arc::clone(&self.log);
        // Boxed, because spawning the future itself copies it five times.
        let task = self.tasks.spawn(Box::pin(async move {
            let (running, writer) = registration.running_and_writer();
            let rest = match writer {
                Some(writer) => task::run(running, writer, work).await,
                None => None,
            };
            registration.end();
            if registration.running().was_unbilled() {
                _ = logs.release(id).await;
            }
            drop((registration, record));
            if let Some(rest) = rest {
                task::drain_answer(rest).await;
            }
        }));
        self.registry.record_task(id, task.abort_handle());
    }
}
