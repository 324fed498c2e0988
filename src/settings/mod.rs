//! The settings: what an operator may decide, with defaults that serve on loopback at once.
//!
//! [`load`] layers them: defaults, then the settings file, then the environment, then flags. What
//! is unknown, of the wrong type or unsafe is refused with one sentence that says what to do.
//! Secrets do not live here: the file holds the names of the variables that hold them.

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
pub use channels::{Channels, Prompts};
pub use error::SettingsError;
pub use file::FileSource;
pub use jwt::{JwksUrl, Jwt};
pub use layers::{Sources, listen_address, load};
pub use limits::{ConnectionsFull, Limits, ModelLimits, Queue, Quota};
pub use network::Network;
pub use secret::Secret;
pub use telemetry::{LogFormat, Telemetry, UpstreamMessages};
pub use units::Size;
use upstream::is_token;
pub use upstream::{BaseUrl, ErrorMessages, Upstream};

/// Everything an operator may decide. A settings file may leave out any of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Settings {
    pub server: Server,
    pub cors: Cors,
    pub auth: Auth,
    pub limits: Limits,
    /// The model servers, in the order of the file. Default: none. Not settable by environment,
    /// apart from `OPENAI_API_KEY` and `OPENAI_BASE_URL` (see [`load`]).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<Upstream>,
    pub models: Models,
    pub generation: Generation,
    pub event_log: EventLog,
    pub channels: Channels,
    pub prompts: Prompts,
    pub telemetry: Telemetry,
}

/// The listener.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Server {
    /// The address to listen on; beyond loopback only with authentication, or with `auth.mode`
    /// written out. Default: `127.0.0.1:8080`. Variable: `TOKENRILL_SERVER__LISTEN`.
    pub listen: SocketAddr,
    /// The address at which operators have a listener of their own, with `/metrics`, which the other one then has
    /// not. Default: absent. Variable: `TOKENRILL_SERVER__ADMIN_LISTEN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_listen: Option<SocketAddr>,
    /// The proxies whose `X-Forwarded-For` is believed, as addresses or networks. Default: none. Variable:
    /// `TOKENRILL_SERVER__TRUSTED_PROXIES`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<Network>,
    /// Connections that are open at the same time; a tenth more for who comes back. Default: 10,000. Variable:
    /// `TOKENRILL_SERVER__MAX_CONNECTIONS`.
    pub max_connections: NonZeroU32,
    /// How long a request's head may take, the first after the connection was made, and how long a connection may be
    /// kept between two. Default: 10 s. Variable: `TOKENRILL_SERVER__HEAD_TIMEOUT`.
    #[serde(with = "units::duration")]
    pub head_timeout: Duration,
    /// How long a request's body may take, after its head. Default: 30 s. Variable: `TOKENRILL_SERVER__BODY_TIMEOUT`.
    #[serde(with = "units::duration")]
    pub body_timeout: Duration,
    /// How often an HTTP/2 connection is pinged. Default: 20 s. Variable: `TOKENRILL_SERVER__PING_INTERVAL`.
    #[serde(with = "units::duration")]
    pub ping_interval: Duration,
    /// How long such a ping may stay unanswered. Default: 10 s. Variable: `TOKENRILL_SERVER__PING_TIMEOUT`.
    #[serde(with = "units::duration")]
    pub ping_timeout: Duration,
    /// Requests that are open at the same time on one HTTP/2 connection. Default: 100. Variable:
    /// `TOKENRILL_SERVER__MAX_STREAMS`.
    pub max_streams: NonZeroU32,
    /// The longest request head, in bytes, at least 8 KiB and at most 1 MiB. Default: 32 KiB. Variable:
    /// `TOKENRILL_SERVER__MAX_HEAD`.
    pub max_head: Size,
    /// The longest request body, in bytes. Default: 16 MiB. Variable: `TOKENRILL_SERVER__MAX_BODY`.
    pub max_body: Size,
    /// How much the bodies of all requests together may hold, in bytes, at least twice `max_body`: each from its
    /// first byte until the upstream has answered. Callers share it. Default: 128 MiB. Variable:
    /// `TOKENRILL_SERVER__MAX_BODY_MEMORY`.
    pub max_body_memory: Size,
    /// How long live streams may go on after the signal to stop. Default: 30 s. Variable:
    /// `TOKENRILL_SERVER__SHUTDOWN_GRACE`.
    #[serde(with = "units::duration")]
    pub shutdown_grace: Duration,
}

/// Which pages may call.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Cors {
    /// The origins whose pages may call, to the letter; `http://localhost:*` is any port of loopback.
    /// Default: absent, which is every origin on loopback without authentication, and none with it.
    /// Variable: `TOKENRILL_CORS__ORIGINS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origins: Option<Vec<String>>,
}

