//! The refusals of each operation: each code with its status, in each response format.

use serde_json::{Value, json};

use super::super::access::Access;
use super::super::problem::ErrorCode::{
    ChannelFull, ChatIdGuessable, ConnectionNotFound, EventLogUnavailable, Forbidden, GenerationNotFound, HistoryLost,
    Internal, InvalidRequest, InvalidVariables, IssuerUnavailable, Misdirected, ModelNotFound, ModelRequired,
    NotAcceptable, Overloaded, PromptNotFound, RateLimited, ShuttingDown, TooManyConnections, Unauthenticated,
    UnsupportedMediaType,
};
use super::super::problem::{ErrorCode, FieldError, ProblemBody};
use super::super::wire::port::RefusalFormat;
use super::super::wire::responses::REFERENCES;
use super::super::wire::table::{WIRES, WireEntry};
use super::code_groups::{BODY, EMBED};
use super::paths::{CHANNEL, EMBEDDINGS, EVENTS, INSPECT, LIST, PUBLISH, RENDER, SUBSCRIBE, TICKETS, pointer, set};
use super::security::access;

/// Codes of an operation that requires a credential.
const DENIALS: &[ErrorCode] = &[Unauthenticated, Forbidden, IssuerUnavailable];
/// Codes of every operation: `invalid_request` is for its `Host`.
const COMMON: &[ErrorCode] = &[InvalidRequest, Misdirected, Internal];

/// An operation, by path and method, and its codes in groups.
type OperationRefusals = ((&'static str, &'static str), &'static [&'static [ErrorCode]]);

/// The codes with which operations may refuse, in addition to [`COMMON`] and, if they are not public, [`DENIALS`]. Those
/// of an operation of a wire are in the wire.
const REFUSALS: &[OperationRefusals] = &[
    (LIST, &[&[EventLogUnavailable]]),
    (EVENTS, &[&[GenerationNotFound, NotAcceptable, HistoryLost, TooManyConnections, Overloaded, EventLogUnavailable]]),
    (INSPECT, &[&[GenerationNotFound, HistoryLost, EventLogUnavailable]]),
    (("/v1/generations/{id}", "delete"), &[&[GenerationNotFound, UnsupportedMediaType, EventLogUnavailable]]),
    (("/v1/generations/{id}/cancel", "post"), &[&[GenerationNotFound, UnsupportedMediaType, EventLogUnavailable]]),
    (TICKETS, &[BODY, &[GenerationNotFound]]),
    (PUBLISH, &[BODY, &[ConnectionNotFound, RateLimited, Overloaded, EventLogUnavailable, ShuttingDown]]),
    (SUBSCRIBE, &[&[NotAcceptable, TooManyConnections, ChannelFull, Overloaded, EventLogUnavailable, ShuttingDown]]),
    (CHANNEL, &[&[EventLogUnavailable]]),
    (("/v1/prompts", "get"), &[]),
    (("/v1/prompts/{id}", "get"), &[&[PromptNotFound]]),
    (RENDER, &[BODY, &[PromptNotFound, InvalidVariables, Overloaded]]),
    (
        ("/v1/messages/count_tokens", "post"),
        &[BODY, &[ModelRequired, ModelNotFound, RateLimited, Overloaded, EventLogUnavailable, ShuttingDown]],
    ),
    (
        ("/v1/responses/input_tokens", "post"),
        &[
            BODY,
            REFERENCES,
            &[ModelRequired, ModelNotFound, RateLimited, Overloaded, EventLogUnavailable, ShuttingDown],
        ],
    ),
    (
        ("/v1/responses/{id}", "get"),
        &[&[GenerationNotFound, HistoryLost, TooManyConnections, Overloaded, EventLogUnavailable]],
    ),
    (("/v1/responses/{id}", "delete"), &[&[GenerationNotFound, UnsupportedMediaType, EventLogUnavailable]]),
    (
        ("/v1/responses/{id}/cancel", "post"),
        &[&[GenerationNotFound, HistoryLost, UnsupportedMediaType, EventLogUnavailable]],
    ),
    (("/v1/responses/{id}/input_items", "get"), &[&[GenerationNotFound, HistoryLost, Overloaded, EventLogUnavailable]]),
    (
        ("/v1/ui/chat/{chat_id}/stream", "get"),
        &[&[ChatIdGuessable, HistoryLost, TooManyConnections, Overloaded, EventLogUnavailable]],
    ),
    (
        ("/v1/ui/chat/{chat_id}/stop", "post"),
        &[&[ChatIdGuessable, HistoryLost, UnsupportedMediaType, EventLogUnavailable]],
    ),
    (("/v1/ui/chat/{chat_id}", "get"), &[&[HistoryLost, Overloaded, EventLogUnavailable]]),
    (EMBEDDINGS, &[BODY, EMBED]),
    (("/v1/models", "get"), &[]),
    (("/v1/models/{id}", "get"), &[&[ModelNotFound]]),
    (("/healthz", "get"), &[]),
    (("/readyz", "get"), &[&[ShuttingDown, EventLogUnavailable, IssuerUnavailable]]),
    (("/metrics", "get"), &[]),
    (("/v1/upstreams", "get"), &[]),
    (("/v1/usage", "get"), &[&[EventLogUnavailable]]),
    (("/v1/connections", "get"), &[]),
    (("/v1/connections/{id}", "delete"), &[&[ConnectionNotFound, UnsupportedMediaType, EventLogUnavailable]]),
];

