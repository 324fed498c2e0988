//! The settings of one upstream server.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use super::keys::{DURATION, SIZE, SettingSection, TEXT, UPSTREAMS, VARIABLE, key};
use super::units::Size;
use super::{Secret, SettingsError, units};
use crate::domain::ErrorMessages;

/// An OpenAI-compatible server, written as `[[upstreams]]`. Only the settings file can contain one.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct UpstreamSettings {
    pub name: String,
    pub base_url: BaseUrl,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    #[serde(default = "every_model")]
    pub models: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Secret>,
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
    #[serde(default)]
    pub errors: ErrorMessages,
    #[serde(default)]
    pub always_stream: bool,
    #[serde(default = "max_event")]
    pub max_event: Size,
}

pub(super) const SECTION: SettingSection = SettingSection {
    name: UPSTREAMS,
    intro: "",
    keys: &[
        key(
            UPSTREAMS,
            "written as tables, each under its own [[upstreams]]",
            "The upstream servers: any server with OpenAI's chat completions API. Without an upstream, the embedded \
             model `demo` answers. If OPENAI_API_KEY or OPENAI_BASE_URL is set in the environment, an upstream named \
             openai is added unless this file has one. Upstreams cannot be set by TOKENRILL_ variables.",
        )
        .with_example(EXAMPLES),
        key("upstreams.name", TEXT, "The upstream's unique name. Required.").with_example("\"openai\""),
        key(
            "upstreams.base_url",
            BaseUrl::EXPECTED,
            "The URL to which API paths are appended: http or https, without credentials or fragment. A query is kept \
             after the path. Required.",
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
            "upstreams.models",
            "a list of model names or patterns such as [\"gpt-*\"]",
            "The models it serves; `*` stands for any characters.",
        ),
        key(
            "upstreams.headers",
            "a table of header names and texts such as { X-Team = \"search\" }",
            "Additional request headers. Their values are never printed. Default: none.",
        )
        .with_example("{ OpenAI-Project = \"proj_example\" }"),
        key("upstreams.connect_timeout", DURATION, "How long opening a connection may take."),
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
            "upstreams.max_event",
            SIZE,
            "The maximum size of an event of an answer, for images in deltas. generation.max_bytes limits it too.",
        ),
    ],
};

