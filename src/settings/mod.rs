//! The operator's settings. The defaults serve on loopback without any setting.
//!
//! [`load`] layers them: defaults, then the settings file, then the environment, then flags. Unknown, wrong or unsafe
//! settings are refused with one sentence that describes the fix. The settings hold no keys, only the names of the
//! environment variables with the keys.

mod changes;
mod channels;
mod error;
mod file;
mod jwt;
mod keys;
mod layers;
mod limits;
mod network;
mod secret;
mod telemetry;
mod units;
mod upstream;

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use changes::Changes;
pub use channels::{ChannelSettings, PromptSettings};
pub use error::SettingsError;
pub use file::FileSource;
pub use jwt::{JwksUrl, JwtSettings};
pub use layers::{Sources, listen_address, load};
pub use limits::{ConnectionsFull, LimitSettings, ModelLimitSettings, QueueSettings, QuotaSettings};
pub use network::Network;
pub use secret::Secret;
pub use telemetry::{LogFormatSetting, TelemetrySettings, UpstreamMessagesSetting};
pub use units::Size;
use upstream::is_token;
pub use upstream::{BaseUrl, ErrorMessagesSetting, UpstreamSettings};

/// All settings. A settings file may omit any of them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Settings {
    pub server: ServerSettings,
    pub cors: CorsSettings,
    pub auth: AuthSettings,
    pub limits: LimitSettings,
    /// The upstream servers, in the order of the file. Default: none. The environment cannot set them, except by
    /// `OPENAI_API_KEY` and `OPENAI_BASE_URL` (see [`load`]).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<UpstreamSettings>,
    pub models: ModelSettings,
    pub generation: GenerationSettings,
    pub event_log: EventLogSettings,
    pub channels: ChannelSettings,
    pub prompts: PromptSettings,
    pub telemetry: TelemetrySettings,
}

/// The listener.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ServerSettings {
    /// The address to listen on. An address other than loopback requires `auth.mode` to be set explicitly.
    /// Default: `127.0.0.1:8080`. Variable: `TOKENRILL_SERVER__LISTEN`.
    pub listen: SocketAddr,
    /// The address of a separate listener for operators. It serves `/metrics`, which the other listener then does not.
    /// Default: absent. Variable: `TOKENRILL_SERVER__ADMIN_LISTEN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_listen: Option<SocketAddr>,
    /// The proxies whose `X-Forwarded-For` is trusted, as addresses or networks. Default: none. Variable:
    /// `TOKENRILL_SERVER__TRUSTED_PROXIES`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<Network>,
    /// Connections that are open at the same time. A tenth more are accepted for reconnecting clients. Default: 10,000.
    /// Variable: `TOKENRILL_SERVER__MAX_CONNECTIONS`.
    pub max_connections: NonZeroU32,
    /// How long a request's head may take (for the first request, from the start of the connection), and how long a
    /// connection may be idle between two requests. Default: 10 s. Variable: `TOKENRILL_SERVER__HEAD_TIMEOUT`.
    #[serde(with = "units::duration")]
    pub head_timeout: Duration,
    /// How long a request's body may take, after its head. Default: 30 s. Variable: `TOKENRILL_SERVER__BODY_TIMEOUT`.
    #[serde(with = "units::duration")]
    pub body_timeout: Duration,
    /// The interval of pings on an HTTP/2 connection. Default: 20 s. Variable: `TOKENRILL_SERVER__PING_INTERVAL`.
    #[serde(with = "units::duration")]
    pub ping_interval: Duration,
    /// How long a ping may stay unanswered. Default: 10 s. Variable: `TOKENRILL_SERVER__PING_TIMEOUT`.
    #[serde(with = "units::duration")]
    pub ping_timeout: Duration,
    /// Concurrent requests on one HTTP/2 connection. Default: 100. Variable: `TOKENRILL_SERVER__MAX_STREAMS`.
    pub max_streams: NonZeroU32,
    /// The maximum size of a request's head, in bytes, at least 8 KiB and at most 1 MiB. Default: 32 KiB. Variable:
    /// `TOKENRILL_SERVER__MAX_HEAD`.
    pub max_head: Size,
    /// The maximum size of a request's body, in bytes. Default: 16 MiB. Variable: `TOKENRILL_SERVER__MAX_BODY`.
    pub max_body: Size,
    /// The maximum memory of all request bodies together, in bytes, at least twice `max_body`. A body counts from its
    /// first byte until the upstream has responded. Callers share it. Default: 128 MiB. Variable:
    /// `TOKENRILL_SERVER__MAX_BODY_MEMORY`.
    pub max_body_memory: Size,
    /// How long live streams may continue after the signal to stop. Default: 30 s. Variable:
    /// `TOKENRILL_SERVER__SHUTDOWN_GRACE`.
    #[serde(with = "units::duration")]
    pub shutdown_grace: Duration,
}

