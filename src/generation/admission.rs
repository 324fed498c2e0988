//! Decides whether a request may start a generation, and reserves what it may use of its caller's limits.

use super::service::GenerationService;
use super::start::{NewGeneration, StartError};
use super::tokens;
use crate::domain::{ChatRequest, Prompt, Usage, UsageReport, Usd};
use crate::limits::{GenerationDemand, LimitError, Permit, RequestPermit, Spender, WaitPolicy};
use crate::upstream::{ConversationKey, Plan};

impl GenerationService {
    /// Returns the targets of a request, whose caller may use its model.
    pub(super) fn plan(&self, new: &NewGeneration) -> Result<Plan, StartError> {
        let conversation = |model: &str| ConversationKey::of(&new.owner, model, &new.fields);
        let plan = self.router.plan(new.model.as_deref(), conversation)?;
        if !new.allowed.allow(&plan.model) {
            return Err(StartError::ModelForbidden);
        }
        if new.spender.budget().is_some() && !self.is_priced(&plan) {
            return Err(StartError::ModelUnpriced);
        }
        Ok(plan)
    }

    /// Returns whether the cost of every answer of this plan is known.
    fn is_priced(&self, plan: &Plan) -> bool {
        plan.targets().all(|target| self.ledger.is_priced(&target.upstream().name, target.model()))
    }

    /// Returns the most that these tokens cost at the dearest target, as far as prices are known: some kinds cost more
    /// than the others, such as writes to a cache, reasoning and audio.
    fn dearest(&self, plan: &Plan, usage: &Usage) -> Usd {
        let (input, output) = (Some(usage.input_tokens), usage.output_tokens);
        let writes = Usage { cache_write_tokens: input, ..*usage };
        let long_writes = Usage { cache_write_1h_tokens: UsageReport::hour_tokens(usage.input_tokens), ..writes };
        let inputs = [*usage, writes, long_writes, Usage { input_audio_tokens: input, ..*usage }];
        let kinds = inputs.map(|usage| {
            let [reasoning, audio] = [usage, usage];
            [usage, Usage { reasoning_tokens: output, ..reasoning }, Usage { output_audio_tokens: output, ..audio }]
        });
        let costs = plan.targets().flat_map(|target| {
            let cost = |usage: &Usage| self.ledger.cost(&target.upstream().name, target.model(), usage);
            kinds.as_flattened().iter().filter_map(cost).collect::<Vec<_>>()
        });
        costs.max().unwrap_or_default()
    }

    /// Reserves what the generation may use of its caller's limits, all or nothing. The answer is estimated as the
    /// request's own limit, or else as the mean of the account's answers of this model, up to the limit that applies.
    /// Of a budget, the cost of the longest answer that the limits allow is reserved, or of the estimated one without a
    /// limit.
    pub(super) async fn admit(
        &self,
        spender: &Spender,
        (plan, request): (&Plan, &mut ChatRequest),
        prompt: &Prompt,
        (wait_policy, permit): (WaitPolicy, RequestPermit),
    ) -> Result<(Permit, Usage, Usd), StartError> {
        let asked = request.messages_form.as_ref().map(|form| form.limit.get().into());
        let wanted = request.output_limit().or(asked);
        let (tokens, choices) = spender.most(&request.model);
        request.apply_limits(tokens, choices)?;
        let most = request.output_limit().unwrap_or(u64::MAX);
        let expected = || self.limits.output_estimate(&spender.account, &request.model).tokens();
        let output = wanted.unwrap_or_else(expected).min(most);
        let input_tokens = tokens::guess_prompt(prompt);
        let output_tokens = Some(output.saturating_mul(request.choices()));
        let reserved = Usage { input_tokens, output_tokens, ..Usage::default() };
        let longest = request.output_limit().unwrap_or(output).saturating_mul(request.choices());
        let cost = self.dearest(plan, &Usage { output_tokens: Some(longest), ..reserved });
        let (model, tokens) = (request.model.clone(), reserved.total());
        let demand = GenerationDemand { spender: spender.clone(), model, tokens, cost, wait_policy };
        match self.limits.admit(demand, permit).await {
            Ok(admitted) => Ok((admitted, reserved, cost)),
            Err(error) => Err(self.refused(error, spender, &request.model).await),
        }
    }

    pub(super) async fn refused(&self, error: LimitError, spender: &Spender, model: &str) -> StartError {
        match error {
            LimitError::Exceeded(exceeded) => {
                self.metrics.refused(exceeded.limit.name());
                StartError::Exceeded(exceeded, self.limits.left(spender, model).await)
            }
            LimitError::Unavailable => StartError::LimitsUnavailable,
        }
    }
}
