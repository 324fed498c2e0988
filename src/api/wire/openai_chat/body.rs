//! The body of a request for a chat completion, in the OpenAPI document.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::api::openapi::requests::{ChatParameters, MessageBody, describe_chat_parameters, set_examples};

pub const OPERATION: (&str, &str) = ("/v1/chat/completions", "post");

/// A request for a chat completion: all fields of `NewGeneration` except `input`. Fields that are not listed here are
/// forwarded to the model's server unchanged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = NewChatCompletion)]
pub struct ChatCompletionBody {
    /// OpenAI chat messages: text, image, audio and tool parts.
    #[schema(value_type = Vec<MessageBody>, min_items = 1)]
    pub messages: Vec<Value>,
    /// `true`: the response is a stream of chunks; else it is the whole completion at the end.
    pub stream: Option<bool>,
    /// The variables of the prompt, if `model` is `prompt/<id>`.
    #[schema(value_type = Option<Object>)]
    pub variables: Option<Value>,
    /// OpenAI's `metadata`: forwarded, and shown in the snapshot if it is up to 16 pairs of strings.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Value>,
    /// Forwarded unchanged. Members that would be refused at the top level are refused here too, and limits apply to
    /// them.
    #[schema(value_type = Option<Object>)]
    pub extra_body: Option<Value>,
    #[serde(flatten)]
    #[schema(inline)]
    pub parameters: ChatParameters,
}

/// Adds OpenAI's parameters and the examples.
pub fn describe(document: &mut Value) {
    describe_chat_parameters(document, "NewChatCompletion");
    let chats = json!({
        "stream": {"summary": "A stream of chunks", "value": {"model": "demo?tokens=5&rate=max", "messages": [{"role": "user", "content": "Hello"}], "stream": true}},
        "prompt": {"summary": "A prompt as the model", "value": {"model": "prompt/assistant", "variables": {"tone": "brief"}, "messages": [{"role": "user", "content": "Hello"}], "max_completion_tokens": 5}},
        "whole": {"summary": "The whole completion at the end", "value": {"model": "demo?tokens=5&rate=max", "messages": [{"role": "user", "content": "Hello"}]}},
    });
    set_examples(document, OPERATION, chats);
}
