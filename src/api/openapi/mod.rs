//! The OpenAPI document. It is generated from the routes and types, and completed with what derives cannot express: the
//! event streams, the refusals of each operation, and the examples.

mod channel_streams;
pub(super) mod code_groups;
mod links;
mod open_objects;
pub(super) mod paths;
mod refusals;
pub(super) mod requests;
mod security;

use serde_json::{Value, json};
use utoipa::OpenApi;

use super::allowance::RateLimitHeaders;
use super::events_query::{Format, Replay};
use super::headers::X_RATE_LIMIT;
use super::problem::ProblemBody;
use super::wire::channel;
use super::wire::table::WIRES;

use channel_streams::describe_channel_streams;
use links::describe_links;
use open_objects::describe_open_objects;
use paths::{CHANNEL_NAME, EMBEDDINGS, EVENTS, pointer, set};
use refusals::describe_refusals;
use requests::describe_requests;
use security::describe_security;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tokenrill",
        description = "Accepts chat requests and streams a model's tokens as Server-Sent Events.\n\nSwagger UI shows an event stream only after it has ended; the playground at `/` shows it live.",
    ),
    components(schemas(
        channel::ConnectedData, channel::PresenceData, channel::GapData, channel::ServerTimeData, channel::MetricsData,
        ProblemBody, Format, Replay,
    )),
    tags(
        (name = "generations", description = "A generation is one answer of one model. It outlives the connection of the request that started it."),
        (name = "channels", description = "A channel is a log of events that applications publish: notifications, progress, a chat room. The service itself publishes to `system.time` and `system.metrics`."),
        (name = "prompts", description = "A prompt is stored in this service and not in a front end: its text, its version, and a schema of its variables."),
        (name = "openai", description = "The OpenAI-compatible API: set the base URL of an OpenAI SDK to `/v1` of this service."),
        (name = "anthropic", description = "Anthropic's Messages API: set the base URL of an Anthropic SDK to this service. For any model of any upstream."),
        (name = "ai-sdk", description = "The AI SDK's chats: `useChat` with an unchanged `DefaultChatTransport` whose `api` is this service. Resumes and stops without routes of the page's own."),
        (name = "operations", description = "Health checks, metrics and connections, for operators."),
    ),
)]
struct Base;

/// Returns the document as JSON text, as it is served and committed.
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// Builds the document.
pub fn document() -> Value {
    let routes = super::documented().into_openapi();
    let mut document = serde_json::to_value(Base::openapi().merge_from(routes)).unwrap_or_default();
    for wire in &WIRES {
        (wire.describe)(&mut document);
    }
    describe_followed_streams(&mut document);
    describe_channel_streams(&mut document);
    describe_refusals(&mut document);
    describe_requests(&mut document);
    describe_parameters(&mut document);
    describe_allowances(&mut document);
    describe_links(&mut document);
    describe_security(&mut document);
    describe_open_objects(&mut document);
    document
}

/// Sets the schema of a followed stream: its events are those of the wire that the client selected by `format`.
fn describe_followed_streams(document: &mut Value) {
    let events = WIRES.iter().map(|wire| json!({"$ref": format!("#/components/schemas/{}", wire.refusals.event)}));
    let schema = json!({"anyOf": events.collect::<Vec<_>>()});
    set(document, &pointer(EVENTS.0, EVENTS.1, "/responses/200/content/text~1event-stream"), "schema", schema);
}

/// The patterns of string parameters, by name.
const PATTERNS: [(&str, &str); 3] =
    [("name", CHANNEL_NAME), ("Idempotency-Key", "^[!-~]{1,255}$"), ("Tokenrill-Grace-Ms", "^[0-9]{1,15}$")];

/// Removes `null` from the types of parameters, because headers and queries cannot contain it, and adds their patterns.
fn describe_parameters(document: &mut Value) {
    let operations = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    let operations = operations.flat_map(|path| path.as_object_mut().into_iter().flat_map(|path| path.values_mut()));
    let parameters = operations
        .flat_map(|operation| operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten());
    for parameter in parameters {
        if let Some(first) = parameter.pointer("/schema/type/0").cloned() {
            set(parameter, "/schema", "type", first);
        }
        let pattern = PATTERNS.iter().find(|(name, _)| parameter["name"] == *name).map(|(_, pattern)| *pattern);
        if let Some(pattern) = pattern {
            set(parameter, "/schema", "pattern", pattern.into());
        }
    }
}

/// Adds the rate limit headers to every response of the limited operations.
fn describe_allowances(document: &mut Value) {
    const NATIVE: [(&str, &str); 2] = [
        (
            "RateLimit",
            "The remaining quota of each limit, and the seconds until it is full again (draft-ietf-httpapi-ratelimit-headers-10). Absent if the caller has no limits.",
        ),
        ("RateLimit-Policy", "The limits per minute (the same draft)."),
    ];
    let native = NATIVE.map(|(name, description)| (name.to_owned(), description));
    let openai = X_RATE_LIMIT.into_iter().flatten().map(|name| (name.as_str().to_owned(), "As in OpenAI's API."));
    let all: Vec<_> = native.into_iter().chain(openai).collect();
    let headers = all
        .iter()
        .map(|(name, description)| (name.clone(), json!({"description": description, "schema": {"type": "string"}})));
    set(document, "/components", "headers", headers.collect());
    let of_wires = WIRES.iter().map(|wire| (wire.operation(), wire.rate_limits));
    for ((path, method), rate_limits) in of_wires.chain([(EMBEDDINGS, RateLimitHeaders::AndOpenAi)]) {
        let count = match rate_limits {
            RateLimitHeaders::Standard => NATIVE.len(),
            RateLimitHeaders::AndOpenAi => all.len(),
        };
        let statuses = document.pointer(&pointer(path, method, "/responses")).and_then(Value::as_object);
        let statuses: Vec<_> = statuses.into_iter().flat_map(|statuses| statuses.keys().cloned()).collect();
        for status in statuses {
            let response = pointer(path, method, &format!("/responses/{status}"));
            let headers = format!("{response}/headers");
            if document.pointer(&headers).is_none() {
                set(document, &response, "headers", json!({}));
            }
            for (name, _) in all.iter().take(count) {
                set(document, &headers, name, json!({"$ref": format!("#/components/headers/{name}")}));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_lists_its_refusals() {
        let document = document();
        let operations = document["paths"].as_object().expect("paths").iter().flat_map(|(path, operations)| {
            operations.as_object().expect("operations").keys().map(move |method| (path.clone(), method.clone()))
        });
        for (path, method) in operations {
            let responses = &document["paths"][&path][&method]["responses"];
            assert!(responses["500"].is_object() && responses["421"].is_object(), "{method} {path}");
        }
        assert_eq!(document["openapi"], "3.1.0");
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
