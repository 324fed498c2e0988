//! The proxy of an upstream.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Position, Url};

use super::{SettingsError, UpstreamSettings};

/// Where the proxy of an upstream is set (`upstreams.proxy`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum ProxySettings {
    /// In `HTTPS_PROXY` or `HTTP_PROXY`, with the exceptions of `NO_PROXY`.
    Environment,
    Url(ProxyUrl),
}

/// The http or https URL of a proxy. It may contain a user and a password, so it is printed masked.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

/// The proxy that the settings and the environment name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredProxy {
    pub url: ProxyUrl,
    /// The hosts that are connected to without it, in the form of `NO_PROXY`.
    pub no_proxy: String,
}

const ENVIRONMENT: &str = "environment";

impl ProxySettings {
    pub(super) const EXPECTED: &str =
        "an http or https URL without a path such as \"http://proxy.example:3128\", or \"environment\"";
}

impl ProxyUrl {
    /// Returns the URL with its user and password. Use it only to connect; never print it.
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }

    /// Reads the URL of a setting (`http://host:port`).
    fn of_setting(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        let is_origin = matches!(&url[Position::BeforePath..], "" | "/");
        (is_http && is_origin).then_some(Self(url))
    }

    /// Reads the URL of a variable, which may omit `http://`, as curl permits.
    fn of_variable(text: &str) -> Option<Self> {
        match text.contains("://") {
            true => Self::of_setting(text),
            false => Self::of_setting(&format!("http://{text}")),
        }
    }

    fn masked(&self) -> String {
        let has_credentials = !self.0.username().is_empty() || self.0.password().is_some();
        let credentials = if has_credentials { "***@" } else { "" };
        format!("{}://{credentials}{}", self.0.scheme(), &self.0[Position::BeforeHost..Position::AfterPort])
    }
}

impl UpstreamSettings {
    /// Returns the proxy of this upstream, which `no_proxy` may exempt from it; `None` for a direct connection.
    ///
    /// With `proxy = "environment"` the upper-case name of a variable takes precedence, and an empty one counts as unset.
    /// The error names the variable, never its value.
    pub fn configured_proxy(
        &self,
        environment: &BTreeMap<String, String>,
    ) -> Result<Option<ConfiguredProxy>, SettingsError> {
        match &self.proxy {
            None => Ok(None),
            Some(ProxySettings::Url(url)) => Ok(Some(ConfiguredProxy { url: url.clone(), no_proxy: String::new() })),
            Some(ProxySettings::Environment) => {
                let names = match self.base_url.is_https() {
                    true => ["HTTPS_PROXY", "https_proxy"],
                    false => ["HTTP_PROXY", "http_proxy"],
                };
                let Some((variable, text)) = first_set(environment, names) else { return Ok(None) };
                let url = ProxyUrl::of_variable(text)
                    .ok_or_else(|| SettingsError::ProxyVariable { upstream: self.name.clone(), variable })?;
                let no_proxy = first_set(environment, ["NO_PROXY", "no_proxy"]);
                Ok(Some(ConfiguredProxy { url, no_proxy: no_proxy.map_or("", |(_, hosts)| hosts).to_owned() }))
            }
        }
    }
}

fn first_set<'a>(
    environment: &'a BTreeMap<String, String>,
    names: [&'static str; 2],
) -> Option<(&'static str, &'a str)> {
    let values = names.into_iter().filter_map(|name| Some((name, environment.get(name)?.trim())));
    values.into_iter().find(|(_, value)| !value.is_empty())
}

impl FromStr for ProxySettings {
    /// Describes the expected value. It does not quote the given one, which may contain a password.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == ENVIRONMENT {
            return Ok(Self::Environment);
        }
        ProxyUrl::of_setting(text).map(Self::Url).ok_or(Self::EXPECTED)
    }
}

