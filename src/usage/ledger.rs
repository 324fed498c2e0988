//! The ledger: what each attempt used and cost.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::attempt::{AttemptRole, AttemptSubject};
use super::folder::{LedgerError, LedgerFolder};
use super::line::{LedgerLine, LineEnd};
use super::prices::CurrentPrices;
use super::redis::{SharedSums, SumsUnavailable};
use super::report::{UsageQuery, UsageRow};
use super::sums::{SumRow, UsageSums};
use super::totals::UsageTotals;
use super::writer::LedgerWriter;
use crate::domain::{Day, Month, Principal, Timestamp, TokenSource, Usage, Usd};
use crate::telemetry::{GenerationLabels, Metrics, Outcome};

/// All attempts of this process: their sums in memory, and their lines in files if there is a folder for them. Clones
/// share it.
#[derive(Clone)]
pub struct Ledger(Arc<LedgerState>);

struct LedgerState {
    prices: CurrentPrices,
    metrics: Arc<Metrics>,
    sums: Mutex<UsageSums>,
    /// Set if replicas share their sums.
    shared: OnceLock<SharedSums>,
    writer: Option<LedgerWriter>,
    /// The number of the next attempt.
    next: AtomicU64,
}

/// A ledger whose folder was read.
#[derive(Debug)]
pub struct OpenedLedger {
    pub ledger: Ledger,
    /// What callers have spent in the current month, by the day on which the attempt began.
    pub spent: HashMap<(Principal, Day), Usd>,
    /// What was added for the attempts that were open.
    unsettled: Vec<(SumRow, UsageTotals)>,
}

/// An attempt that has begun. Its first settlement counts. If it is dropped without one, it has failed, at its
/// reservation: an unsettled reservation counts as used.
pub struct OpenAttempt {
    attempt: Arc<str>,
    subject: Arc<AttemptSubject>,
    /// What it cost; empty until it is settled.
    settled: OnceLock<Option<Usd>>,
    ledger: Ledger,
}

/// The tokens of an attempt that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptUsage {
    /// The upstream charges nothing: the request was not sent, or was refused.
    Unbilled,
    Known(Usage),
    /// Unknown: those that were reserved count.
    AsReserved,
}

impl AttemptUsage {
    /// Returns what an upstream charges that goes on with an answer whose call was closed: at least what was reserved.
    #[must_use]
    pub fn at_least(self, reserved: &Usage) -> Self {
        match self {
            Self::Known(used) if used.total() <= reserved.total() => Self::AsReserved,
            Self::Known(used) => Self::Known(Usage { source: TokenSource::Estimated, ..used }),
            usage => usage,
        }
    }
}

impl Ledger {
    /// Creates a ledger without files.
    pub fn in_memory(prices: impl Into<CurrentPrices>, metrics: Arc<Metrics>) -> Self {
        Self::new(prices.into(), metrics, UsageSums::default(), None)
    }

