//! The limits in Redis.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::keys::LimitKeys;
use super::rate_list::{RateList, full_in};
use super::replica_slots::{SlotCandidate, SlotOutcome, SlotRequest};
use super::reservations::{ADMISSION_STEP, LocalReservations, RECORD_LIFETIME, REQUEST_STEP, SettledPart, settle_call};
use super::script;
use super::slot_service::{SlotService, limit};
use super::unanswered::UnansweredCalls;
use crate::domain::GenerationId;
use crate::limits::exceeded::{Allowance, Exceeded, LimitError};
use crate::limits::meter;
use crate::limits::policy::{GenerationDemand, Spender};
use crate::limits::rates::{RateKey, RateKind, RemainingQuota, UsedUp};
use crate::limits::room::{Full, Room};
use crate::limits::{Admitted, Limits, Settled, Settlement};
use crate::redis_client::{PATIENCE, Patience, RedisClient, Reply, ScriptCall};

/// The limits of all processes with the same server and prefix. Clones are the same process.
#[derive(Clone)]
pub struct RedisLimits(Arc<SharedRedisLimits>);

/// The times of limits in Redis.
#[derive(Debug, Clone, Copy)]
pub struct RedisLimitTerms {
    /// How long a process that is gone keeps its slots (`event_log.redis.lease`).
    pub lease: Duration,
}

struct SharedRedisLimits {
    client: RedisClient,
    keys: LimitKeys,
    lease: Duration,
    slots: SlotService,
    reservations: LocalReservations,
    unanswered: UnansweredCalls,
}

/// What one call reserves.
struct WantedReservation<'a> {
    id: GenerationId,
    step: &'static str,
    rates: RateList,
    spender: &'a Spender,
    /// `None` for a request, which needs no slot.
    slot: Option<(SlotRequest, Room)>,
}

impl RedisLimits {
    pub fn new(client: RedisClient, RedisLimitTerms { lease }: RedisLimitTerms) -> Self {
        let keys = LimitKeys::new(client.prefix());
        let slots = SlotService::new(client.clone(), keys.clone(), lease);
        let (reservations, unanswered) = (LocalReservations::default(), UnansweredCalls::default());
        Self(Arc::new(SharedRedisLimits { client, keys, lease, slots, reservations, unanswered }))
    }

    /// Renews what this process holds, and serves its queue. Runs until dropped.
    pub async fn run(&self) {
        let SharedRedisLimits { client, keys, slots, reservations, unanswered, .. } = &*self.0;
        tokio::join!(slots.run(), reservations.keep(&client.connection, keys), unanswered.undo(&client.connection));
    }

    /// Returns the numbers of running and of queued generations of this process.
    pub fn count(&self) -> (usize, usize) {
        self.0.slots.slots.count()
    }
}

impl SharedRedisLimits {
    async fn take_request(&self, id: GenerationId, spender: &Spender) -> Result<(), LimitError> {
        let rates = RateList::of_request(&self.keys, spender);
        if rates.is_empty() {
            return Ok(());
        }
        let wanted = WantedReservation { id, step: REQUEST_STEP, rates, spender, slot: None };
        self.reserve(&wanted).await.map(drop)
    }

    async fn admit(&self, id: GenerationId, demand: &GenerationDemand) -> Result<Admitted, LimitError> {
        if let Some(admitted) = self.slots.slots.find(id) {
            return Ok(admitted);
        }
        let GenerationDemand { spender, .. } = demand;
        let (account, room) = (&spender.account, Room::from(demand));
        let rates = RateList::beside_request(&self.keys, demand);
        let request = self.slots.slots.request(account, room);
        if !rates.is_empty() || room.is_limited() {
            let wanted = WantedReservation { id, step: ADMISSION_STEP, rates, spender, slot: Some((request, room)) };
            let outcome = self.reserve(&wanted).await?;
            if outcome != SlotOutcome::Granted {
                return self.queue(&wanted, room, outcome).await;
            }
        }
        self.slots.slots.hold(id, account.clone(), room);
        Ok(Admitted { queue_state: None })
    }

