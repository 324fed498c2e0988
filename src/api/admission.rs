//! The settings that decide which requests are admitted.

use std::sync::Arc;

use axum::http::{HeaderValue, Uri};

use super::client_address::TrustedProxies;
use crate::auth::Gate;
use crate::limits::Policy;
use crate::prompts::Catalog;

/// Authentication, allowed origins, limits and prompts. Replaced as a whole when the settings are reloaded. Each
/// request uses the version that is in effect when it begins.
#[derive(Clone)]
pub struct Admission {
    pub gate: Arc<Gate>,
    pub origins: Origins,
    /// The name of the cookie in which a token is accepted.
    pub cookie: Option<Arc<str>>,
    /// The limits of callers.
    pub policy: Arc<Policy>,
    pub proxies: TrustedProxies,
    pub prompts: Catalog,
}

/// The origins whose pages may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Loopback on any port, for front-end development.
    Loopback,
    /// These origins (RFC 6454, section 6.2), compared byte by byte; `:*` after a loopback host matches every port.
    These(Arc<[String]>),
}

impl Origins {
    pub fn allow(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Loopback => loopback(origin).is_some(),
            Self::These(origins) => origins.iter().any(|allowed| match allowed.strip_suffix(":*") {
                Some(any_port) => {
                    loopback(origin).is_some_and(|(scheme, host)| any_port == format!("{scheme}://{host}"))
                }
                None => allowed.as_bytes() == origin.as_bytes(),
            }),
        }
    }
}

/// Returns the scheme and host of an origin on loopback.
fn loopback(origin: &HeaderValue) -> Option<(String, String)> {
    let uri = origin.to_str().ok()?.parse::<Uri>().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let host = uri.host().filter(|host| matches!(*host, "localhost" | "127.0.0.1" | "[::1]"))?;
    Some((scheme.to_owned(), host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_recognized_by_the_exact_host_only() {
        for (origin, allowed) in [
            ("http://localhost:5173", true),
            ("https://127.0.0.1", true),
            ("http://[::1]:3000", true),
            ("http://localhost.evil.example", false),
            ("http://evil.example/localhost", false),
            ("http://localhost@evil.example", false),
            ("null", false),
            ("file://localhost", false),
            ("https://example.com", false),
        ] {
            assert_eq!(Origins::Loopback.allow(&HeaderValue::from_static(origin)), allowed, "{origin}");
        }
    }

    #[test]
    fn listed_origin_is_allowed_only_on_an_exact_match() {
        let origins = Origins::These(["https://app.example".to_owned(), "http://localhost:*".to_owned()].into());
        for (origin, allowed) in [
            ("https://app.example", true),
            ("http://localhost:5173", true),
            ("http://localhost", true),
            ("https://localhost:5173", false),
            ("http://127.0.0.1:5173", false),
            ("http://app.example", false),
            ("https://app.example:8443", false),
            ("https://app.example.evil.example", false),
            ("https://evil-app.example", false),
            ("https://APP.example", false),
            ("http://localhost.evil.example:5173", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(origins.allow(&HeaderValue::from_static(origin)), allowed, "{origin}");
        }
        assert!(!Origins::These([].into()).allow(&HeaderValue::from_static("http://localhost")));
    }
}
