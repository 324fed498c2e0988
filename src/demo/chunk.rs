use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    completion::CompletionEvent,
    logprobs,
    options::DemoFinish,
    refusal::DemoRefusal,
    request::{DemoDelivery, Request},
    token::DemoToken,
};

/// The identity of one answer, constant over all its chunks.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerId {
    /// The number in `chatcmpl-demo-...` and in the ids of its tool calls.
    pub number: u64,
    /// Seconds since 1970.
    pub created: u64,
}

impl AnswerId {
    pub(super) fn completion(self) -> String {
        format!("chatcmpl-demo-{:016x}", self.number)
    }

    pub(super) fn call(self, choice: u8) -> String {
        format!("call_demo_{:016x}_{choice}", self.number)
    }
}

/// Writes events as `chat.completion.chunk`s, each a `data:` line and a blank line.
pub(super) struct DemoChunks {
    id: AnswerId,
    /// The common beginning of all chunks, up to their choices.
    head: String,
    delivery: DemoDelivery,
    logprobs: Option<u8>,
}

impl DemoChunks {
    pub(super) fn new(id: AnswerId, request: &Request) -> Self {
        let head = format!(
            r#"data: {{"id":"{}","object":"chat.completion.chunk","created":{},"model":{}"#,
            id.completion(),
            id.created,
            Value::from(request.model.as_str()),
        );
        Self { id, head, delivery: request.delivery, logprobs: request.logprobs }
    }

    /// A fault is written as an error inside the stream, without `[DONE]`.
    pub(super) fn write(&self, event: CompletionEvent) -> Bytes {
        match event {
            CompletionEvent::Role { choice } => {
                self.choice(choice, &json!({"role": "assistant", "content": ""}), None, None)
            }
            CompletionEvent::Token { choice, token } => {
                let logprobs = self.logprobs.and_then(|top| logprobs::entry(&token, top));
                self.choice(choice, &self.delta(choice, token), logprobs.as_ref(), None)
            }
            CompletionEvent::Finish { choice, reason } => self.choice(choice, &json!({}), None, Some(reason)),
            CompletionEvent::Fault(_) => format!("data: {}\n\n", DemoRefusal::Failed.body()),
            CompletionEvent::End(usage) if self.delivery == DemoDelivery::StreamWithUsage => {
                format!("{},\"choices\":[],\"usage\":{}}}\n\ndata: [DONE]\n\n", self.head, usage.json())
            }
            CompletionEvent::End(_) => "data: [DONE]\n\n".to_owned(),
        }
        .into()
    }

    fn delta(&self, choice: u8, token: DemoToken) -> Value {
        match token {
            DemoToken::Reasoning(text) => json!({"reasoning_content": text}),
            DemoToken::Text(text) => json!({"content": text}),
            DemoToken::Refusal(text) => json!({"refusal": text}),
            DemoToken::Call(name) => json!({"tool_calls": [{
                "index": 0,
                "id": self.id.call(choice),
                "type": "function",
                "function": {"name": name, "arguments": ""},
            }]}),
            DemoToken::Arguments(json) => json!({"tool_calls": [{"index": 0, "function": {"arguments": json}}]}),
        }
    }

