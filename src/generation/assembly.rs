//! Assembles the state of a generation that begins in this process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::attempt_failure::UpstreamMessages;
use super::attempts::{AttemptContext, Attempts};
use super::running::{AdmittedGeneration, Running};
use super::subject::Subject;
use super::tokens::TokenCounter;
use crate::domain::{Account, ChatRequest, GenerationId, Prompt, Usage, Usd};
use crate::limits::{Limiter, QueueState, Reservations};
use crate::telemetry::Metrics;
use crate::upstream::Plan;
use crate::usage::Ledger;

/// What a running generation is made from.
pub struct NewRunning<'a> {
    pub id: GenerationId,
    pub subject: Subject,
    pub request: &'a ChatRequest,
    pub prompt: Arc<Prompt>,
    pub plan: &'a Plan,
    pub account: &'a Account,
    /// The tokens that are reserved for each attempt.
    pub reserved: Usage,
    pub reservations: Reservations,
    pub queue_state: Option<watch::Receiver<QueueState>>,
    /// `None`: it begins in this process.
    pub earlier: Option<EarlierRun>,
}

/// What another process had made of a generation that was taken over from it.
#[derive(Debug, Clone, Copy)]
pub struct EarlierRun {
    /// The time since the generation was accepted.
    pub age: Duration,
    /// What it had reserved of the caller's budget, which stays spent.
    pub cost: Usd,
}

/// What every generation of this process is made with.
pub struct Assembly<'a> {
    pub messages: UpstreamMessages,
    pub ledger: &'a Ledger,
    pub limits: &'a Limiter,
    pub metrics: &'a Arc<Metrics>,
    pub counter: &'a TokenCounter,
}

impl Assembly<'_> {
    pub fn running(&self, new: NewRunning<'_>) -> Running {
        let NewRunning { id, subject, request, prompt, plan, account, reserved, reservations, queue_state, earlier } =
            new;
        let context = AttemptContext {
            request_id: subject.request_id,
            model: request.model.clone(),
            prompt: Arc::clone(&prompt),
            messages: self.messages,
            principal: subject.principal.clone(),
            reserved,
            earlier: earlier.map(|earlier| earlier.cost),
            ledger: self.ledger.clone(),
        };
        let attempts = Attempts::new(context, plan.first.target.clone(), Arc::clone(self.metrics));
        let estimate = self.limits.output_estimate(account, &request.model);
        let admitted = AdmittedGeneration { prompt, reservations, queue_state, estimate };
        let (metrics, counter) = (Arc::clone(self.metrics), self.counter.clone());
        Running::new(id, subject, attempts, admitted, metrics, counter)
            .accepted_before(earlier.map_or(Duration::ZERO, |earlier| earlier.age))
    }
}
