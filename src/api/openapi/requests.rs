//! What callers send: the bodies, and examples that work.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{CHANNEL_NAME, CHAT, CREATE, PUBLISH, RENDER, TICKETS, pointer, set};
use crate::domain::EventName;

/// What a generation is asked for. Fields that are not listed here go to the model's server as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = NewGeneration, example = json!({"input": "Hello"}))]
pub struct NewGenerationBody {
    /// The user's message; short for `messages` with one. One of both is required.
    #[schema(min_length = 1)]
    pub input: Option<String>,
    /// OpenAI chat messages: text, image, audio and tool parts.
    #[schema(value_type = Option<Vec<MessageBody>>)]
    pub messages: Option<Vec<Value>>,
    /// Where `Accept` names neither `text/event-stream` nor `application/json`: `false` asks for the snapshot at the end.
    pub stream: Option<bool>,
    /// Up to 16 pairs of strings; shown in the snapshot, never sent on.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub metadata: Option<Value>,
    #[serde(flatten)]
    #[schema(inline)]
    pub parameters: ChatParameters,
}

/// A chat to be completed: everything that `NewGeneration` has, but for `input`. Fields that are not listed here go to the
/// model's server as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = NewChatCompletion)]
pub struct ChatCompletionBody {
    /// OpenAI chat messages: text, image, audio and tool parts.
    #[schema(value_type = Vec<MessageBody>, min_items = 1)]
    pub messages: Vec<Value>,
    /// Whether the answer is chunks as they come, or the whole at the end.
    pub stream: Option<bool>,
    /// What is put into the prompt, where `model` is `prompt/<id>`.
    #[schema(value_type = Option<Object>)]
    pub variables: Option<Value>,
    /// OpenAI's: sent on, and shown in the snapshot where it is up to 16 pairs of strings.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Value>,
    /// Sent on as it is. What could not stand beside it is refused in it too, and limits count in it.
    #[schema(value_type = Option<Object>)]
    pub extra_body: Option<Value>,
    #[serde(flatten)]
    #[schema(inline)]
    pub parameters: ChatParameters,
}

/// What OpenAI's chat completions and our generations have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChatParameters {
    /// The model. Absent: the prompt's, else `models.default`, else the only one there is. `prompt/<id>` is a prompt:
    /// its messages go before those of the request, `variables` are put into them, and its own model answers.
    #[schema(min_length = 1)]
    pub model: Option<String>,
    /// A prompt of `GET /v1/prompts`, in place of messages or before them. Its model and parameters are for requests
    /// that do not set them.
    #[schema(value_type = Option<PromptCallBody>)]
    pub prompt: Option<Value>,
    /// A channel in which the answer is told too, each event with `generation` in its data: demands `publish` for it.
    /// Its subscribers are no viewers, and what it has been told it keeps by its own rules, also where the generation is
    /// erased.
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
    /// `false`: the record is dropped when the generation has ended and its last viewer has left.
    pub store: Option<bool>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    /// -1, which some servers read as "without a limit", becomes the caller's own limit where there is one.
    #[schema(schema_with = token_limit)]
    pub max_tokens: Option<i64>,
    /// As `max_tokens`.
    #[schema(schema_with = token_limit)]
    pub max_completion_tokens: Option<i64>,
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
    /// `none`, `auto`, `required`, or a tool by name.
    pub tool_choice: Option<Value>,
    pub parallel_tool_calls: Option<bool>,
    #[schema(value_type = Option<Object>)]
    pub response_format: Option<Value>,
    pub reasoning_effort: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub stream_options: Option<Value>,
    pub user: Option<String>,
}

/// Which prompt, and what is put into it.
#[derive(ToSchema)]
#[schema(as = PromptCall)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct PromptCallBody {
    /// Its id, or `id@version`.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,63}(@[0-9a-f]{12})?$", example = "summarise")]
    id: String,
    /// The request is refused where the prompt is of another version.
    #[schema(pattern = "^[0-9a-f]{12}$")]
    version: Option<String>,
    /// What the prompt's schema describes.
    #[schema(value_type = Option<Object>)]
    variables: Option<Value>,
}

/// One message. What else it has goes to the model's server as it is.
#[derive(ToSchema)]
#[schema(as = Message)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct MessageBody {
    /// Such as `system`, `developer`, `user`, `assistant` or `tool`; which there are is for the model's server to say.
    #[schema(min_length = 1, example = "user")]
    role: String,
    /// A string, an array of parts, or whatever else the model's server reads.
    content: Option<Value>,
}

