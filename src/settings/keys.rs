//! The list of all settings by name.

/// Every setting of this version. A test compares this list with [`super::Settings`].
pub(super) const KEYS: &[SettingKey] = &[
    key("server.listen", "an IP address and port such as \"127.0.0.1:8080\""),
    key("server.admin_listen", "an IP address and port such as \"127.0.0.1:9090\""),
    key("server.trusted_proxies", "a list of addresses or networks such as [\"10.0.0.0/8\"]"),
    key("server.max_connections", COUNT),
    key("server.head_timeout", DURATION),
    key("server.body_timeout", DURATION),
    key("server.ping_interval", DURATION),
    key("server.ping_timeout", DURATION),
    key("server.max_streams", COUNT),
    key("server.max_head", SIZE),
    key("server.max_body", SIZE),
    key("server.max_body_memory", SIZE),
    key("server.shutdown_grace", DURATION),
    key("cors.origins", "a list of origins such as [\"https://app.example\"]"),
    key("auth.mode", "\"none\" or \"required\""),
    key("auth.ticket_secret_env", "the name of an environment variable, as text in quotes"),
    key("auth.cookie", "the name of a cookie, as text in quotes"),
    key("auth.jwt.issuer", TEXT),
    key("auth.jwt.audience", TEXT),
    key("auth.jwt.jwks_url", super::JwksUrl::EXPECTED),
    key("auth.jwt.jwks_file", "the path of a file, as text in quotes"),
    key("auth.jwt.secret_env", "the name of an environment variable, as text in quotes"),
    key("auth.jwt.scope_claim", "the name of a claim, as text in quotes"),
    key("auth.jwt.limits_claim", "the name of a claim, as text in quotes"),
    key(
        "auth.api_keys",
        "written as tables, each under its own [[auth.api_keys]], with name, hash, optional scopes, models and limits",
    ),
    key("limits.requests_per_minute", COUNT),
    key("limits.tokens_per_minute", COUNT),
    key("limits.concurrent_generations", COUNT),
    key("limits.connections", COUNT),
    key("limits.connections_total", COUNT),
    key("limits.connections_full", "\"refuse\" or \"close-oldest\""),
    key("limits.publishes_per_minute", COUNT),
    key("limits.max_output_tokens", COUNT),
    key("limits.max_choices", COUNT),
    key("limits.concurrent_generations_total", COUNT),
    key("limits.queue.max_waiting", "a whole number such as 100"),
    key("limits.queue.max_wait", DURATION),
    key("limits.models", "written as tables, each under its own [[limits.models]], with model and limits"),
    key("upstreams", "written as tables, each under its own [[upstreams]]"),
    key("upstreams.name", TEXT),
    key("upstreams.base_url", super::BaseUrl::EXPECTED),
    key("upstreams.api_key_env", "the name of an environment variable, as text in quotes"),
    key("upstreams.models", "a list of model names or patterns such as [\"gpt-*\"]"),
    key("upstreams.headers", "a table of header names and texts such as { X-Team = \"search\" }"),
    key("upstreams.connect_timeout", DURATION),
    key("upstreams.keepalive", DURATION),
    key("upstreams.head_timeout", DURATION),
    key("upstreams.first_token_timeout", DURATION),
    key("upstreams.idle_timeout", DURATION),
    key("upstreams.errors", "\"pass\" or \"hide\""),
    key("upstreams.always_stream", "true or false"),
    key("upstreams.max_event", SIZE),
    key("models.default", TEXT),
    key("generation.on_disconnect", "\"cancel\" or \"continue\""),
    key("generation.grace", "a duration from \"0s\" to \"365d\" such as \"10s\""),
    key("generation.retention", DURATION),
    key("generation.max_duration", DURATION),
    key("generation.max_bytes", SIZE),
    key("generation.heartbeat", DURATION),
    key("generation.head_wait", DURATION),
    key("generation.write_timeout", DURATION),
    key("event_log.memory.max_bytes", SIZE),
    key("channels.history", "a whole number such as 100"),
    key("channels.retention", DURATION),
    key("channels.max_bytes", SIZE),
    key("channels.max_bytes_total", SIZE),
    key("channels.max_event", SIZE),
    key("channels.max_subscribers", COUNT),
    key("channels.max_channels", COUNT),
    key("channels.idle_timeout", DURATION),
    key("prompts.directory", "the path of a directory, as text in quotes"),
    key("telemetry.log_format", "\"pretty\" or \"json\""),
    key("telemetry.upstream_messages", "\"log\" or \"off\""),
];

