//! Sums of usage, grouped as an operator or a caller asks for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sums::{SumRow, UsageCaller, UsageEntry};
use super::totals::UsageTotals;
use crate::domain::{Day, Principal};

/// What to sum.
#[derive(Debug, Clone, Default)]
pub struct UsageQuery {
    /// Only the usage of this caller; `None`: of all.
    pub principal: Option<Principal>,
    /// The first day; `None`: the first that is kept.
    pub from: Option<Day>,
    /// The last day; `None`: today.
    pub to: Option<Day>,
    /// What each row is about. Empty: one row with the sum of everything.
    pub by: Vec<UsageDimension>,
}

/// One of the names by which usage is grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageDimension {
    Day,
    Principal,
    Model,
    Upstream,
}

/// One row of a report. A name is `None` if the rows are not grouped by it.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageRow {
    pub day: Option<Day>,
    pub caller: Option<UsageCaller>,
    pub model: Option<Arc<str>>,
    pub upstream: Option<Arc<str>>,
    pub totals: UsageTotals,
}

/// The order of the rows.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RowOrder {
    day: Option<Day>,
    /// Kind, name and issuer.
    caller: Option<(u8, String, String)>,
    model: Option<Arc<str>>,
    upstream: Option<Arc<str>>,
}

impl UsageDimension {
    pub const ALL: [Self; 4] = [Self::Principal, Self::Model, Self::Upstream, Self::Day];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Principal => "principal",
            Self::Model => "model",
            Self::Upstream => "upstream",
        }
    }
}

impl UsageQuery {
    /// Returns the rows by day, caller, model and upstream.
    pub fn rows(&self, entries: Vec<UsageEntry>) -> Vec<UsageRow> {
        let by = |dimension| self.by.contains(&dimension);
        let mut rows: BTreeMap<RowOrder, UsageRow> = BTreeMap::new();
        let wanted = entries.into_iter().filter(|UsageEntry { row, .. }| {
            self.from.is_none_or(|from| row.day >= from) && self.to.is_none_or(|to| row.day <= to)
        });
        for UsageEntry { row: SumRow { day, caller, model, upstream }, totals } in wanted {
            let day = by(UsageDimension::Day).then_some(day);
            let caller = by(UsageDimension::Principal).then_some(caller);
            let model = by(UsageDimension::Model).then_some(model);
            let upstream = by(UsageDimension::Upstream).then_some(upstream);
            let order = RowOrder {
                day,
                caller: caller.as_ref().map(caller_order),
                model: model.clone(),
                upstream: upstream.clone(),
            };
            let row = UsageRow { day, caller, model, upstream, totals: UsageTotals::default() };
            rows.entry(order).or_insert(row).totals.add(&totals);
        }
        rows.into_values().collect()
    }
}

fn caller_order(caller: &UsageCaller) -> (u8, String, String) {
    match caller {
        UsageCaller::Principal(principal) => {
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            let kind = match principal {
                Principal::Anonymous => 0,
                Principal::Key(_) => 1,
                Principal::Subject { .. } => 2,
            };
            (kind, text(principal.name()), text(principal.issuer()))
        }
        UsageCaller::Others => (3, String::new(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Usage, Usd};
    use crate::telemetry::Outcome;

    fn entry(day: &str, caller: &str, model: &str, nanos: u64) -> UsageEntry {
        let usage = Usage { input_tokens: 1, cost: Some(Usd::from_nanos(nanos)), ..Usage::default() };
        let row = SumRow {
            day: day.parse().expect("a day"),
            caller: UsageCaller::Principal(Principal::Key(caller.into())),
            model: model.into(),
            upstream: "u".into(),
        };
        UsageEntry { row, totals: UsageTotals::of(Outcome::Done, Some(&usage)) }
    }

    #[test]
    fn rows_are_grouped_and_ordered_by_what_is_asked_for() {
        let entries = vec![
            entry("2026-12-02", "b", "m", 1),
            entry("2026-12-01", "a", "n", 2),
            entry("2026-12-01", "a", "m", 4),
            entry("2026-12-03", "b", "m", 8),
        ];
        let costs = |by: &[UsageDimension], from: Option<&str>, to: Option<&str>| {
            let day = |text: Option<&str>| text.map(|text| text.parse().expect("a day"));
            let query = UsageQuery { by: by.to_vec(), from: day(from), to: day(to), ..UsageQuery::default() };
            let rows = query.rows(entries.clone());
            rows.iter().map(|row| row.totals.known_cost.nanos()).collect::<Vec<_>>()
        };
        assert_eq!(costs(&[], None, None), [15]);
        assert_eq!(costs(&[UsageDimension::Day], None, None), [6, 1, 8]);
        assert_eq!(costs(&[UsageDimension::Principal], None, None), [6, 9]);
        assert_eq!(costs(&[UsageDimension::Model], None, None), [13, 2]);
        assert_eq!(costs(&UsageDimension::ALL, None, None), [4, 2, 1, 8]);
        assert_eq!(costs(&[], Some("2026-12-02"), None), [9]);
        assert_eq!(costs(&[UsageDimension::Day], Some("2026-12-02"), Some("2026-12-02")), [1]);
        assert_eq!(costs(&[], Some("2027-01-01"), None), Vec::<u64>::new());
    }
}
