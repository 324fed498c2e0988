//! The settings of one upstream server.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::base_url::BaseUrl;
use super::client_certificate::ClientCertificateSettings;
use super::keys::{DURATION, SIZE, SettingSection, TEXT, UPSTREAMS, VARIABLE, key};
use super::proxy::ProxySettings;
use super::retries::{BreakerSettings, RetryBudgetSettings};
use super::units::Size;
use super::upstream_examples::EXAMPLES;
use super::{Secret, SettingsError, units, upstream_keys};
use crate::domain::{CancelBills, ErrorMessages};

/// An upstream server, written as `[[upstreams]]`. Only the settings file can contain one.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct UpstreamSettings {
    pub name: String,
    #[serde(default)]
    pub dialect: UpstreamDialect,
    pub base_url: BaseUrl,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_key_envs: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// Absent for the header of the dialect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_header: Option<String>,
    /// Absent for [`DEFAULT_ANTHROPIC_VERSION`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anthropic_version: Option<String>,
    #[serde(default = "every_model")]
    pub models: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Secret>,
    /// The weight of a target on this upstream that has none of its own.
    #[serde(default = "weight")]
    pub weight: f64,
    /// Absent for connections without a proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxySettings>,
    /// The trusted issuers, instead of those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificateSettings>,
    #[serde(default = "connect_timeout", with = "units::duration")]
    pub connect_timeout: Duration,
    #[serde(default = "keepalive", with = "units::duration")]
    pub keepalive: Duration,
    #[serde(default = "head_timeout", with = "units::duration")]
    pub head_timeout: Duration,
    #[serde(default = "first_token_timeout", with = "units::duration")]
    pub first_token_timeout: Duration,
    #[serde(default = "idle_timeout", with = "units::duration")]
    pub idle_timeout: Duration,
    #[serde(default = "max_retries")]
    pub max_retries: u32,
    #[serde(default)]
    pub retry_budget: RetryBudgetSettings,
    #[serde(default)]
    pub breaker: BreakerSettings,
    #[serde(default)]
    pub cancel_bills: CancelBills,
    #[serde(default)]
    pub errors: ErrorMessages,
    #[serde(default)]
    pub always_stream: bool,
    /// Absent for the default of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_cache_key: Option<bool>,
    #[serde(default = "max_event")]
    pub max_event: Size,
}

/// The API of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamDialect {
    /// OpenAI's chat completions.
    #[default]
    OpenAi,
    /// Anthropic's Messages.
    Anthropic,
}

/// The version of Anthropic's API unless the settings have one.
pub const DEFAULT_ANTHROPIC_VERSION: &str = "2023-06-01";

