//! The Redis server that the settings name.

use std::collections::BTreeMap;
use std::fs;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::AppError;
use crate::domain::ReplicaId;
use crate::redis_client::RedisClient;
use crate::settings::{LogBackend, Settings};

/// Creates the client of the server that all replicas share, and starts its task. `None` if this process shares nothing.
pub fn start(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    replica: ReplicaId,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Option<RedisClient>, AppError> {
    if settings.event_log.backend == LogBackend::Memory {
        return Ok(None);
    }
    let redis = &settings.event_log.redis;
    let address = match (&redis.url_env, &redis.url_file) {
        (Some(variable), _) => environment.get(variable).cloned(),
        (None, Some(file)) => fs::read_to_string(file).ok(),
        (None, None) => None,
    };
    let address = address.ok_or(AppError::RedisUrl)?;
    // The error may contain the password of the address.
    let client = RedisClient::new(address.trim(), &redis.prefix, replica).map_err(|_| AppError::RedisUrl)?;
    let (running, stop) = (client.clone(), stop.clone());
    tasks.spawn(async move { stop.run_until_cancelled(running.run()).await });
    Ok(Some(client))
}
