//! Errors of the settings.

use std::{io, net::SocketAddr};

/// One sentence with the error and its fix. It never contains a value, because any value may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read the settings file {path} ({source}): create it, or name another one with --config")]
    Unreadable { path: String, source: io::Error },

    #[error("{path} is not valid TOML: fix line {line} ({problem})")]
    Syntax { path: String, line: usize, problem: String },

    #[error("unknown setting `{setting}` in {origin}: {}", suggestion(nearest.as_deref()))]
    Unknown { setting: String, origin: String, nearest: Option<String> },

    #[error("`{setting}` in {origin} must be {expected}")]
    Wrong { setting: String, origin: String, expected: &'static str },

    #[error("`{setting}` in {origin} must be {expected}: the unit is missing")]
    NoUnit { setting: String, origin: String, expected: &'static str },

    #[error(
        "the environment variable `{variable}` is not read: the prefix is `TOKENRILL_`: rename or remove the variable"
    )]
    NearPrefix { variable: String },

    #[error("`{setting}` is missing in {origin}: add it")]
    Missing { setting: String, origin: String },

    #[error("{setting} is empty: give it a value")]
    Empty { setting: String },

    #[error("`server.max_head` is too small or too large: write at least \"8KiB\" and at most \"1MiB\"")]
    MaxHead,

    #[error("`server.max_body_memory` is less than twice `server.max_body`: raise it, or lower `server.max_body`")]
    MaxBodyMemory,

    #[error(
        "event_log.backend is \"redis\" and its address is missing: write one of event_log.redis.url_env and \
         event_log.redis.url_file"
    )]
    RedisUrl,

    #[error(
        "event_log.backend is \"redis\", so a ticket of one replica must be valid at all: write \
         auth.ticket_secret_env, with the same secret for each"
    )]
    SharedTicketSecret,

    #[error("`event_log.redis.lease` is too short or too long: write at least \"3s\" and at most \"12s\"")]
    Lease,

    #[error("`{setting}` is too large: write at most {most}")]
    TooLarge { setting: &'static str, most: &'static str },

    #[error("`{variable}` cannot be set in the environment: write upstreams as [[upstreams]] in the settings file")]
    NotInEnvironment { variable: String },

    #[error(
        "refusing to listen on {listen} without authentication: listen on a loopback address such as \
         127.0.0.1:8080, write auth.mode = \"required\" and a key, or auth.mode = \"none\" to admit every client that \
         can reach it"
    )]
    Exposed { listen: SocketAddr },

    #[error(
        "auth.jwt needs issuer, audience, and one of jwks_url, jwks_file and secret_env, each of at most 512 bytes: \
         write them"
    )]
    Jwt,

    #[error(
        "auth.cookie must be a cookie name and needs auth.jwt: write auth.jwt, and a name without spaces and \
         separators (RFC 6265, section 4.1.1)"
    )]
    Cookie,

    #[error(
        "auth.api_keys or auth.jwt is set, but authentication is off: write auth.mode = \"required\", or remove them"
    )]
    UnusedApiKeys,

    #[error("two auth.api_keys have the same key: create a key for each with `tokenrill key new`")]
    DuplicateApiKey,

    #[error(
        "number {number} of cors.origins is not an origin: write it as browsers do, such as \"https://app.example\", \
         or on loopback with any port, \"http://localhost:*\""
    )]
    Origin { number: usize },

    #[error("number {number} of cors.origins ends with a slash: an origin has no path, so remove the slash")]
    OriginSlash { number: usize },

    #[error(
        "number {number} of cors.origins is `*`, which is not accepted: list the origins whose pages may send \
         requests, such as \"https://app.example\""
    )]
    AnyOrigin { number: usize },

    #[error("two upstreams are named `{name}`: rename one of them")]
    DuplicateUpstream { name: String },

    #[error("upstream `{upstream}` has no key: set the environment variable `{variable}`, or remove its api_key_env")]
    NoKey { upstream: String, variable: String },

    #[error(
        "the key of upstream `{upstream}` cannot be sent as a header: \
         set the environment variable `{variable}` to visible ASCII characters only"
    )]
    InvalidKey { upstream: String, variable: String },

    #[error(
        "upstream `{upstream}` has more than one source of keys: write one of api_key_env, api_key_envs and api_key_file"
    )]
    KeySources { upstream: String },

    #[error(
        "the key of upstream `{upstream}` cannot be read from {path}: write the key alone into this file, as visible \
         ASCII characters"
    )]
    KeyFile { upstream: String, path: String },

    #[error(
        "{setting} of upstream `{upstream}` cannot be read from {path} ({source}): write the path of a readable file in PEM"
    )]
    UpstreamFile { upstream: String, setting: &'static str, path: String, source: io::Error },

    #[error(
        "the environment variable `{variable}`, which proxy of upstream `{upstream}` refers to, is not the URL of an http \
         proxy: set it to a URL such as http://proxy.example:3128, or remove it"
    )]
    ProxyVariable { upstream: String, variable: &'static str },

    #[error("`upstreams.retry_budget` is out of range: write a ratio from 0 to 10 and a min_per_second from 0 to 1000")]
    RetryBudget,

    #[error("`upstreams.breaker` opens after 0 failures: write failures = 1 or more")]
    BreakerFailures,

    #[error("`models.\"{alias}\"` is the name of the embedded model, or empty: choose another name")]
    AliasName { alias: String },

    #[error(
        "the target `{target}` of `models.\"{alias}\"` is not a model of an upstream: write \"upstream/model\" with the \
         name of one of [[upstreams]]"
    )]
    AliasTarget { alias: String, target: String },

    #[error(
        "a weight of `models.\"{alias}\"` is negative, or all are 0, with the weights of the upstreams: write numbers above 0"
    )]
    AliasWeight { alias: String },

    #[error("weight of upstream `{upstream}` is negative or not finite: write 0 or a number above it")]
    UpstreamWeight { upstream: String },

    #[error("`models.\"{alias}\"` sets the parameter `{parameter}`, which only the request can set: remove it")]
    AliasParameter { alias: String, parameter: &'static str },

    #[error("upstream `{upstream}` has a header `{header}`, which is not a valid header name: rename or remove it")]
    HeaderName { upstream: String, header: String },

    #[error("anthropic_version of upstream `{upstream}` must be a date such as \"2023-06-01\"")]
    Version { upstream: String },

    #[error(
        "upstream `{upstream}` has anthropic_version, but not Anthropic's API: write dialect = \"anthropic\", or remove \
         anthropic_version"
    )]
    UnusedVersion { upstream: String },

    #[error(
        "the header `{header}` of upstream `{upstream}` cannot be sent: use visible ASCII characters and spaces only"
    )]
    HeaderValue { upstream: String, header: String },
}

fn suggestion(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "remove it; tokenrill.example.toml lists all settings".to_owned(),
    }
}
