//! Embeddings: one request, one answer, which is passed on and not kept.
//!
//! Limits, targets and the ledger are those of generations. There is no log: the request that asks is the only one that
//! may read the answer, and when it is dropped, the upstream's connection is closed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::attempt_failure::{AttemptFailure, labels};
use super::attempts::{AttemptContext, Attempts};
use super::ending::FailedEnding;
use super::service::{GenerationService, Generations};
use super::start::StartError;
use super::tokens::guess_prompt;
use crate::domain::{
    AllowedModels, EmbeddingRequest, Failed, Failure, FailureCode, Principal, Prompt, RequestId, Timings, Usage,
    UsageReport, Usd,
};
use crate::json::JsonObject;
use crate::limits::{
    GenerationDemand, GenerationSlot, Permit, RequestPermit, Reservations, Settled, Settlement, Spender, WaitPolicy,
};
use crate::telemetry::{Metrics, Outcome};
use crate::upstream::{AnswerRoom, Billed, ConversationKey, Plan, Target, embed};
use crate::usage::AttemptUsage;

/// The parameters of a request for embeddings.
pub struct NewEmbedding {
    pub owner: Principal,
    pub spender: Spender,
    /// One request of the caller's rate, taken before the body was read.
    pub request: RequestPermit,
    /// `None`: the default model.
    pub model: Option<String>,
    /// The models that the caller may use.
    pub allowed: AllowedModels,
    /// The body, as the caller wrote it.
    pub fields: JsonObject,
    pub request_id: RequestId,
}

/// A request for embeddings that was admitted and not yet sent. Dropping it gives back what it reserved.
pub struct AdmittedEmbedding {
    plan: Plan,
    request: Arc<EmbeddingRequest>,
    /// From its admission to its end (`generation.max_duration`).
    most: Duration,
    running: RunningEmbedding,
}

/// A request for embeddings as its limits and the ledger know it. If it is dropped before it ended, it was cancelled.
struct RunningEmbedding {
    request_id: RequestId,
    principal: Principal,
    model: String,
    prompt: Arc<Prompt>,
    attempts: Attempts,
    accepted: Instant,
    /// `None` once they are settled.
    reservations: Option<Reservations>,
    /// Held until the answer is complete.
    _slot: GenerationSlot,
    metrics: Arc<Metrics>,
}

/// How a request for embeddings ended.
#[derive(Debug, Clone, Copy)]
struct EmbeddingEnd {
    outcome: Outcome,
    code: Option<FailureCode>,
    /// `None`: the upstream's answer is not known.
    usage: Option<Usage>,
}

impl Generations {
    /// Admits a request for embeddings: its model, and the caller's limits of requests, tokens, slots and money. It does
    /// not wait for a slot.
    pub async fn admit_embedding(&self, new: NewEmbedding) -> Result<AdmittedEmbedding, StartError> {
        let inner = &self.0;
        if self.is_draining() {
            return Err(StartError::Draining);
        }
        let conversation = |model: &str| ConversationKey::of(&new.owner, model, &new.fields);
        let plan = inner.router.plan(new.model.as_deref(), conversation)?;
        if !new.allowed.allow(&plan.model) {
            return Err(StartError::ModelForbidden);
        }
        if new.spender.budget().is_some() && !inner.has_input_prices(&plan) {
            return Err(StartError::ModelUnpriced);
        }
        let request = EmbeddingRequest { model: plan.model.to_string(), fields: new.fields };
        let prompt = Arc::new(request.prompt());
        let reserved = input_of(guess_prompt(&prompt));
        let demand = GenerationDemand {
            spender: new.spender.clone(),
            model: request.model.clone(),
            tokens: reserved.total(),
            cost: inner.dearest_input(&plan, &reserved),
            wait_policy: WaitPolicy::Refuses,
        };
        let Permit { slot, reservations, .. } = match inner.limits.admit(demand, new.request).await {
            Ok(permit) => permit,
            Err(error) => return Err(inner.refused(error, &new.spender, &request.model).await),
        };
        let context = AttemptContext {
            request_id: new.request_id,
            model: request.model.clone(),
            prompt: Arc::clone(&prompt),
            messages: inner.terms.upstream_messages,
            principal: new.owner.clone(),
            reserved,
            earlier: None,
            ledger: inner.ledger.clone(),
        };
        let attempts = Attempts::new(context, plan.first.target.clone(), Arc::clone(&inner.metrics));
        let running = RunningEmbedding {
            request_id: new.request_id,
            principal: new.owner,
            model: request.model.clone(),
            prompt,
            attempts,
            accepted: Instant::now(),
            reservations: Some(reservations),
            _slot: slot,
            metrics: Arc::clone(&inner.metrics),
        };
        Ok(AdmittedEmbedding { plan, request: Arc::new(request), most: inner.terms.max_duration, running })
    }
}

impl GenerationService {
    /// Returns whether the cost of every input is known.
    fn has_input_prices(&self, plan: &Plan) -> bool {
        let usage = input_of(1);
        plan.targets().all(|target| self.ledger.cost(&target.upstream().name, target.model(), &usage).is_some())
    }

    /// Returns what the input costs at the dearest target, as far as prices are known.
    fn dearest_input(&self, plan: &Plan, usage: &Usage) -> Usd {
        let cost = |target: &Target| self.ledger.cost(&target.upstream().name, target.model(), usage);
        plan.targets().filter_map(cost).max().unwrap_or_default()
    }
}

