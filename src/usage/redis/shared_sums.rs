//! The sums that replicas share.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::keys::SumKeys;
use super::script;
use super::stored_row;
use crate::domain::{Day, Principal, ReplicaId, Timestamp};
use crate::redis_client::{PATIENCE, Patience, RedisClient, ScriptCall};
use crate::telemetry::Metrics;
use crate::usage::sums::{KEPT_DAYS, MOST_ROWS, SumRow, UsageEntry, oldest_kept};
use crate::usage::totals::UsageTotals;

/// The sums of all replicas, and what this one has not added yet. Clones share them.
#[derive(Clone)]
pub struct SharedSums(Arc<SharedSumsState>);

struct SharedSumsState {
    client: RedisClient,
    keys: SumKeys,
    replica: ReplicaId,
    metrics: Arc<Metrics>,
    /// What is not in Redis yet. Has at most as many rows as the sums in memory.
    waiting: Mutex<HashMap<SumRow, UsageTotals>>,
    closing: CancellationToken,
    task: TaskTracker,
}

/// Redis does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sums of all replicas are not available")]
pub struct SumsUnavailable;

/// Rows that are added in one step. Empty if nothing waits for an answer of Redis.
#[derive(Default)]
struct SumBatch {
    /// A batch that is sent again has the same number.
    number: u64,
    rows: Vec<(SumRow, UsageTotals)>,
}

/// How often a replica adds its sums.
const FLUSH: Duration = Duration::from_secs(1);
/// Rows of one batch, so that no script runs long.
const ROWS_AT_ONCE: usize = 500;
/// How long Redis knows the last batch of a replica: longer than one is sent again.
const BATCH_LIFETIME: Duration = Duration::from_hours(24);
const ROW_LIFETIME: Duration = Duration::from_hours(24 * KEPT_DAYS);
/// How long the sums that wait at the end may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

impl SharedSums {
    /// Starts the task that adds the sums of this replica.
    pub fn start(client: RedisClient, metrics: Arc<Metrics>) -> Self {
        let (keys, replica) = (SumKeys::new(client.prefix()), metrics.replica());
        let (closing, task) = (CancellationToken::new(), TaskTracker::new());
        let state = SharedSumsState { client, keys, replica, metrics, waiting: Mutex::default(), closing, task };
        let sums = Self(Arc::new(state));
        let running = Arc::clone(&sums.0);
        sums.0.task.spawn(async move { running.run().await });
        sums.0.task.close();
        sums
    }

    /// Adds to the sums of a row. Returns at once; Redis has it after about a second.
    pub fn add(&self, row: SumRow, totals: &UsageTotals) {
        self.0.lock().entry(row).or_default().add(totals);
    }

    /// Returns the sums of all replicas, in any order. `principal`: only those of this caller.
    pub async fn entries(&self, principal: Option<&Principal>) -> Result<Vec<UsageEntry>, SumsUnavailable> {
        let names = principal.map(stored_row::begin_of_names).unwrap_or_default();
        let call = ScriptCall::new(&script::READ, [&self.0.keys.rows()]).arg(names);
        let reply = self.0.client.connection.call(&call, Patience::For(PATIENCE)).await;
        let reply = reply.map_err(|_| SumsUnavailable)?;
        let oldest = oldest_kept(Day::of(Timestamp::now()));
        let rows = (1..reply.len()).step_by(2);
        // The field of the oldest day is no row.
        let entries = rows.filter_map(|at| stored_row::entry(reply.bytes(at), reply.bytes(at + 1)));
        Ok(entries.filter(|entry| entry.row.day >= oldest).collect())
    }

    /// Adds what waits, and ends the task. What is added later is lost.
    pub async fn close(&self) {
        self.0.closing.cancel();
        let in_time = timeout(CLOSE_TIMEOUT, self.0.task.wait()).await.is_ok();
        let lost: u64 = self.0.lock().values().map(UsageTotals::attempts).sum();
        if lost > 0 || !in_time {
            self.0.metrics.usage_lines_lost(lost);
            tracing::error!(
                attempts = lost,
                "the last sums of usage are not in Redis; the files of the ledger have them"
            );
        }
    }
}

impl SharedSumsState {
    async fn run(&self) {
        let (mut flush, mut batch) = (interval(FLUSH), SumBatch::default());
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.closing.run_until_cancelled(flush.tick()).await.is_some() {
            self.send_all(&mut batch).await;
        }
        self.send_all(&mut batch).await;
        let mut waiting = self.lock();
        for (row, totals) in batch.rows {
            waiting.entry(row).or_default().add(&totals);
        }
    }

    /// Sends batches until nothing waits, or Redis does not answer. The batch is then kept, since Redis may have it.
    async fn send_all(&self, batch: &mut SumBatch) {
        loop {
            if batch.rows.is_empty() {
                batch.rows = self.take_rows();
                batch.number += 1;
            }
            if batch.rows.is_empty() {
                return;
            }
            let call = self.add_call(batch);
            if self.client.connection.call(&call, Patience::For(PATIENCE)).await.is_err() {
                return;
            }
            batch.rows.clear();
        }
    }

    fn take_rows(&self) -> Vec<(SumRow, UsageTotals)> {
        let mut waiting = self.lock();
        let mut rows: Vec<_> = mem::take(&mut *waiting).into_iter().collect();
        let rest = rows.split_off(rows.len().min(ROWS_AT_ONCE));
        waiting.extend(rest);
        rows
    }

    fn add_call(&self, batch: &SumBatch) -> ScriptCall {
        let keys = [self.keys.rows(), self.keys.batch(self.replica)];
        let call = ScriptCall::new(&script::ADD, &keys)
            .number(batch.number)
            .millis(BATCH_LIFETIME)
            .millis(ROW_LIFETIME)
            .arg(oldest_kept(Day::of(Timestamp::now())).to_string())
            .number(MOST_ROWS as u64);
        batch
            .rows
            .iter()
            .fold(call, |call, (row, totals)| call.arg(stored_row::field(row)).arg(stored_row::figures(totals)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SumRow, UsageTotals>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
