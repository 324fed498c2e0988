//! The credentials and scopes of each operation.

use serde_json::{Value, json};

use super::super::access::{Access, operations};
use super::paths::{pointer, set};
use crate::auth::Scope;

/// Returns the access that an operation of the document requires.
pub fn access(path: &str, method: &str) -> Access {
    let operation = operations().find(|(operation, _)| *operation == (path, method));
    operation.map_or(Access::Public, |(_, access)| access)
}

/// Describes the credentials, and which of them each operation accepts. The empty alternative is valid unless
/// `auth.mode` is `required`.
pub fn describe_security(document: &mut Value) {
    let schemes = json!({
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, which `tokenrill key new` makes, or a JSON Web Token of the issuer in the settings."},
        "api_key": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "An API key, for clients that use Authorization for another purpose."},
        "session": {"type": "apiKey", "in": "cookie", "name": "session", "description": "A JSON Web Token in the cookie that the setting `auth.cookie` names. A request that is not a GET must have an `Origin` of `cors.origins` or come from a page of this service's own origin; its body must be JSON."},
        "ticket": {"type": "apiKey", "in": "query", "name": "ticket", "description": "A ticket of `POST /v1/tickets`, for clients that cannot set headers."},
    });
    set(document, "/components", "securitySchemes", schemes);
    for ((path, method), access) in operations() {
        let operation = pointer(path, method, "");
        let scope = match access {
            Access::Public => continue,
            Access::Authenticated | Access::Account => None,
            Access::Operator => Some(Scope::Admin.name().to_owned()),
            Access::Scope(scope) => Some(scope.name().to_owned()),
            Access::Channel(scope) => Some(format!("{}:{{name}}", scope.name())),
        };
        let mut security = vec![json!({}), json!({"bearer": []}), json!({"api_key": []}), json!({"session": []})];
        let takes_tickets = matches!(access, Access::Scope(Scope::Follow | Scope::Stop) | Access::Channel(_));
        if path.contains('{') && takes_tickets {
            security.push(json!({"ticket": []}));
        }
        set(document, &operation, "security", security.into());
        if let Some(scope) = scope {
            set(document, &operation, "x-scope", scope.into());
        }
    }
}
