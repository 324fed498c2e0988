//! The settings of the listener.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::keys::{COUNT, DURATION, SIZE, SettingSection, key};
use super::{Network, Size, some, units};

/// The listener.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ServerSettings {
    pub listen: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_listen: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<Network>,
    pub max_connections: NonZeroU32,
    #[serde(with = "units::duration")]
    pub head_timeout: Duration,
    #[serde(with = "units::duration")]
    pub body_timeout: Duration,
    #[serde(with = "units::duration")]
    pub ping_interval: Duration,
    #[serde(with = "units::duration")]
    pub ping_timeout: Duration,
    pub max_streams: NonZeroU32,
    pub max_head: Size,
    pub max_body: Size,
    pub max_body_memory: Size,
    #[serde(with = "units::duration")]
    pub shutdown_grace: Duration,
}

pub(super) const SECTION: SettingSection = SettingSection {
    name: "server",
    intro: "",
    keys: &[
        key(
            "server.listen",
            "an IP address and port such as \"127.0.0.1:8080\"",
            "The IP address and port to listen on. An address other than loopback also requires auth.mode. Flag: --listen.",
        ),
        key(
            "server.admin_listen",
            "an IP address and port such as \"127.0.0.1:9090\"",
            "The address of a separate listener for operators. It serves /metrics, which the other listener then does not, \
             and /healthz and /readyz. Programs on this machine that send requests directly, not through a proxy, need no \
             key there; with auth.mode = \"none\" no caller needs one. Default: absent.",
        )
        .with_example("\"127.0.0.1:9090\""),
        key(
            "server.trusted_proxies",
            "a list of addresses or networks such as [\"10.0.0.0/8\"]",
            "The proxies whose X-Forwarded-For is trusted, as addresses or networks. The client is then the last address \
             in it that is not one of them. Unauthenticated callers are limited by address. Default: none.",
        )
        .with_example("[\"10.0.0.0/8\"]"),
        key(
            "server.max_connections",
            COUNT,
            "Connections that are open at the same time. A tenth more are accepted for reconnecting clients; a request \
             that starts something new on them gets 503 overloaded. The program raises its descriptor limit to the \
             maximum that the system allows; each generation needs one more descriptor.",
        ),
        key(
            "server.head_timeout",
            DURATION,
            "How long a request's head may take (for the first request, from the start of the connection), and how long \
             a connection may be idle between two requests.",
        ),
        key("server.body_timeout", DURATION, "How long a request's body may take after its head."),
        key("server.ping_interval", DURATION, "The interval of pings on an HTTP/2 connection."),
        key("server.ping_timeout", DURATION, "How long a ping on an HTTP/2 connection may stay unanswered."),
        key("server.max_streams", COUNT, "Concurrent requests on one HTTP/2 connection."),
        key("server.max_head", SIZE, "The maximum size of a request's head, from \"8KiB\" to \"1MiB\"."),
        key("server.max_body", SIZE, "The maximum size of a request's body."),
        key(
            "server.max_body_memory",
            SIZE,
            "The maximum memory of all request bodies together, at least twice max_body. A body counts from its first \
             byte until the upstream has responded. Callers share it.",
        ),
        key(
            "server.shutdown_grace",
            DURATION,
            "How long live streams may continue after the signal to stop.",
        ),
    ],
};

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            admin_listen: None,
            trusted_proxies: Vec::new(),
            max_connections: some(10_000),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            max_streams: some(100),
            max_head: Size::kib(32),
            max_body: Size::mib(16),
            max_body_memory: Size::mib(128),
            shutdown_grace: Duration::from_secs(30),
        }
    }
}
