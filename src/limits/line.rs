//! The generations of this process that wait for a slot, in the order of service.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::watch;

use super::queue::{QueuePosition, QueueState};
use crate::domain::{Account, GenerationId, Lookup};

/// Waiting accounts are served round-robin, one generation each; within an account, first come, first served.
///
/// The line does not know which slots are taken: its owner does.
#[derive(Debug, Default)]
pub struct WaitingLine {
    queues: Lookup<Account, VecDeque<Waiting>>,
    /// Accounts with waiting generations in round-robin order, the next first.
    round_robin: VecDeque<Account>,
    waiting: usize,
    mean_held: Option<Duration>,
}

/// A generation that waits for a slot.
#[derive(Debug)]
pub struct Waiting {
    pub id: GenerationId,
    /// The limit of its account.
    pub for_account: Option<NonZeroU32>,
    queue_state: watch::Sender<QueueState>,
}

/// What the positions in the line depend on.
pub struct Standing<F: Fn(&Account, Option<NonZeroU32>) -> bool> {
    /// Slots of all accounts together.
    pub in_all: Option<NonZeroU32>,
    /// Returns whether as many generations of the account run as this limit of its first waiting one allows.
    pub is_at_limit: F,
}

/// The latest slot has a weight of `1 / MEMORY` in the mean time for which a slot is held.
const MEMORY: u32 = 8;

impl WaitingLine {
    pub const fn len(&self) -> usize {
        self.waiting
    }

    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Adds a generation behind those of its account.
    pub fn push(
        &mut self,
        account: &Account,
        id: GenerationId,
        for_account: Option<NonZeroU32>,
    ) -> watch::Receiver<QueueState> {
        let (sender, queue_state) = watch::channel(QueueState::Waiting(QueuePosition::default()));
        let queue = self.queues.entry(account.clone()).or_default();
        queue.push_back(Waiting { id, for_account, queue_state: sender });
        if queue.len() == 1 {
            self.round_robin.push_back(account.clone());
        }
        self.waiting += 1;
        queue_state
    }

    /// Returns the number of waiting generations of an account.
    pub fn of(&self, account: &Account) -> usize {
        self.queues.get(account).map_or(0, VecDeque::len)
    }

    /// Returns the first generation of each account, in turn.
    pub fn first_of_each(&self) -> impl Iterator<Item = (&Account, &Waiting)> {
        self.round_robin.iter().filter_map(|account| Some((account, self.queues.get(account)?.front()?)))
    }

    /// Tells a waiting generation that it has a slot, and moves its account to the end of the turns. Returns whether it
    /// was waiting.
    pub fn grant(&mut self, account: &Account, id: GenerationId) -> bool {
        let Some(granted) = self.withdraw(account, id) else { return false };
        if let Some(at) = self.round_robin.iter().position(|turn| turn == account)
            && let Some(account) = self.round_robin.remove(at)
        {
            self.round_robin.push_back(account);
        }
        granted.queue_state.send_replace(QueueState::Granted);
        true
    }

    /// Removes a generation, if it is waiting.
    pub fn withdraw(&mut self, account: &Account, id: GenerationId) -> Option<Waiting> {
        let queue = self.queues.get_mut(account)?;
        let at = queue.iter().position(|waiting| waiting.id == id)?;
        let withdrawn = queue.remove(at);
        self.waiting -= 1;
        if queue.is_empty() {
            self.queues.remove(account);
            self.round_robin.retain(|turn| turn != account);
        }
        withdrawn
    }

    /// Displaces the last waiting generation of the account with the most, if that has more than `account`. Returns
    /// whether one was displaced.
    pub fn displace(&mut self, account: &Account) -> bool {
        let own = self.of(account);
        let Some(longest) = self.longest().filter(|longest| self.of(longest) > own).cloned() else { return false };
        let Some(last) = self.queues.get_mut(&longest).and_then(VecDeque::pop_back) else { return false };
        self.waiting -= 1;
        last.queue_state.send_replace(QueueState::Displaced);
        true
    }

    /// Returns the account with the most waiting generations.
    pub fn longest(&self) -> Option<&Account> {
        self.round_robin.iter().max_by_key(|account| self.of(account))
    }

    /// Adds the time for which a slot was held to the mean.
    pub fn learn(&mut self, held: Duration) {
        self.mean_held = Some(self.mean_held.map_or(held, |mean| (mean * (MEMORY - 1) + held) / MEMORY));
    }

    /// Sends each waiting generation its current position.
    pub fn notify<F: Fn(&Account, Option<NonZeroU32>) -> bool>(&self, standing: &Standing<F>) {
        self.each(standing, |waiting, ahead| {
            waiting.queue_state.send_if_modified(|queue_state| {
                std::mem::replace(queue_state, QueueState::Waiting(ahead)) != QueueState::Waiting(ahead)
            });
        });
    }

    pub fn ahead_of<F: Fn(&Account, Option<NonZeroU32>) -> bool>(
        &self,
        id: GenerationId,
        standing: &Standing<F>,
    ) -> Option<QueuePosition> {
        let mut found = None;
        self.each(standing, |waiting, ahead| {
            if waiting.id == id {
                found = Some(ahead);
            }
        });
        found
    }

    /// Visits the waiting generations in the order of service. A generation that waits only for its own account's limit
    /// has its position within that account.
    fn each<'a, F: Fn(&Account, Option<NonZeroU32>) -> bool>(
        &'a self,
        standing: &Standing<F>,
        mut visit: impl FnMut(&'a Waiting, QueuePosition),
    ) {
        let queues = self.first_of_each().filter_map(|(account, first)| {
            let is_at_limit = (standing.is_at_limit)(account, first.for_account);
            Some((self.queues.get(account)?, is_at_limit))
        });
        let queues: Vec<_> = queues.collect();
        let longest = queues.iter().map(|(queue, _)| queue.len()).max().unwrap_or_default();
        let mut shared = 0;
        for round in 0..longest {
            for (queue, is_at_limit) in &queues {
                let Some(waiting) = queue.get(round) else { continue };
                let own = waiting.for_account.filter(|_| *is_at_limit);
                let (position, of) = if let Some(own) = own {
                    (round + 1, Some(own))
                } else {
                    shared += 1;
                    (shared, standing.in_all)
                };
                let position = u32::try_from(position).unwrap_or(u32::MAX);
                let eta = self.mean_held.zip(of).map(|(held, of)| held.saturating_mul(position) / of.get());
                visit(waiting, QueuePosition { position, eta });
            }
        }
    }
}
