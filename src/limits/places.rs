//! Who may run a generation now, and who waits for whom.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::{Account, Lookup};

/// The places at which generations run: so many for each account, and so many in all.
///
/// Accounts that wait take turns, one generation each; within an account who came first is first. An account that
/// has all its places is passed over, and keeps its turn. Where nobody else may wait, one of an account that has fewer in
/// the line displaces the last of that which has most: nobody can fill the line for all.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<Mutex<State>>);

/// A generation's place, or its place in the line for one. Dropping it gives it to the next.
#[derive(Debug)]
pub struct Place {
    places: Places,
    account: Account,
    number: u64,
    /// Absent where it was a place at once.
    turn: Option<watch::Receiver<Turn>>,
    granted: Option<Instant>,
}

/// Where a generation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Waiting(Ahead),
    Granted,
    /// Another account, which had fewer in the line, has taken its place there.
    Displaced,
}

/// Whether a wait has come to its end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    Granted,
    Displaced,
}

/// How long a generation may still wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ahead {
    /// 1: the next.
    pub position: u32,
    /// As long as places are held as long as they were lately; unknown before one was given back.
    pub eta: Option<Duration>,
}

/// How many there are, for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    pub for_account: Option<NonZeroU32>,
    pub in_all: Option<NonZeroU32>,
    /// Who may wait, all accounts together; 0 for who does not want to.
    pub waiting: usize,
}

/// There is no place, and none to wait either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// When there may be one, where that is known.
    pub eta: Option<Duration>,
}

#[derive(Debug, Default)]
struct State {
    in_all: Option<NonZeroU32>,
    running: usize,
    waiting: usize,
    lines: Lookup<Account, Line>,
    /// The accounts that wait, the next first.
    turns: VecDeque<Account>,
    held: Option<Duration>,
    last_number: u64,
}

#[derive(Debug, Default)]
struct Line {
    running: usize,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    for_account: Option<NonZeroU32>,
    turn: watch::Sender<Turn>,
}

/// The weight of the latest in the mean time for which a place is held: one of so many.
const MEMORY: u32 = 8;

impl Places {
    /// A place, or one in the line.
    pub fn enter(&self, account: Account, room: Room) -> Result<Place, Full> {
        let mut state = self.lock();
        state.in_all = room.in_all;
        state.last_number += 1;
        let number = state.last_number;
        if state.take(&account, room) {
            drop(state);
            return Ok(Place { places: self.clone(), account, number, turn: None, granted: Some(Instant::now()) });
        }
        let (sender, turn) = watch::channel(Turn::Waiting(Ahead::default()));
        let line = state.lines.entry(account.clone()).or_default();
        line.waiting.push_back(Waiting { number, for_account: room.for_account, turn: sender });
        let is_first = line.waiting.len() == 1;
        if is_first {
            state.turns.push_back(account.clone());
        }
        state.waiting += 1;
        state.grant();
        let granted = *turn.borrow() == Turn::Granted;
        if !granted && state.waiting > room.waiting && !(room.waiting > 0 && state.displace(&account)) {
            let ahead = state.ahead_of(&account, number);
            state.withdraw(&account, number);
            return Err(Full { eta: ahead.and_then(|ahead| ahead.eta) });
        }
        state.tell();
        drop(state);
        Ok(Place { places: self.clone(), account, number, turn: Some(turn), granted: granted.then(Instant::now) })
    }