/// Who may call.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Auth {
    /// Absent: every caller is let in, and the listener stays on loopback. Default: absent.
    /// Variable: `TOKENRILL_AUTH__MODE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<AuthMode>,
    /// The environment variable that holds the secret under which tickets are signed, of at least 32 bytes.
    /// Default: absent, for a secret of this process alone. Variable: `TOKENRILL_AUTH__TICKET_SECRET_ENV`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_secret_env: Option<String>,
    /// The cookie in which a token of `auth.jwt` is good too. Default: absent. Variable: `TOKENRILL_AUTH__COOKIE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// The tokens that are good beside keys.
    #[serde(skip_serializing_if = "Jwt::is_absent")]
    pub jwt: Jwt,
    /// The keys that are good, by their hashes: `tokenrill key new` makes one. Default: none.
    /// Variable: `TOKENRILL_AUTH__API_KEYS`, as a TOML array of inline tables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_keys: Vec<ApiKey>,
}

impl Auth {
    /// Whether there is nothing that a caller could show.
    pub fn admits_nobody(&self) -> bool {
        self.api_keys.is_empty() && self.jwt.is_absent()
    }
}

/// An API key, as the settings know it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Whose it is: the owner of what is started with it. Two keys of one name are one caller's, while a
    /// key is changed. Required.
    pub name: String,
    /// As `tokenrill key new` printed it. Required.
    pub hash: String,
    /// What it may do: `generate`, `follow`, `stop`, `admin`. Default: the first three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// The models that it may ask, as patterns in which `*` stands for any characters. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// What its owner may take in place of `limits`, with the same names. Default: absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Quota>,
}

/// How callers are authenticated, where that is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Not at all. Written out, it permits a listener beyond loopback.
    None,
    /// By a key of `auth.api_keys`, a token of `auth.jwt`, or a ticket.
    Required,
}

/// Which model answers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Models {
    /// The model of a request that names none. Default: absent. Variable: `TOKENRILL_MODELS__DEFAULT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// The life of one generation.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Generation {
    /// What happens when the last viewer has gone, unless the request says otherwise. Default:
    /// `cancel`. Variable: `TOKENRILL_GENERATION__ON_DISCONNECT`.
    pub on_disconnect: OnDisconnect,
    /// How long a generation waits for a viewer to come back before that happens; a request may ask for
    /// less. `0s`: not at all. Default: 10 s. Variable: `TOKENRILL_GENERATION__GRACE`.
    #[serde(with = "units::duration_or_none")]
    pub grace: Duration,
    /// How long a finished generation stays readable. Default: 10 min. Variable:
    /// `TOKENRILL_GENERATION__RETENTION`.
    #[serde(with = "units::duration")]
    pub retention: Duration,
    /// How long one may run. Default: 10 min. Variable: `TOKENRILL_GENERATION__MAX_DURATION`.
    #[serde(with = "units::duration")]
    pub max_duration: Duration,
    /// How much one may say, in bytes, at most 1 GiB. Default: 4 MiB. Variable: `TOKENRILL_GENERATION__MAX_BYTES`.
    pub max_bytes: Size,
    /// The longest silence on a viewer's stream. Default: 15 s. Variable: `TOKENRILL_GENERATION__HEARTBEAT`.
    #[serde(with = "units::duration")]
    pub heartbeat: Duration,
    /// How long `POST /v1/chat/completions` holds its head back for the first token, so that a refusal of
    /// the model's server is still a status. Default: 10 s. Variable: `TOKENRILL_GENERATION__HEAD_WAIT`.
    #[serde(with = "units::duration")]
    pub head_wait: Duration,
    /// How long a viewer's connection may take nothing of what is written to it; then it is closed, and
    /// the viewer may come back. Default: 30 s. Variable: `TOKENRILL_GENERATION__WRITE_TIMEOUT`.
    #[serde(with = "units::duration")]
    pub write_timeout: Duration,
}

/// What becomes of a generation that nobody follows any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnect {
    /// It ends, and the upstream connection is closed.
    #[default]
    Cancel,
    /// It runs to its end.
    Continue,
}

/// Where generations are kept.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct EventLog {
    pub memory: MemoryLog,
}

/// The event log in memory.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct MemoryLog {
    /// How much all generations together may hold, in bytes. Beyond it, ended answers are evicted before their retention
    /// ends, those of the caller that holds most first. Default: 256 MiB. Variable:
    /// `TOKENRILL_EVENT_LOG__MEMORY__MAX_BYTES`.
    pub max_bytes: Size,
}

