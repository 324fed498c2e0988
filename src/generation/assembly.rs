//! Assembles the state of a generation that begins in this process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::attempts::{AttemptContext, Attempts};
use super::running::{AdmittedGeneration, Running};
use super::service::GenerationService;
use super::subject::Subject;
use crate::domain::{Account, ChatRequest, GenerationId, Prompt, Usage};
use crate::limits::{QueueState, Reservations};
use crate::upstream::Plan;

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
    /// The time since it was accepted, in another process.
    pub age: Duration,
}

impl GenerationService {
    pub(super) fn new_running(&self, new: NewRunning<'_>) -> Running {
        let NewRunning { id, subject, request, prompt, plan, account, reserved, reservations, queue_state, age } = new;
        let context = AttemptContext {
            request_id: subject.request_id,
            model: request.model.clone(),
            prompt: Arc::clone(&prompt),
            messages: self.terms.upstream_messages,
            principal: subject.principal.clone(),
            reserved,
            ledger: self.ledger.clone(),
        };
        let metrics = &self.metrics;
        let attempts = Attempts::new(context, plan.first.target.clone(), Arc::clone(metrics));
        let estimate = self.limits.output_estimate(account, &request.model);
        let admitted = AdmittedGeneration { prompt, reservations, queue_state, estimate };
        Running::new(id, subject, attempts, admitted, Arc::clone(metrics), self.counter.clone()).accepted_before(age)
    }
}