pub(super) const SECTION: SettingSection = SettingSection {
    name: UPSTREAMS,
    intro: "",
    keys: &[
        key(
            UPSTREAMS,
            "written as tables, each under its own [[upstreams]]",
            "The upstream servers: any server with OpenAI's chat completions API or Anthropic's Messages API. Without \
             an upstream, the embedded model `demo` answers. If OPENAI_API_KEY or OPENAI_BASE_URL is set in the environment, an upstream named \
             openai is added unless this file has one. Upstreams cannot be set by TOKENRILL_ variables.",
        )
        .with_example(EXAMPLES),
        key("upstreams.name", TEXT, "The upstream's unique name. Required.").with_example("\"openai\""),
        key(
            "upstreams.dialect",
            "\"openai\" or \"anthropic\"",
            "The server's API: \"openai\" for OpenAI's chat completions, \"anthropic\" for Anthropic's Messages.",
        ),
        key(
            "upstreams.base_url",
            BaseUrl::EXPECTED,
            "The URL to which API paths are appended: http or https, without credentials or fragment. A query is kept \
             after the path. For Anthropic's API, the path may end in /v1 or not. Required.",
        )
        .with_example("\"https://api.openai.com/v1\""),
        key(
            "upstreams.api_key_env",
            VARIABLE,
            "The environment variable that holds the API key, never the key itself. If it is set here, the variable must \
             be set too. Default: absent, for a server without keys.",
        )
        .with_example("\"OPENAI_API_KEY\""),
        key(
            "upstreams.api_key_envs",
            "a list of names of environment variables such as [\"KEY_1\", \"KEY_2\"]",
            "The variables of several keys, instead of api_key_env. A conversation stays with one key. If a key is refused \
             or limited, the next one is used. Default: none.",
        )
        .with_example("[\"OPENAI_API_KEY_1\", \"OPENAI_API_KEY_2\"]"),
        key(
            "upstreams.api_key_file",
            TEXT,
            "A file that holds the API key, instead of api_key_env. It is read at start. Default: absent.",
        )
        .with_example("\"/run/secrets/openai\""),
        key(
            "upstreams.auth_header",
            "the name of a header, as text in quotes",
            "The header that carries the key. `authorization` sends `Authorization: Bearer` and the key; any other header \
             sends the key alone, such as `api-key` for Azure. Default: `authorization`, and `x-api-key` for the dialect \
             \"anthropic\".",
        )
        .with_example("\"api-key\""),
        key(
            "upstreams.anthropic_version",
            "a date such as \"2023-06-01\"",
            "The version of Anthropic's API, sent as `anthropic-version`; only for the dialect \"anthropic\". From \
             \"2026-10-21\" on, Anthropic refuses temperature, top_p and top_k, so they are left out. Default: \
             \"2023-06-01\".",
        )
        .with_example("\"2023-06-01\""),
        key(
            "upstreams.models",
            "a list of model names or patterns such as [\"gpt-*\"]",
            "The models it serves; `*` stands for any characters.",
        ),
        key(
            "upstreams.weight",
            "a number of 0 or more",
            "The weight of its targets in a model with strategy = \"weighted\": the share of the requests that they get first. \
             The weight of a target itself replaces it. With 0 a target is only a fallback.",
        ),
        key(
            "upstreams.headers",
            "a table of header names and texts such as { X-Team = \"search\" }",
            "Additional request headers. Their values are never printed. Default: none.",
        )
        .with_example("{ OpenAI-Project = \"proj_example\" }"),
        key(
            "upstreams.proxy",
            ProxySettings::EXPECTED,
            "The proxy of all connections to this upstream, which are tunnels through it (CONNECT), for http too. User and \
             password may be in the URL; they are never printed. \"environment\" takes the proxy from HTTPS_PROXY or \
             HTTP_PROXY, by the scheme of base_url, unless NO_PROXY has the host. Default: none, and these variables are not \
             read.",
        )
        .with_example("\"http://proxy.example:3128\""),
        key(
            "upstreams.ca_file",
            TEXT,
            "A file of certificates in PEM. Only certificates that these have issued are trusted, instead of those that the \
             system trusts, for the upstream and for a proxy at https. It is read at start. Default: absent.",
        )
        .with_example("\"/etc/tokenrill/ca.pem\""),
        key(
            "upstreams.client_certificate",
            ClientCertificateSettings::EXPECTED,
            "The certificate, with its issuers if there are any, and the private key that are presented to the upstream: \
             files in PEM. Without private_key the file of the certificate has the key too. Both are read at start. Default: \
             absent.",
        )
        .with_example("{ certificate = \"client.pem\", private_key = \"client.key\" }"),
        key("upstreams.connect_timeout", DURATION, "How long opening a connection may take, through a proxy too."),
        key(
            "upstreams.keepalive",
            DURATION,
            "How long an idle connection stays open. \"4s\" is below the 5 s after which uvicorn, and thus vLLM, closes \
             it. If a response's Keep-Alive header names a timeout, the connection stays open for at most a second less \
             than that.",
        ),
        key("upstreams.head_timeout", DURATION, "How long the head of a response may take."),
        key("upstreams.first_token_timeout", DURATION, "How long the first token may take."),
        key("upstreams.idle_timeout", DURATION, "How long the pause between two tokens may be."),
        key(
            "upstreams.max_retries",
            "a whole number from 0 to 10",
            "How often a request that failed before its first token is sent again with the same key. A request that may \
             be billed is never sent again with it, except after an error in a response with status 200.",
        ),
        key(
            "upstreams.retry_budget",
            RetryBudgetSettings::EXPECTED,
            "The most retries of all requests in 10 s: ratio times the first calls, and min_per_second for each second.",
        ),
        key(
            "upstreams.breaker",
            BreakerSettings::EXPECTED,
            "After this many failures in a row, or if half of at least 20 attempts in 30 s failed, requests go to the \
             other targets for the time open, which doubles up to two minutes. Then one request finds out whether the \
             upstream has recovered. A model has its own breaker; connections that fail have one for all models.",
        ),
        key(
            "upstreams.cancel_bills",
            "\"partial\" or \"all\"",
            "What the provider bills for a call that Tokenrill closed: \"partial\", what was produced until then, or \
             \"all\", the whole answer, which it goes on to produce. With \"all\" such a call counts at its reservation.",
        ),
        key(
            "upstreams.errors",
            "\"pass\" or \"hide\"",
            "Whether the upstream's messages about errors in a caller's request are passed to the caller, masked: \
             \"pass\" or \"hide\". Its error codes are always passed.",
        ),
        key(
            "upstreams.always_stream",
            "true or false",
            "Whether to request a stream even if the caller wants the whole answer: for a server or a proxy that closes \
             a connection after a long time without data.",
        ),
        key(
            "upstreams.prompt_cache_key",
            "true or false",
            "Whether requests without a `prompt_cache_key` get the key of their conversation, a digest of the caller, the model \
             and the messages up to the first of the user, so that its turns reach the same prompt cache. Only for the dialect \
             \"openai\"; servers that do not know the field refuse it. Default: true for the hosts of OpenAI, and of Azure if the \
             path begins with /openai/v1; false for all others.",
        )
        .with_example("true"),
        key(
            "upstreams.max_event",
            SIZE,
            "The maximum size of an event of an answer, for images in deltas. generation.max_bytes limits it too.",
        ),
    ],
};

