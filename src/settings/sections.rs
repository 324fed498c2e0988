//! All settings by name: the one source of the example file, of the table in `docs/settings-reference.md`, and of the
//! hints in error messages.

use super::keys::{SettingKey, SettingSection};
use super::{auth, channels, cors, event_log, generation, jwt, limits, server, telemetry, upstream, usage};

/// All sections of this version, in the order of the example file. A test compares them with [`super::Settings`].
pub(super) const SECTIONS: &[SettingSection] = &[
    server::SECTION,
    cors::SECTION,
    auth::SECTION,
    jwt::SECTION,
    limits::SECTION,
    limits::QUEUE_SECTION,
    upstream::SECTION,
    generation::MODEL_SECTION,
    usage::PRICE_SECTION,
    usage::SECTION,
    generation::SECTION,
    event_log::SECTION,
    event_log::MEMORY_SECTION,
    event_log::REDIS_SECTION,
    channels::SECTION,
    channels::PROMPT_SECTION,
    telemetry::SECTION,
];

/// All settings.
pub(super) fn keys() -> impl Iterator<Item = &'static SettingKey> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// Returns the setting with this dotted name.
pub(super) fn named(name: &str) -> Option<&'static SettingKey> {
    keys().find(|key| key.name == name)
}

/// Returns whether this name is a section with settings.
pub(super) fn is_section(name: &str) -> bool {
    keys().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// Returns the setting with the most similar name, if it is similar enough to be suggested.
pub(super) fn nearest(unknown: &str) -> Option<&'static str> {
    nearest_of(keys(), unknown).map(|key| key.name)
}

/// Returns the variable of the setting with the most similar name, if it is similar enough to be suggested.
pub(super) fn nearest_variable(unknown: &str) -> Option<String> {
    nearest_of(keys().filter(|key| !key.is_of_upstreams()), unknown).map(SettingKey::variable)
}

fn nearest_of<'a>(keys: impl Iterator<Item = &'a SettingKey>, unknown: &str) -> Option<&'a SettingKey> {
    let distances = keys.map(|key| (key.distance(unknown), key));
    distances
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= MAX_DISTANCE)
        .map(|(_, key)| key)
}

