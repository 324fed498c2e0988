//! The refusals of each operation: each code with its status, in each response format.

use serde_json::{Value, json};

use super::super::access::Access;
use super::super::problem::{ErrorCode, FieldError, ProblemBody};
use super::super::wire::port::RefusalFormat;
use super::super::wire::table::WireEntry;
use super::paths::{CHANNEL, CHAT, CREATE, EVENTS, INSPECT, LIST, PUBLISH, RENDER, SUBSCRIBE, TICKETS, pointer, set};
use super::security::access;

/// The codes with which each operation may refuse. Each may also respond with `invalid_request` (for its `Host`),
/// `misdirected` and `internal`, and each that is not public with `unauthenticated`, `forbidden` and
/// `issuer_unavailable`.
pub const REFUSALS: &[((&str, &str), &[ErrorCode])] = &[
    (
        CREATE,
        &[
            ErrorCode::InvalidJson,
            ErrorCode::InvalidRequest,
            ErrorCode::ModelRequired,
            ErrorCode::ModelNotFound,
            ErrorCode::PromptNotFound,
            ErrorCode::InvalidVariables,
            ErrorCode::GenerationNotFound,
            ErrorCode::NotAcceptable,
            ErrorCode::RequestTimeout,
            ErrorCode::HistoryLost,
            ErrorCode::BodyTooLarge,
            ErrorCode::UnsupportedMediaType,
            ErrorCode::IdempotencyConflict,
            ErrorCode::RateLimited,
            ErrorCode::TooManyGenerations,
            ErrorCode::TooManyConnections,
            ErrorCode::Overloaded,
            ErrorCode::ShuttingDown,
        ],
    ),
    (LIST, &[ErrorCode::InvalidRequest]),
    (
        EVENTS,
        &[
            ErrorCode::InvalidRequest,
            ErrorCode::GenerationNotFound,
            ErrorCode::NotAcceptable,
            ErrorCode::HistoryLost,
            ErrorCode::TooManyConnections,
            ErrorCode::Overloaded,
        ],
    ),
    (INSPECT, &[ErrorCode::InvalidRequest, ErrorCode::GenerationNotFound, ErrorCode::HistoryLost]),
    (("/v1/generations/{id}", "delete"), &[ErrorCode::GenerationNotFound, ErrorCode::UnsupportedMediaType]),
    (("/v1/generations/{id}/cancel", "post"), &[ErrorCode::GenerationNotFound, ErrorCode::UnsupportedMediaType]),
    (
        CHAT,
        &[
            ErrorCode::InvalidJson,
            ErrorCode::InvalidRequest,
            ErrorCode::ModelRequired,
            ErrorCode::UpstreamRejected,
            ErrorCode::ModelNotFound,
            ErrorCode::PromptNotFound,
            ErrorCode::InvalidVariables,
            ErrorCode::RequestTimeout,
            ErrorCode::Cancelled,
            ErrorCode::HistoryLost,
            ErrorCode::BodyTooLarge,
            ErrorCode::UnsupportedMediaType,
            ErrorCode::IdempotencyConflict,
            ErrorCode::RateLimited,
            ErrorCode::TooManyGenerations,
            ErrorCode::TooManyConnections,
            ErrorCode::UpstreamRateLimited,
            ErrorCode::TooLarge,
            ErrorCode::UpstreamUnreachable,
            ErrorCode::UpstreamAuth,
            ErrorCode::UpstreamError,
            ErrorCode::UpstreamDisconnected,
            ErrorCode::UpstreamMalformed,
            ErrorCode::Overloaded,
            ErrorCode::ShuttingDown,
            ErrorCode::UpstreamOverloaded,
            ErrorCode::UpstreamTimeout,
            ErrorCode::DeadlineExceeded,
        ],
    ),
    (
        TICKETS,
        &[
            ErrorCode::InvalidJson,
            ErrorCode::InvalidRequest,
            ErrorCode::GenerationNotFound,
            ErrorCode::RequestTimeout,
            ErrorCode::BodyTooLarge,
            ErrorCode::UnsupportedMediaType,
        ],
    ),
    (
        PUBLISH,
        &[
            ErrorCode::InvalidJson,
            ErrorCode::InvalidRequest,
            ErrorCode::ConnectionNotFound,
            ErrorCode::RequestTimeout,
            ErrorCode::BodyTooLarge,
            ErrorCode::UnsupportedMediaType,
            ErrorCode::RateLimited,
            ErrorCode::Overloaded,
            ErrorCode::ShuttingDown,
        ],
    ),
    (
        SUBSCRIBE,
        &[
            ErrorCode::InvalidRequest,
            ErrorCode::NotAcceptable,
            ErrorCode::TooManyConnections,
            ErrorCode::ChannelFull,
            ErrorCode::Overloaded,
            ErrorCode::ShuttingDown,
        ],
    ),
    (CHANNEL, &[ErrorCode::InvalidRequest]),
    (("/v1/prompts", "get"), &[]),
    (("/v1/prompts/{id}", "get"), &[ErrorCode::PromptNotFound]),
    (
        RENDER,
        &[
            ErrorCode::InvalidJson,
            ErrorCode::InvalidRequest,
            ErrorCode::PromptNotFound,
            ErrorCode::InvalidVariables,
            ErrorCode::RequestTimeout,
            ErrorCode::BodyTooLarge,
            ErrorCode::UnsupportedMediaType,
            ErrorCode::Overloaded,
        ],
    ),
    (("/v1/models", "get"), &[]),
    (("/v1/models/{id}", "get"), &[ErrorCode::ModelNotFound]),
    (("/healthz", "get"), &[]),
    (("/readyz", "get"), &[ErrorCode::ShuttingDown, ErrorCode::IssuerUnavailable]),
    (("/metrics", "get"), &[]),
    (("/v1/connections", "get"), &[ErrorCode::InvalidRequest]),
    (("/v1/connections/{id}", "delete"), &[ErrorCode::ConnectionNotFound, ErrorCode::UnsupportedMediaType]),
];

