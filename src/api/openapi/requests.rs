//! Request bodies, with working examples. The bodies of one wire are in its folder.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::paths::{CHANNEL_NAME, EMBEDDINGS, PUBLISH, RENDER, TICKETS, pointer, set};
use crate::domain::{CHAT_PARAMETERS, EventName, FieldKind};

/// The fields that chat completions and generations have in common.
// Only those of this service: `describe_chat_parameters` adds OpenAI's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChatParameters {
    /// The model. Default: the prompt's model, else `models.default`, else the only available model. `prompt/<id>`
    /// selects a prompt: its messages, rendered with `variables`, precede those of the request, and its own model
    /// answers.
    #[schema(min_length = 1)]
    pub model: Option<String>,
    /// A prompt of `GET /v1/prompts`, in place of messages or before them. Its model and parameters are defaults, which
    /// the request may override.
    #[schema(value_type = Option<PromptCallBody>)]
    pub prompt: Option<Value>,
    /// A channel to which the answer is also published, each event with `generation` in its data; requires the scope
    /// `publish` for the channel. Its subscribers do not count as viewers. The channel keeps the events by its own
    /// rules, even if the generation is erased.
    #[schema(pattern = "^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,99}$")]
    pub channel: Option<String>,
    /// When the generation has had no viewer for the grace: `cancel` ends it, `continue` lets it run. Default:
    /// `generation.on_disconnect`.
    pub on_disconnect: Option<OnDisconnectBody>,
    /// The grace: how long to wait for a viewer to reconnect before `cancel`, in milliseconds, at most
    /// `generation.grace`. Default: that setting; for chat completions 0.
    #[schema(minimum = 0)]
    pub grace_ms: Option<u64>,
    /// How long to wait in the queue if all slots are in use, in milliseconds, at most `limits.queue.max_wait`; 0
    /// refuses the request instead. Default: that setting; for chat completions 0.
    #[schema(minimum = 0)]
    pub max_queue_ms: Option<u64>,
    /// `false`: the record is removed when the generation has ended and its last viewer has disconnected.
    pub store: Option<bool>,
}

/// A prompt with its variables.
#[derive(ToSchema)]
#[schema(as = PromptCall)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct PromptCallBody {
    /// The prompt's id, or `id@version`.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,63}(@[0-9a-f]{12})?$", example = "summarise")]
    id: String,
    /// The expected version: the request is refused if the prompt has another one.
    #[schema(pattern = "^[0-9a-f]{12}$")]
    version: Option<String>,
    /// The prompt's variables, as its schema describes them.
    #[schema(value_type = Option<Object>)]
    variables: Option<Value>,
}

/// One message. Other members are forwarded to the model's server unchanged.
#[derive(ToSchema)]
#[schema(as = Message)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct MessageBody {
    /// The role, such as `system`, `developer`, `user`, `assistant` or `tool`; the model's server defines the valid
    /// ones.
    #[schema(min_length = 1, example = "user")]
    role: String,
    /// A string, an array of parts, or any other content that the model's server accepts.
    content: Option<Value>,
}

/// The action when a generation has had no viewer for its grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OnDisconnect)]
pub enum OnDisconnectBody {
    Cancel,
    Continue,
}

/// Canonical base64 (RFC 4648, section 4).
const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// Adds OpenAI's parameters to the schema of a body, beside the [`ChatParameters`] in it.
pub fn describe_chat_parameters(document: &mut Value, body: &str) {
    let properties = format!("/components/schemas/{body}/allOf/0/properties");
    for parameter in CHAT_PARAMETERS {
        let mut schema = schema_of(parameter.kind);
        set(&mut schema, "", "description", parameter.description.into());
        set(document, &properties, parameter.name, schema);
    }
}

/// Adds the examples of an operation's body.
pub fn set_examples(document: &mut Value, operation: (&str, &str), examples: Value) {
    let (path, method) = operation;
    set(document, &pointer(path, method, "/requestBody/content/application~1json"), "examples", examples);
}

