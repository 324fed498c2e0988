//! Sums of usage by day, caller, model and upstream.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::attempt::{AttemptSubject, OTHER};
use super::totals::UsageTotals;
use crate::domain::{Day, Principal};

/// The sums of the latest days. Bounded: callers that are too many share the rows of [`UsageCaller::Others`], and models of a caller
/// that are too many share the name `other`.
#[derive(Debug, Default)]
pub struct UsageSums {
    days: BTreeMap<Day, DaySums>,
    rows: usize,
}

#[derive(Debug, Default)]
struct DaySums {
    callers: HashMap<Principal, BTreeMap<ModelKey, UsageTotals>>,
    others: UsageTotals,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ModelKey {
    model: Arc<str>,
    upstream: Arc<str>,
}

/// The caller of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UsageCaller {
    Principal(Principal),
    /// Callers beyond the number of rows that are kept.
    Others,
}

/// A day, caller, model and upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SumRow {
    pub day: Day,
    pub caller: UsageCaller,
    pub model: Arc<str>,
    pub upstream: Arc<str>,
}

/// The sums of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageEntry {
    pub row: SumRow,
    pub totals: UsageTotals,
}

/// The days that are kept.
pub const KEPT_DAYS: u64 = 62;
/// The rows of all days.
pub const MOST_ROWS: usize = 20_000;
/// The rows of a caller on one day.
const MOST_ROWS_OF_CALLER: usize = 100;

impl UsageSums {
    /// Adds the totals, and returns the row that has them; `None` if the day is no longer kept.
    pub fn add(&mut self, day: Day, subject: &AttemptSubject, totals: &UsageTotals) -> Option<SumRow> {
        let newest = self.days.last_key_value().map_or(day, |(newest, _)| day.max(*newest));
        if day < oldest_kept(newest) {
            return None;
        }
        self.remove_before(oldest_kept(newest));
        if self.rows >= MOST_ROWS {
            self.merge_callers_of_oldest_day(newest);
        }
        let has_room = self.rows < MOST_ROWS;
        let sums = self.days.entry(day).or_default();
        let Some(models) = of_caller(&mut sums.callers, &subject.principal, has_room) else {
            sums.others.add(totals);
            let other: Arc<str> = OTHER.into();
            let (model, upstream) = (Arc::clone(&other), other);
            return Some(SumRow { day, caller: UsageCaller::Others, model, upstream });
        };
        let mut key = ModelKey { model: Arc::clone(&subject.model), upstream: Arc::clone(&subject.upstream) };
        if !models.contains_key(&key) && (models.len() >= MOST_ROWS_OF_CALLER || !has_room) {
            key = ModelKey { model: OTHER.into(), upstream: OTHER.into() };
        }
        let caller = UsageCaller::Principal(subject.principal.clone());
        let row = SumRow { day, caller, model: Arc::clone(&key.model), upstream: Arc::clone(&key.upstream) };
        let before = models.len();
        models.entry(key).or_default().add(totals);
        self.rows += models.len() - before;
        Some(row)
    }

    /// Returns the sums, in any order. `principal`: only those of this caller.
    pub fn entries(&self, principal: Option<&Principal>) -> Vec<UsageEntry> {
        let mut entries = Vec::new();
        for (day, sums) in &self.days {
            for (caller, models) in &sums.callers {
                if principal.is_some_and(|principal| principal != caller) {
                    continue;
                }
                entries.extend(models.iter().map(|(key, totals)| {
                    let (model, upstream) = (Arc::clone(&key.model), Arc::clone(&key.upstream));
                    let row = SumRow { day: *day, caller: UsageCaller::Principal(caller.clone()), model, upstream };
                    UsageEntry { row, totals: *totals }
                }));
            }
            if principal.is_none() && sums.others != UsageTotals::default() {
                let (caller, totals) = (UsageCaller::Others, sums.others);
                let row = SumRow { day: *day, caller, model: OTHER.into(), upstream: OTHER.into() };
                entries.push(UsageEntry { row, totals });
            }
        }
        entries
    }

    /// Makes room for the newest day: the callers of the oldest day are then one row.
    fn merge_callers_of_oldest_day(&mut self, newest: Day) {
        let mut days = self.days.iter_mut().filter(|(day, sums)| **day < newest && !sums.callers.is_empty());
        let Some((_, sums)) = days.next() else { return };
        for totals in std::mem::take(&mut sums.callers).into_values().flat_map(BTreeMap::into_values) {
            sums.others.add(&totals);
            self.rows = self.rows.saturating_sub(1);
        }
    }