impl AdmittedEmbedding {
    /// Returns the requested model, or the default.
    pub fn model(&self) -> &str {
        &self.running.model
    }

    /// Asks the upstream and returns its JSON, byte for byte. `room` reserves memory for it.
    ///
    /// Dropping the future closes the upstream's connection.
    pub async fn run(self, room: Arc<dyn AnswerRoom>) -> Result<Vec<u8>, Failed> {
        let Self { plan, request, most, mut running } = self;
        let deadline = running.accepted + most;
        let asked = timeout_at(deadline, embed(plan, &request, &room, deadline, &running.attempts)).await;
        match asked {
            Ok(Ok(answer)) => {
                let usage = running.usage(answer.usage);
                running.end(EmbeddingEnd { outcome: Outcome::Done, code: None, usage: Some(usage) }).await;
                Ok(answer.json)
            }
            Ok(Err(error)) => {
                let AttemptFailure { code, remedy, retry_after, words } = AttemptFailure::of(&error);
                Err(running.fail(FailedEnding { code, remedy, retry_after, upstream: words }).await)
            }
            Err(_) => Err(running.fail(FailedEnding::new(FailureCode::DeadlineExceeded)).await),
        }
    }
}

impl RunningEmbedding {
    /// Returns what was used: as the upstream reports it, else as it was estimated.
    fn usage(&self, reported: UsageReport) -> Usage {
        let usage = reported.complete().unwrap_or_else(|| reported.completed_by(input_of(guess_prompt(&self.prompt))));
        Usage { cost: self.attempts.cost(&usage), ..usage }
    }

    async fn fail(&mut self, failed: FailedEnding) -> Failed {
        let end = EmbeddingEnd { outcome: Outcome::Failed, code: Some(failed.code), usage: None };
        self.end(end).await;
        let failure = Failure {
            code: failed.code,
            detail: detail(&failed).to_owned(),
            remedy: failed.remedy,
            retry_after: failed.retry_after,
            request_id: self.request_id,
            upstream: failed.upstream,
        };
        Failed { failure, usage: None, timings: Timings { first_token: None, total: self.accepted.elapsed() } }
    }

    /// Settles the limits and the ledger, counts the end and logs it. The returned future waits until the limits are
    /// settled; that is also done if it is dropped.
    fn end(&mut self, end: EmbeddingEnd) -> impl Future<Output = ()> + Send + use<> {
        let EmbeddingEnd { outcome, code, usage } = end;
        self.attempts.end(outcome, code);
        let billed = self.attempts.billed();
        let (in_limits, in_ledger) = match (billed, usage) {
            (Billed::No, _) => (Settlement::Used(0), AttemptUsage::Unbilled),
            (Billed::Maybe, Some(usage)) => (Settlement::Used(usage.total()), AttemptUsage::Known(usage)),
            (Billed::Maybe, None) => (Settlement::AsReserved, AttemptUsage::AsReserved),
        };
        self.attempts.settle(in_ledger);
        let settled = Settled { usage: in_limits, cost: self.attempts.spent() };
        let settling = self.reservations.take().map(|reservations| reservations.settle(settled));
        self.report(&end);
        async move {
            if let Some(settling) = settling {
                settling.await;
            }
        }
    }

    fn report(&self, EmbeddingEnd { outcome, code, usage }: &EmbeddingEnd) {
        let target = self.attempts.target();
        if let Some(usage) = usage {
            self.metrics.embedded(usage.input_tokens);
            // The ledger counts what attempts cost.
            if usage.cost.is_none() {
                self.metrics.unpriced(labels(&self.attempts.charged_target()));
            }
        }
        tracing::info!(
            request_id = %self.request_id,
            principal = self.principal.qualified_name().as_deref(),
            model = self.model,
            upstream = &*target.upstream().name,
            attempts = self.attempts.count(),
            outcome = outcome.name(),
            code = code.map(FailureCode::name),
            input_tokens = usage.map(|usage| usage.input_tokens),
            cost = usage.and_then(|usage| usage.cost).map(tracing::field::display),
            total_ms = u64::try_from(self.accepted.elapsed().as_millis()).unwrap_or(u64::MAX),
            "embeddings ended"
        );
    }
}

impl Drop for RunningEmbedding {
    fn drop(&mut self) {
        if self.reservations.is_some() {
            drop(self.end(EmbeddingEnd { outcome: Outcome::Cancelled, code: None, usage: None }));
        }
    }
}

/// Returns the text for the caller: that of a generation, unless it is about chats.
const fn detail(failed: &FailedEnding) -> &'static str {
    match failed.code {
        FailureCode::UpstreamMisconfigured => {
            "The model's server has no embeddings at its configured address. Send another model; GET /v1/models lists \
             the models."
        }
        FailureCode::UpstreamMalformed => {
            "The model's server sent something that is not a list of embeddings. Send a model of embeddings."
        }
        FailureCode::TooLarge => "The embeddings are larger than this service passes on. Send fewer texts at a time.",
        FailureCode::UpstreamDisconnected => "The model's answer broke off. Try again.",
        FailureCode::DeadlineExceeded => "The embeddings took longer than this service allows. Send fewer texts.",
        FailureCode::Overloaded => {
            "The requests and responses of this service, or yours, fill the memory for bodies (the setting \
             server.max_body_memory). Send fewer texts at a time, or try again in a few seconds."
        }
        _ => failed.detail(),
    }
}

fn input_of(tokens: u64) -> Usage {
    Usage { input_tokens: tokens, output_tokens: Some(0), ..Usage::default() }
}