fn every_model() -> Vec<String> {
    vec!["*".into()]
}

const fn weight() -> f64 {
    1.0
}

const fn connect_timeout() -> Duration {
    Duration::from_secs(5)
}

const fn keepalive() -> Duration {
    Duration::from_secs(4)
}

const fn head_timeout() -> Duration {
    Duration::from_mins(2)
}

const fn first_token_timeout() -> Duration {
    Duration::from_mins(2)
}

const fn idle_timeout() -> Duration {
    Duration::from_mins(1)
}

const fn max_retries() -> u32 {
    2
}

const fn max_event() -> Size {
    Size::mib(4)
}

impl UpstreamSettings {
    /// Creates a server without a key that serves every model, with the documented timeouts.
    pub fn new(name: &str, base_url: BaseUrl) -> Self {
        Self {
            name: name.into(),
            dialect: UpstreamDialect::default(),
            base_url,
            api_key_env: None,
            api_key_envs: Vec::new(),
            api_key_file: None,
            auth_header: None,
            anthropic_version: None,
            models: every_model(),
            headers: BTreeMap::new(),
            weight: weight(),
            proxy: None,
            ca_file: None,
            client_certificate: None,
            connect_timeout: connect_timeout(),
            keepalive: keepalive(),
            head_timeout: head_timeout(),
            first_token_timeout: first_token_timeout(),
            idle_timeout: idle_timeout(),
            max_retries: max_retries(),
            retry_budget: RetryBudgetSettings::default(),
            breaker: BreakerSettings::default(),
            cancel_bills: CancelBills::default(),
            errors: ErrorMessages::default(),
            always_stream: false,
            prompt_cache_key: None,
            max_event: max_event(),
        }
    }

    /// Returns the upstream `openai` if `OPENAI_API_KEY` or `OPENAI_BASE_URL` is set. Empty variables count as unset.
    pub(super) fn openai(environment: &BTreeMap<String, String>) -> Result<Option<Self>, SettingsError> {
        let written =
            |variable: &str| environment.get(variable).map(|value| value.trim()).filter(|value| !value.is_empty());
        let (key, base_url) = (written("OPENAI_API_KEY"), written("OPENAI_BASE_URL"));
        if key.is_none() && base_url.is_none() {
            return Ok(None);
        }
        let base_url = base_url.unwrap_or("https://api.openai.com/v1").parse().map_err(|expected| {
            SettingsError::Wrong { setting: "OPENAI_BASE_URL".into(), origin: "the environment".into(), expected }
        })?;
        Ok(Some(Self { api_key_env: key.map(|_| "OPENAI_API_KEY".into()), ..Self::new("openai", base_url) }))
    }

    /// Returns the keys, trimmed; none for a server without keys.
    ///
    /// Errors: a variable or the file is missing, empty, or not a valid HTTP header value (RFC 9110, section 5.5; only
    /// visible ASCII is accepted). They name the variable or file, never the value.
    pub fn api_keys(&self, environment: &BTreeMap<String, String>) -> Result<Vec<Secret>, SettingsError> {
        let from_file = self.api_key_file.iter().map(|path| upstream_keys::of_file(&self.name, path));
        let variables = self.api_key_env.iter().chain(&self.api_key_envs);
        let from_environment = variables.map(|variable| {
            let key = environment.get(variable).map_or("", String::as_str);
            upstream_keys::checked(&self.name, variable, key)
        });
        from_environment.chain(from_file).collect()
    }

