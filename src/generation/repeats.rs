//! The idempotency key of a request, before its generation starts.

use super::following::FollowError;
use super::service::Generations;
use crate::domain::{GenerationId, IdempotencyKey, Principal};

impl Generations {
    /// Returns whether a key of the caller's names a generation, for any request.
    pub async fn knows(&self, principal: &Principal, key: &IdempotencyKey) -> Result<bool, FollowError> {
        Ok(self.0.log.knows(principal, key).await?)
    }

    /// Returns the id of a new generation, which the log chooses for its key.
    pub fn new_id(&self, owner: &Principal, key: Option<&IdempotencyKey>) -> GenerationId {
        self.0.log.new_id(owner, key)
    }
}
