//! Counts the tokens of a request that is not sent.

use std::sync::Arc;

use super::answer_text::AnswerText;
use super::service::Generations;
use super::start::StartError;
use crate::domain::{AllowedModels, ChatRequest, Principal};
use crate::json::JsonObject;
use crate::upstream::ConversationKey;

impl Generations {
    /// Counts the tokens of a prompt with the vocabulary of the model's family.
    pub async fn count_prompt(
        &self,
        model: Option<&str>,
        allowed: &AllowedModels,
        fields: JsonObject,
    ) -> Result<u64, StartError> {
        let plan = self.0.router.plan(model, |model| ConversationKey::of(&Principal::Anonymous, model, &fields))?;
        if !allowed.allow(&plan.model) {
            return Err(StartError::ModelForbidden);
        }
        let target = plan.first.target.model();
        let prompt = Arc::new(ChatRequest::new(String::new(), fields).prompt());
        Ok(self.0.counter.count(target, &prompt, AnswerText::default()).await.input_tokens)
    }
}