    fn choice(&self, index: u8, delta: &Value, logprobs: Option<&Value>, finish: Option<DemoFinish>) -> String {
        let logprobs = logprobs.map_or_else(String::new, |entry| format!(r#","logprobs":{{"content":[{entry}]}}"#));
        let finish = Value::from(finish.map(DemoFinish::as_str));
        // As OpenAI does: null until it is known, and absent if the request does not ask for it.
        let usage = if self.delivery == DemoDelivery::StreamWithUsage { r#","usage":null"# } else { "" };
        let choice = format!(r#"{{"index":{index},"delta":{delta}{logprobs},"finish_reason":{finish}}}"#);
        format!("{},\"choices\":[{choice}]{usage}}}\n\n", self.head)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{completion::DemoUsage, options::DemoFault},
        *,
    };

    const ID: AnswerId = AnswerId { number: 10, created: 7 };
    const HEAD: &str = r#"data: {"id":"chatcmpl-demo-000000000000000a","object":"chat.completion.chunk","created":7,"model":"demo?rate=max","choices":["#;

    fn chunks(fields: &str) -> DemoChunks {
        let body = format!(r#"{{"model":"demo?rate=max","messages":[{{"role":"user","content":"Hi"}}]{fields}}}"#);
        let request = Request::parse(body.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}"));
        DemoChunks::new(ID, &request)
    }

    fn token(token: DemoToken) -> CompletionEvent {
        CompletionEvent::Token { choice: 0, token }
    }

    #[test]
    fn each_event_is_written_as_its_chunk() {
        let chunks = chunks(r#","stream":true"#);
        for (event, choice) in [
            (
                CompletionEvent::Role { choice: 1 },
                r#"{"index":1,"delta":{"role":"assistant","content":""},"finish_reason":null}"#,
            ),
            (
                token(DemoToken::Text("Hi\n\"".to_owned())),
                r#"{"index":0,"delta":{"content":"Hi\n\""},"finish_reason":null}"#,
            ),
            (
                token(DemoToken::Reasoning("So".to_owned())),
                r#"{"index":0,"delta":{"reasoning_content":"So"},"finish_reason":null}"#,
            ),
            (
                token(DemoToken::Call("weather".to_owned())),
                r#"{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_demo_000000000000000a_0","type":"function","function":{"name":"weather","arguments":""}}]},"finish_reason":null}"#,
            ),
            (
                token(DemoToken::Arguments("{\"".to_owned())),
                r#"{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\""}}]},"finish_reason":null}"#,
            ),
            (
                CompletionEvent::Finish { choice: 0, reason: DemoFinish::Length },
                r#"{"index":0,"delta":{},"finish_reason":"length"}"#,
            ),
        ] {
            assert_eq!(chunks.write(event), format!("{HEAD}{choice}]}}\n\n"));
        }
        assert_eq!(chunks.write(CompletionEvent::End(DemoUsage::default())), "data: [DONE]\n\n");
    }

    #[test]
    fn requested_usage_is_sent_last_and_is_null_before() {
        let chunks = chunks(r#","stream":true,"stream_options":{"include_usage":true}"#);
        let finish = chunks.write(CompletionEvent::Finish { choice: 0, reason: DemoFinish::Stop });
        assert!(finish.ends_with(b"}],\"usage\":null}\n\n"), "{finish:?}");
        let usage = r#"{"prompt_tokens":1,"completion_tokens":5,"total_tokens":6,"completion_tokens_details":{"reasoning_tokens":2}}"#;
        assert_eq!(
            chunks.write(CompletionEvent::End(DemoUsage { prompt: 1, completion: 5, reasoning: 2 })),
            format!("{HEAD}],\"usage\":{usage}}}\n\ndata: [DONE]\n\n"),
        );
    }

    #[test]
    fn requested_log_probabilities_are_sent_with_text() {
        let chunks = chunks(r#","stream":true,"logprobs":true,"top_logprobs":2"#);
        let chunk = chunks.write(token(DemoToken::Text("Hi".to_owned())));
        let chunk: Value = serde_json::from_slice(chunk.strip_prefix(b"data: ").unwrap()).unwrap();
        let content = chunk["choices"][0]["logprobs"]["content"].as_array().unwrap();
        assert_eq!((content.len(), &content[0]["token"]), (1, &json!("Hi")));
        assert_eq!(content[0]["top_logprobs"].as_array().unwrap().len(), 2);

        let reasoning = chunks.write(token(DemoToken::Reasoning("Hi".to_owned())));
        assert!(!String::from_utf8_lossy(&reasoning).contains("logprobs"));
    }

    #[test]
    fn fault_is_written_as_an_error_in_openais_shape() {
        let error = chunks(r#","stream":true"#).write(CompletionEvent::Fault(DemoFault::Fail));
        let error: Value = serde_json::from_slice(error.strip_prefix(b"data: ").unwrap()).unwrap();
        assert_eq!(error["error"]["type"], "server_error");
        assert_eq!(error["error"]["code"], "demo_failure");
    }
}