const fn some(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

impl Default for Server {
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

impl Default for Generation {
    fn default() -> Self {
        Self {
            on_disconnect: OnDisconnect::default(),
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

impl Default for MemoryLog {
    fn default() -> Self {
        Self { max_bytes: Size::mib(256) }
    }
}

impl Settings {
    /// Refuses what no single key can be blamed for: a listener open to the network without
    /// `auth.mode` written out, two upstreams of one name, an upstream that could never be used.
    ///
    /// The range of each duration and size is checked where it is read, so not here.
    pub fn validate(&self) -> Result<(), SettingsError> {
        // Canonical, for `::ffff:127.0.0.1` is loopback too.
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
        // By the part that names the key.
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
        // Everybody in the line is told whenever it moves.
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

    /// These settings as a settings file, with every default written out and secrets as `***`.
    pub fn effective(&self) -> String {
        // Cannot fail: every value here has a form in TOML. If that ever changes, say so in a comment line.
        toml::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }
}

/// Whether a browser would write an origin like this (RFC 6454, section 6.2), or it is any port of one on loopback.
fn is_origin(text: &str) -> bool {
    let (origin, any_port) = text.strip_suffix(":*").map_or((text, false), |origin| (origin, true));
    let Ok(url) = url::Url::parse(origin) else { return false };
    let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) && url.port().is_none();
    let written = match url.host_str() {
        Some(_) if url.origin().is_tuple() => url.origin().ascii_serialization(),
        // Such as those of a browser's extensions.
        Some(host) => format!("{}://{host}", url.scheme()),
        None => return false,
    };
    written == origin && !origin.contains('*') && (loopback || !any_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_keeps_at_most_a_gibibyte() {
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
        let server = Server { listen: listen.parse().unwrap(), ..Server::default() };
        let api_keys = match mode {
            Some(AuthMode::Required) => vec![key()],
            None | Some(AuthMode::None) => Vec::new(),
        };
        let auth = Auth { mode, api_keys, ..Auth::default() };
        let settings = Settings { server, auth, ..Settings::default() };
        settings.validate().map_err(|error| error.to_string())
    }

    fn key() -> ApiKey {
        ApiKey { name: "web".into(), hash: "any".into(), ..ApiKey::default() }
    }

    #[test]
    fn keys_that_nobody_has_to_show_are_refused() {
        let refusal = |mode, api_keys| {
            let auth = Auth { mode, api_keys, ..Auth::default() };
            Settings { auth, ..Settings::default() }.validate().err().map(|error| error.to_string())
        };
        assert_eq!(refusal(Some(AuthMode::Required), vec![]), None, "the last one may be withdrawn");
        for mode in [None, Some(AuthMode::None)] {
            let said = refusal(mode, vec![key()]).expect("a refusal");
            assert!(said.contains("auth.mode = \"required\""), "{said}");
        }
        assert_eq!(refusal(Some(AuthMode::Required), vec![key()]), None);
    }

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        let refusal = |origin: &str| {
            let cors = Cors { origins: Some(vec!["https://app.example".into(), origin.into()]) };
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
            let said = refusal(origin).unwrap_or_else(|| panic!("{origin} is taken"));
            assert!(said.starts_with("number 2 of cors.origins"), "{said}");
        }
    }

    #[test]
    fn a_key_is_written_once() {
        let api_keys = vec![key(), ApiKey { name: "other".into(), hash: "any:other".into(), ..key() }];
        let auth = Auth { mode: Some(AuthMode::Required), api_keys, ..Auth::default() };
        let refusal = Settings { auth, ..Settings::default() }.validate().expect_err("a refusal").to_string();
        assert!(refusal.contains("tokenrill key new"), "{refusal}");
    }

    fn with_upstreams(upstreams: Vec<Upstream>) -> Settings {
        Settings { upstreams, ..Settings::default() }
    }

    fn local() -> Upstream {
        Upstream::new("local", "http://127.0.0.1:11434/v1".parse().unwrap())
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
    fn beyond_loopback_both_ways_out_are_told() {
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
    fn two_upstreams_of_one_name_are_refused() {
        let refusal = with_upstreams(vec![local(), local()]).validate().unwrap_err().to_string();
        assert_eq!(refusal, "two upstreams are named `local`: rename one of them");
    }

    #[test]
    fn an_empty_default_model_is_refused() {
        let settings = Settings { models: Models { default: Some(String::new()) }, ..Settings::default() };
        assert_eq!(settings.validate().unwrap_err().to_string(), "`models.default` is empty: give it a value");
    }

    #[test]
    fn the_effective_settings_speak_in_units() {
        let effective = Settings::default().effective();
        for line in ["listen = \"127.0.0.1:8080\"", "heartbeat = \"15s\"", "max_body = \"16MiB\"", "[event_log.memory]"]
        {
            assert!(effective.contains(line), "{line} in {effective}");
        }
    }

    #[test]
    fn a_secret_header_is_masked_wherever_settings_are_printed() {
        let mut upstream = local();
        upstream.headers.insert("X-Api-Key".into(), Secret::from("hunter2"));
        let settings = with_upstreams(vec![upstream]);
        for printed in [settings.effective(), format!("{settings:?}"), format!("{settings:#?}")] {
            assert!(printed.contains("X-Api-Key") && printed.contains("***"), "{printed}");
            assert!(!printed.contains("hunter2"), "{printed}");
        }
    }
}
