//! The client address of a request that a proxy may have forwarded.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::server::Peer;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies whose `X-Forwarded-For` is trusted (`server.trusted_proxies`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedProxies(pub Arc<[IpNet]>);

impl TrustedProxies {
    /// Returns the last hop that is not a trusted proxy, or `None` if the request did not arrive over a network.
    ///
    /// Each proxy appends the address of its peer to `X-Forwarded-For`. An entry is trusted only if all later hops are
    /// trusted proxies; earlier entries may be forged.
    pub fn client(&self, head: &Parts) -> Option<IpAddr> {
        let peer = head.extensions.get::<Peer>()?.0.ip();
        Some(self.last_untrusted_hop(peer, &head.headers))
    }

    fn last_untrusted_hop(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut known = peer;
        let lists = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let mut hops = lists.flat_map(|list| list.as_bytes().rsplit(|byte| *byte == b','));
        while self.trust(known) {
            let Some(hop) = hops.next().and_then(address) else { break };
            known = hop;
        }
        known
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Headers that a proxy, load balancer or content delivery network adds to forwarded requests, and that a program on
/// this machine does not send itself. Tracing headers are excluded, because programs send them too.
const PROXY_HEADERS: &[&str] = &[
    // RFC 9110, section 7.6; RFC 7239; RFC 8586; RFC 9440.
    "cdn-loop",
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "max-forwards",
    "via",
    // nginx, Apache, IIS, Envoy, HAProxy, Kubernetes, Java application servers.
    "client-ip",
    "forwarded-for",
    "proxy-client-ip",
    "proxy-connection",
    "remote-ip",
    "wl-proxy-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-real-port",
    "x-remote-addr",
    "x-remote-ip",
    "x-rewrite-url",
    "x-scheme",
    // Akamai, Cloudflare, Fastly, Fly, DigitalOcean, Netlify, AWS, Azure, Google, Imperva, Sucuri.
    "ali-cdn-real-ip",
    "cdn-src-ip",
    "do-connecting-ip",
    "fastly-client-ip",
    "fastly-ssl",
    "fly-client-ip",
    "incap-client-ip",
    "true-client-ip",
    "x-amz-cf-id",
    "x-amzn-trace-id",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-azure-fdid",
    "x-azure-ref",
    "x-azure-socketip",
    "x-nf-client-connection-ip",
    "x-sucuri-clientip",
];

/// Prefixes of such headers.
const PROXY_HEADER_PREFIXES: &[&str] =
    &["cf-", "x-arr-", "x-envoy-", "x-forwarded-", "x-original-forwarded-", "x-vercel-"];

/// Whether a header shows that a proxy forwarded the request.
pub fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().map(HeaderName::as_str).any(|name| {
        PROXY_HEADERS.contains(&name) || PROXY_HEADER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    })
}

/// Parses an address; some proxies append the port.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().or_else(|_| hop.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_header_marks_a_request_as_forwarded_and_program_header_does_not() {
        let has = |name: &str| {
            is_forwarded(&HeaderMap::from_iter([(name.parse().expect("a name"), "x".parse().expect("a value"))]))
        };
        let prefixed = PROXY_HEADER_PREFIXES.iter().map(|prefix| format!("{prefix}anything"));
        for name in PROXY_HEADERS.iter().map(ToString::to_string).chain(prefixed) {
            assert!(has(&name) && has(&name.to_ascii_uppercase()), "{name}");
        }
        for name in ["host", "user-agent", "traceparent", "x-request-id", "x-api-key", "x-stainless-lang", "origin"] {
            assert!(!has(name), "{name}");
        }
    }

    #[test]
    fn client_is_the_last_hop_that_is_no_trusted_proxy() {
        let proxies =
            ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"].map(|network| network.parse().expect("a network"));
        let proxies = TrustedProxies(proxies.into());
        for (peer, forwarded, client) in [
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, 192.0.2.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1", "10.9.9.9"], "198.51.100.1"),
            ("10.0.0.1", &["10.1.1.1"], "10.1.1.1"),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db9::1]:4711"], "2001:db9::1"),
            ("2001:db8::1", &["2001:db9::1"], "2001:db9::1"),
            ("10.0.0.1", &["[2001:db9::1]"], "2001:db9::1"),
            ("10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            // An entry that cannot be parsed ends the chain.
            ("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, "], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for list in forwarded {
                headers.append(X_FORWARDED_FOR, list.parse().expect("a header value"));
            }
            let found = proxies.last_untrusted_hop(peer.parse().expect("an address"), &headers);
            assert_eq!(found.to_string(), client, "{peer} {forwarded:?}");
        }
    }
}
