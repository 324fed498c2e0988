//! Validation of the `Host` header.

use std::net::IpAddr;

use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, HeaderValue, Version};

use super::problem::{ErrorCode, Problem};

/// The names that are accepted in a request's `Host` (RFC 9110, section 7.2).
///
/// Without authentication, the service trusts every client that reaches it over loopback. DNS rebinding (a name that is
/// made to resolve to loopback) lets a page of a foreign origin do so: the browser considers the service as the page's
/// own origin and sends no preflight. Only the host name in the request reveals the attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosts {
    /// `localhost`, names below it, and loopback addresses.
    Loopback,
    Any,
}

/// Refuses requests without exactly one valid host (RFC 9112, section 3.2; RFC 9113, section 8.3.1), and requests whose
/// host is not one of `hosts`.
pub fn check(hosts: Hosts, head: &Parts) -> Result<(), Problem> {
    check_host(head).map_err(|detail| Problem::new(ErrorCode::InvalidRequest, detail))?;
    match hosts {
        Hosts::Loopback if !is_loopback(&head.uri, &head.headers) => Err(misdirected()),
        Hosts::Loopback | Hosts::Any => Ok(()),
    }
}

/// Checks that the request names exactly one valid host. With two, a proxy may route by one and this service read the
/// other.
fn check_host(head: &Parts) -> Result<(), &'static str> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let (host, authority) = (hosts.next(), head.uri.authority());
    if hosts.next().is_some() {
        return Err("The request has more than one Host header. Send exactly one.");
    }
    let Some(host) = host else {
        // `:authority` replaces the header; HTTP/1.0 requires neither.
        let is_named = authority.is_some() || head.version < Version::HTTP_11;
        return if is_named { Ok(()) } else { Err("The request has no Host header. Send exactly one.") };
    };
    let host =
        host_of(host).ok_or("The Host header is not a host with an optional port. Send one such as localhost:8080.")?;
    // An absolute target of HTTP/1.1 replaces the header (RFC 9112, section 3.2.2).
    let is_both = head.version >= Version::HTTP_2;
    if is_both && authority.is_some_and(|authority| !is_same(authority, &host, head.uri.scheme_str())) {
        return Err(
            "The Host header and :authority name different hosts. Send only one of them, or the same host in both.",
        );
    }
    Ok(())
}

/// Parses `uri-host [":" port]` (RFC 9110, section 7.2). The `http` scheme allows no empty host (section 4.2.1).
fn host_of(value: &HeaderValue) -> Option<Authority> {
    let authority: Authority = value.to_str().ok()?.parse().ok()?;
    let (host, text) = (authority.host(), authority.as_str());
    // Fails if there is userinfo before the host.
    let port = text.strip_prefix(host)?;
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    (!host.is_empty() && is_port).then_some(authority)
}

/// Whether both name the same host and port: case-insensitive, with the default port of the scheme if none is given.
fn is_same(one: &Authority, other: &Authority, scheme: Option<&str>) -> bool {
    let own = if scheme == Some("https") { 443 } else { 80 };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(own);
    one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other)
}

fn misdirected() -> Problem {
    let detail = "Without authentication this service accepts only loopback names such as localhost as Host. Use such \
         a name, or set auth.mode if you are its operator.";
    Problem::new(ErrorCode::Misdirected, detail)
}

/// Whether every host name in a request is a loopback name: that of the request target (`:authority` in HTTP/2) and
/// that of each `Host` header. A request without any is accepted: browsers always send one.
pub fn is_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    uri.authority().is_none_or(is_loopback_name)
        && hosts.all(|host| host_of(host).is_some_and(|host| is_loopback_name(&host)))
}

fn is_loopback_name(authority: &Authority) -> bool {
    let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_are_accepted() {
        for (host, is_accepted) in [
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
            assert_eq!(is_loopback(&Uri::from_static("/v1/models"), &headers), is_accepted, "{host}");
        }
        assert!(is_loopback(&Uri::from_static("/"), &HeaderMap::new()));
        assert!(!is_loopback(&Uri::from_static("http://evil.example/"), &HeaderMap::new()));
        for hosts in [["localhost", "evil.example"], ["evil.example", "localhost"]] {
            let headers = hosts.into_iter().map(|host| (HOST, HeaderValue::from_static(host)));
            let mut both = HeaderMap::new();
            headers.for_each(|(name, value)| _ = both.append(name, value));
            assert!(!is_loopback(&Uri::from_static("/"), &both), "{hosts:?}");
        }
    }

    #[test]
    fn request_without_exactly_one_valid_host_is_refused() {
        use axum::http::Request;
        for (version, uri, hosts, is_valid) in [
            (Version::HTTP_11, "/", &["localhost:8080"][..], true),
            (Version::HTTP_11, "/", &["localhost:"], true),
            (Version::HTTP_11, "/", &["[::1]:8080"], true),
            (Version::HTTP_11, "/", &["xn--bcher-kva.example"], true),
            (Version::HTTP_11, "http://localhost/", &["other.example"], true),
            (Version::HTTP_10, "/", &[], true),
            (Version::HTTP_2, "http://localhost:8080/", &[], true),
            (Version::HTTP_2, "http://localhost:8080/", &["LOCALHOST:8080"], true),
            (Version::HTTP_2, "http://localhost/", &["localhost:80"], true),
            (Version::HTTP_2, "https://localhost/", &["localhost:443"], true),
            (Version::HTTP_2, "/", &["localhost"], true),
            (Version::HTTP_11, "/", &[], false),
            (Version::HTTP_2, "/", &[], false),
            (Version::HTTP_11, "/", &["localhost", "localhost"], false),
            (Version::HTTP_10, "/", &["localhost", "evil.example"], false),
            (Version::HTTP_2, "http://localhost/", &["localhost", "localhost"], false),
            (Version::HTTP_2, "http://localhost:8080/", &["localhost"], false),
            (Version::HTTP_2, "https://localhost/", &["localhost:80"], false),
            (Version::HTTP_2, "http://localhost/", &["evil.example"], false),
            (Version::HTTP_11, "/", &[""], false),
            (Version::HTTP_11, "/", &[":80"], false),
            (Version::HTTP_11, "/", &["a b"], false),
            (Version::HTTP_11, "/", &["localhost, evil.example"], false),
            (Version::HTTP_11, "/", &["user@localhost"], false),
            (Version::HTTP_11, "/", &["localhost:http"], false),
            (Version::HTTP_11, "/", &["localhost/path"], false),
            (Version::HTTP_11, "/", &["http://localhost"], false),
            (Version::HTTP_11, "/", &["[::1"], false),
        ] {
            let mut request = Request::builder().version(version).uri(uri);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            let (head, ()) = request.body(()).expect("a request").into_parts();
            assert_eq!(check(Hosts::Any, &head).is_ok(), is_valid, "{version:?} {uri} {hosts:?}");
        }
    }
}