    /// Takes a queue position for a generation that has reserved everything else.
    async fn queue(
        &self,
        wanted: &WantedReservation<'_>,
        room: Room,
        outcome: SlotOutcome,
    ) -> Result<Admitted, LimitError> {
        match self.slots.slots.queue(wanted.id, &wanted.spender.account, room, outcome) {
            Ok(queue_state) => {
                // A slot that was freed before the generation was in the queue woke nothing.
                self.slots.wake();
                Ok(Admitted { queue_state: Some(queue_state) })
            }
            // Others have filled the queue meanwhile.
            Err(full) => {
                let record = self.keys.record(wanted.id);
                let refunded = Settlement::Refunded.into();
                let call = settle_call(&record, wanted.rates.reserved(), refunded, SettledPart::Admission);
                if self.client.connection.call(&call, Patience::For(PATIENCE)).await.is_ok() {
                    self.reservations.remove(wanted.id, &wanted.rates);
                }
                Err(Exceeded::from(full).into())
            }
        }
    }

    /// Reserves everything that is wanted, or nothing.
    async fn reserve(&self, wanted: &WantedReservation<'_>) -> Result<SlotOutcome, LimitError> {
        let WantedReservation { id, rates, spender, slot, .. } = wanted;
        // Before the call: it may be carried out without a reply.
        self.reservations.add(*id, rates);
        let reply = self.client.connection.call(&self.reserve_call(wanted), Patience::For(PATIENCE)).await;
        let Ok(reply) = reply else { return Err(self.undo(wanted)) };
        let outcome = match reply.code() {
            "ok" => return Ok(SlotOutcome::Granted),
            "wait" => return Ok(SlotOutcome::AllIsFull),
            "wait_for_account" => return Ok(SlotOutcome::AccountIsFull),
            "used_up" => None,
            "over_budget" => {
                self.reservations.remove(*id, rates);
                return Err(rates.over_budget(&reply).map_or(LimitError::Unavailable, LimitError::from));
            }
            "full" => Some(SlotOutcome::AllIsFull),
            "account_is_full" => Some(SlotOutcome::AccountIsFull),
            // A reservation of this id was undone.
            _ => return Err(self.undo(wanted)),
        };
        self.reservations.remove(*id, rates);
        let exceeded: Exceeded = match (outcome, slot) {
            (Some(outcome), Some((_, room))) => {
                // Only the estimated wait is of interest.
                let refused = self.slots.slots.queue(*id, &spender.account, Room { waiting: 0, ..*room }, outcome);
                refused.err().unwrap_or(Full { eta: None }).into()
            }
            _ => rates.used_up(&reply).map_or_else(|| Full { eta: None }.into(), Exceeded::from),
        };
        Err(exceeded.into())
    }

    fn reserve_call(&self, wanted: &WantedReservation<'_>) -> ScriptCall {
        let WantedReservation { id, step, rates, spender, slot } = wanted;
        let (request, room) = match slot {
            None => ("none", Room::default()),
            Some((SlotRequest::Take, room)) => ("take", *room),
            Some((SlotRequest::TakeOrWait, room)) => ("take or wait", *room),
            Some((SlotRequest::Wait, room)) => ("wait", *room),
            Some((SlotRequest::Refuse, room)) => ("refuse", *room),
        };
        let keys = [self.keys.record(*id), self.keys.slots(), self.keys.slots_of(&spender.account)];
        let call = ScriptCall::new(&script::RESERVE, keys.iter().chain(rates.keys()))
            .arg(*step)
            .millis(RECORD_LIFETIME)
            .arg(request)
            .arg(id.to_string())
            .arg(limit(room.in_all))
            .arg(limit(room.for_account))
            .millis(self.lease);
        rates.add_to(call)
    }

