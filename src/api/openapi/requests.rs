//! What callers send: the bodies, and examples that work.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{CHAT, CREATE, TICKETS, pointer, set};

/// What a generation is asked for. Fields that are not listed here go to the model's server as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = NewGeneration, example = json!({"input": "Hello"}))]
pub struct NewGenerationBody {
    /// The user's message; short for `messages` with one. One of both is required.
    #[schema(min_length = 1)]
    pub input: Option<String>,
    /// OpenAI chat messages: text, image, audio and tool parts.
    #[schema(value_type = Option<Vec<MessageBody>>, min_items = 1)]
    pub messages: Option<Vec<Value>>,
    #[serde(flatten)]
    #[schema(inline)]
    pub parameters: ChatParameters,
}

/// A chat to be completed. Fields that are not listed here go to the model's server as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = NewChatCompletion)]
pub struct ChatCompletionBody {
    /// OpenAI chat messages: text, image, audio and tool parts.
    #[schema(value_type = Vec<MessageBody>, min_items = 1)]
    pub messages: Vec<Value>,
    /// Whether the answer is chunks as they come, or the whole at the end.
    pub stream: Option<bool>,
    /// Everything that `NewGeneration` has, but for `input`.
    #[serde(flatten)]
    #[schema(inline)]
    pub parameters: ChatParameters,
}

/// What OpenAI's chat completions and our generations have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChatParameters {
    /// The model. Absent: `models.default`, else the only one there is.
    #[schema(min_length = 1)]
    pub model: Option<String>,
    /// A channel in which the answer is told too, each event with `generation` in its data: demands `publish` for it.
    /// Its subscribers are no viewers.
    #[schema(pattern = "^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,99}$")]
    pub channel: Option<String>,
    /// When the last viewer has been gone for the grace: `cancel` ends the generation, `continue` lets it run. Absent: `generation.on_disconnect`.
    pub on_disconnect: Option<OnDisconnectBody>,
    /// How long to wait for a viewer to come back before `cancel`, in milliseconds, at most `generation.grace`.
    /// Absent: that setting; for chat completions 0.
    #[schema(minimum = 0)]
    pub grace_ms: Option<u64>,
    /// How long to wait for a place to run where as many generations run as may, in milliseconds, at most
    /// `limits.queue.max_wait`; 0: not at all. Absent: that setting; for chat completions 0.
    #[schema(minimum = 0)]
    pub max_queue_ms: Option<u64>,
    /// Up to 16 pairs of strings; shown in the snapshot, never sent on.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub metadata: Option<Value>,
    /// `false`: the record is dropped when the generation has ended and its last viewer has left.
    pub store: Option<bool>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    #[schema(minimum = 1)]
    pub max_tokens: Option<u64>,
    #[schema(minimum = 1)]
    pub max_completion_tokens: Option<u64>,
    /// How many choices.
    #[schema(minimum = 1)]
    pub n: Option<u64>,
    pub seed: Option<i64>,
    /// A string, or an array of strings.
    #[schema(value_type = Option<StopBody>)]
    pub stop: Option<Value>,
    pub logprobs: Option<bool>,
    #[schema(minimum = 0)]
    pub top_logprobs: Option<u64>,
    #[schema(value_type = Option<Object>)]
    pub logit_bias: Option<Value>,
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Vec<Value>>,
    pub parallel_tool_calls: Option<bool>,
    #[schema(value_type = Option<Object>)]
    pub response_format: Option<Value>,
    pub reasoning_effort: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub stream_options: Option<Value>,
    pub user: Option<String>,
}

/// One message. What else it has goes to the model's server as it is.
#[derive(ToSchema)]
#[schema(as = Message)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct MessageBody {
    role: RoleBody,
    /// A string, or an array of parts.
    content: Option<ContentBody>,
}

/// Who speaks.
#[derive(ToSchema)]
#[schema(as = Role)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
pub enum RoleBody {
    System,
    Developer,
    User,
    Assistant,
    Tool,
    Function,
}

/// What is said.
#[derive(ToSchema)]
#[schema(as = Content)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub enum ContentBody {
    Text(String),
    #[schema(value_type = Vec<Object>)]
    Parts(Vec<Value>),
}

/// Where the model stops.
#[derive(ToSchema)]
#[schema(as = Stop)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub enum StopBody {
    One(String),
    Several(Vec<String>),
}

/// What becomes of a generation when its last viewer has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OnDisconnect)]
pub enum OnDisconnectBody {
    Cancel,
    Continue,
}

/// Puts the examples into the document, and what derives cannot say of the bodies.
pub fn describe_requests(document: &mut Value) {
    let examples = request_examples()
        .into_iter()
        .map(|(name, summary, value)| (name.to_owned(), json!({"summary": summary, "value": value})));
    let examples = Value::Object(examples.collect::<Map<_, _>>());
    set(document, &pointer(CREATE.0, CREATE.1, "/requestBody/content/application~1json"), "examples", examples);
    let chats = json!({
        "stream": {"summary": "Chunks as they come", "value": {"model": "demo?tokens=5&rate=max", "messages": [{"role": "user", "content": "Hello"}], "stream": true}},
        "whole": {"summary": "The whole at the end", "value": {"model": "demo?tokens=5&rate=max", "messages": [{"role": "user", "content": "Hello"}]}},
    });
    set(document, &pointer(CHAT.0, CHAT.1, "/requestBody/content/application~1json"), "examples", chats);
    let tickets = json!({
        "follow": {"summary": "To follow one of your generations", "value": {"resource": "generation", "id": "gen_AAAAAAAAAAAAAAAAAAAAAA", "ttl_s": 300}},
    });
    set(document, &pointer(TICKETS.0, TICKETS.1, "/requestBody/content/application~1json"), "examples", tickets);
    // `input` or `messages`, never both and never neither.
    let one_of = json!([
        {"required": ["input"], "properties": {"input": {"type": "string"}, "messages": {"type": "null"}}},
        {"required": ["messages"], "properties": {"messages": {"type": "array"}, "input": {"type": "null"}}},
    ]);
    set(document, "/components/schemas/NewGeneration", "oneOf", one_of);
}

/// Requests that work against a service as it comes, with what each shows.
fn request_examples() -> Vec<(&'static str, &'static str, Value)> {
    vec![
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
            "The demo model fails in mid-answer",
            json!({"model": "demo?fail_at=3&rate=max", "input": "Hello"}),
        ),
        (
            "continue",
            "Runs on without a viewer, with your own labels",
            json!({"input": "Hello", "on_disconnect": "continue", "metadata": {"conversation": "42"}}),
        ),
    ]
}
