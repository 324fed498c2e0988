//! The slots that generations of this process have, and its queue for them.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::{Account, GenerationId, Lookup};
use crate::limits::Admitted;
use crate::limits::line::{Standing, WaitingLine};
use crate::limits::queue::QueueState;
use crate::limits::room::{Full, Room};

/// Which slots are taken is decided in Redis. This is what the process knows of it.
#[derive(Default)]
pub struct ReplicaSlots(Mutex<ReplicaTable>);

#[derive(Default)]
struct ReplicaTable {
    in_all: Option<NonZeroU32>,
    holders: Lookup<GenerationId, ReplicaHolder>,
    line: WaitingLine,
    /// The waiting accounts that have all the slots that their limit allows, as far as Redis has told.
    at_limit: HashSet<Account>,
    /// The generations that another process has taken over since the last renewal began: it has their slots.
    forgotten: HashSet<GenerationId>,
}

/// A generation that has a slot or a queue position, or has lost it to another.
struct ReplicaHolder {
    account: Account,
    for_account: Option<NonZeroU32>,
    granted: Option<Instant>,
    /// `None` if a slot was granted without queueing.
    queue_state: Option<watch::Receiver<QueueState>>,
}

/// A generation that is to have a slot.
#[derive(Debug, Clone)]
pub struct SlotCandidate {
    pub id: GenerationId,
    pub account: Account,
    pub for_account: Option<NonZeroU32>,
}

/// Whether a generation has a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotOutcome {
    Granted,
    /// All slots of its account are taken.
    AccountIsFull,
    /// All slots of all accounts are taken.
    AllIsFull,
}

/// What an admission asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotRequest {
    Take,
    TakeOrWait,
    /// Another generation of this process is next.
    Wait,
    Refuse,
}

/// What becomes of generations for which Redis was asked.
#[derive(Default)]
pub struct AppliedOutcomes {
    pub granted: usize,
    /// Those that have a slot and no longer want it.
    pub unwanted: Vec<SlotCandidate>,
}

impl ReplicaSlots {
    /// Returns the result with which this generation entered, if it has not been released.
    pub fn find(&self, id: GenerationId) -> Option<Admitted> {
        self.lock().holders.get(&id).map(|holder| Admitted { queue_state: holder.queue_state.clone() })
    }

    /// Returns what a new generation may ask for. It does not overtake one of this process that waits for the slots of
    /// all accounts, or one of its own account.
    pub fn request(&self, account: &Account, room: Room) -> SlotRequest {
        let mut table = self.lock();
        table.in_all = room.in_all;
        if !room.is_limited() {
            return SlotRequest::Take;
        }
        let line = &table.line;
        let is_next = line.of(account) == 0
            && line
                .first_of_each()
                .all(|(account, first)| first.for_account.is_some() && table.at_limit.contains(account));
        let displaces = || line.longest().is_some_and(|longest| line.of(longest) > line.of(account) + 1);
        let waits = room.waiting > 0 && (line.len() < room.waiting || displaces());
        match (is_next, waits) {
            (true, true) => SlotRequest::TakeOrWait,
            (true, false) => SlotRequest::Take,
            (false, true) => SlotRequest::Wait,
            (false, false) => SlotRequest::Refuse,
        }
    }

    /// Notes that a generation has a slot.
    pub fn hold(&self, id: GenerationId, account: Account, room: Room) {
        let holder =
            ReplicaHolder { account, for_account: room.for_account, granted: Some(Instant::now()), queue_state: None };
        self.lock().holders.insert(id, holder);
    }

    /// Takes a queue position. `outcome` is why there is no slot.
    pub fn queue(
        &self,
        id: GenerationId,
        account: &Account,
        room: Room,
        outcome: SlotOutcome,
    ) -> Result<watch::Receiver<QueueState>, Full> {
        let mut table = self.lock();
        let queue_state = table.line.push(account, id, room.for_account);
        if outcome == SlotOutcome::AccountIsFull {
            table.at_limit.insert(account.clone());
        }
        if table.line.len() > room.waiting && !(room.waiting > 0 && table.line.displace(account)) {
            let ahead = table.line.ahead_of(id, &table.standing());
            table.withdraw(account, id);
            return Err(Full { eta: ahead.and_then(|ahead| ahead.eta) });
        }
        let holder = ReplicaHolder {
            account: account.clone(),
            for_account: room.for_account,
            granted: None,
            queue_state: Some(queue_state.clone()),
        };
        table.holders.insert(id, holder);
        table.line.notify(&table.standing());
        Ok(queue_state)
    }

