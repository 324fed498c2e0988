//! The native wire format: named events with ids.
//!
//! The types here are the `data` of the events, for the OpenAPI document. Text is not written through them: it is
//! copied, still escaped, from the log into the frame.

use std::fmt::Display;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::durations::millis;
use super::super::problem::ProblemBody;
use super::format::WireFormat;
pub use super::measures::{TimingsBody, UsageBody};
use super::retry::Retry;
use super::sse_block::SseBlock;
use crate::domain::{
    CancelReason, Cancelled, Chunk, Done, Entry, Event, EventId, Failed, GenerationId, Part, Start, Stated,
};
use crate::limits::QueuePosition;

/// The native wire format. Each entry is one block, or none if it has no content in this format.
#[derive(Debug, Clone, Copy)]
pub struct Native;

/// The names of all events.
pub const EVENTS: [&str; 11] = [
    "start",
    "queued",
    "delta",
    "reasoning",
    "tool_call",
    "refusal",
    "part",
    "snapshot",
    "done",
    "cancelled",
    "failed",
];

impl WireFormat for Native {
    fn encode(&self, generation: GenerationId, entry: &Entry, retry: &mut Option<Retry>, out: &mut BytesMut) {
        if entry.event.is_terminal() {
            *retry = Some(Retry::DORMANT);
        }
        encode_event(&entry.event, None, EventId { generation, sequence: entry.sequence }, retry, out);
    }

    fn encode_retry(&self, retry: Retry, out: &mut BytesMut) {
        retry.write_alone(out);
    }

    fn encode_queue_position(&self, ahead: QueuePosition, retry: &mut Option<Retry>, out: &mut BytesMut) {
        let mut block = SseBlock::new(out, "queued");
        block.json(&QueuedData { position: ahead.position, eta_ms: ahead.eta.map(millis) });
        block.end(retry.take(), None::<EventId>);
    }
}

/// Appends the block of one event, or nothing if it has no content in this format. `source` is the generation of the
/// event, if the stream is not that generation's own.
pub fn encode_event(
    event: &Event,
    source: Option<GenerationId>,
    id: impl Display,
    retry: &mut Option<Retry>,
    out: &mut BytesMut,
) {
    let (name, write): (&str, &dyn Fn(&mut SseBlock<'_>)) = match event {
        Event::Chunk(chunk) => return encode_chunk(chunk, source, id, retry, out),
        // Its data contains the id of the generation already.
        Event::Start(start) => ("start", &|block| _ = block.json(&StartData::from(&**start))),
        Event::Done(done) => ("done", &|block| _ = block.object(source, &DoneData::from(&**done))),
        Event::Cancelled(cancelled) => {
            ("cancelled", &|block| _ = block.object(source, &CancelledData::from(&**cancelled)))
        }
        Event::Failed(failed) => ("failed", &|block| _ = block.object(source, &FailedData::from(&**failed))),
    };
    let mut block = SseBlock::new(out, name);
    write(&mut block);
    block.end(retry.take(), Some(id));
}

fn encode_chunk(
    chunk: &Chunk,
    source: Option<GenerationId>,
    id: impl Display,
    retry: &mut Option<Retry>,
    out: &mut BytesMut,
) {
    let text = chunk.text().as_str();
    let mut block = match chunk.part() {
        Part::Silent => return,
        Part::Text { choice, logprobs_json } => {
            let mut block = text_block(out, "delta", source, *choice, text);
            if let Some(logprobs) = logprobs_json {
                block.raw(",\"logprobs\":").raw(logprobs);
            }
            block
        }
        Part::Reasoning { choice } => text_block(out, "reasoning", source, *choice, text),
        Part::Refusal { choice } => text_block(out, "refusal", source, *choice, text),
        Part::ToolCall { choice, index, id, name } => {
            let mut block = SseBlock::new(out, "tool_call");
            block.open(source).raw("\"index\":").number(*index);
            choice_member(&mut block, *choice);
            for (member, value) in [(",\"id\":\"", id), (",\"name\":\"", name)] {
                if let Some(value) = value {
                    block.raw(member).raw(value.as_str()).raw("\"");
                }
            }
            block.raw(",\"arguments\":\"").raw(text).raw("\"");
            block
        }
        Part::Other { choice, delta_json } => {
            let mut block = SseBlock::new(out, "part");
            block.open(source).raw("\"delta\":").raw(delta_json);
            choice_member(&mut block, *choice);
            block
        }
    };
    block.raw("}");
    block.end(retry.take(), Some(id));
}

fn text_block<'a>(
    out: &'a mut BytesMut,
    name: &str,
    source: Option<GenerationId>,
    choice: u32,
    text: &str,
) -> SseBlock<'a> {
    let mut block = SseBlock::new(out, name);
    block.open(source).raw("\"text\":\"").raw(text).raw("\"");
    choice_member(&mut block, choice);
    block
}

