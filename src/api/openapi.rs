//! The OpenAPI document, generated from the routes and types, completed with what derives cannot say:
//! the event streams, the refusals of each operation, and the examples.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{OpenApi, ToSchema};

use super::problem::{ErrorCode, FieldError, ProblemBody, refusal_event};
use super::wire::native;

/// What a generation is asked for. Fields that are not listed here go to the model's server as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = NewGeneration, example = json!({"input": "Hello"}))]
pub struct NewGenerationBody {
    /// The user's message; short for `messages` with one. One of both is required.
    #[schema(min_length = 1)]
    pub input: Option<String>,
    /// OpenAI chat messages: text, image, audio and tool parts.
    #[schema(value_type = Option<Vec<Object>>, min_items = 1)]
    pub messages: Option<Vec<Value>>,
    /// The model. Absent: `models.default`, else the only one there is.
    #[schema(min_length = 1)]
    pub model: Option<String>,
    /// When the last viewer has gone: `cancel` ends the generation, `continue` lets it run. Absent: `generation.on_disconnect`.
    pub on_disconnect: Option<OnDisconnectBody>,
    /// How long to wait for a viewer to come back before `cancel`, in milliseconds. Counts as 0 in this version.
    #[schema(minimum = 0)]
    pub grace_ms: Option<u64>,
    /// Up to 16 pairs of strings; shown in the snapshot, never sent on.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub metadata: Option<Value>,
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

/// Where the model stops.
#[derive(ToSchema)]
#[schema(as = Stop)]
#[serde(untagged)]
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

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tokenrill",
        description = "Chat requests in, a model's tokens out as Server-Sent Events.\n\nSwagger UI shows an event stream only when it has ended; the playground at `/` shows it live.",
    ),
    components(schemas(
        native::StartData, native::DeltaData, native::TextData, native::ToolCallData, native::PartData,
        native::DoneData, native::CancelledData, native::FailedData, ProblemBody, NewGenerationBody,
    )),
    tags(
        (name = "generations", description = "A generation is one answer of one model. It outlives the connection that asked for it."),
        (name = "models", description = "What can be asked."),
        (name = "operations", description = "For operators and their machines."),
    ),
)]
struct Base;

/// The document as it is served and committed.
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// The document.
pub fn document() -> Value {
    let routes = super::documented().into_openapi();
    let mut document = serde_json::to_value(Base::openapi().merge_from(routes)).unwrap_or_default();
    describe_events(&mut document);
    describe_refusals(&mut document);
    describe_requests(&mut document);
    describe_parameters(&mut document);
    document
}

const CREATE: (&str, &str) = ("/v1/generations", "post");
const EVENTS: (&str, &str) = ("/v1/generations/{id}/events", "get");

/// The codes with which each operation may refuse; any may also answer `internal`.
const REFUSALS: &[((&str, &str), &[ErrorCode])] = &[
    (
        CREATE,
        &[
            ErrorCode::InvalidJson,
            ErrorCode::InvalidRequest,
            ErrorCode::ModelRequired,
            ErrorCode::ModelNotFound,
            ErrorCode::GenerationNotFound,
            ErrorCode::NotAcceptable,
            ErrorCode::RequestTimeout,
            ErrorCode::HistoryLost,
            ErrorCode::BodyTooLarge,
            ErrorCode::UnsupportedMediaType,
            ErrorCode::Overloaded,
            ErrorCode::ShuttingDown,
        ],
    ),
    (
        EVENTS,
        &[ErrorCode::InvalidRequest, ErrorCode::GenerationNotFound, ErrorCode::NotAcceptable, ErrorCode::HistoryLost],
    ),
    (("/v1/generations/{id}", "get"), &[ErrorCode::GenerationNotFound]),
    (("/v1/generations/{id}", "delete"), &[ErrorCode::GenerationNotFound]),
    (("/v1/generations/{id}/cancel", "post"), &[ErrorCode::GenerationNotFound]),
    (("/v1/models", "get"), &[]),
    (("/healthz", "get"), &[]),
    (("/readyz", "get"), &[ErrorCode::ShuttingDown]),
    (("/metrics", "get"), &[]),
];

