//! Takes, renews and frees slots in Redis.

use std::future::pending;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::keys::LimitKeys;
use super::replica_slots::{ReplicaSlots, SlotCandidate, SlotOutcome};
use super::script;
use crate::domain::GenerationId;
use crate::redis_client::{PATIENCE, Patience, RedisClient, RedisUnavailable, Reply, ScriptCall};

/// The slots of this process, and the server that counts those of all.
pub struct SlotService {
    pub slots: ReplicaSlots,
    client: RedisClient,
    keys: LimitKeys,
    lease: Duration,
    /// Marked when a slot may be free for a waiting generation.
    freed: Arc<Notify>,
}

/// The result of asking for slots.
struct Occupied {
    granted: usize,
    is_full: bool,
    /// The time until a slot expires.
    retry: Duration,
}

/// The longest wait until waiting generations ask again: a message may be lost.
const LONGEST_RETRY: Duration = Duration::from_secs(1);
/// Generations that one call asks for.
const AT_ONCE: usize = 64;

impl SlotService {
    pub fn new(client: RedisClient, keys: LimitKeys, lease: Duration) -> Self {
        let freed = Arc::new(Notify::new());
        let marked = Arc::clone(&freed);
        client.subscriptions.handle(keys.freed(), move |_| marked.notify_one());
        Self { slots: ReplicaSlots::default(), client, keys, lease, freed }
    }

    /// Renews the slots of this process, and grants free ones to its waiting generations. Runs until dropped.
    pub async fn run(&self) {
        tokio::join!(self.renew(), self.serve_waiting());
    }

    /// Asks for slots for waiting generations soon.
    pub fn wake(&self) {
        self.freed.notify_one();
    }

    /// Frees the slot or the queue position of a generation, and grants free slots to those that wait. If Redis does not
    /// answer, the slot expires.
    pub async fn release(&self, id: GenerationId) {
        let Some(released) = self.slots.remove(id) else { return };
        if released.for_account.is_none() && self.slots.in_all().is_none() {
            return;
        }
        let is_freed = self.client.connection.call(&self.release_call(&released), Patience::For(self.lease)).await;
        if is_freed.is_ok() {
            self.grant().await;
        }
    }

    pub fn release_call(&self, released: &SlotCandidate) -> ScriptCall {
        ScriptCall::new(&script::RELEASE, [&self.keys.slots(), &self.keys.slots_of(&released.account)])
            .arg(released.id.to_string())
            .arg(self.keys.freed())
    }

    async fn renew(&self) {
        let mut ticks = interval(self.lease / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let held = self.slots.begin_renewal();
            for held in held.chunks(AT_ONCE) {
                // A slot that Redis has lost is taken again if there is one.
                _ = self.occupy(held, self.lease / 3).await;
            }
        }
    }

    async fn serve_waiting(&self) {
        let mut retry = LONGEST_RETRY;
        loop {
            let timer = async {
                if self.slots.is_waiting() {
                    sleep(retry).await;
                } else {
                    pending::<()>().await;
                }
            };
            tokio::select! {
                () = self.freed.notified() => {}
                () = timer => {}
            }
            retry = self.grant().await;
        }
    }

    /// Grants each free slot to the next waiting generation. Returns when to ask again.
    async fn grant(&self) -> Duration {
        let mut retry = LONGEST_RETRY;
        loop {
            let mut granted = 0;
            for next in self.slots.next().chunks(AT_ONCE) {
                let Ok(occupied) = self.occupy(next, PATIENCE).await else { return LONGEST_RETRY };
                granted += occupied.granted;
                retry = retry.min(occupied.retry);
                if occupied.is_full {
                    return retry;
                }
            }
            if granted == 0 {
                return retry;
            }
        }
    }

    async fn occupy(&self, candidates: &[SlotCandidate], patience: Duration) -> Result<Occupied, RedisUnavailable> {
        let all = self.keys.slots();
        let accounts: Vec<_> = candidates.iter().map(|candidate| self.keys.slots_of(&candidate.account)).collect();
        let call = ScriptCall::new(&script::OCCUPY, [&all].into_iter().chain(&accounts))
            .millis(self.lease)
            .arg(limit(self.slots.in_all()));
        let call = candidates
            .iter()
            .fold(call, |call, candidate| call.arg(candidate.id.to_string()).arg(limit(candidate.for_account)));
        let reply = self.client.connection.call(&call, Patience::For(patience)).await.map_err(|_| RedisUnavailable)?;
        let outcomes: Vec<_> = (2..reply.len()).map(|at| outcome(&reply, at)).collect();
        let applied = self.slots.apply(candidates.iter().cloned().zip(outcomes.iter().copied()));
        for unwanted in &applied.unwanted {
            // If Redis does not answer, the slot expires.
            _ = self.client.connection.call(&self.release_call(unwanted), Patience::For(PATIENCE)).await;
        }
        Ok(Occupied {
            granted: applied.granted,
            is_full: outcomes.contains(&SlotOutcome::AllIsFull),
            retry: Duration::from_millis(reply.number(1)),
        })
    }
}

/// Returns a limit as an argument of a script.
pub fn limit(limit: Option<NonZeroU32>) -> String {
    limit.map_or_else(String::new, |limit| limit.to_string())
}

fn outcome(reply: &Reply, at: usize) -> SlotOutcome {
    match reply.bytes(at) {
        b"granted" => SlotOutcome::Granted,
        b"account_is_full" => SlotOutcome::AccountIsFull,
        _ => SlotOutcome::AllIsFull,
    }
}
