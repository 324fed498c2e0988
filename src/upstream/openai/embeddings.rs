//! Embeddings: the request, and the answer, which is passed on as it came.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use super::super::deadlines::AnswerDeadlines;
use super::super::embeddings::{AnswerRoom, EmbeddingTerms, Embeddings, LARGEST_EMBEDDINGS};
use super::super::exchange::read;
use super::super::transport::{More, Response};
use super::super::{AttemptError, AttemptErrorKind, Delivery, ErrorReport, MalformedResponseError};
use super::OpenAiUpstream;
use super::usage;
use crate::domain::{EmbeddingRequest, UsageReport};
use crate::json::{Tree, write_members};

/// The members of an answer that are read.
#[derive(Deserialize)]
struct EmbeddingsAnswer<'a> {
    data: Option<Vec<IgnoredAny>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// An answer above this size is read on a blocking thread: it takes a millisecond and more.
const LARGE: usize = 256 << 10;

const MALFORMED: AttemptErrorKind = AttemptErrorKind::Malformed(MalformedResponseError::Embeddings);

impl OpenAiUpstream {
    /// Makes one attempt. The head must arrive within the timeout of a response head; the body, which follows it at once,
    /// within the time of the whole request.
    pub(super) async fn embed(
        self: Arc<Self>,
        request: Arc<EmbeddingRequest>,
        terms: EmbeddingTerms,
    ) -> Result<Embeddings, AttemptError> {
        let body = body(&request, &terms.model);
        drop(request);
        let sent = terms.sent.of_request(Delivery::Whole);
        let mut response = {
            let mut timer = pin!(sleep_until(Instant::now()));
            let mut deadlines = AnswerDeadlines::new(self.timeouts, timer.as_mut());
            let sending = deadlines.await_step(self.exchange.send(&self.embeddings, body, &sent));
            sending.await.map_err(|timeout| AttemptError::new(timeout, terms.sent.get()))??
        };
        let json = read_body(&mut response, &*terms.room).await.map_err(AttemptError::in_response)?;
        let read = if json.len() > LARGE {
            let reading = spawn_blocking(move || (read_usage(&json), json));
            reading.await.map_err(|_| AttemptError::in_response(MALFORMED))?
        } else {
            (read_usage(&json), json)
        };
        let (usage, json) = read;
        let usage = usage
            .map_err(|error| AttemptError::in_response(self.exchange.reports.reported(error, &response.headers)))?;
        response.recycle();
        Ok(Embeddings { json, usage })
    }
}

/// Writes the caller's fields unchanged, and `model` as the name of the model.
fn body(request: &EmbeddingRequest, model: &str) -> Bytes {
    let model = serde_json::Value::from(model).to_string();
    let first = request.fields.get("model").is_none().then_some(("model", model.as_str()));
    let sent = request.fields.iter().map(|(name, json)| (name, if name == "model" { model.as_str() } else { json }));
    let mut body = String::with_capacity(request.fields.text_len() + model.len() + 16);
    write_members(&mut body, first.into_iter().chain(sent));
    body.into()
}

/// Reads a body of at most [`LARGEST_EMBEDDINGS`] to its end.
async fn read_body(response: &mut Response, room: &dyn AnswerRoom) -> Result<Vec<u8>, AttemptErrorKind> {
    let mut body = Vec::new();
    loop {
        let more = read(response, &mut |bytes: &[u8]| body.extend_from_slice(bytes)).await?;
        if body.len() > LARGEST_EMBEDDINGS {
            return Err(AttemptErrorKind::Malformed(MalformedResponseError::EventTooLarge));
        }
        room.grow_to(body.len()).map_err(|_| AttemptErrorKind::NoRoom)?;
        if more == More::None {
            return Ok(body);
        }
    }
}

/// Returns the usage of an answer; its vectors are not looked at.
///
/// Errors: the body is an error in place of an answer, is not complete, or has no list `data`.
fn read_usage(json: &[u8]) -> Result<UsageReport, AttemptErrorKind> {
    let answer: EmbeddingsAnswer<'_> = match serde_json::from_slice(json) {
        Ok(answer) => answer,
        Err(error) if error.is_eof() => {
            return Err(AttemptErrorKind::Disconnected { cause: "the body ended before its JSON did".into() });
        }
        Err(_) => return Err(MALFORMED),
    };
    if answer.data.is_none() {
        let report = ErrorReport::read(json).ok_or(MALFORMED)?;
        return Err(AttemptErrorKind::Reported(Box::new(report)));
    }
    let usage = answer.usage.and_then(|usage| Tree::parse(usage.get()).ok());
    let report = usage.as_ref().and_then(Tree::as_object).and_then(usage::read).unwrap_or_default();
    // An embedding has no output.
    Ok(UsageReport { output_tokens: Some(0), ..report })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::JsonObject;

    #[test]
    fn body_has_the_fields_as_they_were_written_and_the_name_of_the_target() {
        for (fields, expected) in [
            (
                r#"{"input":[ [1, 2] ],"model":"alias","dimensions":8,"x":1.0}"#,
                r#"{"input":[ [1, 2] ],"model":"m","dimensions":8,"x":1.0}"#,
            ),
            (r#"{"input":"a"}"#, r#"{"model":"m","input":"a"}"#),
        ] {
            let fields = JsonObject::parse(fields.as_bytes()).expect("an object");
            let request = EmbeddingRequest { model: "alias".to_owned(), fields };
            assert_eq!(body(&request, "m"), expected);
        }
    }

    #[test]
    fn answer_is_a_list_of_embeddings_or_the_error_in_its_place() {
        let usage = |json: &str| read_usage(json.as_bytes());
        let known =
            usage(r#"{"object":"list","data":[{"embedding":"AAAA"}],"usage":{"prompt_tokens":3,"total_tokens":3}}"#);
        let known = known.expect("an answer");
        assert_eq!((known.input_tokens, known.output_tokens), (Some(3), Some(0)));
        let unknown = usage(r#"{"data":[]}"#).expect("an answer");
        assert_eq!(unknown.input_tokens, None);
        assert!(matches!(usage(r#"{"error":{"message":"m"}}"#), Err(AttemptErrorKind::Reported(_))));
        assert!(matches!(usage(r#"{"data":[{"embedd"#), Err(AttemptErrorKind::Disconnected { .. })));
        for malformed in ["[]", "{}", "words", r#"{"data":{}}"#] {
            assert_eq!(usage(malformed), Err(MALFORMED), "{malformed}");
        }
    }
}
