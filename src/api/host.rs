//! By which names the service may be called.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::{Authority, Uri};

use super::problem::{ErrorCode, Problem};

/// The names that a request's `Host` (RFC 9110, section 7.2) may hold.
///
/// A service without authentication trusts whoever reaches loopback. A page of a foreign origin does
/// too, if its host's name is made to resolve to loopback (DNS rebinding): to the browser it is then
/// the same origin, and no preflight is made. What gives it away is the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosts {
    /// `localhost`, names below it, and loopback addresses.
    Loopback,
    Any,
}

/// Refuses requests that call the service by a name it does not have.
pub fn check(hosts: Hosts, head: &Parts) -> Result<(), Problem> {
    match hosts {
        Hosts::Loopback if !is_loopback(&head.uri, &head.headers) => Err(misdirected()),
        Hosts::Loopback | Hosts::Any => Ok(()),
    }
}

fn misdirected() -> Problem {
    let detail = "Without authentication this service accepts only loopback names such as localhost as Host. Call it by one, or \
         set auth.mode if you are its operator.";
    Problem::new(ErrorCode::Misdirected, detail)
}

/// Over HTTP/2 the name stands in the URI. A request without any name is not a browser's.
pub fn is_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let named = headers.get(HOST).map(|host| host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()));
    let authority = match (uri.authority(), &named) {
        (Some(authority), _) => authority,
        (None, Some(Some(host))) => host,
        (None, Some(None)) => return false,
        (None, None) => return true,
    };
    let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_loopback_are_ours() {
        for (host, ours) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("app.localhost:5173", true),
            ("localhost.", true),
            ("127.0.0.1:8080", true),
            ("127.1.2.3", true),
            ("[::1]:8080", true),
            ("evil.example", false),
            ("localhost.evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("192.168.0.1", false),
            ("notlocalhost", false),
            ("", false),
            ("a b", false),
        ] {
            let headers = HeaderMap::from_iter([(HOST, host.parse().expect("a header value"))]);
            assert_eq!(is_loopback(&Uri::from_static("/v1/models"), &headers), ours, "{host}");
        }
        assert!(is_loopback(&Uri::from_static("/"), &HeaderMap::new()));
        assert!(!is_loopback(&Uri::from_static("http://evil.example/"), &HeaderMap::new()));
    }
}
