//! The URL of an upstream and the credentials for it.

use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::transport::{InvalidUrlError, UpstreamRequest};

/// One API of an upstream: its base URL, and the headers of each request.
#[derive(Debug, Clone)]
pub struct Endpoint {
    base_url: String,
    /// With its `?`; empty if the base URL has none.
    query: String,
    key: SecretString,
    headers: HeaderMap,
}

/// The header that carries the key of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KeyHeader {
    /// `Authorization: Bearer <key>`.
    #[default]
    Bearer,
    /// The key alone, such as `x-api-key: <key>`.
    Named(HeaderName),
}

/// The key is not a header value (RFC 9110, section 5.5). The text does not contain its characters.
#[derive(Debug, thiserror::Error)]
#[error("the upstream's key holds characters that cannot be sent in a header")]
pub struct InvalidEndpointError(#[from] InvalidHeaderValue);

impl Endpoint {
    /// `base_url` is the URL before the paths of the API, such as `https://api.openai.com/v1`; its query is appended to
    /// each path. `headers` are sent with each request, beside the key in `key_header`.
    pub fn new(
        base_url: &str,
        key: Option<SecretString>,
        key_header: &KeyHeader,
        mut headers: HeaderMap,
    ) -> Result<Self, InvalidEndpointError> {
        let key = key.unwrap_or_default();
        if !key.expose_secret().is_empty() {
            let (name, value) = match key_header {
                KeyHeader::Bearer => (&AUTHORIZATION, format!("Bearer {}", key.expose_secret())),
                KeyHeader::Named(name) => (name, key.expose_secret().to_owned()),
            };
            headers.insert(name, HeaderValue::from_str(&value)?);
        }
        for value in headers.values_mut() {
            value.set_sensitive(true);
        }
        let (base_url, query) = base_url.split_once('?').unwrap_or((base_url, ""));
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        Ok(Self { base_url: base_url.trim_end_matches('/').to_owned(), query, key, headers })
    }

    /// Returns the base URL without its query.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Returns the URL of a path of the API, with the query of the base URL. The path may have a query of its own.
    pub fn url(&self, path: &str) -> String {
        let query = if path.contains('?') { self.query.replacen('?', "&", 1) } else { self.query.clone() };
        format!("{}{path}{query}", self.base_url)
    }

    pub const fn key(&self) -> &SecretString {
        &self.key
    }

    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Creates a request to this path, without a body. `headers` replace those of the endpoint.
    pub fn request(
        &self,
        method: Method,
        path: &str,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Result<UpstreamRequest, InvalidUrlError> {
        let mut all = self.headers.clone();
        for (name, value) in headers {
            all.insert(name, value);
        }
        UpstreamRequest::new(method, self.url(path).parse().map_err(|_| InvalidUrlError)?, all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(base_url: &str, key: Option<&str>, header: &KeyHeader) -> Result<Endpoint, InvalidEndpointError> {
        Endpoint::new(base_url, key.map(Into::into), header, HeaderMap::new())
    }

    #[test]
    fn key_is_sent_in_its_header_and_not_printed() {
        let named = KeyHeader::Named(HeaderName::from_static("x-api-key"));
        for (header, name, value) in
            [(KeyHeader::Bearer, "authorization", "Bearer sk-secret"), (named, "x-api-key", "sk-secret")]
        {
            let endpoint = endpoint("http://127.0.0.1/v1/", Some("sk-secret"), &header).expect("valid");
            assert_eq!(endpoint.headers()[name], value);
            assert_eq!(endpoint.headers().len(), 1, "the key is sent once");
            assert!(!format!("{endpoint:?}").contains("secret"));
        }
    }

    #[test]
    fn endpoint_without_a_key_sends_no_header_for_it() {
        assert!(endpoint("http://a", None, &KeyHeader::Bearer).expect("valid").headers().is_empty());
    }

    #[test]
    fn base_url_query_is_appended_to_the_path() {
        let endpoint = endpoint("http://a/v1/?api-version=2", None, &KeyHeader::Bearer).expect("valid");
        assert_eq!(endpoint.url("/models"), "http://a/v1/models?api-version=2");
        assert_eq!(endpoint.url("/models?limit=1"), "http://a/v1/models?limit=1&api-version=2");
        let request = endpoint.request(Method::GET, "/models", None).expect("a URL");
        assert_eq!(request.url().query(), Some("api-version=2"));
    }

    #[test]
    fn invalid_key_is_refused_without_being_printed() {
        for header in [KeyHeader::Bearer, KeyHeader::Named(HeaderName::from_static("api-key"))] {
            let refused = endpoint("http://127.0.0.1", Some("sk-secret\n"), &header).expect_err("line feed");
            assert!(!format!("{refused} {refused:?}").contains("secret"));
        }
    }
}
