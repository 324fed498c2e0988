//! The base URL of an upstream.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use url::Url;

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

    /// Returns whether this is OpenAI itself, in any of its regions.
    pub fn is_openai(&self) -> bool {
        self.host().is_some_and(|host| host == "api.openai.com" || host.ends_with(".api.openai.com"))
    }

    /// Returns whether this is Azure's API without versions, which has OpenAI's fields.
    pub fn is_azure_v1(&self) -> bool {
        let is_v1 = self.without_query().split_once(".openai.azure.com").is_some_and(|(_, path)| path == "/openai/v1");
        is_v1 && self.host().is_some_and(|host| host.ends_with(".openai.azure.com"))
    }

    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
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
}