    /// Reads the folder, and appends to it from now on. Blocks while it reads. Attempts that were open when their process
    /// ended have failed, at their reservation.
    pub fn in_folder(
        prices: impl Into<CurrentPrices>,
        metrics: Arc<Metrics>,
        path: &Path,
    ) -> Result<OpenedLedger, LedgerError> {
        let (mut folder, now) = (LedgerFolder::open(path)?, Timestamp::now());
        let (mut sums, mut open) = (UsageSums::default(), HashMap::<Arc<str>, LedgerLine>::new());
        let mut spent = HashMap::new();
        let mut count = |began: Timestamp, line: &LedgerLine, end: LineEnd| {
            let cost = end.usage.and_then(|usage| usage.cost);
            if let Some(cost) = cost.filter(|_| Month::of(began) == Month::of(now)) {
                let sum: &mut Usd = spent.entry((line.subject.principal.clone(), Day::of(began))).or_default();
                *sum = sum.plus(cost);
            }
        };
        let mut lines = 0_u64;
        let unreadable = folder.read(Day::of(now), |line| {
            lines += 1;
            match line.end {
                None => drop(open.insert(Arc::clone(&line.attempt), line)),
                Some(end) => {
                    let began = open.remove(&line.attempt).map_or(line.time, |begin| begin.time);
                    count(began, &line, end);
                    _ = add(&mut sums, &line, end);
                }
            }
        })?;
        let (mut unsettled, mut rows) = (Vec::new(), Vec::new());
        for (_, line) in open {
            let usage = Some(Usage { source: TokenSource::Estimated, ..line.subject.reserved });
            let end = LineEnd { outcome: Outcome::Failed, role: AttemptRole::Failed, usage };
            count(line.time, &line, end);
            rows.extend(add(&mut sums, &line, end));
            unsettled.push(LedgerLine { end: Some(end), ..line });
        }
        folder.append(Day::of(now), &unsettled)?;
        tracing::info!(lines, unreadable, unsettled = unsettled.len(), "the usage ledger was read");
        let writer = LedgerWriter::start(folder, Arc::clone(&metrics));
        Ok(OpenedLedger { ledger: Self::new(prices.into(), metrics, sums, Some(writer)), spent, unsettled: rows })
    }

    fn new(prices: CurrentPrices, metrics: Arc<Metrics>, sums: UsageSums, writer: Option<LedgerWriter>) -> Self {
        let (sums, shared) = (Mutex::new(sums), OnceLock::new());
        Self(Arc::new(LedgerState { prices, metrics, sums, shared, writer, next: AtomicU64::new(1) }))
    }

    /// Returns what the tokens cost; `None` if that is unknown. `model` is the name that the upstream was asked for.
    pub fn cost(&self, upstream: &str, model: &str, usage: &Usage) -> Option<Usd> {
        self.0.prices.get().cost(upstream, model, usage)
    }

    /// Returns whether every answer of this model has a known cost. `model` as for [`Ledger::cost`].
    pub fn is_priced(&self, upstream: &str, model: &str) -> bool {
        self.0.prices.get().is_priced(upstream, model)
    }

    /// Records that an attempt begins.
    pub fn begin(&self, subject: AttemptSubject) -> OpenAttempt {
        let subject = subject.with_short_names();
        let reserved = self.priced(&subject, subject.reserved);
        let subject = Arc::new(AttemptSubject { reserved, ..subject });
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let attempt: Arc<str> = match &self.0.writer {
            Some(_) => format!("{}.{number}", self.0.metrics.replica()).into(),
            None => Arc::default(),
        };
        self.write(|| LedgerLine {
            time: Timestamp::now(),
            attempt: Arc::clone(&attempt),
            subject: Arc::clone(&subject),
            end: None,
        });
        OpenAttempt { attempt, subject, settled: OnceLock::new(), ledger: self.clone() }
    }

