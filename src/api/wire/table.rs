//! All wires, one line for each.

use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;

use super::messages::Messages;
use super::native::Native;
use super::openai_chat::OpenAiChat;
use super::port::{RefusalBody, RefusalFormat, RefusalSchemas, StreamPurpose, Wire, stream};
use super::responses::Responses;
use super::ui_stream::UiStream;
use crate::api::allowance::RateLimitHeaders;
use crate::api::connection::Connection;
use crate::api::problem::{ErrorCode, ProblemBody};
use crate::api::state::Api;
use crate::generation::Following;

/// The wires. The first is the default: of `?format=`, and of errors of paths that belong to no other.
pub static WIRES: [WireEntry; 5] = [
    WireEntry::of::<Native>(),
    WireEntry::of::<OpenAiChat>(),
    WireEntry::of::<Messages>(),
    WireEntry::of::<Responses>(),
    WireEntry::of::<UiStream>(),
];

/// A wire, selected at run time.
pub struct WireEntry {
    /// The value of the query parameter `format`.
    pub name: &'static str,
    pub path: &'static str,
    pub rate_limits: RateLimitHeaders,
    pub refusals: RefusalSchemas,
    /// The codes with which its operation may refuse, in groups.
    pub codes: &'static [&'static [ErrorCode]],
    pub routes: fn() -> OpenApiRouter<Api>,
    /// Responds with the event stream of a viewer that selected this wire by `format`.
    pub follow: fn(&Api, Following, Connection) -> Response,
    pub refusal: fn(ProblemBody, RefusalFormat) -> RefusalBody,
    pub refusal_headers: fn(&ProblemBody, &mut HeaderMap),
    /// Completes the OpenAPI document.
    pub describe: fn(&mut Value),
    writes_errors_of: fn(&str) -> bool,
}

impl WireEntry {
    const fn of<W: Wire>() -> Self {
        Self {
            name: W::NAME,
            path: W::PATH,
            rate_limits: W::RATE_LIMITS,
            refusals: W::REFUSALS,
            codes: W::CODES,
            routes: W::routes,
            follow: |api, following, connection| stream::<W>(api, following, StreamPurpose::Follow, connection),
            refusal: W::refusal,
            refusal_headers: W::refusal_headers,
            describe: W::describe,
            writes_errors_of: W::writes_errors_of,
        }
    }

    /// Returns the path and the method of the operation that starts a generation.
    pub const fn operation(&self) -> (&'static str, &'static str) {
        (self.path, "post")
    }

    /// Returns the wire in which errors of this path are written.
    pub fn of_path(path: &str) -> &'static Self {
        let [default, ..] = &WIRES;
        WIRES.iter().find(|wire| (wire.writes_errors_of)(path)).unwrap_or(default)
    }

    pub fn named(name: &str) -> Option<&'static Self> {
        WIRES.iter().find(|wire| wire.name == name)
    }

    /// Whether this is the native wire.
    pub fn is_native(&self) -> bool {
        self.name == Native::NAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_a_path_are_written_by_its_wire_and_by_the_native_one_otherwise() {
        for (path, expected) in [
            ("/v1/chat/completions", "openai"),
            ("/v1/models", "openai"),
            ("/v1/models/a/b", "openai"),
            ("/v1/chat/completions/x", "openai"),
            ("/v1/embeddings", "openai"),
            ("/v1/threads", "openai"),
            ("/v1/complete", "messages"),
            ("/v1/modelsx", "native"),
            ("/v1/messages", "messages"),
            ("/v1/messages/count_tokens", "messages"),
            ("/v1/messagesx", "native"),
            ("/v1/responses", "responses"),
            ("/v1/responses/resp_1/cancel", "responses"),
            ("/v1/ui/chat", "ui"),
            ("/v1/ui/chat/a/stream", "ui"),
            ("/v1/ui", "native"),
            ("/v1/generations", "native"),
            ("/", "native"),
        ] {
            assert_eq!(WireEntry::of_path(path).name, expected, "{path}");
        }
    }

    #[test]
    fn names_of_wires_are_unique() {
        for wire in &WIRES {
            assert!(WireEntry::named(wire.name).is_some_and(|named| std::ptr::eq(named, wire)), "{}", wire.name);
        }
    }
}