const DURATION: &str = "a duration from \"1ms\" to \"365d\" such as \"15s\"";
const SIZE: &str = "a size above zero such as \"4MiB\"";
const COUNT: &str = "a whole number, 1 or more";
const TEXT: &str = "text in quotes";

/// One setting.
#[derive(Debug)]
pub(super) struct SettingKey {
    /// The dotted name; `upstreams.` stands for any upstream.
    pub(super) name: &'static str,
    /// The expected value, as a phrase that follows "must be".
    pub(super) expected: &'static str,
}

const fn key(name: &'static str, expected: &'static str) -> SettingKey {
    SettingKey { name, expected }
}

impl SettingKey {
    /// Returns the setting with this dotted name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// Returns whether this is the list of upstreams or a field of one. The environment cannot set these.
    pub(super) fn is_of_upstreams(&self) -> bool {
        self.name.starts_with("upstreams")
    }

    /// Returns the environment variable that sets it.
    pub(super) fn variable(&self) -> String {
        format!("TOKENRILL_{}", self.name.to_ascii_uppercase().replace('.', "__"))
    }

    /// Returns the setting with the most similar name, if it is similar enough to be suggested.
    pub(super) fn nearest(unknown: &str) -> Option<&'static str> {
        Self::nearest_of(KEYS.iter(), unknown).map(|key| key.name)
    }

    /// Returns the variable of the setting with the most similar name, if it is similar enough to be suggested.
    pub(super) fn nearest_variable(unknown: &str) -> Option<String> {
        Self::nearest_of(KEYS.iter().filter(|key| !key.is_of_upstreams()), unknown).map(Self::variable)
    }

    fn nearest_of<'a>(keys: impl Iterator<Item = &'a Self>, unknown: &str) -> Option<&'a Self> {
        let distances = keys.map(|key| (key.distance(unknown), key));
        distances
            .min_by_key(|(distance, _)| *distance)
            .filter(|(distance, _)| *distance <= MAX_DISTANCE)
            .map(|(_, key)| key)
    }

    /// Returns the sum of two distances: of each word of `unknown` to the closest word of this name, and twice that of
    /// the whole names. The first tolerates an omitted section, the second a split or misspelt word.
    fn distance(&self, unknown: &str) -> usize {
        const WORD_ENDS: [char; 2] = ['.', '_'];
        let distance = strsim::damerau_levenshtein;
        let closest = |word| self.name.split(WORD_ENDS).map(|known| distance(word, known)).min().unwrap_or_default();
        let joined = |name: &str| name.replace('_', "");
        unknown.split(WORD_ENDS).map(closest).sum::<usize>() + 2 * distance(&joined(unknown), &joined(self.name))
    }
}

/// The largest [`SettingKey::distance`] of a suggestion. Omitting the section, as in `listen`, gives 14; unrelated names start
/// at 15.
const MAX_DISTANCE: usize = 14;

/// Returns whether this name is a section with settings.
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::num::NonZeroU32;

    use toml::Value;

    use super::*;
    use crate::settings::{
        ApiKeySettings, AuthMode, AuthSettings, CorsSettings, JwtSettings, LimitSettings, ModelLimitSettings,
        ModelSettings, PromptSettings, QuotaSettings, Secret, ServerSettings, Settings, UpstreamSettings,
    };

    /// Returns settings in which each is present, including those that are absent by default.
    fn complete() -> Settings {
        let mut upstream = UpstreamSettings::new("local", "http://localhost".parse().unwrap());
        upstream.api_key_env = Some("LOCAL_KEY".into());
        upstream.headers.insert("X-Team".into(), Secret::from("search"));
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
                each: QuotaSettings {
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
            models: ModelSettings { default: Some("demo".into()) },
            prompts: PromptSettings { directory: Some("any".into()) },
            upstreams: vec![upstream],
            ..Settings::default()
        }
    }

    fn collect(prefix: &str, value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::Table(table) if prefix != "upstreams.headers" => {
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
        assert_eq!(KEYS.iter().map(|key| key.name.to_owned()).collect::<BTreeSet<_>>(), names);
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
            assert_eq!(SettingKey::nearest(unknown), Some(meant), "{unknown}");
        }
        for unknown in ["listen.address", "port", "timeout", "log.level", "server.tls", "colour"] {
            assert_eq!(SettingKey::nearest(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_variable_has_two_underscores_between_levels() {
        let key = SettingKey::named("event_log.memory.max_bytes").unwrap();
        assert_eq!(key.variable(), "TOKENRILL_EVENT_LOG__MEMORY__MAX_BYTES");
    }
}
