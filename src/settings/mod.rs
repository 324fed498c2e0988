//! The operator's settings. The defaults serve on loopback without any setting.
//!
//! [`load`] layers them: defaults, then the settings file, then the environment, then flags. Unknown, wrong or unsafe
//! settings are refused with one sentence that describes the fix. The settings hold no keys, only the names of the
//! environment variables with the keys.

mod aliases;
mod auth;
mod base_url;
mod changes;
mod channels;
mod client_certificate;
mod cors;
mod error;
mod event_log;
mod file;
mod generation;
mod hedge;
mod jwt;
mod keys;
mod layers;
mod limits;
mod network;
mod proxy;
mod reference;
mod retries;
mod secret;
mod sections;
mod server;
mod telemetry;
mod units;
mod upstream;
mod upstream_checks;
mod upstream_examples;
mod upstream_keys;
mod usage;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::domain::{ErrorMessages, LogFormat, ModelPrice, OnDisconnect, Quota, UpstreamMessages, WhenFull};
pub use aliases::{AliasSettings, TargetSettings};
pub use auth::{ApiKeySettings, AuthMode, AuthSettings};
pub use base_url::BaseUrl;
pub use changes::Changes;
pub use channels::{ChannelSettings, PromptSettings};
pub use client_certificate::{ClientCertificateFiles, ClientCertificateSettings};
pub use cors::CorsSettings;
use cors::is_origin;
pub use error::SettingsError;
pub use event_log::{EventLogSettings, LogBackend, MemoryLogSettings, RedisRecover, RedisSettings, RedisWrite};
pub use file::FileSource;
pub use generation::{GenerationSettings, ModelSettings};
pub use hedge::HedgeSettings;
pub use jwt::{JwksUrl, JwtSettings};
pub use layers::{Sources, listen_address, load};
pub use limits::{LimitSettings, ModelLimitSettings, QueueSettings};
pub use network::Network;
pub use proxy::{ConfiguredProxy, ProxySettings, ProxyUrl};
pub use reference::{example_file, markdown_page};
pub use retries::{BreakerSettings, RetryBudgetSettings};
pub use secret::Secret;
pub use server::ServerSettings;
pub use telemetry::TelemetrySettings;
pub use units::Size;
use upstream::is_token;
pub use upstream::{DEFAULT_ANTHROPIC_VERSION, UpstreamDialect, UpstreamSettings};
pub use usage::UsageSettings;
pub use warnings::SettingsWarning;

/// All settings. A settings file may omit any of them. The files of this folder document each of them below its struct.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Settings {
    pub server: ServerSettings,
    pub cors: CorsSettings,
    pub auth: AuthSettings,
    pub limits: LimitSettings,
    /// The upstream servers, in the order of the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<UpstreamSettings>,
    pub models: ModelSettings,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: BTreeMap<String, ModelPrice>,
    pub usage: UsageSettings,
    pub generation: GenerationSettings,
    pub event_log: EventLogSettings,
    pub channels: ChannelSettings,
    pub prompts: PromptSettings,
    pub telemetry: TelemetrySettings,
}

/// The values of `event_log.redis.lease`: an owner counts on its lease until a second before its end, and a stop waits
/// for it.
const LEASES: RangeInclusive<Duration> = Duration::from_secs(3)..=Duration::from_secs(12);

const fn some(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
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
        let redis = &self.event_log.redis;
        if self.event_log.backend == LogBackend::Redis {
            if redis.url_env.is_some() == redis.url_file.is_some() {
                return Err(SettingsError::RedisUrl);
            }
            if self.auth.mode == Some(AuthMode::Required) && self.auth.ticket_secret_env.is_none() {
                return Err(SettingsError::SharedTicketSecret);
            }
        }
        if !LEASES.contains(&redis.lease) {
            return Err(SettingsError::Lease);
        }
        // The log counts a generation's bytes in 32 bits.
        if self.generation.max_bytes > Size::mib(1024) {
            return Err(SettingsError::TooLarge { setting: "generation.max_bytes", most: "\"1GiB\"" });
        }
        let mut weights = BTreeMap::new();
        for upstream in &self.upstreams {
            upstream.validate()?;
            if weights.insert(upstream.name.as_str(), upstream.weight).is_some() {
                return Err(SettingsError::DuplicateUpstream { name: upstream.name.clone() });
            }
        }
        for (name, alias) in &self.models.aliases {
            alias.validate(name, &weights)?;
        }
        Ok(())
    }

    /// Returns these settings as the text of a settings file, with every default set explicitly and secrets as `***`.
    pub fn effective(&self) -> String {
        // Serialization cannot fail: TOML can represent every value here. An error would become a TOML comment.
        toml::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }
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
        let settings = Settings {
            models: ModelSettings { default: Some(String::new()), ..ModelSettings::default() },
            ..Settings::default()
        };
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