    /// Returns the sums that the query asks for: of all replicas if they share them, else of this process.
    ///
    /// # Errors
    ///
    /// If the replicas share their sums, and these are not available.
    pub async fn report(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, SumsUnavailable> {
        match self.0.shared.get() {
            Some(shared) => Ok(query.rows(shared.entries(query.principal.as_ref()).await?)),
            None => Ok(self.rows(query)),
        }
    }

    /// Returns whether replicas share their sums.
    pub fn is_shared(&self) -> bool {
        self.0.shared.get().is_some()
    }

    /// Returns the sums of this process that the query asks for.
    pub fn rows(&self, query: &UsageQuery) -> Vec<UsageRow> {
        let entries = self.sums().entries(query.principal.as_ref());
        query.rows(entries)
    }

    /// Writes the lines that wait. Later lines are lost.
    pub async fn close(&self) {
        if let Some(writer) = &self.0.writer {
            writer.close().await;
        }
        if let Some(shared) = self.0.shared.get() {
            shared.close().await;
        }
    }

    fn priced(&self, subject: &AttemptSubject, usage: Usage) -> Usage {
        Usage { cost: self.cost(&subject.upstream, &subject.target, &usage), ..usage }
    }

    fn write(&self, line: impl FnOnce() -> LedgerLine) {
        if let Some(writer) = &self.0.writer {
            writer.write(line());
        }
    }

    fn sums(&self) -> MutexGuard<'_, UsageSums> {
        self.0.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenedLedger {
    /// Creates the ledger of a process without a folder.
    pub fn in_memory(prices: impl Into<CurrentPrices>, metrics: Arc<Metrics>) -> Self {
        Self { ledger: Ledger::in_memory(prices, metrics), spent: HashMap::new(), unsettled: Vec::new() }
    }

    /// Shares the sums from now on, beginning with the attempts that were open when the process before this one ended.
    /// Its other attempts are shared already, except those of its last second.
    pub fn share(&self, sums: SharedSums) {
        for (row, totals) in &self.unsettled {
            sums.add(row.clone(), totals);
        }
        _ = self.ledger.0.shared.set(sums);
    }
}

impl OpenAttempt {
    /// Returns what the attempt cost, or its reservation while it is not settled; `None` if that is unknown.
    pub fn charge(&self) -> Option<Usd> {
        self.settled.get().copied().unwrap_or(self.subject.reserved.cost)
    }

    /// Records how the attempt ended, unless that is recorded already. The tokens are priced here.
    pub fn settle(&self, outcome: Outcome, role: AttemptRole, usage: AttemptUsage) {
        let usage = match usage {
            AttemptUsage::Unbilled => None,
            AttemptUsage::Known(usage) => Some(self.ledger.priced(&self.subject, usage)),
            AttemptUsage::AsReserved => Some(self.subject.reserved),
        };
        if self.settled.set(usage.map_or(Some(Usd::default()), |usage| usage.cost)).is_err() {
            return;
        }
        let end = LineEnd { outcome, role, usage };
        let (attempt, subject) = (Arc::clone(&self.attempt), Arc::clone(&self.subject));
        let line = LedgerLine { time: Timestamp::now(), attempt, subject, end: Some(end) };
        let added = add(&mut self.ledger.sums(), &line, end);
        if let (Some(shared), Some((row, totals))) = (self.ledger.0.shared.get(), added) {
            shared.add(row, &totals);
        }
        if let Some(cost) = usage.and_then(|usage| usage.cost) {
            let labels = GenerationLabels { upstream: &self.subject.upstream, model: &self.subject.target };
            self.ledger.0.metrics.spent(labels, cost);
        }
        self.ledger.write(|| line);
    }
}

impl Drop for OpenAttempt {
    fn drop(&mut self) {
        self.settle(Outcome::Failed, AttemptRole::Failed, AttemptUsage::AsReserved);
    }
}

/// Returns what was added to which row.
fn add(sums: &mut UsageSums, line: &LedgerLine, end: LineEnd) -> Option<(SumRow, UsageTotals)> {
    let totals = UsageTotals::of(end.outcome, end.usage.as_ref());
    Some((sums.add(Day::of(line.time), &line.subject, &totals)?, totals))
}

impl Default for Ledger {
    fn default() -> Self {
        Self::in_memory(CurrentPrices::default(), Metrics::new())
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

impl fmt::Debug for OpenAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenAttempt").field(&self.attempt).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::domain::{ModelPrice, Principal};
    use crate::usage::Prices;

    fn prices() -> Prices {
        let price = |text: &str| Some(text.parse().expect("a price"));
        let price = ModelPrice { input: price("1"), output: price("1"), ..ModelPrice::default() };
        Prices::load([("m".to_owned(), price)].into(), None).expect("prices")
    }

    fn subject() -> AttemptSubject {
        AttemptSubject {
            principal: Principal::Key("web".into()),
            model: "fast".into(),
            upstream: "u".into(),
            target: "m".into(),
            reserved: Usage { input_tokens: 10, output_tokens: Some(90), ..Usage::default() },
        }
    }

    fn known(input_tokens: u64) -> AttemptUsage {
        let source = TokenSource::Provider;
        AttemptUsage::Known(Usage { input_tokens, output_tokens: Some(0), source, ..Usage::default() })
    }

    /// Returns the sum of everything.
    fn total(ledger: &Ledger) -> UsageTotals {
        ledger.rows(&UsageQuery::default()).first().map(|row| row.totals).unwrap_or_default()
    }

    /// A folder that is removed at the end of the test.
    struct TestFolder(PathBuf);

    impl TestFolder {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("tokenrill-{name}-{}", std::process::id())))
        }
    }

