//! The body of a request for a generation, in the OpenAPI document.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api::openapi::paths::set;
use crate::api::openapi::requests::{
    ChatParameters, MessageBody, describe_chat_parameters, prompt_examples, set_examples,
};

pub const OPERATION: (&str, &str) = ("/v1/generations", "post");

/// A request for a generation. Fields that are not listed here are forwarded to the model's server unchanged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = NewGeneration, example = json!({"input": "Hello"}))]
pub struct NewGenerationBody {
    /// The user's message: short for `messages` with one message. Without a prompt, exactly one of both is required.
    #[schema(min_length = 1)]
    pub input: Option<String>,
    /// OpenAI chat messages: text, image, audio and tool parts.
    #[schema(value_type = Option<Vec<MessageBody>>)]
    pub messages: Option<Vec<Value>>,
    /// `false`: the response is the snapshot at the end. Used only if `Accept` names neither `text/event-stream` nor
    /// `application/json`.
    pub stream: Option<bool>,
    /// If the model's server fails after its first token: `fail` ends the generation as `failed`, with the text so far;
    /// `restart` withdraws the answer so far (event `restart`) and lets another target begin anew, unless a tool was
    /// called. Default: `fail`.
    pub on_upstream_failure: Option<OnUpstreamFailureBody>,
    /// Up to 16 pairs of strings, shown in the snapshot and never forwarded.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub metadata: Option<Value>,
    #[serde(flatten)]
    #[schema(inline)]
    pub parameters: ChatParameters,
}

/// What happens if the model's server fails after its first token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OnUpstreamFailure)]
pub enum OnUpstreamFailureBody {
    Fail,
    Restart,
}

/// Adds the examples, and the constraints that derives cannot express.
pub fn describe(document: &mut Value) {
    describe_chat_parameters(document, "NewGeneration");
    let examples = request_examples()
        .into_iter()
        .map(|(name, summary, value)| (name.to_owned(), json!({"summary": summary, "value": value})));
    set_examples(document, OPERATION, Value::Object(examples.collect::<Map<_, _>>()));
    // `input` or `messages`, never both; neither only with a prompt.
    let one_of = json!([
        {"required": ["prompt"], "properties": {"prompt": {"type": "object"}, "input": {"type": "null"}, "messages": {"type": ["array", "null"], "maxItems": 0}}},
        {"required": ["input"], "properties": {"input": {"type": "string"}, "messages": {"type": "null"}}},
        {"required": ["messages"], "properties": {"messages": {"type": "array", "minItems": 1}, "input": {"type": "null"}}},
    ]);
    set(document, "/components/schemas/NewGeneration", "oneOf", one_of);
}

/// Returns requests that work with the default settings, each with a summary.
fn request_examples() -> Vec<(&'static str, &'static str, Value)> {
    let prompts = prompt_examples().into_iter().map(|(id, summary, variables)| {
        let prompt = json!({"id": id, "variables": variables});
        let model = "demo?tokens=5&rate=max";
        match id {
            "assistant" => (
                id,
                summary,
                json!({"model": model, "prompt": prompt, "messages": [{"role": "user", "content": "Hello"}]}),
            ),
            _ => (id, summary, json!({"model": model, "prompt": prompt})),
        }
    });
    let mut examples = vec![
        ("input", "A string is a complete request", json!({"input": "Hello"})),
        (
            "messages",
            "A conversation, with a provider's parameters",
            json!({"model": "demo", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}], "temperature": 0.2, "max_completion_tokens": 20}),
        ),
        (
            "reasoning",
            "The demo model thinks first",
            json!({"model": "demo?reasoning=5&tokens=5&rate=max", "input": "Hello"}),
        ),
        (
            "tool_call",
            "The demo model calls a tool",
            json!({"model": "demo?tool=weather&rate=max", "input": "How is the weather?", "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]}),
        ),
        (
            "choices",
            "Two choices with log probabilities",
            json!({"model": "demo?tokens=3&rate=max", "input": "Hello", "n": 2, "logprobs": true}),
        ),
        (
            "failure",
            "The demo model fails in the middle of its answer",
            json!({"model": "demo?fail_at=3&rate=max", "input": "Hello"}),
        ),
        (
            "continue",
            "Continues without a viewer, with metadata",
            json!({"input": "Hello", "on_disconnect": "continue", "metadata": {"conversation": "42"}}),
        ),
        (
            "restart",
            "Another target begins anew if the model's server fails midway",
            json!({"model": "demo?tokens=5&rate=max", "input": "Hello", "on_upstream_failure": "restart"}),
        ),
        (
            "channel",
            "Also published to a channel",
            json!({"model": "demo?tokens=5&rate=max", "input": "Hello", "channel": "room-1"}),
        ),
    ];
    examples.extend(prompts);
    examples
}