    /// Releases in the background what a call without a reply may have reserved.
    fn undo(&self, wanted: &WantedReservation<'_>) -> LimitError {
        let record = self.keys.record(wanted.id);
        let reserved = self.reservations.take(wanted.id).unwrap_or_default();
        let mut undoing =
            vec![settle_call(&record, reserved.iter(), Settlement::Refunded.into(), SettledPart::AllWithFence)];
        if let Some((_, room)) = wanted.slot {
            let account = wanted.spender.account.clone();
            let slot = SlotCandidate { id: wanted.id, account, for_account: room.for_account };
            undoing.push(self.slots.release_call(&slot));
        }
        self.unanswered.add(undoing);
        LimitError::Unavailable
    }

    async fn settle(&self, id: GenerationId, settled: Settled) {
        let Some(reserved) = self.reservations.take(id) else { return };
        let call = settle_call(&self.keys.record(id), reserved.iter(), settled, SettledPart::All);
        _ = self.client.connection.call(&call, Patience::For(RECORD_LIFETIME)).await;
    }

    async fn publish(&self, spender: &Spender) -> Result<Allowance, (LimitError, Allowance)> {
        let Some(limit) = spender.publishes_per_minute() else { return Ok(Allowance::default()) };
        let key = self.keys.rate(&RateKey::of_account(spender.account.clone()), RateKind::Publishes);
        let call = ScriptCall::new(&script::PUBLISH, [&key]).number(limit.get().into());
        let reply = self.client.connection.call(&call, Patience::For(PATIENCE)).await;
        let Ok(reply) = reply else { return Err((LimitError::Unavailable, Allowance::default())) };
        let left = RemainingQuota::new(limit, full_in(&reply, 1));
        let allowance = Allowance { publishes: Some(left), ..Allowance::default() };
        if reply.code() == "ok" {
            return Ok(allowance);
        }
        let wait = meter::wait(limit, NonZeroU32::MIN, left.full_in);
        Err((Exceeded::from(UsedUp { rate: RateKind::Publishes, limit, wait }).into(), allowance))
    }

    async fn left(&self, spender: &Spender, model: &str) -> Allowance {
        let rates = RateList::all(&self.keys, spender, model);
        if rates.is_empty() {
            return Allowance::default();
        }
        let call = ScriptCall::new(&script::LEFT, rates.keys());
        let reply = self.client.connection.call(&call, Patience::For(PATIENCE)).await;
        reply.as_ref().map_or_else(|_| Allowance::default(), |reply: &Reply| rates.allowance(reply))
    }
}

impl Limits for RedisLimits {
    fn take_request<'a>(&'a self, id: GenerationId, spender: &'a Spender) -> BoxFuture<'a, Result<(), LimitError>> {
        self.0.take_request(id, spender).boxed()
    }

    fn admit<'a>(
        &'a self,
        id: GenerationId,
        demand: &'a GenerationDemand,
    ) -> BoxFuture<'a, Result<Admitted, LimitError>> {
        self.0.admit(id, demand).boxed()
    }

    fn settle(&self, id: GenerationId, settled: Settled) -> BoxFuture<'_, ()> {
        self.0.settle(id, settled).boxed()
    }

    fn release(&self, id: GenerationId) -> BoxFuture<'_, ()> {
        self.0.slots.release(id).boxed()
    }

    fn forget(&self, id: GenerationId) {
        self.0.slots.slots.forget(id);
        self.0.reservations.take(id);
    }

    fn publish<'a>(&'a self, spender: &'a Spender) -> BoxFuture<'a, Result<Allowance, (LimitError, Allowance)>> {
        self.0.publish(spender).boxed()
    }

    fn left<'a>(&'a self, spender: &'a Spender, model: &'a str) -> BoxFuture<'a, Allowance> {
        self.0.left(spender, model).boxed()
    }
}
