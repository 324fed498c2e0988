//! Generations of lost replicas, which this process begins anew.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::assembly::{EarlierRun, NewRunning};
use super::audience::Audience;
use super::ending::Ending;
use super::recorded_request::RecordedRequest;
use super::relay::AnswerExtent;
use super::service::Generations;
use super::storage::Storage;
use super::task::{RequestMemory, Work};
use crate::domain::{Account, FailureCode, GenerationId, OnUpstreamFailure, Timestamp};
use crate::event_log::{TakenLog, Writer};
use crate::limits::{GenerationDemand, Permit, Policy, Spender, WaitPolicy};
use crate::upstream::{ConversationKey, Delivery, PlannedRequest};

/// The number of logs that are taken over at the same time.
const TAKEN_AT_ONCE: usize = 16;

/// Why a generation that was taken over has failed as `replica_lost`.
struct Unrecoverable(&'static str);

impl Generations {
    /// Begins generations of lost replicas anew, as far as their requests permit it. `policy` returns the limits of all
    /// callers; `hold` counts a request of this size as held for its caller, or refuses it. Runs until dropped.
    pub async fn recover(
        &self,
        policy: impl Fn() -> Arc<Policy>,
        hold: impl Fn(&Account, usize) -> Option<RequestMemory>,
    ) {
        if !self.0.log.recovers() {
            return;
        }
        let orphans = stream::repeat(()).then(|()| self.0.log.orphan());
        let taking = orphans.for_each_concurrent(TAKEN_AT_ONCE, async |id| {
            // The replicas that viewers are sent to take it over.
            if self.is_draining() || self.0.registry.get(id).is_some() {
                return;
            }
            if let Ok(Some(taken)) = self.0.log.take_over(id).await {
                self.begin_anew(id, taken, policy(), &hold).await;
            }
        });
        taking.await;
    }

    async fn begin_anew(
        &self,
        id: GenerationId,
        taken: TakenLog,
        policy: Arc<Policy>,
        hold: impl Fn(&Account, usize) -> Option<RequestMemory>,
    ) {
        let TakenLog { writer, request } = taken;
        let Ok(recorded) = serde_json::from_slice::<RecordedRequest>(&request) else {
            // Closed by its next reader, which finds that it has no owner.
            tracing::error!(
                "the recorded request of a lost replica cannot be read: another version may have written it"
            );
            return;
        };
        let memory = hold(&recorded.account, request.len());
        drop(request);
        let request_id = recorded.request_id;
        match self.try_begin_anew(id, writer, (recorded, memory), policy).await {
            Ok(()) => tracing::warn!(%request_id, "began the generation of a lost replica anew"),
            Err(Unrecoverable(cause)) => tracing::warn!(%request_id, cause, "ended the generation of a lost replica"),
        }
    }

    async fn try_begin_anew(
        &self,
        id: GenerationId,
        mut writer: Box<dyn Writer>,
        (recorded, memory): (RecordedRequest, Option<RequestMemory>),
        policy: Arc<Policy>,
    ) -> Result<(), Unrecoverable> {
        let inner = &self.0;
        let (log, now) = (Arc::clone(writer.log()), Timestamp::now());
        let start = Arc::clone(log.start());
        let request = recorded.request();
        let subject = recorded.subject(&start.owner, &request);
        if memory.is_none() {
            _ = writer.close(subject.orphaned()).await;
            return Err(Unrecoverable("this replica has no memory for its request"));
        }
        let conversation = |model: &str| ConversationKey::of(&start.owner, model, &request.fields);
        let plan = inner.router.plan(Some(&recorded.model), conversation);
        let answer = AnswerExtent::read(&*log, writer.tail()).await;
        let (plan, answer) = match (plan, answer) {
            (Ok(plan), Some(answer)) if answer.can_be_withdrawn() => (plan, answer),
            (plan, answer) => {
                _ = writer.close(subject.orphaned()).await;
                return Err(Unrecoverable(match (plan, answer) {
                    (Err(_), _) => "this replica has no upstream for its model",
                    (Ok(_), None) => "its log cannot be read",
                    (Ok(_), Some(_)) => "it has called a tool",
                }));
            }
        };
        let spender = Spender::new(recorded.account.clone(), recorded.quota, policy).with_budget(recorded.budget);
        let Some(Permit { slot, reservations, .. }) = self.readmit(id, &spender, &recorded).await else {
            _ = writer.close(subject.orphaned()).await;
            return Err(Unrecoverable("the limits did not admit it again"));
        };
        let audience = Audience {
            log: Arc::clone(&inner.log),
            generation: id,
            on_disconnect: recorded.on_disconnect,
            grace: recorded.grace,
            moving: inner.moving.clone(),
        };
        let running = inner.assembly().running(NewRunning {
            id,
            subject,
            request: &request,
            prompt: Arc::new(request.prompt()),
            plan: &plan,
            account: &spender.account,
            reserved: recorded.reserved,
            reservations,
            queue_state: slot.queue_state(),
            earlier: Some(EarlierRun {
                age: Duration::from_millis(now.millis().saturating_sub(start.created_at.millis())),
                cost: recorded.cost,
            }),
        });
        let record = (recorded.storage == Storage::UntilRead).then(|| inner.unkept.hold(id));
        let mut registration = inner.registry.register(Arc::new(running), inner.tasks.clone());
        registration.begin(Arc::clone(&inner.log), writer, inner.metrics.generation());
        // A drain that began in between did not see it.
        if self.is_draining() {
            registration.running().request_end(Ending::failed(FailureCode::ShuttingDown));
        }
        let left = Duration::from_millis(recorded.ends_at.millis().saturating_sub(now.millis()));
        let deadline = Instant::now() + left.min(inner.terms.max_duration);
        let planned = PlannedRequest { plan, request: Arc::new(request), delivery: Delivery::Stream, deadline };
        let on_upstream_failure = OnUpstreamFailure::Restart;
        let work = Work {
            planned,
            audience,
            slot,
            wait: recorded.wait,
            on_upstream_failure,
            lost_answer: Some(answer),
            memory,
        };
        inner.spawn_task(registration, record, work);
        Ok(())
    }

    /// Carries the slot and the reservations over: they are stored under the id of the generation, where this process
    /// finds them. A slot whose lease has expired is taken anew.
    async fn readmit(&self, id: GenerationId, spender: &Spender, recorded: &RecordedRequest) -> Option<Permit> {
        let limits = &self.0.limits;
        let request = limits.take_request_for(id, spender).await.ok()?;
        let demand = GenerationDemand {
            spender: spender.clone(),
            model: recorded.model.clone(),
            tokens: recorded.reserved.total(),
            // Usually found, as the lost process has reserved it.
            cost: recorded.cost,
            wait_policy: WaitPolicy::Waits { at_most: Some(recorded.wait) },
        };
        limits.admit(demand, request).await.ok()
    }
}