    /// Those that run, and those that wait.
    pub fn count(&self) -> (usize, usize) {
        let state = self.lock();
        (state.running, state.waiting)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub const fn is_granted(&self) -> bool {
        self.granted.is_some()
    }

    /// Resolves when it is a place to run, or none in the line any more.
    pub async fn granted(&mut self) -> Waited {
        let Some(turn) = &mut self.turn else { return Waited::Granted };
        // The sender says it before it goes.
        let turn = turn.wait_for(|turn| !matches!(turn, Turn::Waiting(_))).await;
        if turn.is_ok_and(|turn| *turn == Turn::Granted) {
            self.granted.get_or_insert_with(Instant::now);
            Waited::Granted
        } else {
            Waited::Displaced
        }
    }

    /// Where it stands, now and whenever that changes, if it has ever stood in the line.
    pub fn turn(&self) -> Option<watch::Receiver<Turn>> {
        self.turn.clone()
    }

    fn stands(&self) -> Turn {
        self.turn.as_ref().map_or(Turn::Granted, |turn| *turn.borrow())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        let stands = self.stands();
        let waited = matches!(stands, Turn::Waiting(_)) && state.withdraw(&self.account, self.number);
        if stands != Turn::Displaced && !waited {
            state.leave(&self.account, self.granted.map(|granted| granted.elapsed()));
        }
        state.grant();
        state.tell();
    }
}

impl State {
    /// Takes a place for who comes where nobody waits; whether there was one.
    fn take(&mut self, account: &Account, room: Room) -> bool {
        let is_free = self.turns.is_empty() && has_room(self.running, room.in_all);
        let running = self.lines.get(account).map_or(0, |line| line.running);
        if !is_free || !has_room(running, room.for_account) {
            return false;
        }
        self.lines.entry(account.clone()).or_default().running += 1;
        self.running += 1;
        true
    }

    /// Gives every free place to whose turn it is.
    fn grant(&mut self) {
        while has_room(self.running, self.in_all) {
            let Some(at) = self.turns.iter().position(|account| self.has_room(account)) else { return };
            let Some(account) = self.turns.remove(at) else { return };
            let Some(line) = self.lines.get_mut(&account) else { continue };
            let Some(next) = line.waiting.pop_front() else { continue };
            line.running += 1;
            self.running += 1;
            self.waiting -= 1;
            if !line.waiting.is_empty() {
                self.turns.push_back(account);
            }
            next.turn.send_replace(Turn::Granted);
        }
    }

    /// Whether the first of this account's line would be within its limit.
    fn has_room(&self, account: &Account) -> bool {
        self.lines.get(account).is_some_and(Line::has_room)
    }

    /// Takes one out of the line; whether it stood there.
    fn withdraw(&mut self, account: &Account, number: u64) -> bool {
        let Some(line) = self.lines.get_mut(account) else { return false };
        let Some(at) = line.waiting.iter().position(|waiting| waiting.number == number) else { return false };
        line.waiting.remove(at);
        self.waiting -= 1;
        if line.waiting.is_empty() {
            self.turns.retain(|turn| turn != account);
        }
        self.tidy(account);
        true
    }

    /// Makes room in the line for this account's latest; whether another has more in it.
    fn displace(&mut self, account: &Account) -> bool {
        let own = self.lines.get(account).map_or(0, |line| line.waiting.len());
        let longest =
            self.turns.iter().max_by_key(|account| self.lines.get(account).map_or(0, |line| line.waiting.len()));
        let Some(longest) = longest.cloned() else { return false };
        let Some(line) = self.lines.get_mut(&longest).filter(|line| line.waiting.len() > own) else { return false };
        let Some(last) = line.waiting.pop_back() else { return false };
        self.waiting -= 1;
        last.turn.send_replace(Turn::Displaced);
        true
    }

    /// Takes back a place that was granted.
    fn leave(&mut self, account: &Account, held: Option<Duration>) {
        if let Some(line) = self.lines.get_mut(account) {
            line.running -= 1;
            self.running -= 1;
        }
        if let Some(held) = held {
            self.held = Some(self.held.map_or(held, |mean| (mean * (MEMORY - 1) + held) / MEMORY));
        }
        self.tidy(account);
    }

    fn tidy(&mut self, account: &Account) {
        if self.lines.get(account).is_some_and(|line| line.running == 0 && line.waiting.is_empty()) {
            self.lines.remove(account);
        }
    }

    /// Tells everybody who waits where they stand.
    fn tell(&self) {
        self.each_waiting(|_, waiting, ahead| {
            waiting.turn.send_if_modified(|turn| std::mem::replace(turn, Turn::Waiting(ahead)) != Turn::Waiting(ahead));
        });
    }

    fn ahead_of(&self, account: &Account, number: u64) -> Option<Ahead> {
        let mut found = None;
        self.each_waiting(|of, waiting, ahead| {
            if of == account && waiting.number == number {
                found = Some(ahead);
            }
        });
        found
    }

