//! Slots for concurrent generations of this process, and the queue for them.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Admitted;
use super::line::{Standing, WaitingLine};
use super::queue::QueueState;
use super::room::{Full, Room};
use crate::domain::{Account, GenerationId, Lookup};

/// The slots of running generations, limited per account and in total.
///
/// An account at its limit is skipped and keeps its turn. If the queue is full, a generation of an account with fewer
/// queued generations displaces the last one of the account with the most. One account therefore cannot fill the queue.
#[derive(Debug, Default)]
pub struct GenerationSlots(Mutex<SlotTable>);

#[derive(Debug, Default)]
struct SlotTable {
    in_all: Option<NonZeroU32>,
    running: RunningGenerations,
    line: WaitingLine,
    holders: Lookup<GenerationId, Holder>,
}

/// The numbers of running generations.
#[derive(Debug, Default)]
struct RunningGenerations {
    in_all: usize,
    of: Lookup<Account, usize>,
}

/// A generation that has a slot or a queue position, or has lost it to another.
#[derive(Debug)]
struct Holder {
    account: Account,
    granted: Option<Instant>,
    /// `None` if a slot was granted without queueing.
    queue_state: Option<watch::Receiver<QueueState>>,
}

impl GenerationSlots {
    /// Takes a slot or a queue position. Returns the state of the queue position; `None` if it has a slot at once.
    pub fn enter(
        &self,
        id: GenerationId,
        account: Account,
        room: Room,
    ) -> Result<Option<watch::Receiver<QueueState>>, Full> {
        let mut state = self.lock();
        state.in_all = room.in_all;
        if state.take(&account, room) {
            state.holders.insert(id, Holder { account, granted: Some(Instant::now()), queue_state: None });
            return Ok(None);
        }
        let queue_state = state.line.push(&account, id, room.for_account);
        state
            .holders
            .insert(id, Holder { account: account.clone(), granted: None, queue_state: Some(queue_state.clone()) });
        state.grant();
        let granted = *queue_state.borrow() == QueueState::Granted;
        if !granted && state.line.len() > room.waiting && !(room.waiting > 0 && state.line.displace(&account)) {
            let ahead = state.line.ahead_of(id, &state.standing());
            state.line.withdraw(&account, id);
            state.holders.remove(&id);
            return Err(Full { eta: ahead.and_then(|ahead| ahead.eta) });
        }
        state.line.notify(&state.standing());
        Ok(Some(queue_state))
    }

    /// Returns the result with which this generation entered, if it has not been released.
    pub fn find(&self, id: GenerationId) -> Option<Admitted> {
        self.lock().holders.get(&id).map(|holder| Admitted { queue_state: holder.queue_state.clone() })
    }

    /// Frees the slot or the queue position of a generation, and grants a free slot to the next.
    pub fn release(&self, id: GenerationId) {
        let mut state = self.lock();
        let Some(Holder { account, granted, .. }) = state.holders.remove(&id) else { return };
        match granted {
            Some(granted) => state.release(&account, granted.elapsed()),
            // A displaced generation is no longer in the queue.
            None => drop(state.line.withdraw(&account, id)),
        }
        state.grant();
        state.line.notify(&state.standing());
    }

    /// Returns the numbers of running and of queued generations.
    pub fn count(&self) -> (usize, usize) {
        let state = self.lock();
        (state.running.in_all, state.line.len())
    }

    fn lock(&self) -> MutexGuard<'_, SlotTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotTable {
    /// Takes a slot if no generation waits and the limits allow it. Returns whether it took one.
    fn take(&mut self, account: &Account, room: Room) -> bool {
        let is_free = self.line.is_empty() && has_room(self.running.in_all, room.in_all);
        if !is_free || !self.running.has_room(account, room.for_account) {
            return false;
        }
        self.running.add(account);
        true
    }

    /// Grants every free slot to the next account in turn that is below its limit.
    fn grant(&mut self) {
        while has_room(self.running.in_all, self.in_all) {
            let Some((account, id)) = self.next() else { return };
            self.running.add(&account);
            if let Some(holder) = self.holders.get_mut(&id) {
                holder.granted = Some(Instant::now());
            }
            self.line.grant(&account, id);
        }
    }

    /// Returns the generation that is next.
    fn next(&self) -> Option<(Account, GenerationId)> {
        let mut turns = self.line.first_of_each();
        let next = turns.find(|(account, first)| self.running.has_room(account, first.for_account));
        next.map(|(account, first)| (account.clone(), first.id))
    }

    /// Releases a granted slot.
    fn release(&mut self, account: &Account, held: Duration) {
        self.running.remove(account);
        self.line.learn(held);
    }

