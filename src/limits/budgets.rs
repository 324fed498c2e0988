//! What the callers of one process have spent in the current day and month.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::exceeded::{BudgetExceeded, LimitError};
use super::policy::GenerationDemand;
use crate::domain::{Account, BudgetPeriod, Day, Month, Principal, Timestamp, Usd};

/// The spending of authenticated callers. Also counts callers without a budget, so that one that a reload sets applies
/// to the whole period.
pub struct Budgets {
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    spending: Arc<Mutex<HashMap<Account, Spending>>>,
}

/// What an account has spent or reserved in the latest day and the latest month in which it has reserved something.
#[derive(Debug, Clone, Copy)]
struct Spending {
    day: Day,
    in_day: Usd,
    month: Month,
    in_month: Usd,
}

/// The reservation of one generation. Dropping it unsettled refunds it.
#[derive(Debug)]
pub struct BudgetReservation {
    spending: Arc<Mutex<HashMap<Account, Spending>>>,
    account: Account,
    day: Day,
    month: Month,
    amount: Usd,
}

/// Accounts whose spending is kept: about 20 MB. Above it, callers with a budget are refused, since an account that is
/// forgotten could spend its budget again. Others are then not counted.
const MAX_ACCOUNTS: usize = 100_000;

impl Budgets {
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { now: Box::new(now), spending: Arc::default() }
    }

    /// Adds what was spent before this process began.
    pub fn restore(&self, principal: Principal, day: Day, amount: Usd) {
        let now = (self.now)();
        let mut all = self.lock();
        let current = all.entry(Account::Principal(principal)).or_insert_with(|| Spending::begin(now));
        current.change(day, Month::of(day.begin()), |spent| spent.plus(amount));
    }

    /// Reserves what the generation may cost.
    ///
    /// # Errors
    ///
    /// If the caller's budget leaves less; reserves nothing then.
    pub fn reserve(&self, demand: &GenerationDemand) -> Result<Option<BudgetReservation>, LimitError> {
        let (account, budget, amount) = (&demand.spender.account, demand.spender.budget(), demand.cost);
        let Account::Principal(Principal::Key(_) | Principal::Subject { .. }) = account else { return Ok(None) };
        let now = (self.now)();
        let mut all = self.lock();
        if !all.contains_key(account) && all.len() >= MAX_ACCOUNTS {
            all.retain(|_, spending| spending.month >= Month::of(now));
            if all.len() >= MAX_ACCOUNTS {
                return if budget.is_some() { Err(LimitError::Unavailable) } else { Ok(None) };
            }
        }
        let spending = all.entry(account.clone()).or_insert_with(|| Spending::begin(now));
        spending.advance(now);
        if let Some(budget) = budget {
            let spent = spending.of(budget.per);
            if spent.plus(amount) > budget.most {
                return Err(BudgetExceeded { budget, spent, wanted: amount, at: now }.into());
            }
        }
        let Spending { day, month, .. } = *spending;
        spending.change(day, month, |spent| spent.plus(amount));
        Ok(Some(BudgetReservation {
            spending: Arc::clone(&self.spending),
            account: account.clone(),
            day,
            month,
            amount,
        }))
    }

    /// Returns what an account has spent or reserved in the current period.
    pub fn spent(&self, account: &Account, per: BudgetPeriod) -> Usd {
        let now = (self.now)();
        let mut spending = self.lock().get(account).copied().unwrap_or_else(|| Spending::begin(now));
        spending.advance(now);
        spending.of(per)
    }

    /// Removes accounts that have spent nothing in the current month.
    pub fn sweep(&self) {
        let month = Month::of((self.now)());
        let mut all = self.lock();
        all.retain(|_, spending| spending.month >= month && spending.in_month > Usd::default());
        all.shrink_to_fit();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Account, Spending>> {
        self.spending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spending {
    fn begin(now: Timestamp) -> Self {
        Self { day: Day::of(now), in_day: Usd::default(), month: Month::of(now), in_month: Usd::default() }
    }

    /// Begins a new period if it is time. A clock that is set back changes nothing.
    fn advance(&mut self, now: Timestamp) {
        let Self { day, month, .. } = Self::begin(now);
        if day > self.day {
            (self.day, self.in_day) = (day, Usd::default());
        }
        if month > self.month {
            (self.month, self.in_month) = (month, Usd::default());
        }
    }

    /// Changes the amounts of these periods, unless they are over.
    fn change(&mut self, day: Day, month: Month, change: impl Fn(Usd) -> Usd) {
        if self.day == day {
            self.in_day = change(self.in_day);
        }
        if self.month == month {
            self.in_month = change(self.in_month);
        }
    }

    const fn of(&self, per: BudgetPeriod) -> Usd {
        match per {
            BudgetPeriod::Day => self.in_day,
            BudgetPeriod::Month => self.in_month,
        }
    }
}

impl BudgetReservation {
    /// Replaces the reserved amount by the cost, in the periods in which it was reserved; `None`: the whole reservation
    /// counts as spent.
    pub fn settle(mut self, cost: Option<Usd>) {
        self.replace(cost.unwrap_or(self.amount));
    }

    /// Afterwards nothing is reserved.
    fn replace(&mut self, cost: Usd) {
        let reserved = std::mem::take(&mut self.amount);
        let mut all = self.spending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spending) = all.get_mut(&self.account) {
            spending.change(self.day, self.month, |spent| spent.minus(reserved).plus(cost));
        } else if cost > Usd::default() {
            // Nothing was reserved, so that the account was removed meanwhile.
            let Self { day, month, .. } = *self;
            all.insert(self.account.clone(), Spending { day, in_day: cost, month, in_month: cost });
        }
    }
}

impl Drop for BudgetReservation {
    fn drop(&mut self) {
        self.replace(Usd::default());
    }
}

impl Default for Budgets {
    fn default() -> Self {
        Self::new(Timestamp::now)
    }
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::domain::{Budget, Quota};
    use crate::limits::{ExceededLimit, Spender, WaitPolicy};

    /// Budgets whose clock a test sets, and the clock.
    fn budgets(now: &str) -> (Budgets, impl Fn(&str)) {
        let clock = Arc::new(AtomicU64::new(millis(now)));
        let read = Arc::clone(&clock);
        let budgets = Budgets::new(move || Timestamp::from_millis(read.load(Ordering::SeqCst)));
        (budgets, move |now: &str| clock.store(millis(now), Ordering::SeqCst))
    }

    fn millis(text: &str) -> u64 {
        Timestamp::from(humantime::parse_rfc3339(text).expect("a time")).millis()
    }

    fn key(name: &str) -> Principal {
        Principal::Key(name.into())
    }

    fn demand(account: Account, budget: Option<(u64, BudgetPeriod)>, cost: u64) -> GenerationDemand {
        let budget = budget.map(|(most, per)| Budget { most: Usd::from_nanos(most), per });
        let spender = Spender::new(account, Quota::NONE, Arc::default()).with_budget(budget);
        let cost = Usd::from_nanos(cost);
        GenerationDemand { spender, model: "m".into(), tokens: 0, cost, wait_policy: WaitPolicy::Refuses }
    }

    fn of_key(per: BudgetPeriod, most: u64, cost: u64) -> GenerationDemand {
        demand(Account::Principal(key("a")), Some((most, per)), cost)
    }

    /// What is spent in the day and in the month.
    fn spent(budgets: &Budgets) -> [u64; 2] {
        [BudgetPeriod::Day, BudgetPeriod::Month].map(|per| budgets.spent(&Account::Principal(key("a")), per).nanos())
    }

    #[test]
    fn day_is_whole_again_at_midnight_in_utc_and_the_month_on_its_first() {
        let (budgets, set) = budgets("2026-12-30T23:59:59.999Z");
        let reserve = |per, cost| budgets.reserve(&of_key(per, 1_000, cost));
        reserve(BudgetPeriod::Day, 1_000).expect("enough").expect("counted").settle(None);
        let Err(LimitError::Exceeded(refused)) = reserve(BudgetPeriod::Day, 1) else { panic!("none is left") };
        let ExceededLimit::Budget(refused) = refused.limit else { panic!("{refused:?}") };
        assert_eq!(refused.resets_at().to_string(), "2026-12-31T00:00:00.000Z");
        set("2026-12-31T00:00:00.000Z");
        assert_eq!(spent(&budgets), [0, 1_000]);
        reserve(BudgetPeriod::Day, 600).expect("a new day").expect("counted").settle(None);
        let Err(LimitError::Exceeded(refused)) = reserve(BudgetPeriod::Month, 1) else { panic!("the same month") };
        let ExceededLimit::Budget(refused) = refused.limit else { panic!("{refused:?}") };
        assert_eq!(refused.resets_at().to_string(), "2027-01-01T00:00:00.000Z");
        set("2027-01-01T00:00:00.000Z");
        assert_eq!(spent(&budgets), [0, 0]);
        assert!(reserve(BudgetPeriod::Month, 1_000).is_ok());
        // A clock that is set back does not bring the money of the last period back.
        reserve(BudgetPeriod::Day, 100).expect("enough").expect("counted").settle(None);
        set("2026-12-31T23:00:00.000Z");
        assert_eq!(spent(&budgets), [100, 100]);
    }

    #[test]
    fn generation_counts_in_the_periods_in_which_it_was_admitted() {
        let (budgets, set) = budgets("2026-12-30T23:00:00.000Z");
        let over_midnight = budgets.reserve(&of_key(BudgetPeriod::Day, 1_000, 500)).expect("enough");
        set("2026-12-31T01:00:00.000Z");
        let today = budgets.reserve(&of_key(BudgetPeriod::Day, 1_000, 1_000)).expect("a new day");
        over_midnight.expect("counted").settle(Some(Usd::from_nanos(700)));
        assert_eq!(spent(&budgets), [1_000, 1_700]);
        set("2027-01-01T01:00:00.000Z");
        drop(today);
        assert_eq!(spent(&budgets), [0, 0]);
    }

    #[test]
    fn spending_before_a_budget_or_before_the_process_counts_in_the_whole_period() {
        let (budgets, _) = budgets("2026-12-15T12:00:00.000Z");
        let day = |text: &str| text.parse().expect("a day");
        for (on, nanos) in [("2026-12-15", 1), ("2026-12-14", 2), ("2026-11-30", 4)] {
            budgets.restore(key("a"), day(on), Usd::from_nanos(nanos));
        }
        assert_eq!(spent(&budgets), [1, 3]);
        let without = demand(Account::Principal(key("a")), None, 10);
        budgets.reserve(&without).expect("no budget").expect("counted").settle(None);
        assert_eq!(spent(&budgets), [11, 13]);
        assert!(budgets.reserve(&of_key(BudgetPeriod::Day, 12, 2)).is_err());
    }

    #[test]
    fn account_is_kept_while_it_has_spent_something_this_month() {
        let (budgets, set) = budgets("2026-12-15T12:00:00.000Z");
        let idle = budgets.reserve(&demand(Account::Principal(key("idle")), None, 0)).expect("no budget");
        let address = Account::of_address([192, 0, 2, 1].into());
        assert!(budgets.reserve(&demand(address, None, 1)).expect("no budget").is_none(), "not authenticated");
        budgets.restore(key("a"), "2026-12-01".parse().expect("a day"), Usd::from_nanos(5));
        budgets.sweep();
        assert_eq!(budgets.lock().len(), 1);
        assert_eq!(spent(&budgets), [0, 5]);
        idle.expect("counted").settle(Some(Usd::from_nanos(3)));
        assert_eq!(budgets.lock().len(), 2, "its cost is known only now");
        set("2027-01-01T00:00:00.000Z");
        budgets.sweep();
        assert_eq!(budgets.lock().len(), 0);
    }

    #[test]
    fn caller_with_a_budget_is_refused_if_there_is_no_room_to_count_it() {
        let (budgets, set) = budgets("2026-12-15T12:00:00.000Z");
        let day = "2026-12-15".parse().expect("a day");
        for number in 0..MAX_ACCOUNTS {
            budgets.restore(key(&format!("k{number}")), day, Usd::from_nanos(1));
        }
        assert_eq!(budgets.reserve(&of_key(BudgetPeriod::Day, 10, 1)).err(), Some(LimitError::Unavailable));
        assert!(matches!(budgets.reserve(&demand(Account::Principal(key("a")), None, 1)), Ok(None)));
        set("2027-01-01T00:00:00.000Z");
        assert!(budgets.reserve(&of_key(BudgetPeriod::Day, 10, 1)).is_ok());
    }
}
