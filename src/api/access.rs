//! What each operation demands of its caller.

use axum::http::Method;

use crate::auth::{ChannelScope, Scope};

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody: it tells nothing of anybody.
    Public,
    /// Everybody who is known, and may do anything at all.
    Known,
    /// Who has this scope.
    Scope(Scope),
    /// Who may do this with the channel that the path names.
    Channel(ChannelScope),
    /// Who has the scope `admin`. Also a program on this machine that calls for itself: at the operators' own listener
    /// or, without authentication, at the only one. Without authentication anybody at the operators' own.
    Operator,
}

/// Every operation of the document.
pub const OPERATIONS: &[((&str, &str), Access)] = &[
    (("/v1/generations", "post"), Access::Scope(Scope::Generate)),
    (("/v1/generations", "get"), Access::Scope(Scope::Follow)),
    (("/v1/generations/{id}", "get"), Access::Scope(Scope::Follow)),
    (("/v1/generations/{id}/events", "get"), Access::Scope(Scope::Follow)),
    (("/v1/generations/{id}", "delete"), Access::Scope(Scope::Stop)),
    (("/v1/generations/{id}/cancel", "post"), Access::Scope(Scope::Stop)),
    (("/v1/channels/{name}/events", "post"), Access::Channel(ChannelScope::Publish)),
    (("/v1/channels/{name}/events", "get"), Access::Channel(ChannelScope::Subscribe)),
    (("/v1/channels/{name}", "get"), Access::Channel(ChannelScope::Subscribe)),
    (("/v1/prompts", "get"), Access::Known),
    (("/v1/prompts/{id}", "get"), Access::Known),
    (("/v1/prompts/{id}/render", "post"), Access::Operator),
    (("/v1/tickets", "post"), Access::Known),
    (("/v1/chat/completions", "post"), Access::Scope(Scope::Generate)),
    (("/v1/models", "get"), Access::Known),
    (("/v1/models/{id}", "get"), Access::Known),
    (("/healthz", "get"), Access::Public),
    (("/readyz", "get"), Access::Public),
    (("/metrics", "get"), Access::Operator),
    (("/v1/connections", "get"), Access::Operator),
    (("/v1/connections/{id}", "delete"), Access::Operator),
];

/// What tells everybody the same: the pages, and the document.
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
    /// By the route that a request has met. A method that the route does not take is told so, to everybody; a route
    /// that nobody has thought of here is the operator's.
    pub fn of(method: &Method, route: &str) -> Self {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let mut of_route = OPERATIONS.iter().filter(|((path, _), _)| *path == route).peekable();
        if of_route.peek().is_none() {
            let page = PAGES.contains(&route) || route.starts_with("/docs/");
            return if page { Self::Public } else { Self::Operator };
        }
        let operation = of_route.find(|((_, named), _)| method.as_str().eq_ignore_ascii_case(named));
        operation.map_or(Self::Public, |(_, access)| *access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_thought_of_is_the_operators() {
        for (method, route, access) in [
            (Method::GET, "/v1/forgotten", Access::Operator),
            (Method::GET, "/v1/models", Access::Known),
            (Method::HEAD, "/v1/models", Access::Known),
            (Method::PUT, "/v1/models", Access::Public),
            (Method::GET, "/docs/{*rest}", Access::Public),
            (Method::GET, "/docs-of-ours", Access::Operator),
        ] {
            assert_eq!(Access::of(&method, route), access, "{method} {route}");
        }
    }
}