/// Returns the schema of what [`FieldKind::admits`].
fn schema_of(kind: FieldKind) -> Value {
    match kind {
        FieldKind::Text => json!({"type": ["string", "null"]}),
        FieldKind::NonEmptyText => json!({"type": ["string", "null"], "minLength": 1}),
        FieldKind::Number => json!({"type": ["number", "null"]}),
        FieldKind::Natural => json!({"type": ["integer", "null"], "minimum": 0}),
        FieldKind::Positive => json!({"type": ["integer", "null"], "minimum": 1}),
        FieldKind::TokenLimit => {
            json!({"oneOf": [{"type": "integer", "minimum": 1}, {"type": "integer", "enum": [-1]}, {"type": "null"}]})
        }
        FieldKind::Integer => json!({"type": ["integer", "null"]}),
        FieldKind::Flag => json!({"type": ["boolean", "null"]}),
        FieldKind::List => json!({"type": ["array", "null"]}),
        FieldKind::Objects => json!({"type": ["array", "null"], "items": {"type": "object"}}),
        FieldKind::Object => json!({"type": ["object", "null"]}),
        FieldKind::TextOrTexts => {
            json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]})
        }
        FieldKind::TextOrObject => json!({"oneOf": [{"type": "string"}, {"type": "object"}, {"type": "null"}]}),
        FieldKind::OnDisconnect => json!({"enum": ["cancel", "continue", null]}),
        FieldKind::OnUpstreamFailure => json!({"enum": ["fail", "restart", null]}),
    }
}

/// Adds the examples of the bodies that no wire has, and the constraints of the bodies that derives cannot express.
pub fn describe_requests(document: &mut Value) {
    let tickets = json!({
        "subscribe": {"summary": "To subscribe to a channel", "value": {"resource": "channel", "id": "room-1", "ttl_s": 300}},
        "follow": {"summary": "To follow one of your generations", "value": {"resource": "generation", "id": "gen_AAAAAAAAAAAAAAAAAAAAAA", "ttl_s": 300}},
    });
    set_examples(document, TICKETS, tickets);
    let events = json!({
        "unnamed": {"summary": "Without a name, for `onmessage`", "value": {"data": {"text": "Your report is ready", "level": "info"}}},
        "named": {"summary": "With a name", "value": {"event": "said", "data": {"name": "Ada", "text": "Hello"}}},
        "ephemeral": {"summary": "For current subscribers only, not kept", "value": {"event": "typing", "data": {"name": "Ada"}, "ephemeral": true}},
        "principal": {"summary": "For one caller, on all of its streams", "value": {"event": "notification", "data": "Only for you", "to": {"principal": "ada"}}},
        "base64": {"summary": "Bytes", "value": {"event": "thumbnail", "data": "aGVsbG8=", "encoding": "base64"}},
    });
    set_examples(document, PUBLISH, events);
    let renderings = prompt_examples().into_iter().map(|(name, summary, variables)| {
        (name.to_owned(), json!({"summary": summary, "value": {"variables": variables}}))
    });
    // The path's example is the prompt `summarise`, so only its variables fit.
    let renderings = renderings.filter(|(name, _)| name == "summarise").collect::<Map<_, _>>();
    set_examples(document, RENDER, renderings.into());
    let embeddings = json!({
        "text": {"summary": "One text", "value": {"model": "demo", "input": "A text"}},
        "texts": {"summary": "Several texts, short vectors in base64", "value": {"model": "demo", "input": ["One text", "Another"], "dimensions": 8, "encoding_format": "base64"}},
        "tokens": {"summary": "Tokens in place of texts", "value": {"model": "demo", "input": [[9906, 1917], [15339]]}},
    });
    set_examples(document, EMBEDDINGS, embeddings);
    // The model's server decides about an empty text among others.
    let list = |items: Value| json!({"type": "array", "minItems": 1, "items": items});
    let tokens = || json!({"type": "array", "items": {"type": "integer", "minimum": 0}});
    let mut inputs = vec![json!({"type": "string", "minLength": 1}), list(json!({"type": "string"})), list(tokens())];
    inputs.push(list(json!({"type": "integer", "minimum": 0})));
    set(document, "/components/schemas/EmbeddingsBody/properties", "input", json!({"anyOf": inputs}));
    // The scopes of a ticket depend on its resource, and the type of `data` on `encoding`.
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
}

/// Returns example variables for each prompt of the starter set.
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
