//! Whole chat completions: the upstream's own, or one that is merged from its chunks.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;
use tokio::task::yield_now;

use super::completion::Completion;
use super::usage::usage_json;
use crate::api::caller::Caller;
use crate::api::connection::Connection;
use crate::api::held_json::held_json;
use crate::api::problem::{ErrorCode, Problem};
use crate::api::state::Api;
use crate::api::wire::port::{AnswerWait, WholeAnswer};
use crate::domain::{Done, Event, ProviderDialect, TokenSource};
use crate::json::JsonObject;

/// Responds with the completion of a generation that has ended.
pub async fn respond(api: &Api, caller: &Caller, answer: WholeAnswer) -> Result<Response, Problem> {
    let WholeAnswer { mut following, connection: Some(connection), waited: AnswerWait::Ended } = answer else {
        return Err(displaced());
    };
    let mut completion = Completion::new(following.start());
    while let Some(page) = following.next_page().await {
        let page = page.map_err(|_| Problem::history_lost())?;
        // A terminal event is always the last entry of its page.
        match page.last().map(|entry| &entry.event) {
            Some(Event::Failed(failed)) => return Err(Problem::from(&**failed)),
            Some(Event::Cancelled(_)) => return Err(cancelled()),
            // Contains the whole answer: the chunks before it need not be merged.
            Some(Event::Done(done)) => {
                if let Some(completion) = original_completion(done) {
                    return Ok(json(api, caller, completion, connection));
                }
                page.iter().for_each(|entry| completion.apply(entry));
            }
            _ => page.iter().for_each(|entry| completion.apply(entry)),
        }
        // Merging a long answer takes a while: other requests of this thread are served in between.
        yield_now().await;
    }
    Ok(json(api, caller, vec![completion.into_json().into()], connection))
}

/// Builds the response with a completion. It counts as a connection while it is sent, and as memory of its caller. If
/// the caller's memory is used up it does not count: the answer was billed, so it is not refused.
fn json(api: &Api, caller: &Caller, completion: Vec<Bytes>, connection: Connection) -> Response {
    let length: usize = completion.iter().map(Bytes::len).sum();
    held_json(completion, (connection, api.body_memory.hold(&caller.spender.account, length).ok()))
}

/// The completion of a log entry, shared with the log.
struct LoggedCompletion(Arc<str>);

impl AsRef<[u8]> for LoggedCompletion {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Returns the upstream's completion byte for byte and without copying it; `None` if the answer was streamed. If the
/// upstream reported no usage, inserts the counted one.
fn original_completion(done: &Done) -> Option<Vec<Bytes>> {
    let text = done.trailer.of(ProviderDialect::OpenAiChat)?.whole_json.as_ref()?;
    let whole = Bytes::from_owner(LoggedCompletion(Arc::clone(text)));
    if done.usage.source == TokenSource::Provider {
        return Some(vec![whole]);
    }
    let usage = usage_json(done);
    Some(match JsonObject::from_text(Arc::new(Arc::clone(text))) {
        Ok(members) => with_usage(&members, &whole, usage),
        Err(_) => vec![whole],
    })
}

/// Returns the members of a completion, with `usage` replaced in its position or appended.
fn with_usage(members: &JsonObject, whole: &Bytes, usage: String) -> Vec<Bytes> {
    let (mut pieces, mut usage) = (Vec::new(), Some(usage));
    let name =
        |at: usize, name: &str| Bytes::from(format!("{}{}:", if at == 0 { '{' } else { ',' }, Value::from(name)));
    for (at, (member, json)) in members.iter().enumerate() {
        pieces.push(name(at, member));
        pieces.push(match usage.take_if(|_| member == "usage") {
            Some(usage) => usage.into(),
            None => whole.slice_ref(json.as_bytes()),
        });
    }
    if let Some(usage) = usage {
        pieces.extend([name(members.len(), "usage"), usage.into()]);
    }
    pieces.push(Bytes::from_static(b"}"));
    pieces
}

fn cancelled() -> Problem {
    Problem::new(ErrorCode::Cancelled, "The generation was cancelled before its end.")
}

/// Not an error that clients retry by themselves: the upstream was called, and its tokens may be billed.
fn displaced() -> Problem {
    let detail = "The service ended this request to make room for those of other callers. The model was stopped.";
    Problem::new(ErrorCode::Cancelled, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Finish, Timings, Trailer, Usage};

    #[test]
    fn completion_of_the_upstream_is_returned_unchanged_unless_its_usage_is_counted_here() {
        let completed = |usage_json: &str, source| {
            let usage = Usage { input_tokens: 5, output_tokens: Some(2), source, ..Usage::default() };
            let completion = format!(r#"{{"id": "c", "choices": [], "usage": {usage_json}}}"#);
            let trailer = Trailer {
                dialect: Some(ProviderDialect::OpenAiChat),
                usage_json: Some(usage_json.into()),
                whole_json: Some(completion.as_str().into()),
                ..Trailer::default()
            };
            let finish = Box::new([Finish::stated(0, "stop")]);
            let done = Done { finish, trailer, usage, timings: Timings::default() };
            (completion, String::from_utf8(original_completion(&done).expect("a completion").concat()).expect("UTF-8"))
        };
        let (sent, got) =
            completed(r#"{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,"x":1}"#, TokenSource::Provider);
        assert_eq!(got, sent);
        let (_, got) = completed(r#"{"prompt_tokens":5,"x":1}"#, TokenSource::Estimated);
        assert_eq!(
            got,
            r#"{"id":"c","choices":[],"usage":{"prompt_tokens":5,"x":1,"completion_tokens":2,"total_tokens":7,"estimated":true}}"#
        );
    }
}
