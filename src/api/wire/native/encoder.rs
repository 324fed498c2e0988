//! The native wire's event streams: named events with ids.

use std::fmt::Display;

use super::super::super::durations::millis;
use super::super::encoder::{Encoder, Notice};
use super::super::frames::{Frames, JsonLine};
use super::super::retry::Retry;
use super::data::{CancelledData, DoneData, FailedData, QueuedData, RestartData, StartData};
use crate::domain::{Chunk, Entry, Event, EventId, GenerationId, Part};

/// Encodes each entry as one block, or as none if it has no content on this wire.
#[derive(Debug, Clone, Copy)]
pub struct NativeEncoder {
    generation: GenerationId,
}

impl NativeEncoder {
    pub const fn new(generation: GenerationId) -> Self {
        Self { generation }
    }
}

impl Encoder for NativeEncoder {
    fn entry(&mut self, entry: &Entry, frames: &mut Frames) {
        if entry.event.is_terminal() {
            frames.set_retry(Retry::DORMANT);
        }
        let id = EventId { generation: self.generation, position: entry.position() };
        encode_event(&entry.event, None, id, frames);
    }

    fn notice(&mut self, notice: Notice, frames: &mut Frames) {
        match notice {
            Notice::Reconnect(retry) => frames.retry_line(retry),
            Notice::Queued(ahead) => {
                let mut block = frames.event("queued");
                block.data().json(&QueuedData { position: ahead.position, eta_ms: ahead.eta.map(millis) });
                block.end(None::<EventId>);
            }
        }
    }
}

/// Appends the block of one event, or nothing if it has no content on this wire. `source` is the generation of the
/// event, if the stream is not that generation's own.
pub fn encode_event(event: &Event, source: Option<GenerationId>, id: impl Display, frames: &mut Frames) {
    let Some(name) = event_name(event) else { return };
    let mut block = frames.event(name);
    write_data(event, source, &mut block.data());
    block.end(Some(id));
}

/// Returns the name of an event; `None` if it has no content on this wire.
pub fn event_name(event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::Start(_) => "start",
        Event::Chunk(chunk) => match chunk.part() {
            Part::Text { .. } => "delta",
            Part::Reasoning { .. } => "reasoning",
            Part::Refusal { .. } => "refusal",
            Part::ToolCall { .. } => "tool_call",
            Part::Other { .. } => "part",
            Part::Silent => return None,
        },
        Event::Restart(_) => "restart",
        Event::Done(_) => "done",
        Event::Cancelled(_) => "cancelled",
        Event::Failed(_) => "failed",
    })
}

/// Writes the data of an event that has a name.
pub fn write_data(event: &Event, source: Option<GenerationId>, line: &mut JsonLine<'_>) {
    match event {
        Event::Chunk(chunk) => write_chunk(chunk, source, line),
        // Its data contains the id of the generation already.
        Event::Start(start) => _ = line.json(&StartData::from(&**start)),
        Event::Restart(restart) => _ = line.object(source, &RestartData::from(restart)),
        Event::Done(done) => _ = line.object(source, &DoneData::from(&**done)),
        Event::Cancelled(cancelled) => _ = line.object(source, &CancelledData::from(&**cancelled)),
        Event::Failed(failed) => _ = line.object(source, &FailedData::from(&**failed)),
    }
}

fn write_chunk(chunk: &Chunk, source: Option<GenerationId>, line: &mut JsonLine<'_>) {
    let text = chunk.text().as_str();
    line.open(source);
    match chunk.part() {
        Part::Text { choice, logprobs_json } => {
            write_text(text, *choice, line);
            if let Some(logprobs) = logprobs_json {
                line.raw(",\"logprobs\":").raw(logprobs);
            }
        }
        Part::Reasoning { choice } | Part::Refusal { choice } => write_text(text, *choice, line),
        Part::ToolCall { choice, index, id, name } => {
            line.raw("\"index\":").number(*index);
            write_choice(*choice, line);
            for (member, value) in [(",\"id\":\"", id), (",\"name\":\"", name)] {
                if let Some(value) = value {
                    line.raw(member).raw(value.as_str()).raw("\"");
                }
            }
            line.raw(",\"arguments\":\"").raw(text).raw("\"");
        }
        Part::Other { choice, delta_json } => {
            line.raw("\"delta\":").raw(delta_json);
            write_choice(*choice, line);
        }
        Part::Silent => {}
    }
    line.raw("}");
}

fn write_text(text: &str, choice: u32, line: &mut JsonLine<'_>) {
    line.raw("\"text\":\"").raw(text).raw("\"");
    write_choice(choice, line);
}

/// Appends the member `choice`. It is absent for choice 0, which usually is the only one.
fn write_choice(choice: u32, line: &mut JsonLine<'_>) {
    if choice > 0 {
        line.raw(",\"choice\":").number(choice);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::data::{DeltaData, PartData, TextData, ToolCallData};
    use super::*;
    use crate::domain::{
        CancelReason, Cancelled, Done, Escaped, FailureCode, Finish, Principal, Restart, Sequence, Shape, Start,
        Timestamp, Timings, TokenSource, Trailer, Usage, UsageRequest,
    };
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    fn frame(event: Event, retry: Option<Retry>) -> String {
        let generation = "gen_AAAAAAAAAAAAAAAAAAAAAA".parse().expect("an id");
        let mut frames = Frames::default();
        if let Some(retry) = retry {
            frames.set_retry(retry);
        }
        NativeEncoder::new(generation).entry(&Entry::new(Sequence::new(7), event), &mut frames);
        String::from_utf8(frames.take().to_vec()).expect("UTF-8")
    }

    fn chunk_event(part: Part, text: &str) -> Event {
        Event::Chunk(Chunk::new(Arc::new(Shape::new(None, part)), Escaped::from_text(text)))
    }

    const NO_USAGE: Usage = Usage {
        input_tokens: 0,
        cache_read_tokens: None,
        cache_write_tokens: None,
        cache_write_1h_tokens: None,
        input_audio_tokens: None,
        output_tokens: None,
        reasoning_tokens: None,
        output_audio_tokens: None,
        source: TokenSource::Estimated,
        cost: None,
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
            notes: None,
            chat: None,
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
                Event::Restart(Restart { from: Sequence::new(1), reason: FailureCode::UpstreamTimeout }),
                None,
                "event: restart\ndata: {\"from\":1,\"reason\":\"upstream_timeout\"}\nid: gen_AAAAAAAAAAAAAAAAAAAAAA.7\n\n",
            ),
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
