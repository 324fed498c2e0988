//! The response to a request to a path that does not exist.

use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Uri};

use super::access::operations;
use super::not_offered::{below_version, elsewhere, instead};
use super::problem::{ErrorCode, Problem};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Returns the problem, with a hint if the path is a known mistake.
pub fn unknown_path(head: &Parts) -> Problem {
    Problem::new(ErrorCode::RouteNotFound, hint(head.uri.path(), &base_url(&head.uri, &head.headers)))
}

fn hint(path: &str, base_url: &str) -> String {
    let set_base_url = format!("Set the SDK's base URL to {base_url}.");
    let (below, is_versioned) = below_version(path);
    if !is_versioned {
        if let Some(instead) = elsewhere(path) {
            return format!("This path does not exist. {instead}");
        }
        if below == "/messages" || below.starts_with("/messages/") {
            let root = base_url.trim_end_matches("/v1");
            return format!("This path does not exist. Is /v1 missing? Set the SDK's base URL to {root}.");
        }
        let is_known = is_operation(&format!("/v1{path}")) || instead(path).is_some();
        if is_known {
            return format!("This path does not exist. Is /v1 missing? {set_base_url}");
        }
        if path.starts_with("/openai/deployments/") {
            return format!(
                "The paths of Azure OpenAI do not exist here. Use the SDK's client for OpenAI. {set_base_url}"
            );
        }
        return NOT_FOUND.to_owned();
    }
    if below == "/v1" || below.starts_with("/v1/") {
        if below == "/v1/messages" || below.starts_with("/v1/messages/") {
            let root = base_url.trim_end_matches("/v1");
            return format!("This path contains /v1 twice. Set the SDK's base URL to {root}.");
        }
        return format!("This path contains /v1 twice. {set_base_url}");
    }
    match instead(below) {
        Some(instead) => format!("This endpoint is not offered here. {instead}"),
        None => match elsewhere(path) {
            Some(instead) => format!("This path does not exist. {instead}"),
            None => NOT_FOUND.to_owned(),
        },
    }
}

const NOT_FOUND: &str = "This path does not exist. GET /openapi.json lists the operations.";

/// Whether the path matches an operation of the API.
fn is_operation(path: &str) -> bool {
    operations().any(|((template, _), _)| {
        let (mut parts, mut wanted) = (path.split('/'), template.split('/'));
        loop {
            match (parts.next(), wanted.next()) {
                (None, None) => return true,
                (Some(part), Some(wanted)) if part == wanted || (wanted.starts_with('{') && !part.is_empty()) => {}
                _ => return false,
            }
        }
    })
}

/// Returns the base URL of this service, derived from the request.
fn base_url(uri: &Uri, headers: &HeaderMap) -> String {
    let host = || headers.get(HOST)?.to_str().ok()?.parse::<Authority>().ok();
    let authority = uri.authority().cloned().or_else(host);
    let authority = authority.filter(|authority| !authority.as_str().contains('@'));
    let is_tls = headers.get(X_FORWARDED_PROTO).is_some_and(|scheme| scheme == "https");
    let scheme = if is_tls { "https" } else { "http" };
    format!("{scheme}://{}/v1", authority.as_ref().map_or("HOST", Authority::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_mistakes_in_paths_get_hints() {
        for (path, expected) in [
            ("/chat/completions", "Is /v1 missing? Set the SDK's base URL to http://h/v1."),
            ("/models/demo", "Is /v1 missing?"),
            ("/generations/x/events", "Is /v1 missing?"),
            ("/responses", "Is /v1 missing?"),
            ("/messages", "Is /v1 missing? Set the SDK's base URL to http://h."),
            ("/v1/v1/messages", "contains /v1 twice. Set the SDK's base URL to http://h."),
            ("/embeddings", "Is /v1 missing?"),
            ("/api/chat", "Use POST /v1/chat/completions."),
            ("/api/tags", "Use GET /v1/models."),
            ("/api/v1/models", "without /api"),
            ("/v1/chat", "Use POST /v1/chat/completions."),
            ("/v1/complete", "Use POST /v1/messages."),
            ("/v1/messages/batches", "there are no batches"),
            ("/v1/threads/t/runs", "send all messages"),
            ("/v1/images/generations", "a model that writes images"),
            ("/v1/files/f", "as parts of a message"),
            ("/v1/vector_stores", "Use POST /v1/embeddings"),
            ("/v1beta/models/gemini:generateContent", "Gemini"),
            ("/api/chatter", NOT_FOUND),
            ("/v1/v1/chat/completions", "contains /v1 twice"),
            ("/v1/v1", "contains /v1 twice"),
            ("/v1/completions", "Use POST /v1/chat/completions."),
            ("/openai/deployments/gpt/chat/completions", "Azure"),
            ("/v1", NOT_FOUND),
            ("/v10/models", NOT_FOUND),
            ("/v1/nope", NOT_FOUND),
            ("/", NOT_FOUND),
            ("//", NOT_FOUND),
            ("/.env", NOT_FOUND),
        ] {
            let hint = hint(path, "http://h/v1");
            assert!(hint.contains(expected), "{path}: {hint}");
        }
    }

    #[test]
    fn base_url_is_that_of_the_request() {
        let base = |uri: &'static str, headers: &[(HeaderName, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a header value")));
            base_url(&Uri::from_static(uri), &headers.collect())
        };
        assert_eq!(base("/x", &[(HOST, "llm.example:8080")]), "http://llm.example:8080/v1");
        assert_eq!(base("/x", &[(HOST, "llm.example"), (X_FORWARDED_PROTO, "https")]), "https://llm.example/v1");
        assert_eq!(base("http://h2.example/x", &[]), "http://h2.example/v1");
        assert_eq!(base("/x", &[]), "http://HOST/v1");
        assert_eq!(base("/x", &[(HOST, "user@evil")]), "http://HOST/v1");
        assert_eq!(base("/x", &[(HOST, "a b")]), "http://HOST/v1");
    }
}