/// A whole number above 0, or -1.
fn token_limit() -> utoipa::openapi::Schema {
    use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
    let integer = || ObjectBuilder::new().schema_type(Type::Integer);
    let limit = OneOfBuilder::new()
        .item(integer().minimum(Some(1)))
        .item(integer().enum_values(Some([-1])))
        .item(ObjectBuilder::new().schema_type(Type::Null));
    Schema::OneOf(limit.build())
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

/// RFC 4648, section 4, in its one form.
const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// Puts the examples into the document, and what derives cannot say of the bodies.
pub fn describe_requests(document: &mut Value) {
    let examples = request_examples()
        .into_iter()
        .map(|(name, summary, value)| (name.to_owned(), json!({"summary": summary, "value": value})));
    let examples = Value::Object(examples.collect::<Map<_, _>>());
    set(document, &pointer(CREATE.0, CREATE.1, "/requestBody/content/application~1json"), "examples", examples);
    let chats = json!({
        "stream": {"summary": "Chunks as they come", "value": {"model": "demo?tokens=5&rate=max", "messages": [{"role": "user", "content": "Hello"}], "stream": true}},
        "prompt": {"summary": "A prompt as the model", "value": {"model": "prompt/assistant", "variables": {"tone": "brief"}, "messages": [{"role": "user", "content": "Hello"}], "max_completion_tokens": 5}},
        "whole": {"summary": "The whole at the end", "value": {"model": "demo?tokens=5&rate=max", "messages": [{"role": "user", "content": "Hello"}]}},
    });
    set(document, &pointer(CHAT.0, CHAT.1, "/requestBody/content/application~1json"), "examples", chats);
    let tickets = json!({
        "subscribe": {"summary": "To subscribe to a channel", "value": {"resource": "channel", "id": "room-1", "ttl_s": 300}},
        "follow": {"summary": "To follow one of your generations", "value": {"resource": "generation", "id": "gen_AAAAAAAAAAAAAAAAAAAAAA", "ttl_s": 300}},
    });
    set(document, &pointer(TICKETS.0, TICKETS.1, "/requestBody/content/application~1json"), "examples", tickets);
    let events = json!({
        "unnamed": {"summary": "To `onmessage`, any JSON", "value": {"data": {"text": "Your report is ready", "level": "info"}}},
        "named": {"summary": "With a name", "value": {"event": "said", "data": {"name": "Ada", "text": "Hello"}}},
        "ephemeral": {"summary": "For those who are there, and not kept", "value": {"event": "typing", "data": {"name": "Ada"}, "ephemeral": true}},
        "principal": {"summary": "For one caller, on all of its streams", "value": {"event": "notification", "data": "Only for you", "to": {"principal": "ada"}}},
        "base64": {"summary": "Bytes", "value": {"event": "thumbnail", "data": "aGVsbG8=", "encoding": "base64"}},
    });
    set(document, &pointer(PUBLISH.0, PUBLISH.1, "/requestBody/content/application~1json"), "examples", events);
    let renderings = prompt_examples().into_iter().map(|(name, summary, variables)| {
        (name.to_owned(), json!({"summary": summary, "value": {"variables": variables}}))
    });
    // One of them fits the prompt that the path names by example.
    let renderings = renderings.filter(|(name, _)| name == "summarise").collect::<Map<_, _>>();
    set(
        document,
        &pointer(RENDER.0, RENDER.1, "/requestBody/content/application~1json"),
        "examples",
        renderings.into(),
    );
    // What a ticket may be for depends on its resource, what `data` may be on its encoding.
    let scopes = |resource: &str, scopes: [&str; 2]| json!({"properties": {"resource": {"const": resource}, "scopes": {"type": ["array", "null"], "items": {"enum": scopes}}}});
    let mut channel = scopes("channel", ["subscribe", "publish"]);
    set(&mut channel, "/properties", "id", json!({"type": "string", "pattern": CHANNEL_NAME}));
    set(document, "/components/schemas/NewTicket", "oneOf", json!([scopes("generation", ["follow", "stop"]), channel]));
    let encodings = json!([
        {"properties": {"encoding": {"type": "null"}}},
        {"required": ["encoding"], "properties": {"encoding": {"const": "base64"}, "data": {"type": "string", "pattern": BASE64}}},
    ]);
    set(document, "/components/schemas/NewEvent", "oneOf", encodings);
    set(document, "/components/schemas/NewEvent/properties/event", "not", json!({"enum": EventName::TAKEN}));
    // `input` or `messages`, never both; neither only beside a prompt.
    let one_of = json!([
        {"required": ["prompt"], "properties": {"prompt": {"type": "object"}, "input": {"type": "null"}, "messages": {"type": ["array", "null"], "maxItems": 0}}},
        {"required": ["input"], "properties": {"input": {"type": "string"}, "messages": {"type": "null"}}},
        {"required": ["messages"], "properties": {"messages": {"type": "array", "minItems": 1}, "input": {"type": "null"}}},
    ]);
    set(document, "/components/schemas/NewGeneration", "oneOf", one_of);
}

/// What may be put into each prompt of the starter set.
pub fn prompt_examples() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("assistant", "A product's assistant", json!({"product": "Tokenrill", "tone": "friendly and brief"})),
        (
            "summarise",
            "A summary",
            json!({"text": "Tokens arrive once and in order. A stop stops the model.", "length": "short"}),
        ),
        (
            "translate",
            "A translation with a glossary",
            json!({"text": "The stream was resumed.", "to": "German", "glossary": [{"term": "stream", "translation": "Strom"}]}),
        ),
        (
            "extract",
            "JSON by a schema",
            json!({"text": "Ada Lovelace was born on 10 December 1815.", "schema": {"type": "object", "required": ["name", "born"], "properties": {"name": {"type": "string"}, "born": {"type": "string", "format": "date"}}}}),
        ),
        (
            "title",
            "A title for a conversation",
            json!({"messages": [{"role": "user", "content": "How do I resume a stream after a reload?"}]}),
        ),
        (
            "rewrite",
            "A text made clearer",
            json!({"text": "It is to be noted that errors may occur.", "goal": "clearer"}),
        ),
    ]
}

/// Requests that work against a service as it comes, with what each shows.
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
            "The demo model fails in mid-answer",
            json!({"model": "demo?fail_at=3&rate=max", "input": "Hello"}),
        ),
        (
            "continue",
            "Runs on without a viewer, with your own labels",
            json!({"input": "Hello", "on_disconnect": "continue", "metadata": {"conversation": "42"}}),
        ),
        (
            "channel",
            "Told in a channel too",
            json!({"model": "demo?tokens=5&rate=max", "input": "Hello", "channel": "room-1"}),
        ),
    ];
    examples.extend(prompts);
    examples
}