/// The last one sets every default explicitly.
const EXAMPLES: &str = "
# OpenAI.
[[upstreams]]
name = \"openai\"
base_url = \"https://api.openai.com/v1\"
api_key_env = \"OPENAI_API_KEY\"
models = [\"gpt-*\", \"o*\"]
headers = { OpenAI-Project = \"proj_example\" }

# Ollama, on this machine. The first token may wait until the model is loaded.
[[upstreams]]
name = \"ollama\"
base_url = \"http://127.0.0.1:11434/v1\"
models = [\"llama*\", \"qwen*\"]
first_token_timeout = \"5m\"

# vLLM, on this machine, with every setting at its default.
[[upstreams]]
name = \"vllm\"
base_url = \"http://127.0.0.1:8000/v1\"
models = [\"*\"]
connect_timeout = \"5s\"
keepalive = \"4s\"
head_timeout = \"2m\"
first_token_timeout = \"2m\"
idle_timeout = \"1m\"
errors = \"pass\"
always_stream = false
max_event = \"4MiB\"
";

fn every_model() -> Vec<String> {
    vec!["*".into()]
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

const fn max_event() -> Size {
    Size::mib(4)
}

impl UpstreamSettings {
    /// Creates a server without a key that serves every model, with the documented timeouts.
    pub fn new(name: &str, base_url: BaseUrl) -> Self {
        Self {
            name: name.into(),
            base_url,
            api_key_env: None,
            models: every_model(),
            headers: BTreeMap::new(),
            connect_timeout: connect_timeout(),
            keepalive: keepalive(),
            head_timeout: head_timeout(),
            first_token_timeout: first_token_timeout(),
            idle_timeout: idle_timeout(),
            errors: ErrorMessages::default(),
            always_stream: false,
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

    /// Returns the key, trimmed, from the variable that `api_key_env` names. `None` if it names none.
    ///
    /// Errors: the variable is unset, empty, or not a valid HTTP header value (RFC 9110, section 5.5; only visible
    /// ASCII is accepted). They name the variable, never the value.
    pub fn api_key(&self, environment: &BTreeMap<String, String>) -> Result<Option<Secret>, SettingsError> {
        let Some(variable) = &self.api_key_env else { return Ok(None) };
        let key = environment.get(variable).map_or("", |value| value.trim());
        let (upstream, variable) = (self.name.clone(), variable.clone());
        if key.is_empty() {
            return Err(SettingsError::NoKey { upstream, variable });
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SettingsError::InvalidKey { upstream, variable });
        }
        Ok(Some(Secret::from(key)))
    }

    pub(super) fn validate(&self) -> Result<(), SettingsError> {
        let upstream = || self.name.clone();
        if self.name.is_empty() {
            return Err(SettingsError::Empty { setting: "`upstreams.name`".into() });
        }
        if self.models.is_empty() || self.models.iter().any(String::is_empty) {
            return Err(SettingsError::Empty { setting: format!("`upstreams.models` of `{}`", self.name) });
        }
        for (header, value) in &self.headers {
            if !is_token(header) {
                return Err(SettingsError::HeaderName { upstream: upstream(), header: header.clone() });
            }
            if !value.expose().bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
                return Err(SettingsError::HeaderValue { upstream: upstream(), header: header.clone() });
            }
        }
        Ok(())
    }
}

/// Returns whether this is a token (RFC 9110, section 5.6.2), the syntax of field names and cookie names.
pub(super) fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// An http or https URL into which a path such as `/chat/completions` can be inserted: with a host, without
/// credentials, fragment or trailing slash. A query stays after the path. It may contain secrets, so it is printed
/// masked.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct BaseUrl(String);

/// Query parameters whose values are printed. All others may be keys or signatures.
const PRINTED: [&str; 3] = ["api-version", "api_version", "version"];

impl BaseUrl {
    pub(super) const EXPECTED: &str =
        "an http or https URL without credentials or fragment, such as \"https://api.openai.com/v1\"";

    /// Returns the host's name or address.
    pub fn host(&self) -> Option<String> {
        Url::parse(&self.0).ok()?.host_str().map(str::to_owned)
    }

    /// Returns the normalized URL with its whole query. Use it only for requests; never print it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the URL without its query, which may hold a key.
    pub fn without_query(&self) -> &str {
        self.0.split('?').next().unwrap_or_default()
    }

    /// Returns the values in the query that may be secrets, percent-encoded as written and decoded.
    pub fn query_secrets(&self) -> Vec<String> {
        let written = self.0.split_once('?').into_iter().flat_map(|(_, query)| query.split('&'));
        let written = written.filter_map(|pair| match pair.split_once('=') {
            Some((name, value)) => (!PRINTED.contains(&name)).then_some(value),
            None => Some(pair),
        });
        let decoded = Url::parse(&self.0).into_iter().flat_map(|url| {
            let pairs = url.query_pairs().into_owned();
            pairs.filter(|(name, _)| !PRINTED.contains(&name.as_str())).map(|(_, value)| value).collect::<Vec<_>>()
        });
        written.map(str::to_owned).chain(decoded).collect()
    }

    /// Returns a warning about a URL that is usable but probably wrong.
    pub fn warning(&self) -> Option<&'static str> {
        let (_, rest) = self.without_query().split_once("://")?;
        match rest.split_once('/').map_or("", |(_, path)| path.trim_end_matches('/')) {
            "" => Some("base_url has no path: most servers have their API below /v1"),
            path if path.ends_with("chat/completions") => {
                Some("base_url ends in /chat/completions: leave that out, it is appended to base_url")
            }
            _ => None,
        }
    }

    fn masked(&self) -> String {
        let Some((url, query)) = self.0.split_once('?') else { return self.0.clone() };
        let masked = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if !PRINTED.contains(&name) => format!("{name}=***"),
            Some(_) => pair.to_owned(),
            None => "***".to_owned(),
        });
        format!("{url}?{}", masked.collect::<Vec<_>>().join("&"))
    }
}

impl FromStr for BaseUrl {
    /// Describes the expected value. It does not quote the given one, which may contain a password.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| Self::EXPECTED)?;
        let http = matches!(url.scheme(), "http" | "https") && url.has_host();
        let credentials = !url.username().is_empty() || url.password().is_some();
        if !http || credentials || url.fragment().is_some() {
            return Err(Self::EXPECTED);
        }
        let query = url.query().filter(|query| !query.is_empty()).map(|query| format!("?{query}"));
        let place = url.as_str().split('?').next().unwrap_or_default().trim_end_matches('/');
        Ok(Self(format!("{place}{}", query.unwrap_or_default())))
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = <Self as FromStr>::Err;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Masked, because `tokenrill check` prints it.
impl From<BaseUrl> for String {
    fn from(base_url: BaseUrl) -> Self {
        base_url.masked()
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.masked())
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> UpstreamSettings {
        UpstreamSettings::new("local", "http://127.0.0.1:11434/v1".parse().unwrap())
    }

    fn keyed(value: &str) -> Result<Option<Secret>, String> {
        let upstream = UpstreamSettings { api_key_env: Some("LOCAL_KEY".into()), ..local() };
        upstream.api_key(&[("LOCAL_KEY".into(), value.into())].into()).map_err(|error| error.to_string())
    }

    fn with_header(name: &str, value: &str) -> Result<(), String> {
        let upstream = UpstreamSettings { headers: [(name.into(), Secret::from(value))].into(), ..local() };
        upstream.validate().map_err(|error| error.to_string())
    }

    #[test]
    fn a_base_url_is_normalized_without_its_trailing_slash() {
        for (text, url) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1"),
            ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
            ("HTTP://LocalHost:80/", "http://localhost"),
            ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
            ("https://host/v1/?api-version=2024-10-21", "https://host/v1?api-version=2024-10-21"),
            ("https://host/v1?", "https://host/v1"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().as_str(), url);
        }
    }

    #[test]
    fn values_of_a_base_urls_query_are_secrets_as_written_and_decoded() {
        let url: BaseUrl = "https://a/v1?api-version=2&key=a%2Bsecret&token".parse().unwrap();
        let mut secrets = url.query_secrets();
        secrets.sort();
        assert_eq!(secrets, ["", "a%2Bsecret", "a+secret", "token"]);
    }

    #[test]
    fn a_base_url_that_is_probably_wrong_has_a_warning() {
        for (text, warning) in [
            ("https://api.openai.com/v1", None),
            ("https://host/openai/deployments/x", None),
            ("https://host", Some("base_url has no path")),
            ("https://host:8000/", Some("base_url has no path")),
            ("https://host/v1/chat/completions", Some("base_url ends in /chat/completions")),
        ] {
            let found = text.parse::<BaseUrl>().unwrap().warning();
            let matches = found.zip(warning).is_some_and(|(found, warning)| found.starts_with(warning));
            assert!(matches || (found, warning) == (None, None), "{text}: {found:?}");
        }
    }

    #[test]
    fn base_url_that_is_not_http_or_contains_credentials_is_refused() {
        for text in [
            "",
            "api.openai.com/v1",
            "localhost:11434",
            "ftp://host/v1",
            "unix:/run/model.sock",
            "https://",
            "https://host/v1#top",
            "https://user:hunter2@host/v1",
            "https://user@host/v1",
        ] {
            assert_eq!(text.parse::<BaseUrl>(), Err(BaseUrl::EXPECTED), "{text}");
        }
    }

    #[test]
    fn a_query_is_printed_without_its_secrets() {
        let url: BaseUrl = "https://host/v1?api-version=2024-10-21&key=hunter2&hunter2".parse().unwrap();
        assert!(url.as_str().contains("key=hunter2"));
        let printed = "https://host/v1?api-version=2024-10-21&key=***&***";
        assert_eq!((url.to_string().as_str(), String::from(url.clone()).as_str()), (printed, printed));
        assert!(!format!("{url:?}").contains("hunter2"));
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
        assert!(local().api_key(&BTreeMap::new()).unwrap().is_none());
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
    fn an_upstream_without_a_name_or_models_is_refused() {
        let nameless = UpstreamSettings { name: String::new(), ..local() };
        assert_eq!(nameless.validate().unwrap_err().to_string(), "`upstreams.name` is empty: give it a value");
        for models in [vec![], vec![String::new()]] {
            let refusal = UpstreamSettings { models, ..local() }.validate().unwrap_err().to_string();
            assert_eq!(refusal, "`upstreams.models` of `local` is empty: give it a value");
        }
    }
}