/// Appends the member `choice`. It is absent for choice 0, which usually is the only one.
fn choice_member(block: &mut SseBlock<'_>, choice: u32) {
    if choice > 0 {
        block.raw(",\"choice\":").number(choice);
    }
}

/// The generation has started. Always the first event, before the model answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartData {
    /// The id of the generation, to follow, cancel or inspect it.
    pub generation: String,
    /// The model that answers.
    pub model: String,
    /// The prompt that the request referred to, as `id@version`; absent if it referred to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "summarise@0123456789ab")]
    pub prompt: Option<String>,
    /// When the request was accepted (RFC 3339, UTC).
    #[schema(format = "date-time")]
    pub created_at: String,
}

/// The generation waits for a slot. Sent again when its queue position changes. Not kept, so it has no id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueuedData {
    /// The queue position; 1 is the next.
    pub position: u32,
    /// The estimated wait in milliseconds, derived from the durations of other generations. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_ms: Option<u64>,
}

/// A piece of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeltaData {
    pub text: String,
    /// The choice that this belongs to; absent for the first, which is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<u32>,
    /// Log probabilities as the provider returned them, if the request asked for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Value>,
}

/// A piece of the model's reasoning, or of a refusal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TextData {
    pub text: String,
    /// The choice that this belongs to; absent for the first, which is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<u32>,
}

/// A fragment of a tool call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolCallData {
    /// The index of the call in its choice, from 0.
    pub index: u32,
    /// The choice that this belongs to; absent for the first, which is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<u32>,
    /// The id of the call; only in its first fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name of the tool; only in the call's first fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The next characters of the arguments. All fragments together are JSON.
    pub arguments: String,
}

/// Other members of the model's delta, unchanged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PartData {
    #[schema(value_type = Object)]
    pub delta: Value,
    /// The choice that this belongs to; absent for the first, which is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<u32>,
}

/// The answer is complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DoneData {
    /// Why the first choice ended: `stop`, `length`, `tool_calls`, `content_filter`, or another value of the provider.
    #[schema(example = "stop")]
    pub finish_reason: String,
    /// Present and true if the provider gave no reason; `finish_reason` then is `stop`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub finish_reason_missing: bool,
    /// Why each choice ended, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<FinishedChoice>>,
    pub usage: UsageBody,
    pub timings: TimingsBody,
}

/// Why one of several choices ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishedChoice {
    pub choice: u32,
    pub finish_reason: String,
    /// Present and true if the provider gave no reason; `finish_reason` then is `stop`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub finish_reason_missing: bool,
}

/// The generation was cancelled. The events before this one are the incomplete answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelledData {
    pub reason: CancelledReason,
    pub usage: UsageBody,
    pub timings: TimingsBody,
}

/// Why the generation was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelledReason {
    /// A client called `cancel` or `DELETE`.
    ClientRequest,
    /// The last viewer disconnected, and the grace period has ended.
    Abandoned,
}

/// The generation failed, or the request was refused before the generation started. A refusal contains only the error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FailedData {
    pub error: ProblemBody,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<TimingsBody>,
}

