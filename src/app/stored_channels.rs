//! The channels that the settings choose.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::channel::Channels;
use crate::event_log::{ChannelLimits, MemoryChannels, RedisChannelTerms, RedisChannels, ReplicaChannels};
use crate::redis_client::RedisClient;
use crate::settings::Settings;
use crate::telemetry::Metrics;

/// The logs and rosters of all channels.
#[derive(Clone)]
pub enum StoredChannels {
    Memory(Arc<MemoryChannels>),
    Redis(Arc<ReplicaChannels>),
}

impl StoredChannels {
    /// Creates the channels and starts their tasks.
    pub fn start(
        settings: &Settings,
        redis: Option<&RedisClient>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let limits = ChannelLimits {
            history: settings.channels.history as usize,
            retention: settings.channels.retention,
            bytes: settings.channels.max_bytes.bytes(),
            total: settings.channels.max_bytes_total.bytes(),
            channels: settings.channels.max_channels.get() as usize,
        };
        let memory = MemoryChannels::new(limits);
        let Some(client) = redis else { return Self::Memory(Arc::new(memory)) };
        let terms = RedisChannelTerms::new(limits);
        let shared = RedisChannels::new(client.clone(), terms, tasks.clone(), stop.clone());
        let (running, stop) = (shared.clone(), stop.clone());
        tasks.spawn(async move { stop.run_until_cancelled(running.run()).await });
        Self::Redis(Arc::new(ReplicaChannels::new(shared, memory)))
    }

    /// Returns the use cases of these channels.
    pub fn service(&self, most_subscribers: usize, metrics: Arc<Metrics>) -> Channels {
        match self {
            Self::Memory(memory) => Channels::new(Arc::clone(memory), most_subscribers, metrics),
            Self::Redis(redis) => Channels::new(Arc::clone(redis), most_subscribers, metrics),
        }
    }

    /// Returns the bytes in the memory of this process.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Memory(memory) => memory.bytes(),
            Self::Redis(redis) => redis.bytes(),
        }
    }

    /// Returns how many events this process has evicted to make room for others.
    pub fn evicted(&self) -> u64 {
        match self {
            Self::Memory(memory) => memory.evicted(),
            Self::Redis(redis) => redis.evicted(),
        }
    }
}
