//! The limits that the settings choose.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{Limits, ProcessLimits, RedisLimitTerms, RedisLimits};
use crate::redis_client::RedisClient;
use crate::settings::Settings;

/// Creates the limits and starts their task: those of all replicas if they share a server, else those of this process.
pub fn start(
    settings: &Settings,
    redis: Option<&RedisClient>,
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
    let limits = Arc::<ProcessLimits>::default();
    let swept = Arc::clone(&limits);
    tasks.spawn(async move { _ = stop.run_until_cancelled(swept.sweep()).await });
    limits
}
