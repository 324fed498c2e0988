//! Limits that several processes share.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokenrill::domain::GenerationId;
use tokenrill::limits::{Admitted, Allowance, GenerationDemand, LimitError, Limits, ProcessLimits, Settled, Spender};

use super::leases::{Leases, ProcessNumber};

/// One process of a deployment whose limits are in one store. Its slots expire if it no longer renews them; another
/// process then frees them.
pub struct SharedLimits {
    store: Arc<ProcessLimits>,
    leases: Arc<Leases<GenerationId>>,
    process: ProcessNumber,
}

impl SharedLimits {
    /// Returns two processes that share a store.
    pub fn pair(store: &Arc<ProcessLimits>) -> [Arc<Self>; 2] {
        let leases = Arc::new(Leases::new());
        [(); 2].map(|()| {
            let process = leases.add_process();
            Arc::new(Self { store: Arc::clone(store), leases: Arc::clone(&leases), process })
        })
    }

    /// Renews the slots of this process, and frees those that have expired.
    pub async fn renew(&self) {
        for id in self.leases.renew(self.process) {
            self.store.release(id).await;
        }
    }
}

impl Limits for SharedLimits {
    fn take_request<'a>(&'a self, id: GenerationId, spender: &'a Spender) -> BoxFuture<'a, Result<(), LimitError>> {
        self.store.take_request(id, spender)
    }

    fn admit<'a>(
        &'a self,
        id: GenerationId,
        demand: &'a GenerationDemand,
    ) -> BoxFuture<'a, Result<Admitted, LimitError>> {
        async move {
            let admitted = self.store.admit(id, demand).await?;
            self.leases.hold(self.process, id);
            Ok(admitted)
        }
        .boxed()
    }

    fn settle(&self, id: GenerationId, settled: Settled) -> BoxFuture<'_, ()> {
        self.store.settle(id, settled)
    }

    fn release(&self, id: GenerationId) -> BoxFuture<'_, ()> {
        self.leases.give_back(self.process, &id);
        self.store.release(id)
    }

    fn publish<'a>(&'a self, spender: &'a Spender) -> BoxFuture<'a, Result<Allowance, (LimitError, Allowance)>> {
        self.store.publish(spender)
    }

    fn left<'a>(&'a self, spender: &'a Spender, model: &'a str) -> BoxFuture<'a, Allowance> {
        self.store.left(spender, model)
    }
}
