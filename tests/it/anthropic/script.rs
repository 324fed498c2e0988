//! The events of Anthropic's stream, sent one by one.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokenrill::settings::{Settings, UpstreamDialect};

use crate::support::{Call, Service, Upstream};

/// The key of the upstream.
pub const KEY: &str = "sk-ant-secret";

/// Settings with a scripted upstream of this dialect.
pub fn settings(upstream: &Upstream) -> Settings {
    let mut settings = Service::settings(&format!("http://{}", upstream.address));
    settings.upstreams[0].dialect = UpstreamDialect::Anthropic;
    settings.upstreams[0].api_key_env = Some("ANTHROPIC_API_KEY".to_owned());
    settings
}

pub fn environment() -> BTreeMap<String, String> {
    [("ANTHROPIC_API_KEY".to_owned(), KEY.to_owned())].into()
}

/// Sends one event, named as its `type`.
pub async fn event(call: &mut Call, data: &Value) {
    let name = data["type"].as_str().expect("a type");
    call.body(format!("event: {name}\ndata: {data}\n\n")).await;
}

pub async fn ping(call: &mut Call) {
    event(call, &json!({"type": "ping"})).await;
}

pub async fn start_message(call: &mut Call, usage: &Value) {
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage,
    });
    event(call, &json!({"type": "message_start", "message": message})).await;
}

pub async fn stop_message(call: &mut Call) {
    event(call, &json!({"type": "message_stop"})).await;
}

/// A message that is being sent, block by block.
pub struct Message<'a> {
    pub call: &'a mut Call,
    blocks: u32,
}

impl<'a> Message<'a> {
    /// Sends the head of the response and `message_start`.
    pub async fn begin(call: &'a mut Call, usage: &Value) -> Self {
        call.ok().await;
        start_message(call, usage).await;
        Self { call, blocks: 0 }
    }

    /// Sends a complete message with one text.
    pub async fn answer(call: &'a mut Call, text: &str) {
        let mut message = Self::begin(call, &json!({"input_tokens": 3, "output_tokens": 1})).await;
        message.text(&[text]).await;
        message.end("end_turn", &json!({"output_tokens": 2})).await;
    }

    pub async fn text(&mut self, texts: &[&str]) {
        let deltas = texts.iter().map(|text| json!({"type": "text_delta", "text": text}));
        self.block(&json!({"type": "text", "text": ""}), deltas.collect()).await;
    }

    pub async fn thinking(&mut self, texts: &[&str], signature: &str) {
        let deltas = texts.iter().map(|text| json!({"type": "thinking_delta", "thinking": text}));
        let signed = json!({"type": "signature_delta", "signature": signature});
        let start = json!({"type": "thinking", "thinking": "", "signature": ""});
        self.block(&start, deltas.chain([signed]).collect()).await;
    }

    pub async fn redacted(&mut self, data: &str) {
        self.block(&json!({"type": "redacted_thinking", "data": data}), Vec::new()).await;
    }

    pub async fn tool(&mut self, id: &str, name: &str, fragments: &[&str]) {
        let deltas = fragments.iter().map(|json| json!({"type": "input_json_delta", "partial_json": json}));
        self.block(&json!({"type": "tool_use", "id": id, "name": name, "input": {}}), deltas.collect()).await;
    }

    /// Sends `message_delta`, `message_stop` and the end of the body. The stop sequence is `END`.
    pub async fn end(self, stop_reason: &str, usage: &Value) {
        let sequence = (stop_reason == "stop_sequence").then_some("END");
        let delta = json!({"stop_reason": stop_reason, "stop_sequence": sequence});
        event(self.call, &json!({"type": "message_delta", "delta": delta, "usage": usage})).await;
        stop_message(self.call).await;
        self.call.raw("0\r\n\r\n").await;
    }

    async fn block(&mut self, start: &Value, deltas: Vec<Value>) {
        let index = self.blocks;
        self.blocks += 1;
        event(self.call, &json!({"type": "content_block_start", "index": index, "content_block": start})).await;
        for delta in deltas {
            event(self.call, &json!({"type": "content_block_delta", "index": index, "delta": delta})).await;
        }
        event(self.call, &json!({"type": "content_block_stop", "index": index})).await;
    }
}
