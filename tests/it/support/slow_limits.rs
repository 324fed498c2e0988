//! Limits that answer late, and whose replies are lost.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokenrill::domain::GenerationId;
use tokenrill::limits::{Admitted, Allowance, GenerationDemand, LimitError, Limits, ProcessLimits, Settled, Spender};

use super::gate::Gate;

/// The limits of a process, as if they were behind a network. Each call waits for the gate before and after its first
/// delivery. Then its reply is lost, and the call is repeated with the same id.
pub struct SlowLimits {
    pub inner: Arc<ProcessLimits>,
    pub gate: Gate,
}

impl SlowLimits {
    pub fn open(inner: Arc<ProcessLimits>) -> Arc<Self> {
        Arc::new(Self { inner, gate: Gate::open() })
    }

    pub fn shut(inner: Arc<ProcessLimits>) -> Arc<Self> {
        Arc::new(Self { inner, gate: Gate::shut() })
    }
}

impl Limits for SlowLimits {
    fn take_request<'a>(&'a self, id: GenerationId, spender: &'a Spender) -> BoxFuture<'a, Result<(), LimitError>> {
        async move {
            self.gate.step().await;
            _ = self.inner.take_request(id, spender).await;
            self.gate.step().await;
            self.inner.take_request(id, spender).await
        }
        .boxed()
    }

    fn admit<'a>(
        &'a self,
        id: GenerationId,
        demand: &'a GenerationDemand,
    ) -> BoxFuture<'a, Result<Admitted, LimitError>> {
        async move {
            self.gate.step().await;
            _ = self.inner.admit(id, demand).await;
            self.gate.step().await;
            self.inner.admit(id, demand).await
        }
        .boxed()
    }

    fn settle(&self, id: GenerationId, settled: Settled) -> BoxFuture<'_, ()> {
        async move {
            self.gate.step().await;
            self.inner.settle(id, settled).await;
            self.gate.step().await;
            self.inner.settle(id, settled).await;
        }
        .boxed()
    }

    fn release(&self, id: GenerationId) -> BoxFuture<'_, ()> {
        async move {
            self.gate.step().await;
            self.inner.release(id).await;
            self.gate.step().await;
            self.inner.release(id).await;
        }
        .boxed()
    }

    /// Not repeated: it may count an event twice (contract 9).
    fn publish<'a>(&'a self, spender: &'a Spender) -> BoxFuture<'a, Result<Allowance, (LimitError, Allowance)>> {
        async move {
            self.gate.step().await;
            self.inner.publish(spender).await
        }
        .boxed()
    }

    fn left<'a>(&'a self, spender: &'a Spender, model: &'a str) -> BoxFuture<'a, Allowance> {
        async move {
            self.gate.step().await;
            self.inner.left(spender, model).await
        }
        .boxed()
    }
}
