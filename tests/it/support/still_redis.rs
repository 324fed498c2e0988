//! Limits on a real Redis server whose rates are not refilled.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::cmd;
use tokenrill::domain::GenerationId;
use tokenrill::limits::{
    Admitted, Allowance, GenerationDemand, LimitError, Limits, RedisLimitTerms, RedisLimits, Settled, Spender,
};
use tokio_util::task::TaskTracker;

use super::redis_server::{RedisServer, unique_prefix};

/// One process's limits. Around each call, the time that has passed is taken back from the rates, so that all figures are
/// exact; [`StillRedis::pass`] lets time pass.
pub struct StillRedis {
    inner: RedisLimits,
    prefix: String,
}

/// Moves the moment of each rate ahead of the clock, and removes some nanoseconds of its wait.
const STILL: &str = "
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  local nanos = string.match(redis.call('GET', key), '^%d+ (%d+)$')
  nanos = math.max(0, nanos - ARGV[2])
  local time = redis.call('TIME')
  local state = string.format('%.0f %.0f', time[1] * 1000000 + time[2] + 60000000, nanos)
  redis.call('SET', key, state, 'PX', 3600000)
end";

impl StillRedis {
    pub fn start(lease: Duration) -> Arc<Self> {
        let prefix = unique_prefix();
        let inner = RedisLimits::new(RedisServer::shared().client(&prefix), RedisLimitTerms { lease });
        let running = inner.clone();
        TaskTracker::new().spawn(async move { running.run().await });
        Arc::new(Self { inner, prefix })
    }

    pub fn pass(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).expect("a short time");
        let rates = self.key("r:*");
        let _: () = RedisServer::shared().command(cmd("EVAL").arg(STILL).arg(0).arg(rates).arg(nanos));
    }

    /// Returns the number of running generations that the server knows, and that of queued ones of this process.
    pub fn count(&self) -> (usize, usize) {
        let running = RedisServer::shared().command(cmd("ZCARD").arg(self.key("s")));
        (running, self.inner.count().1)
    }

    /// Returns for how many requests and generations the server has a reservation.
    pub fn reservations(&self) -> usize {
        let records: Vec<String> = RedisServer::shared().command(cmd("KEYS").arg(self.key("g:*")));
        records.len()
    }

    fn key(&self, part: &str) -> String {
        format!("{0}:{{{0}.limits}}:{part}", self.prefix)
    }
}

impl Limits for StillRedis {
    fn take_request<'a>(&'a self, id: GenerationId, spender: &'a Spender) -> BoxFuture<'a, Result<(), LimitError>> {
        async move {
            self.pass(Duration::ZERO);
            let result = self.inner.take_request(id, spender).await;
            self.pass(Duration::ZERO);
            result
        }
        .boxed()
    }

    fn admit<'a>(
        &'a self,
        id: GenerationId,
        demand: &'a GenerationDemand,
    ) -> BoxFuture<'a, Result<Admitted, LimitError>> {
        async move {
            self.pass(Duration::ZERO);
            let result = self.inner.admit(id, demand).await;
            self.pass(Duration::ZERO);
            result
        }
        .boxed()
    }

    fn settle(&self, id: GenerationId, settled: Settled) -> BoxFuture<'_, ()> {
        async move {
            self.pass(Duration::ZERO);
            self.inner.settle(id, settled).await;
            self.pass(Duration::ZERO);
        }
        .boxed()
    }

    fn release(&self, id: GenerationId) -> BoxFuture<'_, ()> {
        self.inner.release(id)
    }

    fn publish<'a>(&'a self, spender: &'a Spender) -> BoxFuture<'a, Result<Allowance, (LimitError, Allowance)>> {
        async move {
            self.pass(Duration::ZERO);
            let result = self.inner.publish(spender).await;
            self.pass(Duration::ZERO);
            result
        }
        .boxed()
    }

    fn left<'a>(&'a self, spender: &'a Spender, model: &'a str) -> BoxFuture<'a, Allowance> {
        async move {
            self.pass(Duration::ZERO);
            self.inner.left(spender, model).await
        }
        .boxed()
    }
}
