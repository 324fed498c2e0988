//! A response that is kept, as it stands.

use std::sync::Arc;

use super::encoder::ResponsesEncoder;
use super::response_object::ResponseState;
use crate::api::output_pieces::OutputPieces;
use crate::api::state::Api;
use crate::api::wire::encoder::{BlockIds, Encoder};
use crate::api::wire::frames::Frames;
use crate::domain::{GenerationId, Principal, Start};
use crate::generation::{FollowError, GenerationState};

/// A response, read from its log. Holds no text.
pub struct StoredResponse {
    log: GenerationState,
    encoder: ResponsesEncoder,
}

impl StoredResponse {
    pub async fn load(api: &Api, principal: &Principal, generation: GenerationId) -> Result<Self, FollowError> {
        Self::read(api.generations.inspect(principal, generation).await?).await
    }

    pub async fn read(log: GenerationState) -> Result<Self, FollowError> {
        let mut encoder = ResponsesEncoder::new(Arc::clone(log.start()), BlockIds::Absent);
        log.each_entry(|entry| encoder.skip(entry)).await?;
        Ok(Self { log, encoder })
    }

    pub fn start(&self) -> &Start {
        self.log.start()
    }

    pub const fn state(&self) -> &ResponseState {
        self.encoder.state()
    }

    /// Returns the response object as JSON. Its texts are read from the log.
    pub fn json(&self) -> OutputPieces {
        let mut frames = Frames::default();
        self.encoder.write_response(&mut frames.unfinished());
        self.pieces(frames)
    }

    /// Returns the items of the answer as JSON, in the same way.
    pub fn output_json(&self) -> OutputPieces {
        let mut frames = Frames::default();
        self.encoder.write_output(&mut frames.unfinished());
        self.pieces(frames)
    }

    fn pieces(&self, frames: Frames) -> OutputPieces {
        OutputPieces::new(self.log.texts(), frames.into_pieces())
    }
}