/// Adds every refusal to the document, in both response formats of its dialect.
pub fn describe_refusals(document: &mut Value) {
    for ((path, method), codes) in REFUSALS {
        let responses = pointer(path, method, "/responses");
        let wire = WireEntry::of_path(path);
        let stream_schema = if (*path, *method) == SUBSCRIBE { "ChannelStreamEvent" } else { wire.refusals.event };
        let reference = |name| json!({"$ref": format!("#/components/schemas/{name}")});
        let denials: &[ErrorCode] = match access(path, method) {
            Access::Public => &[],
            Access::Authenticated | Access::Scope(_) | Access::Channel(_) | Access::Operator => {
                &[ErrorCode::Unauthenticated, ErrorCode::Forbidden, ErrorCode::IssuerUnavailable]
            }
        };
        let common = [ErrorCode::InvalidRequest, ErrorCode::Misdirected, ErrorCode::Internal];
        for code in codes.iter().chain(denials).chain(&common) {
            let status = code.status();
            let problem = example_problem(*code, (path, method));
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
            let body: Value = serde_json::from_slice(&refusal.bytes).unwrap_or_default();
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
        ErrorCode::InvalidRequest if operation == CREATE || operation == CHAT => {
            vec![FieldError {
                pointer: "/messages/0/role".into(),
                detail: "must be one of system, developer, user, assistant, tool, function".into(),
            }]
        }
        ErrorCode::InvalidRequest if operation == PUBLISH || operation == RENDER => {
            vec![FieldError { pointer: String::new(), detail: "must have data, and no unknown fields".into() }]
        }
        ErrorCode::InvalidVariables => {
            let pointer = if operation == RENDER { "/variables/text" } else { "/prompt/variables/text" };
            vec![FieldError { pointer: pointer.to_owned(), detail: "is missing".to_owned() }]
        }
        ErrorCode::InvalidRequest if operation == TICKETS => {
            let detail = "is missing: it must be generation or channel".to_owned();
            vec![FieldError { pointer: "/resource".to_owned(), detail }]
        }
        _ => Vec::new(),
    };
    ProblemBody::example(code, errors)
}