    /// Returns where the keys come from: the names of variables, or of a file, or `none`.
    pub fn key_sources(&self) -> String {
        let file = self.api_key_file.iter().map(|path| path.display().to_string());
        let sources: Vec<_> = self.api_key_env.iter().chain(&self.api_key_envs).cloned().chain(file).collect();
        if sources.is_empty() { "none".to_owned() } else { sources.join(", ") }
    }

    /// Returns the name of the header that carries the key, in lower case; `authorization` stands for a bearer token.
    pub fn key_header(&self) -> String {
        let default = match self.dialect {
            UpstreamDialect::OpenAi => "authorization",
            UpstreamDialect::Anthropic => "x-api-key",
        };
        self.auth_header.as_deref().unwrap_or(default).to_ascii_lowercase()
    }

    /// Returns whether requests get the key of their conversation as `prompt_cache_key`.
    pub fn sends_prompt_cache_key(&self) -> bool {
        let is_known = || self.base_url.is_openai() || self.base_url.is_azure_v1();
        self.dialect == UpstreamDialect::OpenAi && self.prompt_cache_key.unwrap_or_else(is_known)
    }

    /// Returns a warning about a URL that is usable but probably wrong.
    pub fn warning(&self) -> Option<&'static str> {
        match self.dialect {
            UpstreamDialect::OpenAi => self.base_url.warning(),
            UpstreamDialect::Anthropic => self
                .base_url
                .without_query()
                .ends_with("/messages")
                .then_some("base_url ends in /messages: leave that out, it is appended to base_url"),
        }
    }
}