/// The schema of an event stream is that of each of its events (OpenAPI 3.1 knows no other way).
fn describe_events(document: &mut Value) {
    let branches = native::EVENTS.map(|name| {
        let data = match name {
            "reasoning" | "refusal" => "TextData".to_owned(),
            name => format!("{}Data", pascal(name)),
        };
        json!({
            "type": "object",
            "title": name,
            "required": ["event", "data"],
            "properties": {
                "event": {"const": name},
                "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": {"$ref": format!("#/components/schemas/{data}")}},
                "id": {"type": "string", "description": "`<generation>.<sequence>`; what `Last-Event-ID` names. Absent from a refusal."},
                "retry": {"type": "integer", "description": "Milliseconds to wait before connecting again; in the first and in the last block."},
            },
        })
    });
    let union = json!({
        "description": "One event. `data` is one line of JSON. Exactly one of `done`, `cancelled` and `failed` comes, last; then the response ends. Clients ignore events they do not know.",
        "oneOf": branches,
        "discriminator": {"propertyName": "event"},
    });
    set(document, "/components/schemas", "GenerationEvent", union);
    for (path, method) in [CREATE, EVENTS] {
        let content = json!({"schema": {"$ref": "#/components/schemas/GenerationEvent"}, "examples": event_examples()});
        set(document, &pointer(path, method, "/responses/200/content"), "text/event-stream", content);
    }
}

fn describe_refusals(document: &mut Value) {
    for ((path, method), codes) in REFUSALS {
        let responses = pointer(path, method, "/responses");
        for code in codes.iter().chain([&ErrorCode::Internal]) {
            let status = code.status();
            let existing = document.pointer(&format!("{responses}/{}", status.as_u16())).cloned();
            let mut response = existing.unwrap_or_else(|| {
                json!({
                    "description": status.canonical_reason().unwrap_or_default(),
                    "content": {
                        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}},
                        "text/event-stream": {"schema": {"$ref": "#/components/schemas/GenerationEvent"}, "examples": {}},
                    },
                })
            });
            let problem = example_problem(*code, (path, method));
            let event = String::from_utf8_lossy(&refusal_event(problem.clone())).into_owned();
            let name = code.name();
            set(&mut response, "/content/application~1problem+json/examples", &name, json!({"value": problem}));
            set(&mut response, "/content/text~1event-stream/examples", &name, json!({"value": event}));
            set(document, &responses, status.as_str(), response);
        }
    }
}

fn example_problem(code: ErrorCode, operation: (&str, &str)) -> ProblemBody {
    let errors = match code {
        // Only a body has fields.
        ErrorCode::InvalidRequest if operation == CREATE => {
            vec![FieldError {
                pointer: "/messages/0/role".into(),
                detail: "must be one of system, developer, user, assistant, tool, function".into(),
            }]
        }
        _ => Vec::new(),
    };
    ProblemBody::example(code, errors)
}

fn describe_requests(document: &mut Value) {
    let examples = request_examples()
        .into_iter()
        .map(|(name, summary, value)| (name.to_owned(), json!({"summary": summary, "value": value})));
    let examples = Value::Object(examples.collect::<Map<_, _>>());
    set(document, &pointer(CREATE.0, CREATE.1, "/requestBody/content/application~1json"), "examples", examples);
    // `input` or `messages`, never both and never neither.
    let one_of = json!([
        {"required": ["input"], "properties": {"messages": {"type": "null"}}},
        {"required": ["messages"], "properties": {"input": {"type": "null"}}},
    ]);
    set(document, "/components/schemas/NewGeneration", "oneOf", one_of);
}