impl From<&Start> for StartData {
    fn from(start: &Start) -> Self {
        Self {
            generation: start.generation.to_string(),
            model: start.model.clone(),
            prompt: start.prompt.as_ref().map(ToString::to_string),
            created_at: start.created_at.to_string(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl From<&Done> for DoneData {
    fn from(done: &Done) -> Self {
        let finished = done.finish.iter();
        let choices = finished.map(|finish| FinishedChoice {
            choice: finish.choice,
            finish_reason: finish.reason.to_string(),
            finish_reason_missing: finish.stated == Stated::No,
        });
        let choices: Vec<_> = choices.collect();
        Self {
            finish_reason: choices.first().map(|first| first.finish_reason.clone()).unwrap_or_default(),
            finish_reason_missing: choices.first().is_some_and(|first| first.finish_reason_missing),
            choices: Some(choices).filter(|choices| choices.len() > 1),
            usage: done.usage.into(),
            timings: done.timings.into(),
        }
    }
}

impl From<&Cancelled> for CancelledData {
    fn from(cancelled: &Cancelled) -> Self {
        let reason = match cancelled.reason {
            CancelReason::ClientRequest => CancelledReason::ClientRequest,
            CancelReason::Abandoned => CancelledReason::Abandoned,
        };
        Self { reason, usage: cancelled.usage.into(), timings: cancelled.timings.into() }
    }
}

impl From<&Failed> for FailedData {
    fn from(failed: &Failed) -> Self {
        Self {
            error: ProblemBody::from(&failed.failure),
            usage: failed.usage.map(UsageBody::from),
            timings: Some(failed.timings.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{Escaped, Finish, Principal, Sequence, Shape, Timestamp, Trailer, UsageRequest};
    use crate::domain::{Timings, TokenSource, Usage};
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    fn frame(event: Event, mut retry: Option<Retry>) -> String {
        let generation = "gen_AAAAAAAAAAAAAAAAAAAAAA".parse().expect("an id");
        let mut out = BytesMut::new();
        Native.encode(generation, &Entry { sequence: Sequence::new(7), event }, &mut retry, &mut out);
        String::from_utf8(out.to_vec()).expect("UTF-8")
    }

    fn chunk_event(part: Part, text: &str) -> Event {
        Event::Chunk(Chunk::new(Arc::new(Shape::new(None, part)), Escaped::from_text(text)))
    }

    const NO_USAGE: Usage = Usage {
        input_tokens: 0,
        cache_read_tokens: None,
        cache_write_tokens: None,
        input_audio_tokens: None,
        output_tokens: None,
        reasoning_tokens: None,
        output_audio_tokens: None,
        source: TokenSource::Estimated,
    };
    const USAGE: Usage = Usage { input_tokens: 3, output_tokens: Some(1), source: TokenSource::Provider, ..NO_USAGE };
    const TIMINGS: Timings =
        Timings { first_token: Some(Duration::from_millis(12)), total: Duration::from_millis(345) };

    #[test]
    fn each_event_encodes_to_the_expected_bytes() {
        let start = Start {
            generation: "gen_AAAAAAAAAAAAAAAAAAAAAA".parse().expect("an id"),
            owner: Principal::Anonymous,
            model: "m\u{2028}".into(),
            created_at: Timestamp::from(UNIX_EPOCH + Duration::from_millis(1_795_245_962_001)),
            prompt: None,
            metadata: [].into(),
            usage: UsageRequest::NotAsked,
        };
        let done = Done {
            finish: [Finish::stated(0, "stop")].into(),
            trailer: Trailer::default(),
            usage: USAGE,
            timings: TIMINGS,
        };
        let cancelled = Cancelled { reason: CancelReason::Abandoned, usage: USAGE, timings: TIMINGS };
        let call = |id: Option<&str>| Part::ToolCall {
            choice: 0,
            index: 0,
            id: id.map(Escaped::from_text),
            name: id.map(|_| Escaped::from_text("weather")),
        };
        for (event, retry, expected) in [
            (
                Event::Start(Arc::new(start)),
                Some(Retry::SOON),
                "event: start\ndata: {\"generation\":\"gen_AAAAAAAAAAAAAAAAAAAAAA\",\"model\":\"m\\u2028\",\"created_at\":\"2026-11-21T07:26:02.001Z\"}\nretry: 1000\nid: gen_AAAAAAAAAAAAAAAAAAAAAA.7\n\n",
            ),
            (
                chunk_event(Part::Text { choice: 0, logprobs_json: None }, "Hel\n\"lo\""),
                None,
                "event: delta\ndata: {\"text\":\"Hel\\n\\\"lo\\\"\"}\nid: gen_AAAAAAAAAAAAAAAAAAAAAA.7\n\n",
            ),
            (
                chunk_event(Part::Text { choice: 2, logprobs_json: Some("{\"content\":[]}".into()) }, "x"),
                None,
                "event: delta\ndata: {\"text\":\"x\",\"choice\":2,\"logprobs\":{\"content\":[]}}\nid: gen_AAAAAAAAAAAAAAAAAAAAAA.7\n\n",
            ),
            (
                chunk_event(Part::Reasoning { choice: 0 }, "hm"),
                None,
                "event: reasoning\ndata: {\"text\":\"hm\"}\nid: gen_AAAAAAAAAAAAAAAAAAAAAA.7\n\n",
            ),
            (
                chunk_event(Part::Refusal { choice: 0 }, "no"),
                None,
                "event: refusal\ndata: {\"text\":\"no\"}\nid: gen_AAAAAAAAAAAAAAAAAAAAAA.7\n\n",
            ),
            (
                chunk_event(call(Some("call_1")), "{\"ci"),
                None,
                "event: tool_call\ndata: {\"index\":0,\"id\":\"call_1\",\"name\":\"weather\",\"arguments\":\"{\\\"ci\"}\nid: gen_AAAAAAAAAAAAAAAAAAAAAA.7\n\n",
            ),
            (
                chunk_event(call(None), "ty"),
                None,
                "event: tool_call\ndata: {\"index\":0,\"arguments\":\"ty\"}\nid: gen_AAAAAAAAAAAAAAAAAAAAAA.7\n\n",
            ),
            (
                chunk_event(Part::Other { choice: 0, delta_json: "{\"audio\":{}}".into() }, ""),
                None,
                "event: part\ndata: {\"delta\":{\"audio\":{}}}\nid: gen_AAAAAAAAAAAAAAAAAAAAAA.7\n\n",
            ),
            (chunk_event(Part::Silent, ""), Some(Retry::SOON), ""),
            (
                Event::Done(Arc::new(done)),
                Some(Retry::SOON),
                "event: done\ndata: {\"finish_reason\":\"stop\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1,\"estimated\":false},\"timings\":{\"first_token_ms\":12,\"total_ms\":345}}\nretry: 86400000\nid: gen_AAAAAAAAAAAAAAAAAAAAAA.7\n\n",
            ),
            (
                Event::Cancelled(Arc::new(cancelled)),
                None,
                "event: cancelled\ndata: {\"reason\":\"abandoned\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1,\"estimated\":false},\"timings\":{\"first_token_ms\":12,\"total_ms\":345}}\nretry: 86400000\nid: gen_AAAAAAAAAAAAAAAAAAAAAA.7\n\n",
            ),
        ] {
            assert_eq!(frame(event, retry), expected);
        }
    }

    #[test]
    fn hand_written_json_parses_as_its_documented_type() {
        let data = |event| {
            let frame = frame(event, None);
            frame.lines().find_map(|line| line.strip_prefix("data: ")).expect("data").to_owned()
        };
        let logprobs_json = Some("{\"content\":[]}".into());
        serde_json::from_str::<DeltaData>(&data(chunk_event(Part::Text { choice: 1, logprobs_json }, "\u{85}")))
            .expect("a delta");
        serde_json::from_str::<TextData>(&data(chunk_event(Part::Reasoning { choice: 1 }, ""))).expect("reasoning");
        let part = Part::ToolCall { choice: 3, index: 1, id: Some(Escaped::from_text("\"")), name: None };
        serde_json::from_str::<ToolCallData>(&data(chunk_event(part, "\\"))).expect("a tool call");
        serde_json::from_str::<PartData>(&data(chunk_event(Part::Other { choice: 1, delta_json: "{}".into() }, "")))
            .expect("a part");
    }

    #[test]
    fn each_of_several_choices_has_its_finish_reason() {
        let done = Done {
            finish: [Finish::stated(0, "stop"), Finish::stated(1, "length")].into(),
            trailer: Trailer::default(),
            usage: USAGE,
            timings: TIMINGS,
        };
        assert!(frame(Event::Done(Arc::new(done)), None).contains(
            "{\"finish_reason\":\"stop\",\"choices\":[{\"choice\":0,\"finish_reason\":\"stop\"},{\"choice\":1,\"finish_reason\":\"length\"}],"
        ));
    }
}