    impl Drop for TestFolder {
        fn drop(&mut self) {
            _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn attempt_is_summed_when_it_is_settled_and_only_once() {
        let ledger = Ledger::in_memory(prices(), Metrics::new());
        let attempt = ledger.begin(subject());
        assert_eq!(total(&ledger), UsageTotals::default());
        attempt.settle(Outcome::Done, AttemptRole::Winner, known(7));
        attempt.settle(Outcome::Failed, AttemptRole::Failed, AttemptUsage::AsReserved);
        drop(attempt);
        let expected =
            UsageTotals { done: 1, input_tokens: 7, known_cost: Usd::from_nanos(7_000), ..UsageTotals::default() };
        assert_eq!(total(&ledger), expected);
    }

    #[test]
    fn attempt_that_is_dropped_counts_at_its_reservation_and_an_unbilled_one_at_nothing() {
        let ledger = Ledger::in_memory(prices(), Metrics::new());
        drop(ledger.begin(subject()));
        ledger.begin(subject()).settle(Outcome::Failed, AttemptRole::Failed, AttemptUsage::Unbilled);
        let expected = UsageTotals {
            failed: 2,
            estimated: 1,
            input_tokens: 10,
            output_tokens: 90,
            known_cost: Usd::from_nanos(100_000),
            ..UsageTotals::default()
        };
        assert_eq!(total(&ledger), expected);
    }

    #[tokio::test]
    async fn sums_are_read_from_the_folder_which_one_process_uses() {
        let folder = TestFolder::new("ledger");
        let open = || Ledger::in_folder(prices(), Metrics::new(), &folder.0).map(|opened| opened.ledger);
        let ledger = open().expect("a ledger");
        ledger.begin(subject()).settle(Outcome::Done, AttemptRole::Winner, known(7));
        let running = ledger.begin(subject());
        assert!(matches!(open(), Err(LedgerError::InUse)));
        ledger.close().await;
        assert_eq!(total(&ledger).attempts(), 1);

        let next = open().expect("the lock is free");
        let expected = UsageTotals {
            done: 1,
            failed: 1,
            estimated: 1,
            input_tokens: 17,
            output_tokens: 90,
            known_cost: Usd::from_nanos(107_000),
            ..UsageTotals::default()
        };
        assert_eq!(total(&next), expected);
        next.close().await;
        drop(running);
        assert_eq!(total(&open().expect("a ledger")), expected);
    }

    #[tokio::test]
    async fn line_for_which_there_is_no_room_is_counted_and_the_sums_stay_exact() {
        let (folder, metrics) = (TestFolder::new("full-ledger"), Metrics::new());
        let opened = Ledger::in_folder(prices(), Arc::clone(&metrics), &folder.0).expect("a ledger");
        let ledger = opened.ledger;
        // No task runs in between.
        for _ in 0..10_000 {
            ledger.begin(subject()).settle(Outcome::Done, AttemptRole::Winner, known(1));
        }
        assert_eq!(metrics.lost_usage_lines(), 20_000 - 16_384);
        assert_eq!((total(&ledger).done, total(&ledger).input_tokens), (10_000, 10_000));
        ledger.close().await;
    }
}