/// Cross-origin requests from pages.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct CorsSettings {
    /// The origins whose pages may send requests, compared literally; `http://localhost:*` means any port on loopback.
    /// Default: absent, which allows every origin on loopback without authentication, and none with it.
    /// Variable: `TOKENRILL_CORS__ORIGINS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origins: Option<Vec<String>>,
}

/// Authentication.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct AuthSettings {
    /// Whether callers are authenticated. Default: absent, which admits every caller but allows only a loopback
    /// listener. Variable: `TOKENRILL_AUTH__MODE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<AuthMode>,
    /// The environment variable with the secret that signs tickets, of at least 32 bytes.
    /// Default: absent, for a secret of this process only. Variable: `TOKENRILL_AUTH__TICKET_SECRET_ENV`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_secret_env: Option<String>,
    /// The cookie in which a token of `auth.jwt` is also accepted. Default: absent. Variable: `TOKENRILL_AUTH__COOKIE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// Tokens of an identity provider, accepted besides the keys.
    #[serde(skip_serializing_if = "JwtSettings::is_absent")]
    pub jwt: JwtSettings,
    /// The accepted keys, by their hashes; `tokenrill key new` creates one. Default: none.
    /// Variable: `TOKENRILL_AUTH__API_KEYS`, as a TOML array of inline tables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_keys: Vec<ApiKeySettings>,
}

impl AuthSettings {
    /// Returns whether no credential is configured: neither a key nor `auth.jwt`.
    pub fn admits_nobody(&self) -> bool {
        self.api_keys.is_empty() && self.jwt.is_absent()
    }
}

/// The settings of an API key.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeySettings {
    /// Owner of the key, and of everything that is started with it. Keys with the same name belong to the same caller,
    /// which allows a key rotation. Required.
    pub name: String,
    /// The hash that `tokenrill key new` printed. Required.
    pub hash: String,
    /// The permitted operations: `generate`, `follow`, `stop`, `admin`. Default: the first three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// The permitted models, as patterns in which `*` stands for any characters. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// The owner's own limits, which replace those of `limits`, with the same names. Default: absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<QuotaSettings>,
}

/// How callers are authenticated, if set explicitly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Callers are not authenticated. Set explicitly, it permits a listener on any address.
    None,
    /// Callers must send a key of `auth.api_keys`, a token of `auth.jwt`, or a ticket.
    Required,
}