/// The largest [`SettingKey::distance`] of a suggestion. Omitting the section, as in `listen`, gives 14; unrelated
/// names start at 15.
const MAX_DISTANCE: usize = 14;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::num::NonZeroU32;

    use toml::Value;

    use super::*;
    use crate::domain::{ModelPrice, Quota};
    use crate::settings::{
        AliasSettings, ApiKeySettings, AuthMode, AuthSettings, ClientCertificateSettings, CorsSettings,
        EventLogSettings, JwtSettings, LimitSettings, ModelLimitSettings, ModelSettings, PromptSettings, RedisSettings,
        Secret, ServerSettings, Settings, Size, UpstreamSettings, UsageSettings,
    };

    /// Returns settings in which each is present, including those that are absent by default.
    fn complete() -> Settings {
        let mut upstream = UpstreamSettings::new("local", "http://localhost".parse().unwrap());
        upstream.api_key_env = Some("LOCAL_KEY".into());
        upstream.headers.insert("X-Team".into(), Secret::from("search"));
        upstream.api_key_envs = vec!["KEY_1".into()];
        upstream.api_key_file = Some("any".into());
        let alias: AliasSettings = toml::from_str("targets = [\"local/any\"]").unwrap();
        upstream.auth_header = Some("api-key".into());
        upstream.anthropic_version = Some("2023-06-01".into());
        upstream.prompt_cache_key = Some(true);
        upstream.proxy = Some("http://proxy".parse().unwrap());
        upstream.ca_file = Some("any".into());
        let (certificate, private_key) = ("any".into(), Some("any".into()));
        upstream.client_certificate = Some(ClientCertificateSettings { certificate, private_key });
        Settings {
            server: ServerSettings {
                admin_listen: Some(([127, 0, 0, 1], 9090).into()),
                trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
                ..ServerSettings::default()
            },
            cors: CorsSettings { origins: Some(Vec::new()) },
            auth: AuthSettings {
                mode: Some(AuthMode::Required),
                ticket_secret_env: Some("TICKETS".into()),
                cookie: Some("session".into()),
                jwt: JwtSettings {
                    issuer: Some("any".into()),
                    audience: Some("any".into()),
                    jwks_url: Some("https://any".parse().unwrap()),
                    jwks_file: Some("any".into()),
                    secret_env: Some("any".into()),
                    scope_claim: Some("any".into()),
                    limits_claim: Some("any".into()),
                },
                api_keys: vec![ApiKeySettings { name: "web".into(), hash: "any".into(), ..ApiKeySettings::default() }],
            },
            limits: LimitSettings {
                each: Quota {
                    requests_per_minute: Some(NonZeroU32::MIN),
                    tokens_per_minute: Some(NonZeroU32::MIN),
                    concurrent_generations: Some(NonZeroU32::MIN),
                    connections: Some(NonZeroU32::MIN),
                    publishes_per_minute: Some(NonZeroU32::MIN),
                    max_output_tokens: Some(NonZeroU32::MIN),
                    max_choices: Some(NonZeroU32::MIN),
                },
                concurrent_generations_total: Some(NonZeroU32::MIN),
                connections_total: Some(NonZeroU32::MIN),
                models: vec![ModelLimitSettings { model: "any".into(), ..ModelLimitSettings::default() }],
                ..LimitSettings::default()
            },
            models: ModelSettings { default: Some("demo".into()), aliases: [("*".to_owned(), alias)].into() },
            prices: [("gpt-x".to_owned(), ModelPrice::default())].into(),
            usage: UsageSettings { path: Some("any".into()), prices_file: Some("any".into()) },
            event_log: EventLogSettings {
                redis: RedisSettings {
                    url_env: Some("any".into()),
                    url_file: Some("any".into()),
                    max_bytes: Some(Size::mib(1)),
                    ..RedisSettings::default()
                },
                ..EventLogSettings::default()
            },
            prompts: PromptSettings { directory: Some("any".into()) },
            upstreams: vec![upstream],
            ..Settings::default()
        }
    }

    /// Settings that are written as one table.
    const TABLES: [&str; 6] = [
        "models.*",
        "prices",
        "upstreams.breaker",
        "upstreams.client_certificate",
        "upstreams.headers",
        "upstreams.retry_budget",
    ];

    fn collect(prefix: &str, value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::Table(table) if !TABLES.contains(&prefix) => {
                for (name, value) in table {
                    let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                    collect(&name, value, names);
                }
            }
            Value::Array(upstreams) if prefix == "upstreams" => {
                names.insert(prefix.into());
                for upstream in upstreams {
                    collect(prefix, upstream, names);
                }
            }
            _ => drop(names.insert(prefix.into())),
        }
    }

    #[test]
    fn list_of_keys_equals_the_fields_of_settings() {
        let mut names = BTreeSet::new();
        collect("", &Value::try_from(complete()).unwrap(), &mut names);
        assert_eq!(keys().map(|key| key.name.to_owned()).collect::<BTreeSet<_>>(), names);
    }

    #[test]
    fn nearest_setting_is_the_intended_one() {
        for (unknown, meant) in [
            ("server.lisen", "server.listen"),
            ("listen", "server.listen"),
            ("servr.listen", "server.listen"),
            ("server_listen", "server.listen"),
            ("event_log.max_bytes", "event_log.memory.max_bytes"),
            ("generation.heart_beat", "generation.heartbeat"),
            ("upstream", "upstreams"),
            ("upstream.base_url", "upstreams.base_url"),
            ("upstreams.url", "upstreams.base_url"),
            ("upstreams.api_key", "upstreams.api_key_env"),
            ("server.max_bytes", "server.max_body"),
            ("telemetry.format", "telemetry.log_format"),
        ] {
            assert_eq!(nearest(unknown), Some(meant), "{unknown}");
        }
        for unknown in ["listen.address", "port", "timeout", "log.level", "server.tls", "colour"] {
            assert_eq!(nearest(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_variable_has_two_underscores_between_levels() {
        let key = named("event_log.memory.max_bytes").unwrap();
        assert_eq!(key.variable(), "TOKENRILL_EVENT_LOG__MEMORY__MAX_BYTES");
    }
}
