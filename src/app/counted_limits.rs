//! The limits that the settings choose.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::{Day, Principal, Usd};
use crate::limits::{Budgets, Limits, ProcessLimits, RedisLimitTerms, RedisLimits};
use crate::redis_client::RedisClient;
use crate::settings::Settings;

/// Creates the limits and starts their task: those of all replicas if they share a server, else those of this process.
/// `spent`: what callers spent this month before this process began; a server that replicas share knows it already.
pub fn start(
    settings: &Settings,
    redis: Option<&RedisClient>,
    spent: HashMap<(Principal, Day), Usd>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Arc<dyn Limits> {
    let stop = stop.clone();
    if let Some(client) = redis {
        let limits = RedisLimits::new(client.clone(), RedisLimitTerms { lease: settings.event_log.redis.lease });
        let running = limits.clone();
        tasks.spawn(async move { _ = stop.run_until_cancelled(running.run()).await });
        return Arc::new(limits);
    }
    let budgets = Budgets::default();
    for ((principal, day), amount) in spent {
        budgets.restore(principal, day, amount);
    }
    let limits = Arc::new(ProcessLimits::with_budgets(budgets));
    let swept = Arc::clone(&limits);
    tasks.spawn(async move { _ = stop.run_until_cancelled(swept.sweep()).await });
    limits
}
