//! The access that each operation requires.

use axum::http::Method;

use super::wire::table::WIRES;
use crate::auth::{ChannelScope, Scope};

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Every client; no credential is needed, because the response contains no caller's data.
    Public,
    /// Every authenticated caller with at least one scope, except by a ticket.
    Authenticated,
    /// As `Authenticated`; without authentication as `Operator`, because the response has the data of all clients then.
    Account,
    /// Callers with this scope.
    Scope(Scope),
    /// Callers with this scope for the channel in the path.
    Channel(ChannelScope),
    /// Callers with the scope `admin`. Also direct calls from a program on this machine (not through a proxy, not from
    /// a page of a foreign origin): on the admin listener or, without authentication, on any listener. Without
    /// authentication also every call from another machine to the admin listener.
    Operator,
}

/// An operation by path and method, and its access.
type OperationAccess = ((&'static str, &'static str), Access);

/// Returns every operation of the OpenAPI document.
pub fn operations() -> impl Iterator<Item = OperationAccess> {
    let of_wires = WIRES.iter().map(|wire| (wire.operation(), Access::Scope(Scope::Generate)));
    OPERATIONS.iter().copied().chain(of_wires)
}

/// Every operation but those of wires that start a generation.
const OPERATIONS: &[OperationAccess] = &[
    (("/v1/generations", "get"), Access::Scope(Scope::Follow)),
    (("/v1/generations/{id}", "get"), Access::Scope(Scope::Follow)),
    (("/v1/generations/{id}/events", "get"), Access::Scope(Scope::Follow)),
    (("/v1/generations/{id}", "delete"), Access::Scope(Scope::Stop)),
    (("/v1/generations/{id}/cancel", "post"), Access::Scope(Scope::Stop)),
    (("/v1/channels/{name}/events", "post"), Access::Channel(ChannelScope::Publish)),
    (("/v1/channels/{name}/events", "get"), Access::Channel(ChannelScope::Subscribe)),
    (("/v1/channels/{name}", "get"), Access::Channel(ChannelScope::Subscribe)),
    (("/v1/prompts", "get"), Access::Authenticated),
    (("/v1/prompts/{id}", "get"), Access::Authenticated),
    (("/v1/prompts/{id}/render", "post"), Access::Operator),
    (("/v1/messages/count_tokens", "post"), Access::Scope(Scope::Generate)),
    (("/v1/responses/input_tokens", "post"), Access::Scope(Scope::Generate)),
    (("/v1/responses/{id}", "get"), Access::Scope(Scope::Follow)),
    (("/v1/responses/{id}", "delete"), Access::Scope(Scope::Stop)),
    (("/v1/responses/{id}/cancel", "post"), Access::Scope(Scope::Stop)),
    (("/v1/responses/{id}/input_items", "get"), Access::Scope(Scope::Follow)),
    (("/v1/ui/chat/{chat_id}/stream", "get"), Access::Scope(Scope::Follow)),
    (("/v1/ui/chat/{chat_id}/stop", "post"), Access::Scope(Scope::Stop)),
    (("/v1/ui/chat/{chat_id}", "get"), Access::Scope(Scope::Follow)),
    (("/v1/embeddings", "post"), Access::Scope(Scope::Generate)),
    (("/v1/tickets", "post"), Access::Authenticated),
    (("/v1/models", "get"), Access::Authenticated),
    (("/v1/models/{id}", "get"), Access::Authenticated),
    (("/healthz", "get"), Access::Public),
    (("/readyz", "get"), Access::Public),
    (("/v1/usage", "get"), Access::Account),
    (("/metrics", "get"), Access::Operator),
    (("/v1/upstreams", "get"), Access::Operator),
    (("/v1/connections", "get"), Access::Operator),
    (("/v1/connections/{id}", "delete"), Access::Operator),
];

/// Routes whose response is the same for every caller: the pages and the OpenAPI document.
pub const PAGES: [&str; 7] = [
    "/",
    "/playground/feed",
    "/playground/progress",
    "/playground/room",
    "/playground/metrics",
    "/openapi.json",
    "/docs",
];

impl Access {
    /// Returns the access that a route requires. A method that the route does not support is public, because its
    /// response is only a `405`. A route that is in no table requires operator access.
    pub fn of(method: &Method, route: &str) -> Self {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let mut of_route = operations().filter(|((path, _), _)| *path == route).peekable();
        if of_route.peek().is_none() {
            let page = PAGES.contains(&route) || route.starts_with("/docs/");
            return if page { Self::Public } else { Self::Operator };
        }
        let operation = of_route.find(|((_, named), _)| method.as_str().eq_ignore_ascii_case(named));
        operation.map_or(Self::Public, |(_, access)| access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlisted_route_requires_operator_access() {
        for (method, route, access) in [
            (Method::GET, "/v1/forgotten", Access::Operator),
            (Method::POST, "/v1/chat/completions", Access::Scope(Scope::Generate)),
            (Method::GET, "/v1/chat/completions", Access::Public),
            (Method::GET, "/v1/models", Access::Authenticated),
            (Method::HEAD, "/v1/models", Access::Authenticated),
            (Method::GET, "/v1/usage", Access::Account),
            (Method::PUT, "/v1/models", Access::Public),
            (Method::GET, "/docs/{*rest}", Access::Public),
            (Method::GET, "/docs-of-ours", Access::Operator),
        ] {
            assert_eq!(Access::of(&method, route), access, "{method} {route}");
        }
    }
}
