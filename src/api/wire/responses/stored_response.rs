//! A response that is kept, as it stands.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::Value;

use super::encoder::ResponsesEncoder;
use super::response_object::ResponseState;
use crate::api::output_pieces::OutputPieces;
use crate::api::problem::Problem;
use crate::api::state::Api;
use crate::api::wire::encoder::Encoder;
use crate::api::wire::frames::Frames;
use crate::api::wire::openai_chat::encoder::BlockIds;
use crate::domain::{GenerationId, Principal, Start};
use crate::generation::{FollowError, GenerationState};

/// A response, read from its log.
pub struct StoredResponse {
    state: GenerationState,
    encoder: ResponsesEncoder,
}

/// Whether more of a response follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseProgress {
    Running,
    Ended,
}

impl StoredResponse {
    pub async fn load(api: &Api, principal: &Principal, generation: GenerationId) -> Result<Self, FollowError> {
        Self::read(api.generations.inspect(principal, generation).await?).await
    }

    pub async fn read(state: GenerationState) -> Result<Self, FollowError> {
        let mut encoder = ResponsesEncoder::new(Arc::clone(state.start()), BlockIds::Absent);
        state.each_entry(|entry| encoder.skip(entry)).await?;
        Ok(Self { state, encoder })
    }

    pub fn start(&self) -> &Start {
        self.state.start()
    }

    pub fn progress(&self) -> ResponseProgress {
        match self.encoder.state() {
            ResponseState::InProgress => ResponseProgress::Running,
            _ => ResponseProgress::Ended,
        }
    }

    /// Returns the response object as JSON, with its texts.
    pub async fn json(&self) -> Result<Vec<Bytes>, Problem> {
        let mut frames = Frames::default();
        self.encoder.write_response(&mut frames.unfinished());
        let rest = frames.split_off_logged();
        let mut pieces = vec![frames.take()];
        let mut rest = OutputPieces::new(self.state.texts(), rest.unwrap_or_default());
        while let Some(piece) = rest.next().await {
            pieces.push(piece.map_err(|_| Problem::history_lost())?);
        }
        Ok(pieces)
    }

    /// Returns the items of the answer.
    pub async fn output(&self) -> Result<Vec<Value>, Problem> {
        let json = self.json().await?.concat();
        let response = serde_json::from_slice::<Value>(&json).unwrap_or_default();
        Ok(response.get("output").and_then(Value::as_array).cloned().unwrap_or_default())
    }
}
