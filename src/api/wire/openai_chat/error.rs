//! Errors of chat completions: `{"error": {...}}`, as JSON or as an event.

use super::error_body::OpenAiError;
use crate::api::problem::ProblemBody;
use crate::api::wire::frames::Frames;
use crate::api::wire::port::{RefusalBody, RefusalFormat};

pub fn refusal(problem: &ProblemBody, format: RefusalFormat) -> RefusalBody {
    let error = OpenAiError::from(problem);
    match format {
        RefusalFormat::Json => RefusalBody {
            content_type: "application/json",
            bytes: serde_json::to_vec(&error).unwrap_or_default().into(),
        },
        // Without a name, an id or `retry`.
        RefusalFormat::Event => {
            let mut frames = Frames::default();
            let mut block = frames.unnamed();
            block.data().json(&error);
            block.end_with_data();
            RefusalBody::event(frames.take())
        }
    }
}
