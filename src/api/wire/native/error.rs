//! Errors on the native wire: problems (RFC 9457), or the event `failed`.

use std::time::Duration;

use super::data::FailedData;
use crate::api::problem::ProblemBody;
use crate::api::wire::frames::Frames;
use crate::api::wire::port::{RefusalBody, RefusalFormat};
use crate::api::wire::retry::Retry;

pub fn refusal(problem: ProblemBody, format: RefusalFormat) -> RefusalBody {
    match format {
        RefusalFormat::Json => RefusalBody {
            content_type: "application/problem+json",
            bytes: serde_json::to_vec(&problem).unwrap_or_default().into(),
        },
        RefusalFormat::Event => refusal_event(problem),
    }
}

/// Writes an event without an id. `retry` is the wait before a retry, or prevents retries.
fn refusal_event(error: ProblemBody) -> RefusalBody {
    let retry = error.retry_after_ms.map_or(Retry::DORMANT, |wait| Retry::after(Duration::from_millis(wait)));
    let mut frames = Frames::default();
    frames.set_retry(retry);
    let mut block = frames.event("failed");
    let usage = error.usage.clone();
    block.data().json(&FailedData { error, usage, cost: None, timings: None });
    block.end(None::<&str>);
    RefusalBody::event(frames.take())
}
