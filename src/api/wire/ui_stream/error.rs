//! Error responses: one sentence, which a page shows as it is.

use serde_json::json;

use crate::api::problem::ProblemBody;
use crate::api::wire::frames::Frames;
use crate::api::wire::port::{RefusalBody, RefusalFormat};

pub fn refusal(problem: &ProblemBody, format: RefusalFormat) -> RefusalBody {
    let sentence = sentence(problem);
    match format {
        RefusalFormat::Json => RefusalBody { content_type: "text/plain", bytes: sentence.into() },
        RefusalFormat::Event => {
            let mut frames = Frames::default();
            let mut block = frames.unnamed();
            block.data().json(&json!({"type": "error", "errorText": sentence}));
            block.end_with_data();
            let mut block = frames.unnamed();
            block.data().raw("[DONE]");
            block.end_with_data();
            RefusalBody::event(frames.take())
        }
    }
}

/// Returns the sentence, with the first field that is wrong.
fn sentence(problem: &ProblemBody) -> String {
    let words = problem.upstream.as_ref().and_then(|words| words.message.clone());
    match (words, problem.errors.first()) {
        (Some(words), _) => words,
        (None, Some(error)) => {
            format!("The field {} {}.", error.pointer.trim_start_matches('/'), error.detail.trim_end_matches('.'))
        }
        (None, None) => problem.detail.clone(),
    }
}