impl TryFrom<String> for ProxySettings {
    type Error = <Self as FromStr>::Err;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Masked, because `tokenrill check` prints it.
impl From<ProxySettings> for String {
    fn from(proxy: ProxySettings) -> Self {
        match proxy {
            ProxySettings::Environment => ENVIRONMENT.to_owned(),
            ProxySettings::Url(url) => url.masked(),
        }
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.masked())
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(base_url: &str, proxy: &str) -> UpstreamSettings {
        let proxy = Some(proxy.parse().expect("a proxy"));
        UpstreamSettings { proxy, ..UpstreamSettings::new("far", base_url.parse().expect("a URL")) }
    }

    fn configured(base_url: &str, variables: &[(&str, &str)]) -> Result<Option<(String, String)>, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let configured = upstream(base_url, "environment").configured_proxy(&variables);
        let configured = configured.map_err(|error| error.to_string())?;
        Ok(configured.map(|proxy| (proxy.url.expose().to_owned(), proxy.no_proxy)))
    }

    #[test]
    fn proxy_that_is_not_an_http_origin_is_refused() {
        for text in ["http://proxy:3128", "https://user:pass@proxy", "http://[::1]:1/", "environment"] {
            assert!(text.parse::<ProxySettings>().is_ok(), "{text}");
        }
        for text in
            ["", "proxy:3128", "socks5://proxy", "http://", "http://proxy/path", "http://proxy?a", "Environment"]
        {
            assert_eq!(text.parse::<ProxySettings>(), Err(ProxySettings::EXPECTED), "{text}");
        }
    }

    #[test]
    fn credentials_of_a_proxy_are_masked_wherever_it_is_printed() {
        let proxy: ProxySettings = "http://user:hunter2@proxy:3128".parse().unwrap();
        assert_eq!(String::from(proxy.clone()), "http://***@proxy:3128");
        let ProxySettings::Url(url) = proxy.clone() else { panic!("a URL") };
        assert_eq!(url.expose(), "http://user:hunter2@proxy:3128/");
        let printed = format!("{proxy:?} {proxy:#?} {url}");
        assert!(!printed.contains("hunter2") && !printed.contains("user"), "{printed}");
        assert_eq!(String::from("https://hunter2@proxy".parse::<ProxySettings>().unwrap()), "https://***@proxy");
    }

    #[test]
    fn proxy_of_the_environment_depends_on_the_scheme_and_has_exceptions() {
        let of = |url: &str, no: &str| Ok(Some((url.to_owned(), no.to_owned())));
        let both = [("HTTP_PROXY", "clear:1"), ("https_proxy", "http://tls:2"), ("NO_PROXY", "a,b")];
        assert_eq!(configured("http://a/v1", &both), of("http://clear:1/", "a,b"));
        assert_eq!(configured("https://a/v1", &both), of("http://tls:2/", "a,b"));
        let upper = [("HTTPS_PROXY", "http://one:1"), ("https_proxy", "http://other:1")];
        assert_eq!(configured("https://a/v1", &upper), of("http://one:1/", ""));
        let empty = [("HTTPS_PROXY", ""), ("https_proxy", "http://other:1")];
        assert_eq!(configured("https://a/v1", &empty), of("http://other:1/", ""));
        assert_eq!(configured("https://a/v1", &[("HTTP_PROXY", "http://one:1")]), Ok(None));
    }

    #[test]
    fn unusable_variable_is_refused_by_its_name_without_its_value() {
        let refusal = configured("https://a/v1", &[("HTTPS_PROXY", "socks5://user:hunter2@proxy")]).unwrap_err();
        assert!(refusal.contains("`HTTPS_PROXY`") && refusal.contains("`far`"), "{refusal}");
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }

    #[test]
    fn variables_are_not_read_without_the_setting() {
        let direct = UpstreamSettings::new("far", "https://a/v1".parse().unwrap());
        let variables = [("HTTPS_PROXY".to_owned(), "http://proxy:1".to_owned())].into();
        assert_eq!(direct.configured_proxy(&variables).unwrap(), None);
    }
}
