//! Chunks of a provider whose own JSON is of another dialect: they are written from the parts of the answer.

use std::collections::BTreeSet;

use crate::domain::{Chunk, Done, Escaped, Part, Start, Stated};
use crate::json::Tree;

/// The member in which clients of this format receive signed thinking, and send it back.
const THINKING_BLOCKS: &str = "thinking_blocks";

/// Writes the chunks of one generation.
#[derive(Debug)]
pub struct NeutralChunks {
    /// The members of every chunk before its choices, without the brace.
    head_json: String,
    /// The choices whose role has been written: SDKs expect it in the first chunk of a choice, and only there.
    begun: BTreeSet<u32>,
}

impl NeutralChunks {
    pub fn new(start: &Start) -> Self {
        let (generation, created) = (start.generation, start.created_at.millis() / 1000);
        let model = Escaped::from_text(&start.model);
        let head_json = format!(
            r#""id":"chatcmpl-{generation}","object":"chat.completion.chunk","created":{created},"model":"{}""#,
            model.as_str()
        );
        Self { head_json, begun: BTreeSet::new() }
    }

    pub fn head_json(&self) -> &str {
        &self.head_json
    }

    /// Returns a chunk as JSON; `None` if it has no part that OpenAI's format can carry.
    pub fn chunk(&mut self, chunk: &Chunk) -> Option<String> {
        let text = chunk.text().as_str();
        let (choice, delta, logprobs) = match chunk.part() {
            Part::Text { choice, logprobs_json } => {
                (choice, format!(r#""content":"{text}""#), logprobs_json.as_deref())
            }
            Part::Reasoning { choice } => (choice, format!(r#""reasoning_content":"{text}""#), None),
            Part::Refusal { choice } => (choice, format!(r#""refusal":"{text}""#), None),
            Part::ToolCall { choice, index, id, name } => {
                let member = |member: &str, value: Option<&Escaped>| {
                    value.map(|value| format!(r#""{member}":"{}","#, value.as_str())).unwrap_or_default()
                };
                let kind = if id.is_some() { r#""type":"function","# } else { "" };
                let (id, name) = (member("id", id.as_ref()), member("name", name.as_ref()));
                let call = format!(r#"{{"index":{index},{id}{kind}"function":{{{name}"arguments":"{text}"}}}}"#);
                (choice, format!(r#""tool_calls":[{call}]"#), None)
            }
            Part::Other { choice, delta_json } => {
                (choice, format!(r#""{THINKING_BLOCKS}":{}"#, thinking_blocks(delta_json)?), None)
            }
            Part::Silent => return None,
        };
        let role = if self.begun.insert(*choice) { r#""role":"assistant","# } else { "" };
        let logprobs = logprobs.unwrap_or("null");
        let head = &self.head_json;
        Some(format!(
            r#"{{{head},"choices":[{{"index":{choice},"delta":{{{role}{delta}}},"logprobs":{logprobs},"finish_reason":null}}]}}"#
        ))
    }

    /// Notes a chunk that the client has received before.
    pub fn skip(&mut self, chunk: &Chunk) {
        match chunk.part() {
            Part::Other { delta_json, .. } if thinking_blocks(delta_json).is_none() => {}
            part => self.begun.extend(part.choice()),
        }
    }

    /// Returns the last chunk of each choice, with its finish reason.
    pub fn ends(&self, done: &Done) -> impl Iterator<Item = String> {
        done.finish.iter().map(|finish| {
            let choice = finish.choice;
            let delta = if self.begun.contains(&choice) { "" } else { r#""role":"assistant","content":"""# };
            let reason = Escaped::from_text(&finish.reason);
            let missing = match finish.stated {
                Stated::Yes => "",
                Stated::No => r#","finish_reason_missing":true"#,
            };
            let (head, reason) = (&self.head_json, reason.as_str());
            format!(
                r#"{{{head},"choices":[{{"index":{choice},"delta":{{{delta}}},"finish_reason":"{reason}"{missing}}}]}}"#
            )
        })
    }
}

/// Returns the thinking blocks of a part. Its other members are words of the provider's dialect.
fn thinking_blocks(delta_json: &str) -> Option<String> {
    // Most parts hold none, and need not be parsed.
    if !delta_json.contains(THINKING_BLOCKS) {
        return None;
    }
    Some(Tree::parse(delta_json).ok()?.as_object()?.present(THINKING_BLOCKS)?.to_json())
}