/// An optional parameter is left out; nobody can send a null in a header or a query.
fn describe_parameters(document: &mut Value) {
    let operations = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    let operations = operations.flat_map(|path| path.as_object_mut().into_iter().flat_map(|path| path.values_mut()));
    let parameters = operations
        .flat_map(|operation| operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten());
    for parameter in parameters {
        if let Some(first) = parameter.pointer("/schema/type/0").cloned() {
            set(parameter, "/schema", "type", first);
        }
    }
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

const EXAMPLE_ID: &str = "gen_AAAAAAAAAAAAAAAAAAAAAA";

/// One stream for each event and each ending, as their bytes.
fn event_examples() -> Value {
    let usage = json!({"input_tokens": 3, "output_tokens": 2, "estimated": false});
    let timings = json!({"first_token_ms": 180, "total_ms": 240});
    let stream = |events: &[(&str, Value)]| {
        let start =
            ("start", json!({"generation": EXAMPLE_ID, "model": "demo", "created_at": "2026-11-21T07:26:02.001Z"}));
        let last = events.len() + 1;
        let blocks = std::iter::once(&start).chain(events).zip(1..).map(|((name, data), sequence)| {
            let retry = match sequence {
                1 => "retry: 1000\n",
                sequence if sequence == last => "retry: 86400000\n",
                _ => "",
            };
            format!("event: {name}\ndata: {data}\n{retry}id: {EXAMPLE_ID}.{sequence}\n\n")
        });
        blocks.collect::<String>()
    };
    let done = |reason: &str| ("done", json!({"finish_reason": reason, "usage": usage, "timings": timings}));
    let delta = |text: &str| ("delta", json!({"text": text}));
    let failure = ProblemBody::example(ErrorCode::UpstreamError, Vec::new());
    let examples = [
        ("done", "An answer", stream(&[delta("Hel"), delta("lo"), done("stop")])),
        (
            "reasoning",
            "Reasoning before the answer",
            stream(&[("reasoning", json!({"text": "A greeting."})), delta("Hello"), done("stop")]),
        ),
        (
            "tool_call",
            "A tool call in fragments",
            stream(&[
                ("tool_call", json!({"index": 0, "id": "call_1", "name": "weather", "arguments": ""})),
                ("tool_call", json!({"index": 0, "arguments": "{\"city\":\"Zürich\"}"})),
                done("tool_calls"),
            ]),
        ),
        ("refusal", "A refusal", stream(&[("refusal", json!({"text": "I cannot help with that."})), done("stop")])),
        (
            "part",
            "What no other event holds",
            stream(&[("part", json!({"delta": {"audio": {"id": "audio_1", "data": "AAAA"}}})), done("stop")]),
        ),
        (
            "choices",
            "Two choices",
            stream(&[
                delta("Hello"),
                ("delta", json!({"text": "Hi", "choice": 1})),
                (
                    "done",
                    json!({"finish_reason": "stop", "choices": [{"choice": 0, "finish_reason": "stop"}, {"choice": 1, "finish_reason": "stop"}], "usage": usage, "timings": timings}),
                ),
            ]),
        ),
        (
            "cancelled",
            "Stopped",
            stream(&[
                delta("Hel"),
                ("cancelled", json!({"reason": "client_request", "usage": usage, "timings": timings})),
            ]),
        ),
        (
            "failed",
            "Failed in mid-answer",
            stream(&[delta("Hel"), ("failed", json!({"error": failure, "usage": usage, "timings": timings}))]),
        ),
    ];
    let examples = examples
        .into_iter()
        .map(|(name, summary, value)| (name.to_owned(), json!({"summary": summary, "value": value})));
    Value::Object(examples.collect())
}

fn pascal(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    });
    words.collect()
}

fn pointer(path: &str, method: &str, rest: &str) -> String {
    format!("/paths/{}/{method}{rest}", path.replace('~', "~0").replace('/', "~1"))
}

fn set(document: &mut Value, pointer: &str, member: &str, value: Value) {
    if let Some(object) = document.pointer_mut(pointer).and_then(Value::as_object_mut) {
        object.insert(member.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::chat::FIELDS;
    use super::*;

    #[test]
    fn every_operation_says_how_it_refuses() {
        let document = document();
        let operations = document["paths"].as_object().expect("paths").iter().flat_map(|(path, operations)| {
            operations.as_object().expect("operations").keys().map(move |method| (path.clone(), method.clone()))
        });
        for (path, method) in operations {
            assert!(REFUSALS.iter().any(|((p, m), _)| (*p, *m) == (path.as_str(), method.as_str())), "{method} {path}");
        }
        assert_eq!(document["openapi"], "3.1.0");
    }

    #[test]
    fn the_documented_fields_are_the_fields_that_are_checked() {
        let document = document();
        let documented =
            document["components"]["schemas"]["NewGeneration"]["properties"].as_object().expect("properties");
        let mut documented: Vec<_> = documented.keys().map(String::as_str).collect();
        let mut checked: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
        documented.sort_unstable();
        checked.sort_unstable();
        assert_eq!(documented, checked);
    }

    #[test]
    fn every_reference_resolves() {
        let document = document();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }
}