/// The choice of a model.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ModelSettings {
    /// The model of a request that names none. Default: absent. Variable: `TOKENRILL_MODELS__DEFAULT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// The lifetime and size of a generation.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct GenerationSettings {
    /// How a generation continues after its last viewer has disconnected, unless the request sets it. Default:
    /// `cancel`. Variable: `TOKENRILL_GENERATION__ON_DISCONNECT`.
    pub on_disconnect: OnDisconnectSetting,
    /// How long a generation waits for a viewer to reconnect before `on_disconnect` applies; a request may ask for
    /// less. `0s`: no wait. Default: 10 s. Variable: `TOKENRILL_GENERATION__GRACE`.
    #[serde(with = "units::duration_or_none")]
    pub grace: Duration,
    /// How long a finished generation stays readable. Default: 10 min. Variable:
    /// `TOKENRILL_GENERATION__RETENTION`.
    #[serde(with = "units::duration")]
    pub retention: Duration,
    /// How long a generation may run. Default: 10 min. Variable: `TOKENRILL_GENERATION__MAX_DURATION`.
    #[serde(with = "units::duration")]
    pub max_duration: Duration,
    /// The maximum size of an answer, in bytes, at most 1 GiB. Default: 4 MiB. Variable:
    /// `TOKENRILL_GENERATION__MAX_BYTES`.
    pub max_bytes: Size,
    /// The longest silence on a viewer's stream. Default: 15 s. Variable: `TOKENRILL_GENERATION__HEARTBEAT`.
    #[serde(with = "units::duration")]
    pub heartbeat: Duration,
    /// How long `POST /v1/chat/completions` delays its response head until the first token. Within this time, an error
    /// of the upstream still becomes an HTTP status. Default: 10 s. Variable: `TOKENRILL_GENERATION__HEAD_WAIT`.
    #[serde(with = "units::duration")]
    pub head_wait: Duration,
    /// How long a viewer may read nothing of the data sent to it. Its connection is then closed, and the viewer may
    /// reconnect. Default: 30 s. Variable: `TOKENRILL_GENERATION__WRITE_TIMEOUT`.
    #[serde(with = "units::duration")]
    pub write_timeout: Duration,
}

/// How a generation continues without viewers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnectSetting {
    /// It ends, and the upstream connection is closed.
    #[default]
    Cancel,
    /// It runs to its end.
    Continue,
}

/// The storage of generations.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct EventLogSettings {
    pub memory: MemoryLogSettings,
}

/// The event log in memory.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct MemoryLogSettings {
    /// The maximum memory of all stored generations together, in bytes. Above it, ended answers are evicted before
    /// their retention ends, first those of the caller that holds most. Default: 256 MiB. Variable:
    /// `TOKENRILL_EVENT_LOG__MEMORY__MAX_BYTES`.
    pub max_bytes: Size,
}

