//! What each operation demands of its caller.

use axum::http::Method;

use crate::auth::Scope;

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody: it tells nothing of anybody.
    Public,
    /// Everybody who is known.
    Known,
    /// Who has this scope.
    Scope(Scope),
    /// Who has the scope `admin`; without authentication, who calls from this machine.
    Operator,
}

/// Every operation of the document. What is not here is a page, the document itself, or nothing.
pub const OPERATIONS: &[((&str, &str), Access)] = &[
    (("/v1/generations", "post"), Access::Scope(Scope::Generate)),
    (("/v1/generations", "get"), Access::Scope(Scope::Follow)),
    (("/v1/generations/{id}", "get"), Access::Scope(Scope::Follow)),
    (("/v1/generations/{id}/events", "get"), Access::Scope(Scope::Follow)),
    (("/v1/generations/{id}", "delete"), Access::Scope(Scope::Stop)),
    (("/v1/generations/{id}/cancel", "post"), Access::Scope(Scope::Stop)),
    (("/v1/tickets", "post"), Access::Known),
    (("/v1/chat/completions", "post"), Access::Scope(Scope::Generate)),
    (("/v1/models", "get"), Access::Known),
    (("/v1/models/{id}", "get"), Access::Known),
    (("/healthz", "get"), Access::Public),
    (("/readyz", "get"), Access::Public),
    (("/metrics", "get"), Access::Operator),
];

impl Access {
    /// By the route that a request has met. A method that the route does not take is told so, to everybody.
    pub fn of(method: &Method, route: &str) -> Self {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let named = |name: &str| method.as_str().eq_ignore_ascii_case(name);
        let operation = OPERATIONS.iter().find(|((path, method), _)| *path == route && named(method));
        operation.map_or(Self::Public, |(_, access)| *access)
    }
}
