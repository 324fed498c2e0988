//! What a generation needs of its caller's limits, and why it is refused.

use super::service::GenerationService;
use super::start::StartError;
use super::tokens;
use crate::domain::{ChatRequest, Prompt, Usage, Usd};
use crate::limits::{GenerationDemand, LimitError, Permit, RequestPermit, Spender, WaitPolicy};
use crate::upstream::Plan;

impl GenerationService {
    /// Returns whether the cost of every answer of this plan is known.
    pub(super) fn is_priced(&self, plan: &Plan) -> bool {
        plan.targets().all(|target| self.ledger.is_priced(&target.upstream().name, target.model()))
    }

    /// Returns the cost of these tokens at the dearest target, as far as prices are known.
    fn dearest(&self, plan: &Plan, usage: &Usage) -> Usd {
        let costs =
            plan.targets().filter_map(|target| self.ledger.cost(&target.upstream().name, target.model(), usage));
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
        let wanted = request.output_limit();
        let (tokens, choices) = spender.most(&request.model);
        request.apply_limits(tokens, choices)?;
        let output = wanted.unwrap_or_else(|| {
            let expected = self.limits.output_estimate(&spender.account, &request.model).tokens();
            expected.min(request.output_limit().unwrap_or(u64::MAX))
        });
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