    /// Removes a generation. Returns the slot that it may have in Redis.
    pub fn remove(&self, id: GenerationId) -> Option<SlotCandidate> {
        let mut table = self.lock();
        let ReplicaHolder { account, for_account, granted, .. } = table.holders.remove(&id)?;
        match granted {
            Some(granted) => table.line.learn(granted.elapsed()),
            // A displaced generation is no longer in the line.
            None => table.withdraw(&account, id),
        }
        table.line.notify(&table.standing());
        Some(SlotCandidate { id, account, for_account })
    }

    /// Removes a generation whose slot, if it has one, is that of another process now.
    pub fn forget(&self, id: GenerationId) {
        self.remove(id);
        self.lock().forgotten.insert(id);
    }

    /// Returns the generations that have a slot, for a renewal. One renewal begins after the other has ended.
    pub fn begin_renewal(&self) -> Vec<SlotCandidate> {
        self.lock().forgotten.clear();
        self.held()
    }

    /// Returns the next generation of each waiting account, in turn.
    pub fn next(&self) -> Vec<SlotCandidate> {
        let table = self.lock();
        let next = table.line.first_of_each().map(|(account, first)| SlotCandidate {
            id: first.id,
            account: account.clone(),
            for_account: first.for_account,
        });
        next.collect()
    }

    /// Returns the generations that have a slot.
    fn held(&self) -> Vec<SlotCandidate> {
        let table = self.lock();
        let is_limited = |holder: &ReplicaHolder| holder.for_account.is_some() || table.in_all.is_some();
        let held = table.holders.iter().filter(|(_, holder)| holder.granted.is_some() && is_limited(holder));
        let held = held.map(|(id, holder)| SlotCandidate {
            id: *id,
            account: holder.account.clone(),
            for_account: holder.for_account,
        });
        held.collect()
    }

    /// Tells the generations whether they have a slot.
    pub fn apply(&self, outcomes: impl IntoIterator<Item = (SlotCandidate, SlotOutcome)>) -> AppliedOutcomes {
        let mut table = self.lock();
        let mut applied = AppliedOutcomes::default();
        for (candidate, outcome) in outcomes {
            let SlotCandidate { id, account, .. } = &candidate;
            // A renewal says nothing about the generations that wait.
            if table.holders.get(id).is_some_and(|holder| holder.granted.is_some()) {
                continue;
            }
            if outcome == SlotOutcome::AccountIsFull && table.line.of(account) > 0 {
                table.at_limit.insert(account.clone());
            } else {
                table.at_limit.remove(account);
            }
            if outcome == SlotOutcome::Granted && table.grant(account, *id) {
                applied.granted += 1;
            } else if outcome == SlotOutcome::Granted && !table.forgotten.contains(id) {
                applied.unwanted.push(candidate);
            }
        }
        table.line.notify(&table.standing());
        applied
    }

    pub fn in_all(&self) -> Option<NonZeroU32> {
        self.lock().in_all
    }

    pub fn is_waiting(&self) -> bool {
        !self.lock().line.is_empty()
    }

    /// Returns the numbers of running and of queued generations of this process.
    pub fn count(&self) -> (usize, usize) {
        let table = self.lock();
        (table.holders.values().filter(|holder| holder.granted.is_some()).count(), table.line.len())
    }

    fn lock(&self) -> MutexGuard<'_, ReplicaTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReplicaTable {
    /// Returns whether the generation was waiting.
    fn grant(&mut self, account: &Account, id: GenerationId) -> bool {
        let Some(holder) = self.holders.get_mut(&id) else { return false };
        // A displaced generation is no longer in the line.
        if self.line.grant(account, id) {
            holder.granted = Some(Instant::now());
        }
        holder.granted.is_some()
    }

    fn withdraw(&mut self, account: &Account, id: GenerationId) {
        self.line.withdraw(account, id);
        if self.line.of(account) == 0 {
            self.at_limit.remove(account);
        }
    }

    fn standing(&self) -> Standing<impl Fn(&Account, Option<NonZeroU32>) -> bool> {
        Standing {
            in_all: self.in_all,
            is_at_limit: |account, limit| limit.is_some() && self.at_limit.contains(account),
        }
    }
}