const fn some(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

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

impl Default for GenerationSettings {
    fn default() -> Self {
        Self {
            on_disconnect: OnDisconnectSetting::default(),
            grace: Duration::from_secs(10),
            retention: Duration::from_mins(10),
            max_duration: Duration::from_mins(10),
            max_bytes: Size::mib(4),
            heartbeat: Duration::from_secs(15),
            head_wait: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for MemoryLogSettings {
    fn default() -> Self {
        Self { max_bytes: Size::mib(256) }
    }
}

impl Settings {
    /// Checks everything that parsing a single setting cannot: for example a listener open to the network without an
    /// explicit `auth.mode`, two upstreams with the same name, or an unusable upstream.
    ///
    /// The range of each duration and size is checked when it is parsed, not here.
    pub fn validate(&self) -> Result<(), SettingsError> {
        // Canonical, because `::ffff:127.0.0.1` is loopback too.
        let mut exposed = [Some(self.server.listen), self.server.admin_listen].into_iter().flatten();
        let exposed = exposed.find(|listen| !listen.ip().to_canonical().is_loopback());
        if let (Some(listen), None) = (exposed, self.auth.mode) {
            return Err(SettingsError::Exposed { listen });
        }
        if !self.auth.jwt.is_absent() && !self.auth.jwt.is_whole() {
            return Err(SettingsError::Jwt);
        }
        if self.auth.cookie.as_ref().is_some_and(|name| self.auth.jwt.is_absent() || !is_token(name)) {
            return Err(SettingsError::Cookie);
        }
        if self.auth.mode != Some(AuthMode::Required) && !self.auth.admits_nobody() {
            return Err(SettingsError::UnusedApiKeys);
        }
        let mut hashes = BTreeSet::new();
        // Compare only the part of the hash that identifies the key.
        if !self.auth.api_keys.iter().all(|key| hashes.insert(key.hash.split(':').next())) {
            return Err(SettingsError::DuplicateApiKey);
        }
        let mut origins = (1..).zip(self.cors.origins.iter().flatten());
        if let Some((number, origin)) = origins.find(|(_, origin)| !is_origin(origin)) {
            return Err(if origin == "*" {
                SettingsError::AnyOrigin { number }
            } else if origin.trim_end_matches('/').len() < origin.len() && is_origin(origin.trim_end_matches('/')) {
                SettingsError::OriginSlash { number }
            } else {
                SettingsError::Origin { number }
            });
        }
        if self.models.default.as_deref() == Some("") {
            return Err(SettingsError::Empty { setting: "`models.default`".into() });
        }
        if !(Size::kib(8)..=Size::mib(1)).contains(&self.server.max_head) {
            return Err(SettingsError::MaxHead);
        }
        if self.server.max_body.bytes().saturating_mul(2) > self.server.max_body_memory.bytes() {
            return Err(SettingsError::MaxBodyMemory);
        }
        // Each change of the queue notifies every queued generation.
        if self.limits.queue.max_waiting > 10_000 {
            return Err(SettingsError::TooLarge { setting: "limits.queue.max_waiting", most: "10000" });
        }
        // The log counts a generation's bytes in 32 bits.
        if self.generation.max_bytes > Size::mib(1024) {
            return Err(SettingsError::TooLarge { setting: "generation.max_bytes", most: "\"1GiB\"" });
        }
        let mut names = BTreeSet::new();
        for upstream in &self.upstreams {
            upstream.validate()?;
            if !names.insert(&upstream.name) {
                return Err(SettingsError::DuplicateUpstream { name: upstream.name.clone() });
            }
        }
        Ok(())
    }

    /// Returns these settings as the text of a settings file, with every default set explicitly and secrets as `***`.
    pub fn effective(&self) -> String {
        // Serialization cannot fail: TOML can represent every value here. An error would become a TOML comment.
        toml::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }
}

/// Returns whether `text` is an origin as browsers serialize it (RFC 6454, section 6.2), or a loopback origin with the
/// port `*`.
fn is_origin(text: &str) -> bool {
    let (origin, any_port) = text.strip_suffix(":*").map_or((text, false), |origin| (origin, true));
    let Ok(url) = url::Url::parse(origin) else { return false };
    let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) && url.port().is_none();
    let written = match url.host_str() {
        Some(_) if url.origin().is_tuple() => url.origin().ascii_serialization(),
        // For example the origin of a browser extension.
        Some(host) => format!("{}://{host}", url.scheme()),
        None => return false,
    };
    written == origin && !origin.contains('*') && (loopback || !any_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_bytes_above_one_gibibyte_is_refused() {
        let mut settings = Settings::default();
        settings.generation.max_bytes = Size::mib(1024);
        assert!(settings.validate().is_ok());
        settings.generation.max_bytes = Size::mib(1025);
        assert_eq!(
            settings.validate().unwrap_err().to_string(),
            "`generation.max_bytes` is too large: write at most \"1GiB\""
        );
    }

    fn listening_on(listen: &str, mode: Option<AuthMode>) -> Result<(), String> {
        let server = ServerSettings { listen: listen.parse().unwrap(), ..ServerSettings::default() };
        let api_keys = match mode {
            Some(AuthMode::Required) => vec![key()],
            None | Some(AuthMode::None) => Vec::new(),
        };
        let auth = AuthSettings { mode, api_keys, ..AuthSettings::default() };
        let settings = Settings { server, auth, ..Settings::default() };
        settings.validate().map_err(|error| error.to_string())
    }

    fn key() -> ApiKeySettings {
        ApiKeySettings { name: "web".into(), hash: "any".into(), ..ApiKeySettings::default() }
    }

    #[test]
    fn keys_without_required_authentication_are_refused() {
        let refusal = |mode, api_keys| {
            let auth = AuthSettings { mode, api_keys, ..AuthSettings::default() };
            Settings { auth, ..Settings::default() }.validate().err().map(|error| error.to_string())
        };
        assert_eq!(refusal(Some(AuthMode::Required), vec![]), None, "the last key may be revoked");
        for mode in [None, Some(AuthMode::None)] {
            let error = refusal(mode, vec![key()]).expect("a refusal");
            assert!(error.contains("auth.mode = \"required\""), "{error}");
        }
        assert_eq!(refusal(Some(AuthMode::Required), vec![key()]), None);
    }

    #[test]
    fn only_origins_as_browsers_serialize_them_are_accepted() {
        let refusal = |origin: &str| {
            let cors = CorsSettings { origins: Some(vec!["https://app.example".into(), origin.into()]) };
            Settings { cors, ..Settings::default() }.validate().err().map(|error| error.to_string())
        };
        for origin in
            ["http://localhost:*", "https://[::1]:*", "https://app.example:8443", "chrome-extension://abcdefgh"]
        {
            assert_eq!(refusal(origin), None, "{origin}");
        }
        for origin in [
            "",
            "*",
            "null",
            "app.example",
            "https://app.example/",
            "https://*.example",
            "https://App.example",
            "https://app.example:443",
            "https://app.example:*",
            "http://localhost:80:*",
            "https://user@app.example",
        ] {
            let error = refusal(origin).unwrap_or_else(|| panic!("{origin} is accepted"));
            assert!(error.starts_with("number 2 of cors.origins"), "{error}");
        }
    }

    #[test]
    fn duplicate_api_key_is_refused() {
        let api_keys = vec![key(), ApiKeySettings { name: "other".into(), hash: "any:other".into(), ..key() }];
        let auth = AuthSettings { mode: Some(AuthMode::Required), api_keys, ..AuthSettings::default() };
        let refusal = Settings { auth, ..Settings::default() }.validate().expect_err("a refusal").to_string();
        assert!(refusal.contains("tokenrill key new"), "{refusal}");
    }

    fn with_upstreams(upstreams: Vec<UpstreamSettings>) -> Settings {
        Settings { upstreams, ..Settings::default() }
    }

    fn local() -> UpstreamSettings {
        UpstreamSettings::new("local", "http://127.0.0.1:11434/v1".parse().unwrap())
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Settings::default().validate().map_err(|error| error.to_string()), Ok(()));
    }

    #[test]
    fn loopback_needs_no_authentication() {
        for address in ["127.0.0.1:8080", "127.8.8.8:1", "[::1]:8080", "[::ffff:127.0.0.1]:8080"] {
            assert_eq!(listening_on(address, None), Ok(()), "{address}");
        }
    }

    #[test]
    fn refusal_of_an_exposed_listener_names_both_solutions() {
        for address in ["0.0.0.0:8080", "[::]:8080", "192.168.0.7:80", "[::ffff:10.0.0.1]:8080"] {
            let refusal = listening_on(address, None).unwrap_err();
            assert!(
                refusal.starts_with(&format!("refusing to listen on {address} without authentication: ")),
                "{refusal}"
            );
            assert!(refusal.contains("127.0.0.1:8080") && refusal.contains("auth.mode = \"none\""), "{refusal}");
            assert_eq!(listening_on(address, Some(AuthMode::None)), Ok(()));
            assert_eq!(listening_on(address, Some(AuthMode::Required)), Ok(()));
        }
    }

    #[test]
    fn duplicate_upstream_names_are_refused() {
        let refusal = with_upstreams(vec![local(), local()]).validate().unwrap_err().to_string();
        assert_eq!(refusal, "two upstreams are named `local`: rename one of them");
    }

    #[test]
    fn an_empty_default_model_is_refused() {
        let settings = Settings { models: ModelSettings { default: Some(String::new()) }, ..Settings::default() };
        assert_eq!(settings.validate().unwrap_err().to_string(), "`models.default` is empty: give it a value");
    }

    #[test]
    fn effective_settings_are_printed_with_units() {
        let effective = Settings::default().effective();
        for line in ["listen = \"127.0.0.1:8080\"", "heartbeat = \"15s\"", "max_body = \"16MiB\"", "[event_log.memory]"]
        {
            assert!(effective.contains(line), "{line} in {effective}");
        }
    }

    #[test]
    fn secret_header_is_masked_in_all_printed_settings() {
        let mut upstream = local();
        upstream.headers.insert("X-Api-Key".into(), Secret::from("hunter2"));
        let settings = with_upstreams(vec![upstream]);
        for printed in [settings.effective(), format!("{settings:?}"), format!("{settings:#?}")] {
            assert!(printed.contains("X-Api-Key") && printed.contains("***"), "{printed}");
            assert!(!printed.contains("hunter2"), "{printed}");
        }
    }
}