    fn remove_before(&mut self, oldest: Day) {
        while let Some(entry) = self.days.first_entry().filter(|entry| *entry.key() < oldest) {
            let removed: usize = entry.remove().callers.values().map(BTreeMap::len).sum();
            self.rows = self.rows.saturating_sub(removed);
        }
    }
}

/// Returns the oldest day that is kept.
pub const fn oldest_kept(newest: Day) -> Day {
    newest.earlier(KEPT_DAYS - 1)
}

/// Returns the rows of a caller; `None` if it has none yet and there is no room for one.
fn of_caller<'a>(
    callers: &'a mut HashMap<Principal, BTreeMap<ModelKey, UsageTotals>>,
    principal: &Principal,
    has_room: bool,
) -> Option<&'a mut BTreeMap<ModelKey, UsageTotals>> {
    if !callers.contains_key(principal) && has_room {
        callers.insert(principal.clone(), BTreeMap::new());
    }
    callers.get_mut(principal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Usage;
    use crate::telemetry::Outcome;

    fn subject(principal: &str, model: &str) -> AttemptSubject {
        AttemptSubject {
            principal: Principal::Key(principal.into()),
            model: model.into(),
            upstream: "u".into(),
            target: model.into(),
            reserved: Usage::default(),
        }
    }

    fn one() -> UsageTotals {
        let usage = Usage { input_tokens: 2, output_tokens: Some(3), ..Usage::default() };
        UsageTotals::of(Outcome::Done, Some(&usage))
    }

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    fn attempts(sums: &UsageSums) -> u64 {
        sums.entries(None).iter().map(|entry| entry.totals.attempts()).sum()
    }

    #[test]
    fn days_before_the_kept_ones_are_removed_and_not_added() {
        let mut sums = UsageSums::default();
        _ = sums.add(day("2026-10-01"), &subject("a", "m"), &one());
        _ = sums.add(day("2026-12-01"), &subject("a", "m"), &one());
        assert_eq!(sums.entries(None).len(), 2, "62 days with both");
        _ = sums.add(day("2026-12-02"), &subject("a", "m"), &one());
        _ = sums.add(day("2026-10-01"), &subject("a", "m"), &one());
        let mut days: Vec<_> = sums.entries(None).iter().map(|entry| entry.row.day.to_string()).collect();
        days.sort();
        assert_eq!((days, sums.rows), (vec!["2026-12-01".to_owned(), "2026-12-02".to_owned()], 2));
    }

    #[test]
    fn models_of_a_caller_beyond_the_limit_are_summed_together() {
        let mut sums = UsageSums::default();
        for model in 0..2 * MOST_ROWS_OF_CALLER {
            _ = sums.add(day("2026-12-01"), &subject("a", &format!("m{model}")), &one());
        }
        _ = sums.add(day("2026-12-01"), &subject("b", "m"), &one());
        let entries = sums.entries(Some(&Principal::Key("a".into())));
        assert_eq!(entries.len(), MOST_ROWS_OF_CALLER + 1);
        let other = entries.iter().find(|entry| &*entry.row.model == OTHER).expect("a row of the others");
        assert_eq!((other.totals.attempts(), &*other.row.upstream), (MOST_ROWS_OF_CALLER as u64, OTHER));
        assert_eq!(attempts(&sums), 2 * MOST_ROWS_OF_CALLER as u64 + 1);
    }

    #[test]
    fn callers_beyond_the_limit_share_a_row_and_no_attempt_is_lost() {
        let mut sums = UsageSums::default();
        let most = MOST_ROWS + 50;
        for caller in 0..most {
            _ = sums.add(day("2026-12-01"), &subject(&format!("c{caller}"), "m"), &one());
        }
        _ = sums.add(day("2026-12-01"), &subject("c0", "m"), &one());
        _ = sums.add(day("2026-12-01"), &subject("c0", "n"), &one());
        assert_eq!(attempts(&sums), most as u64 + 2);
        let entries = sums.entries(None);
        let others: Vec<_> = entries.iter().filter(|entry| entry.row.caller == UsageCaller::Others).collect();
        assert_eq!(others.iter().map(|entry| entry.totals.attempts()).collect::<Vec<_>>(), [50]);
        let own: u64 = sums.entries(Some(&Principal::Key("c0".into()))).iter().map(|e| e.totals.attempts()).sum();
        assert_eq!(own, 3, "a caller that has rows keeps its own sums");
    }
}
