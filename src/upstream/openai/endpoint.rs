//! The URL of an upstream and the credentials for it.

use std::time::Duration;

use async_openai::config::Config;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, InvalidHeaderValue};
use reqwest::{Method, Request};
use secrecy::{ExposeSecret, SecretString};

use super::super::transport::InvalidUrlError;

/// One OpenAI-compatible endpoint.
///
/// The configuration type of async-openai reads the environment of the process, panics on a key that is not a header
/// value and does not mark the key as sensitive. This one is built and checked once.
#[derive(Debug, Clone)]
pub struct Endpoint {
    base_url: String,
    /// With its `?`; empty if the base URL has none.
    query: String,
    key: SecretString,
    headers: HeaderMap,
}

/// The key is not a header value (RFC 9110, section 5.5). The text does not contain its characters.
#[derive(Debug, thiserror::Error)]
#[error("the upstream's key holds characters that cannot be sent in a header")]
pub struct InvalidEndpointError(#[from] InvalidHeaderValue);

/// Timeouts of the steps of an answer; a whole generation has a limit of its own.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Until the connection is established, including TLS.
    pub connect: Duration,
    /// From the request to the response headers.
    pub head: Duration,
    /// From the request to the first text, reasoning or tool call.
    pub first_token: Duration,
    /// From one of those to the next one.
    pub idle: Duration,
}

impl Endpoint {
    /// `base_url` is the URL before `/chat/completions`, such as `https://api.openai.com/v1`; its query is appended to
    /// the path. `headers` are sent with each request beside `Authorization: Bearer <key>`.
    pub fn new(
        base_url: &str,
        key: Option<SecretString>,
        mut headers: HeaderMap,
    ) -> Result<Self, InvalidEndpointError> {
        let key = key.unwrap_or_default();
        if !key.expose_secret().is_empty() {
            let mut bearer = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        for value in headers.values_mut() {
            value.set_sensitive(true);
        }
        let (base_url, query) = base_url.split_once('?').unwrap_or((base_url, ""));
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        Ok(Self { base_url: base_url.trim_end_matches('/').to_owned(), query, key, headers })
    }

    /// Creates a request to this path, without a body.
    pub fn request(&self, method: Method, path: &str) -> Result<Request, InvalidUrlError> {
        let mut request = Request::new(method, self.url(path).parse().map_err(|_| InvalidUrlError)?);
        *request.headers_mut() = self.headers();
        Ok(request)
    }
}

impl Config for Endpoint {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}{}", self.base_url, self.query)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        &self.base_url
    }

    fn api_key(&self) -> &SecretString {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_sent_and_not_printed() {
        let endpoint =
            Endpoint::new("http://127.0.0.1/v1/", Some("sk-secret".into()), HeaderMap::new()).expect("valid");
        assert_eq!(endpoint.url("/models"), "http://127.0.0.1/v1/models");
        assert_eq!(endpoint.headers()[AUTHORIZATION], "Bearer sk-secret");
        assert!(!format!("{endpoint:?}").contains("secret"));
    }

    #[test]
    fn base_url_query_is_appended_to_the_path() {
        let endpoint = Endpoint::new("http://a/v1/?api-version=2", None, HeaderMap::new()).expect("valid");
        assert_eq!(endpoint.url("/models"), "http://a/v1/models?api-version=2");
        let request = endpoint.request(Method::GET, "/models").expect("a URL");
        assert_eq!(request.url().query(), Some("api-version=2"));
    }

    #[test]
    fn invalid_key_is_refused_without_being_printed() {
        let refused =
            Endpoint::new("http://127.0.0.1", Some("sk-secret\n".into()), HeaderMap::new()).expect_err("line feed");
        assert!(!format!("{refused} {refused:?}").contains("secret"));
    }
}