/// Adds every refusal to the document, in both response formats of its dialect.
pub fn describe_refusals(document: &mut Value) {
    let of_wires = WIRES.iter().map(|wire| (wire.operation(), wire.codes));
    for ((path, method), codes) in REFUSALS.iter().copied().chain(of_wires) {
        let responses = pointer(path, method, "/responses");
        let wire = WireEntry::of_path(path);
        let stream_schema = if (path, method) == SUBSCRIBE { "ChannelStreamEvent" } else { wire.refusals.event };
        let reference = |name| json!({"$ref": format!("#/components/schemas/{name}")});
        let denials: &[ErrorCode] = match access(path, method) {
            Access::Public => &[],
            Access::Authenticated | Access::Account | Access::Scope(_) | Access::Channel(_) | Access::Operator => {
                DENIALS
            }
        };
        let mut codes = [&codes.concat(), denials, COMMON].concat();
        codes.sort_by_key(|code| code.status());
        for code in codes {
            let status = code.status();
            let problem = example_problem(code, (path, method));
            let refusal = (wire.refusal)(problem.clone(), RefusalFormat::Json);
            let json = refusal.content_type;
            let existing = document.pointer(&format!("{responses}/{}", status.as_u16())).cloned();
            let mut response = existing.unwrap_or_else(|| {
                json!({
                    "description": status.canonical_reason().unwrap_or_default(),
                    "content": {
                        json: {"schema": reference(wire.refusals.json), "examples": {}},
                        "text/event-stream": {"schema": reference(stream_schema), "examples": {}},
                    },
                })
            });
            let body: Value = serde_json::from_slice(&refusal.bytes)
                .unwrap_or_else(|_| String::from_utf8_lossy(&refusal.bytes).into_owned().into());
            let event = (wire.refusal)(problem, RefusalFormat::Event);
            let event = String::from_utf8_lossy(&event.bytes).into_owned();
            let examples = |content: &str| format!("/content/{}/examples", content.replace('/', "~1"));
            set(&mut response, &examples(json), &code.name(), json!({"value": body}));
            set(&mut response, &examples("text/event-stream"), &code.name(), json!({"value": event}));
            set(document, &responses, status.as_str(), response);
        }
    }
}

fn example_problem(code: ErrorCode, operation: (&str, &str)) -> ProblemBody {
    let errors = match code {
        // Only refusals of a body list fields.
        InvalidRequest if WIRES.iter().any(|wire| wire.operation() == operation) => {
            vec![FieldError {
                pointer: "/messages/0/role".into(),
                detail: "must be one of system, developer, user, assistant, tool, function".into(),
            }]
        }
        InvalidRequest if operation == EMBEDDINGS => {
            let detail = "is missing: send a string or a list of strings or tokens".to_owned();
            vec![FieldError { pointer: "/input".to_owned(), detail }]
        }
        InvalidRequest if operation == PUBLISH || operation == RENDER => {
            vec![FieldError { pointer: String::new(), detail: "must have data, and no unknown fields".into() }]
        }
        InvalidVariables => {
            let pointer = if operation == RENDER { "/variables/text" } else { "/prompt/variables/text" };
            vec![FieldError { pointer: pointer.to_owned(), detail: "is missing".to_owned() }]
        }
        InvalidRequest if operation == TICKETS => {
            let detail = "is missing: it must be generation or channel".to_owned();
            vec![FieldError { pointer: "/resource".to_owned(), detail }]
        }
        _ => Vec::new(),
    };
    ProblemBody::example(code, errors)
}