    fn standing(&self) -> Standing<impl Fn(&Account, Option<NonZeroU32>) -> bool> {
        Standing { in_all: self.in_all, is_at_limit: |account, limit| !self.running.has_room(account, limit) }
    }
}

impl RunningGenerations {
    fn add(&mut self, account: &Account) {
        self.in_all += 1;
        *self.of.entry(account.clone()).or_default() += 1;
    }

    fn remove(&mut self, account: &Account) {
        let Some(running) = self.of.get_mut(account) else { return };
        self.in_all -= 1;
        *running -= 1;
        if *running == 0 {
            self.of.remove(account);
        }
    }

    /// Returns whether the account is below this limit.
    fn has_room(&self, account: &Account, limit: Option<NonZeroU32>) -> bool {
        has_room(self.of.get(account).copied().unwrap_or_default(), limit)
    }
}

fn has_room(running: usize, most: Option<NonZeroU32>) -> bool {
    most.is_none_or(|most| running < most.get() as usize)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    fn account(number: u8) -> Account {
        Account::of_address([192, 0, 2, number].into())
    }

    fn room(for_account: u32, in_all: u32) -> Room {
        Room { for_account: NonZeroU32::new(for_account), in_all: NonZeroU32::new(in_all), waiting: 100 }
    }

    /// A generation's slot or queue position. Dropping it releases it.
    struct Entered {
        slots: Arc<GenerationSlots>,
        account: Account,
        id: GenerationId,
        queue_state: Option<watch::Receiver<QueueState>>,
    }

    impl Entered {
        fn current_state(&self) -> QueueState {
            self.queue_state.as_ref().map_or(QueueState::Granted, |queue_state| *queue_state.borrow())
        }
    }

    impl Drop for Entered {
        fn drop(&mut self) {
            self.slots.release(self.id);
        }
    }

    fn enter(slots: &Arc<GenerationSlots>, account: Account, room: Room) -> Result<Entered, Full> {
        let id = GenerationId::random();
        let queue_state = slots.enter(id, account.clone(), room)?;
        Ok(Entered { slots: Arc::clone(slots), account, id, queue_state })
    }

    fn position(slot: &Entered) -> u32 {
        match slot.current_state() {
            QueueState::Waiting(ahead) => ahead.position,
            QueueState::Granted => 0,
            QueueState::Displaced => u32::MAX,
        }
    }

    fn is_clear(slots: &GenerationSlots) -> bool {
        let state = slots.lock();
        state.line.is_empty() && state.running.of.is_empty() && state.holders.is_empty()
    }

    fn positions<'a>(slots: impl IntoIterator<Item = &'a Entered>) -> Vec<u32> {
        slots.into_iter().map(position).collect()
    }

    #[test]
    fn accounts_are_served_round_robin_and_fifo_within_each() {
        let slots = Arc::<GenerationSlots>::default();
        let enter = |number| enter(&slots, account(number), room(0, 1)).expect("room to wait");
        let running = enter(9);
        let mut queued: Vec<_> = [1, 1, 1, 1, 2, 2].map(enter).into();
        assert_eq!(positions(&queued), [1, 3, 5, 6, 2, 4], "account 2 does not wait for all generations of account 1");
        drop(running);
        let mut served = Vec::new();
        while let Some(next) = queued.iter().position(|slot| position(slot) == 0) {
            served.push(queued.remove(next).account.clone());
        }
        assert_eq!(served, [1, 2, 1, 2, 1, 1].map(account));
        assert_eq!(slots.count(), (0, 0));
        assert!(is_clear(&slots));
    }

    #[test]
    fn account_at_its_limit_is_skipped_and_keeps_its_turn() {
        let slots = Arc::<GenerationSlots>::default();
        let enter = |number| enter(&slots, account(number), room(1, 2)).expect("room to wait");
        let (one, waits) = (enter(1), enter(1));
        assert_eq!(positions([&one, &waits]), [0, 1]);
        let two = enter(2);
        assert_eq!(position(&two), 0, "a slot is free for another account");
        let three = enter(3);
        assert_eq!(positions([&waits, &three]), [1, 1], "each waits for a different limit");
        drop(two);
        assert_eq!(positions([&waits, &three]), [1, 0]);
        drop(one);
        assert_eq!(position(&waits), 0);
    }

    #[test]
    fn refused_generation_takes_no_slot_and_no_queue_position() {
        let slots = Arc::<GenerationSlots>::default();
        let enter = |waiting| enter(&slots, account(1), Room { waiting, ..room(1, 0) });
        let running = enter(0).expect("a slot");
        assert!(enter(0).is_err());
        let waits = enter(1).expect("room to wait");
        assert!(enter(1).is_err());
        assert_eq!(slots.count(), (1, 1));
        drop(running);
        assert_eq!((slots.count(), position(&waits)), ((1, 0), 0));
    }

    #[test]
    fn one_account_cannot_fill_the_queue() {
        let slots = Arc::<GenerationSlots>::default();
        let enter = |number| enter(&slots, account(number), Room { waiting: 4, ..room(0, 1) });
        let running = enter(1).expect("a slot");
        let many: Vec<_> = (0..4).map(|_| enter(1).expect("room to wait")).collect();
        assert!(enter(1).is_err(), "the queue is full for its own generations too");
        let other = [enter(2).expect("displaces one of the account with more"), enter(2).expect("and again")];
        assert_eq!(positions(&many), [1, 3, u32::MAX, u32::MAX], "the last two of account 1 are displaced");
        assert_eq!(positions(&other), [2, 4]);
        assert!(enter(2).is_err(), "both accounts have the same number");
        assert_eq!(slots.count(), (1, 4));
        drop((running, many, other));
        assert_eq!(slots.count(), (0, 0));
        assert!(is_clear(&slots));
    }

    #[tokio::test(start_paused = true)]
    async fn eta_is_estimated_from_recent_hold_times() {
        let slots = Arc::<GenerationSlots>::default();
        let enter = || enter(&slots, account(1), room(0, 2)).expect("room to wait");
        let eta = |slot: &Entered| match slot.current_state() {
            QueueState::Waiting(ahead) => ahead.eta,
            QueueState::Granted | QueueState::Displaced => None,
        };
        let (first, second, waits) = (enter(), enter(), enter());
        assert_eq!(eta(&waits), None, "unknown until a slot is released");
        advance(Duration::from_secs(10)).await;
        let last = enter();
        drop(first);
        assert_eq!((eta(&waits), eta(&last)), (None, Some(Duration::from_secs(5))));
        drop(second);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enter {
            account: u8,
            for_account: u32,
            waiting: usize,
        },
        /// Drops one slot, running or queued.
        Leave(proptest::sample::Index),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let enter = (0..4_u8, 0..4_u32, 0..6_usize).prop_map(|(account, for_account, waiting)| Step::Enter {
            account,
            for_account,
            waiting,
        });
        proptest::collection::vec(
            prop_oneof![3 => enter, 2 => any::<proptest::sample::Index>().prop_map(Step::Leave)],
            1..200,
        )
    }

    proptest! {
        /// The limits are never exceeded, no slot stays free that a queued generation may take, and no state remains.
        #[test]
        fn slots_are_never_overcommitted_idle_or_leaked(in_all in 0..4_u32, steps in steps()) {
            let (slots, mut there) = (Arc::<GenerationSlots>::default(), Vec::new());
            for step in steps {
                match step {
                    Step::Enter { account: number, for_account, waiting } => {
                        let room = Room { waiting, ..room(for_account, in_all) };
                        if let Ok(slot) = enter(&slots, account(number), room) {
                            there.push((slot, for_account));
                        }
                    }
                    Step::Leave(index) if !there.is_empty() => drop(there.swap_remove(index.index(there.len()))),
                    Step::Leave(_) => {}
                }
                let running = |of: Option<&Account>| {
                    there.iter().filter(|(slot, _)| position(slot) == 0 && of.is_none_or(|of| slot.account == *of)).count()
                };
                let waits = there.iter().filter(|(slot, _)| (1..u32::MAX).contains(&position(slot))).count();
                prop_assert_eq!(slots.count(), (running(None), waits));
                prop_assert!(in_all == 0 || running(None) <= in_all as usize);
                let all_taken = in_all != 0 && running(None) == in_all as usize;
                for (slot, limit) in &there {
                    // The first queued generation of an account waits only if a limit is reached.
                    let first = slots.lock().line.first_of_each().find(|(account, _)| **account == slot.account).map(|(_, first)| first.id);
                    if first == Some(slot.id) {
                        let own_taken = *limit != 0 && running(Some(&slot.account)) >= *limit as usize;
                        prop_assert!(all_taken || own_taken);
                    }
                }
                let mut waiting: Vec<_> = there.iter().map(|(slot, _)| position(slot)).filter(|position| (1..u32::MAX).contains(position)).collect();
                waiting.sort_unstable();
                prop_assert!(waiting.first().is_none_or(|first| *first == 1), "some generation is next");
            }
            drop(there);
            prop_assert_eq!(slots.count(), (0, 0));
            prop_assert!(is_clear(&slots));
        }
    }
}
