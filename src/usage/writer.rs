//! The task that writes the ledger's lines.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::folder::LedgerFolder;
use super::line::LedgerLine;
use crate::domain::{Day, Timestamp};
use crate::telemetry::Metrics;

/// Passes lines to the task that writes them. A line for which the channel has no room is lost, and counted.
#[derive(Debug)]
pub struct LedgerWriter {
    lines: mpsc::Sender<LedgerLine>,
    metrics: Arc<Metrics>,
    closing: CancellationToken,
    task: TaskTracker,
}

/// Lines that wait to be written: those of a second with 8,000 attempts.
const MOST_WAITING: usize = 16_384;
/// A line is on the disk at most this long after its attempt, and the time that writing takes.
const FLUSH: Duration = Duration::from_secs(1);
/// How long the lines that wait at the end may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

impl LedgerWriter {
    /// Starts the task.
    pub fn start(folder: LedgerFolder, metrics: Arc<Metrics>) -> Self {
        let (lines, receiver) = mpsc::channel(MOST_WAITING);
        let (closing, task) = (CancellationToken::new(), TaskTracker::new());
        let writing = WritingTask { folder: Some(folder), lines: receiver, metrics: Arc::clone(&metrics) };
        task.spawn(writing.run(closing.clone()));
        task.close();
        Self { lines, metrics, closing, task }
    }

    /// Passes a line on. Never waits.
    pub fn write(&self, line: LedgerLine) {
        if self.lines.try_send(line).is_err() {
            self.metrics.usage_lines_lost(1);
        }
    }

    /// Writes the lines that wait, and ends the task. Later lines are lost.
    pub async fn close(&self) {
        self.closing.cancel();
        if timeout(CLOSE_TIMEOUT, self.task.wait()).await.is_err() {
            tracing::error!("the last lines of the usage ledger were not written in time");
        }
    }
}

struct WritingTask {
    /// `None` while a blocking thread writes.
    folder: Option<LedgerFolder>,
    lines: mpsc::Receiver<LedgerLine>,
    metrics: Arc<Metrics>,
}

impl WritingTask {
    async fn run(mut self, closing: CancellationToken) {
        let mut flush = interval(FLUSH);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut batch, mut lost_before) = (Vec::new(), self.metrics.lost_usage_lines());
        loop {
            let room = MOST_WAITING - batch.len();
            tokio::select! {
                biased;
                () = closing.cancelled() => {
                    self.lines.close();
                    while self.lines.recv_many(&mut batch, MOST_WAITING).await > 0 {}
                    return self.append(mem::take(&mut batch)).await;
                }
                _ = flush.tick() => {}
                received = self.lines.recv_many(&mut batch, room) => {
                    if received == 0 {
                        return self.append(mem::take(&mut batch)).await;
                    }
                    if batch.len() < MOST_WAITING {
                        continue;
                    }
                }
            }
            self.append(mem::take(&mut batch)).await;
            let lost = self.metrics.lost_usage_lines();
            if lost > lost_before {
                tracing::error!(lines = lost - lost_before, "lines of the usage ledger were lost; the sums have them");
            }
            lost_before = lost;
        }
    }

    /// Writes on a blocking thread: the disk may take milliseconds, and other generations share this one.
    async fn append(&mut self, lines: Vec<LedgerLine>) {
        let count = lines.len();
        if count == 0 {
            return;
        }
        let Some(mut folder) = self.folder.take() else { return self.metrics.usage_lines_lost(count as u64) };
        let writing = tokio::task::spawn_blocking(move || {
            let written = folder.append(Day::of(Timestamp::now()), &lines);
            (folder, written)
        });
        let Ok((folder, written)) = writing.await else {
            tracing::error!("the task that writes the usage ledger has failed: its lines are lost until a restart");
            return self.metrics.usage_lines_lost(count as u64);
        };
        self.folder = Some(folder);
        if let Err(error) = written {
            tracing::error!(%error, "the usage ledger cannot be written");
            self.metrics.usage_lines_lost(count as u64);
        }
    }
}