/// Returns whether this is a token (RFC 9110, section 5.6.2), the syntax of field names and cookie names.
pub(super) fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> UpstreamSettings {
        UpstreamSettings::new("local", "http://127.0.0.1:11434/v1".parse().unwrap())
    }

    fn keyed(value: &str) -> Result<Option<Secret>, String> {
        let upstream = UpstreamSettings { api_key_env: Some("LOCAL_KEY".into()), ..local() };
        let keys = upstream.api_keys(&[("LOCAL_KEY".into(), value.into())].into());
        keys.map(|keys| keys.into_iter().next()).map_err(|error| error.to_string())
    }

    fn with_header(name: &str, value: &str) -> Result<(), String> {
        let upstream = UpstreamSettings { headers: [(name.into(), Secret::from(value))].into(), ..local() };
        upstream.validate().map_err(|error| error.to_string())
    }

    #[test]
    fn a_connection_is_kept_for_four_seconds_unless_it_is_set_explicitly() {
        assert_eq!(local().keepalive, Duration::from_secs(4));
        let explicit = "name = \"local\"\nbase_url = \"http://127.0.0.1/v1\"\nkeepalive = \"90s\"";
        let explicit: UpstreamSettings = toml::from_str(explicit).unwrap();
        assert_eq!(explicit.keepalive, Duration::from_secs(90));
    }

    #[test]
    fn a_key_is_trimmed() {
        assert_eq!(keyed(" sk-hunter2\n").unwrap().unwrap().expose(), "sk-hunter2");
    }

    #[test]
    fn an_upstream_that_names_no_variable_has_no_key() {
        assert!(local().api_keys(&BTreeMap::new()).unwrap().is_empty());
    }

    #[test]
    fn empty_key_is_refused_with_the_name_of_its_variable() {
        let refusal =
            "upstream `local` has no key: set the environment variable `LOCAL_KEY`, or remove its api_key_env";
        for value in ["", "  \n"] {
            assert_eq!(keyed(value).unwrap_err(), refusal);
        }
    }

    #[test]
    fn key_that_is_no_header_value_is_refused_without_printing_it() {
        for value in ["hunter\n2", "hunter 2", "hünter2", "hunter\u{7f}2"] {
            let refusal = keyed(value).unwrap_err();
            assert!(refusal.contains("`LOCAL_KEY`") && !refusal.contains(value), "{refusal}");
        }
    }

    #[test]
    fn invalid_headers_are_refused_by_name_without_printing_their_value() {
        assert_eq!(with_header("X-Team", "search and rescue"), Ok(()));
        for name in ["", "X Team", "X-Team:", "X-Tëam"] {
            let refusal = with_header(name, "hunter2").unwrap_err();
            assert!(refusal.contains(&format!("header `{name}`")) && !refusal.contains("hunter2"), "{refusal}");
        }
        for value in ["hunter\r\n2", "hünter2"] {
            let refusal = with_header("X-Team", value).unwrap_err();
            assert!(refusal.contains("`X-Team`") && !refusal.contains(value), "{refusal}");
        }
    }

    #[test]
    fn key_header_is_that_of_the_dialect_unless_it_is_set_explicitly() {
        let upstream = |dialect, auth_header: Option<&str>| {
            let auth_header = auth_header.map(Into::into);
            UpstreamSettings { dialect, auth_header, ..local() }.key_header()
        };
        assert_eq!(upstream(UpstreamDialect::OpenAi, None), "authorization");
        assert_eq!(upstream(UpstreamDialect::Anthropic, None), "x-api-key");
        assert_eq!(upstream(UpstreamDialect::Anthropic, Some("Authorization")), "authorization");
        assert_eq!(upstream(UpstreamDialect::OpenAi, Some("API-Key")), "api-key");
        let refusal = UpstreamSettings { auth_header: Some("api key".into()), ..local() }.validate().unwrap_err();
        assert!(refusal.to_string().contains("header `api key`"), "{refusal}");
    }

    #[test]
    fn version_of_anthropics_api_is_a_date_and_only_of_its_dialect() {
        let validated = |dialect, version: &str| {
            let upstream = UpstreamSettings { dialect, anthropic_version: Some(version.into()), ..local() };
            upstream.validate().map_err(|error| error.to_string())
        };
        assert_eq!(validated(UpstreamDialect::Anthropic, "2026-10-21"), Ok(()));
        for version in ["", "latest", "2026-1-1", "2026-10-21 ", "2026/10/21"] {
            let refusal = validated(UpstreamDialect::Anthropic, version).unwrap_err();
            assert!(refusal.contains("must be a date"), "{refusal}");
        }
        let refusal = validated(UpstreamDialect::OpenAi, "2026-10-21").unwrap_err();
        assert!(refusal.contains("write dialect = \"anthropic\""), "{refusal}");
    }

    #[test]
    fn prompt_cache_key_is_sent_by_default_only_to_hosts_that_are_known_to_take_it() {
        for (url, is_sent) in [
            ("https://api.openai.com/v1", true),
            ("https://eu.api.openai.com/v1", true),
            ("https://name.openai.azure.com/openai/v1", true),
            ("https://name.openai.azure.com/openai/deployments/d?api-version=2024-10-21", false),
            ("https://notapi.openai.com.example/v1", false),
            ("https://xapi.openai.com/v1", false),
            ("https://api.mistral.ai/v1", false),
            ("http://127.0.0.1:8000/v1", false),
        ] {
            let upstream = UpstreamSettings::new("a", url.parse().unwrap());
            assert_eq!(upstream.sends_prompt_cache_key(), is_sent, "{url}");
            let set = UpstreamSettings { prompt_cache_key: Some(!is_sent), ..upstream };
            assert_eq!(set.sends_prompt_cache_key(), !is_sent, "{url}: set explicitly");
            let anthropic = UpstreamSettings { dialect: UpstreamDialect::Anthropic, ..set };
            assert!(!anthropic.sends_prompt_cache_key());
        }
    }

    #[test]
    fn warning_of_an_upstream_depends_on_its_dialect() {
        let warning = |dialect, url: &str| {
            UpstreamSettings { dialect, ..UpstreamSettings::new("a", url.parse().unwrap()) }.warning().is_some()
        };
        for url in ["https://api.anthropic.com", "https://api.anthropic.com/v1"] {
            assert!(!warning(UpstreamDialect::Anthropic, url), "{url}");
        }
        assert!(warning(UpstreamDialect::Anthropic, "https://api.anthropic.com/v1/messages"));
        assert!(warning(UpstreamDialect::OpenAi, "https://api.openai.com"));
    }

    #[test]
    fn an_upstream_without_a_name_or_models_is_refused() {
        let nameless = UpstreamSettings { name: String::new(), ..local() };
        assert_eq!(nameless.validate().unwrap_err().to_string(), "`upstreams.name` is empty: give it a value");
        for models in [vec![], vec![String::new()]] {
            let refusal = UpstreamSettings { models, ..local() }.validate().unwrap_err().to_string();
            assert_eq!(refusal, "`upstreams.models` of `local` is empty: give it a value");
        }
    }
}