    /// In the order in which they would be served. Who waits for a place of its own account alone waits for no
    /// other.
    fn each_waiting<'a>(&'a self, mut each: impl FnMut(&'a Account, &'a Waiting, Ahead)) {
        let mut shared = 0;
        let lines = self.turns.iter().filter_map(|account| self.lines.get(account));
        let longest = lines.map(|line| line.waiting.len()).max().unwrap_or_default();
        for round in 0..longest {
            for account in &self.turns {
                let Some(line) = self.lines.get(account) else { continue };
                let Some(waiting) = line.waiting.get(round) else { continue };
                let own = waiting.for_account.filter(|_| !line.has_room());
                let (position, of) = if let Some(own) = own {
                    (round + 1, Some(own))
                } else {
                    shared += 1;
                    (shared, self.in_all)
                };
                let position = u32::try_from(position).unwrap_or(u32::MAX);
                let eta = self.held.zip(of).map(|(held, of)| held.saturating_mul(position) / of.get());
                each(account, waiting, Ahead { position, eta });
            }
        }
    }
}

impl Line {
    fn has_room(&self) -> bool {
        let limit = self.waiting.front().and_then(|first| first.for_account);
        has_room(self.running, limit)
    }
}

fn has_room(running: usize, most: Option<NonZeroU32>) -> bool {
    most.is_none_or(|most| running < most.get() as usize)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    fn account(number: u8) -> Account {
        Account::of_address([192, 0, 2, number].into())
    }

    fn room(for_account: u32, in_all: u32) -> Room {
        Room { for_account: NonZeroU32::new(for_account), in_all: NonZeroU32::new(in_all), waiting: 100 }
    }

    fn position(place: &Place) -> u32 {
        match place.stands() {
            Turn::Waiting(ahead) => ahead.position,
            Turn::Granted => 0,
            Turn::Displaced => u32::MAX,
        }
    }

    fn is_clear(places: &Places) -> bool {
        let state = places.lock();
        state.lines.is_empty() && state.turns.is_empty()
    }

    fn positions<'a>(places: impl IntoIterator<Item = &'a Place>) -> Vec<u32> {
        places.into_iter().map(position).collect()
    }

    #[test]
    fn two_accounts_take_turns_and_each_serves_its_first_first() {
        let places = Places::default();
        let enter = |number| places.enter(account(number), room(0, 1)).expect("room to wait");
        let running = enter(9);
        let mut crowd: Vec<_> = [1, 1, 1, 1, 2, 2].map(enter).into();
        assert_eq!(positions(&crowd), [1, 3, 5, 6, 2, 4], "the late one does not wait for all of the early one's");
        drop(running);
        let mut served = Vec::new();
        while let Some(next) = crowd.iter().position(|place| position(place) == 0) {
            served.push(crowd.remove(next).account.clone());
        }
        assert_eq!(served, [1, 2, 1, 2, 1, 1].map(account));
        assert_eq!(places.count(), (0, 0));
        assert!(is_clear(&places));
    }

    #[test]
    fn an_account_at_its_limit_is_passed_over_and_keeps_its_turn() {
        let places = Places::default();
        let enter = |number| places.enter(account(number), room(1, 2)).expect("room to wait");
        let (one, waits) = (enter(1), enter(1));
        assert_eq!(positions([&one, &waits]), [0, 1]);
        let two = enter(2);
        assert_eq!(position(&two), 0, "there is a place for another");
        let three = enter(3);
        assert_eq!(positions([&waits, &three]), [1, 1], "each waits for another place");
        drop(two);
        assert_eq!(positions([&waits, &three]), [1, 0]);
        drop(one);
        assert_eq!(position(&waits), 0);
    }

    #[test]
    fn who_does_not_want_to_wait_or_finds_no_room_takes_nothing() {
        let places = Places::default();
        let enter = |waiting| places.enter(account(1), Room { waiting, ..room(1, 0) });
        let running = enter(0).expect("a place");
        assert!(enter(0).is_err());
        let waits = enter(1).expect("room to wait");
        assert!(enter(1).is_err());
        assert_eq!(places.count(), (1, 1));
        drop(running);
        assert_eq!((places.count(), position(&waits)), ((1, 0), 0));
    }

    #[test]
    fn nobody_fills_the_line_for_all() {
        let places = Places::default();
        let enter = |number| places.enter(account(number), Room { waiting: 4, ..room(0, 1) });
        let running = enter(1).expect("a place");
        let many: Vec<_> = (0..4).map(|_| enter(1).expect("room to wait")).collect();
        assert!(enter(1).is_err(), "not even for itself");
        let other = [enter(2).expect("one that has more makes room"), enter(2).expect("and again")];
        assert_eq!(positions(&many), [1, 3, u32::MAX, u32::MAX], "the last of the longest line have gone");
        assert_eq!(positions(&other), [2, 4]);
        assert!(enter(2).is_err(), "as many as the other has");
        assert_eq!(places.count(), (1, 4));
        drop((running, many, other));
        assert_eq!(places.count(), (0, 0));
        assert!(is_clear(&places));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_of_the_wait_is_what_places_were_held_for_lately() {
        let places = Places::default();
        let enter = || places.enter(account(1), room(0, 2)).expect("room to wait");
        let eta = |place: &Place| match place.stands() {
            Turn::Waiting(ahead) => ahead.eta,
            Turn::Granted | Turn::Displaced => None,
        };
        let (first, second, waits) = (enter(), enter(), enter());
        assert_eq!(eta(&waits), None, "nobody knows yet");
        advance(Duration::from_secs(10)).await;
        let last = enter();
        drop(first);
        assert_eq!((eta(&waits), eta(&last)), (None, Some(Duration::from_secs(5))));
        drop(second);
    }

    #[tokio::test]
    async fn a_place_that_is_granted_says_so_whoever_waits_for_it() {
        let places = Places::default();
        let running = places.enter(account(1), room(1, 0)).expect("a place");
        let mut waits = places.enter(account(1), room(1, 0)).expect("room to wait");
        assert!(running.is_granted() && !waits.is_granted());
        assert_eq!(waits.granted().now_or_never(), None);
        drop(running);
        assert_eq!(waits.granted().await, Waited::Granted);
        assert!(waits.is_granted());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enter {
            account: u8,
            for_account: u32,
            waiting: usize,
        },
        /// One of those there, running or waiting.
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
        /// Never more than there are places; none is free that somebody could have; nothing is left behind.
        #[test]
        fn places_are_never_overdrawn_left_free_or_lost(in_all in 0..4_u32, steps in steps()) {
            let (places, mut there) = (Places::default(), Vec::new());
            for step in steps {
                match step {
                    Step::Enter { account: number, for_account, waiting } => {
                        let room = Room { waiting, ..room(for_account, in_all) };
                        if let Ok(place) = places.enter(account(number), room) {
                            there.push((place, for_account));
                        }
                    }
                    Step::Leave(index) if !there.is_empty() => drop(there.swap_remove(index.index(there.len()))),
                    Step::Leave(_) => {}
                }
                let running = |of: Option<&Account>| {
                    there.iter().filter(|(place, _)| position(place) == 0 && of.is_none_or(|of| place.account == *of)).count()
                };
                let waits = there.iter().filter(|(place, _)| (1..u32::MAX).contains(&position(place))).count();
                prop_assert_eq!(places.count(), (running(None), waits));
                prop_assert!(in_all == 0 || running(None) <= in_all as usize);
                let all_taken = in_all != 0 && running(None) == in_all as usize;
                for (place, limit) in &there {
                    // The first of its line, if it waits, waits for a reason.
                    let first = places.lock().lines.get(&place.account).and_then(|line| line.waiting.front().map(|first| first.number));
                    if first == Some(place.number) {
                        let own_taken = *limit != 0 && running(Some(&place.account)) >= *limit as usize;
                        prop_assert!(all_taken || own_taken);
                    }
                }
                let mut waiting: Vec<_> = there.iter().map(|(place, _)| position(place)).filter(|position| (1..u32::MAX).contains(position)).collect();
                waiting.sort_unstable();
                prop_assert!(waiting.first().is_none_or(|first| *first == 1), "somebody is the next");
            }
            drop(there);
            prop_assert_eq!(places.count(), (0, 0));
            prop_assert!(is_clear(&places));
        }
    }
}
