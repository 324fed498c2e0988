//! A message that is merged from the entries of an answer.

use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error_body::MessagesError;
use super::message::{message_head, usage_json};
use super::message_stop::MessageStop;
use super::provider_blocks::{ProviderBlock, provider_blocks};
use crate::domain::{Chunk, Done, Escaped, Part, Start};

/// The content of a message so far, without choices after the first.
pub struct WholeMessage {
    start: Arc<Start>,
    blocks: Vec<ContentBlock>,
    stop: MessageStop,
}

enum ContentBlock {
    Text { text: String, citations: Vec<Box<RawValue>> },
    Thinking { text: String, signature: Value },
    ToolUse { call: u32, id: String, name: String, arguments: String },
    Provider(Box<RawValue>),
}

impl WholeMessage {
    pub fn new(start: Arc<Start>) -> Self {
        Self { start, blocks: Vec::new(), stop: MessageStop::default() }
    }

    pub fn apply(&mut self, chunk: &Chunk) {
        if chunk.part().choice() != Some(0) {
            return;
        }
        let text = chunk.text().unescape();
        match chunk.part() {
            Part::Text { .. } => self.text(&text),
            Part::Refusal { .. } => {
                self.stop.refuse();
                self.text(&text);
            }
            Part::Reasoning { .. } => match self.blocks.last_mut() {
                Some(ContentBlock::Thinking { text: known, signature }) if *signature == "" => known.push_str(&text),
                _ => self.blocks.push(ContentBlock::Thinking { text: text.into_owned(), signature: "".into() }),
            },
            Part::ToolCall { index, id, name, .. } => self.tool_call(*index, [id, name], &text),
            Part::Other { delta_json, .. } => {
                self.stop.read(delta_json);
                for block in provider_blocks(delta_json) {
                    self.provider(block);
                }
            }
            Part::Silent => {}
        }
    }

    fn text(&mut self, text: &str) {
        match self.blocks.last_mut() {
            Some(ContentBlock::Text { text: known, .. }) => known.push_str(text),
            _ => self.blocks.push(ContentBlock::Text { text: text.to_owned(), citations: Vec::new() }),
        }
    }

    fn tool_call(&mut self, index: u32, [id, name]: [&Option<Escaped>; 2], fragment: &str) {
        let known = self.blocks.iter_mut().find_map(|block| match block {
            ContentBlock::ToolUse { call, id, name, arguments } if *call == index => Some(([id, name], arguments)),
            _ => None,
        });
        let [id, name] =
            [id, name].map(|text| text.as_ref().map(|text| text.unescape().into_owned()).unwrap_or_default());
        if let Some((known, arguments)) = known {
            // Some servers send the name after the first fragment.
            for (known, later) in known.into_iter().zip([id, name]) {
                if known.is_empty() {
                    *known = later;
                }
            }
            arguments.push_str(fragment);
            return;
        }
        self.blocks.push(ContentBlock::ToolUse { call: index, id, name, arguments: fragment.to_owned() });
    }

    fn provider(&mut self, block: ProviderBlock) {
        match block {
            ProviderBlock::Signature(json) => {
                let signed = serde_json::from_str(&json).unwrap_or_default();
                match self.blocks.last_mut() {
                    Some(ContentBlock::Thinking { signature, .. }) => *signature = signed,
                    _ => self.blocks.push(ContentBlock::Thinking { text: String::new(), signature: signed }),
                }
            }
            ProviderBlock::Citation(json) => {
                if let (Some(ContentBlock::Text { citations, .. }), Ok(citation)) =
                    (self.blocks.last_mut(), RawValue::from_string(json))
                {
                    citations.push(citation);
                }
            }
            ProviderBlock::Whole(json) => {
                self.blocks.extend(RawValue::from_string(json).ok().map(ContentBlock::Provider));
            }
        }
    }

    /// Returns the message as JSON.
    ///
    /// # Errors
    ///
    /// The arguments of a tool call are no JSON, although the answer was not cut off.
    pub fn into_json(self, done: &Done) -> Result<String, MessagesError> {
        let reason = self.stop.reason(done);
        let mut content = Vec::with_capacity(self.blocks.len());
        for block in self.blocks {
            match block.into_json() {
                Some(json) => content.push(json),
                None if reason == "max_tokens" => {}
                None => return Err(MessagesError::invalid_arguments()),
            }
        }
        let mut message = message_head(&self.start);
        if let Value::Object(members) = &mut message {
            // Inserted below, because it is text already.
            members.remove("content");
            if let Value::Object(stop) = self.stop.members(done) {
                members.extend(stop);
            }
            members.insert("usage".to_owned(), usage_json(&done.usage));
        }
        let mut json = message.to_string();
        json.pop();
        Ok(format!("{json},\"content\":[{}]}}", content.join(",")))
    }
}

impl ContentBlock {
    /// Returns the block; `None` for a tool call whose arguments are no JSON.
    fn into_json(self) -> Option<String> {
        Some(match self {
            Self::Text { text, citations } => {
                let citations = (!citations.is_empty()).then_some(citations);
                let citations = serde_json::to_string(&citations).ok()?;
                format!("{{\"type\":\"text\",\"text\":{},\"citations\":{citations}}}", json!(text))
            }
            Self::Thinking { text, signature } => {
                json!({"type": "thinking", "thinking": text, "signature": signature}).to_string()
            }
            Self::ToolUse { id, name, arguments, .. } => {
                let input = if arguments.trim().is_empty() { "{}".to_owned() } else { arguments };
                let input: Box<RawValue> = serde_json::from_str(&input).ok()?;
                let [id, name] = [id, name].map(|text| json!(text));
                format!(
                    r#"{{"type":"tool_use","id":{id},"name":{name},"input":{},"caller":{{"type":"direct"}}}}"#,
                    input.get()
                )
            }
            Self::Provider(json) => json.get().to_owned(),
        })
    }
}
