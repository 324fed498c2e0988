//! The settings for tokens of an identity provider.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// JSON Web Tokens of one issuer (RFC 7519). Absent by default. The issuer, the audience and one of `jwks_url`,
/// `jwks_file` and `secret_env` are required.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct JwtSettings {
    /// The value that `iss` must have. Variable: `TOKENRILL_AUTH__JWT__ISSUER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// A value that `aud` must contain. Variable: `TOKENRILL_AUTH__JWT__AUDIENCE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The URL of the issuer's keys, for RS256, ES256 and `EdDSA`: a JWK set (RFC 7517). Variable:
    /// `TOKENRILL_AUTH__JWT__JWKS_URL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<JwksUrl>,
    /// A file with a JWK set. Variable: `TOKENRILL_AUTH__JWT__JWKS_FILE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<String>,
    /// The environment variable with the secret shared with the issuer, for HS256, of at least 32 bytes. Variable:
    /// `TOKENRILL_AUTH__JWT__SECRET_ENV`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<String>,
    /// The claim with the scopes: words separated by spaces, or a list of texts. Default: `scope`, or `scp` if a token
    /// has no `scope`. Variable: `TOKENRILL_AUTH__JWT__SCOPE_CLAIM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope_claim: Option<String>,
    /// The claim with the subject's own limits, which replace those of `limits`: an object with the same names.
    /// Default: absent. Variable: `TOKENRILL_AUTH__JWT__LIMITS_CLAIM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits_claim: Option<String>,
}

impl JwtSettings {
    pub(super) fn is_absent(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether all required settings are present and valid, with exactly one source of keys.
    pub(super) fn is_whole(&self) -> bool {
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| (1..=512).contains(&text.len()));
        let keys = match (&self.jwks_url, &self.jwks_file, &self.secret_env) {
            (Some(_), None, None) => true,
            (None, Some(_), None) => given(&self.jwks_file),
            (None, None, Some(_)) => given(&self.secret_env),
            _ => false,
        };
        let scope_claim = self.scope_claim.as_deref().is_none_or(may_hold_scopes);
        let limits_claim = self.limits_claim.as_deref().is_none_or(may_hold_limits);
        given(&self.issuer) && given(&self.audience) && keys && scope_claim && limits_claim
    }
}

/// Returns whether the claim may hold scopes: it must not be a registered claim (RFC 7519, section 4.1).
fn may_hold_scopes(claim: &str) -> bool {
    (1..=512).contains(&claim.len()) && !["iss", "sub", "aud", "exp", "nbf"].contains(&claim)
}

/// Returns whether the claim may hold limits: it must not have another meaning here.
fn may_hold_limits(claim: &str) -> bool {
    (1..=512).contains(&claim.len()) && !["iss", "sub", "aud", "exp", "nbf", "scope", "scp"].contains(&claim)
}

/// An https URL without credentials or fragment. On loopback also http, because no network is in between.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct JwksUrl(String);

impl JwksUrl {
    pub(super) const EXPECTED: &str =
        "an https URL without credentials or fragment, such as \"https://id.example.com/jwks.json\"";

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JwksUrl {
    /// Describes the expected value. It does not quote the given one, which may contain a password.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| Self::EXPECTED)?;
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let scheme = url.scheme() == "https" || (url.scheme() == "http" && loopback);
        let credentials = !url.username().is_empty() || url.password().is_some();
        if !scheme || credentials || url.fragment().is_some() {
            return Err(Self::EXPECTED);
        }
        Ok(Self(url.into()))
    }
}

impl TryFrom<String> for JwksUrl {
    type Error = <Self as FromStr>::Err;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<JwksUrl> for String {
    fn from(url: JwksUrl) -> Self {
        url.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: Option<&str> = Some("https://id.example/jwks.json");

    #[test]
    fn issuer_needs_exactly_one_key_source() {
        let whole = |url: Option<&str>, file: Option<&str>, secret: Option<&str>| {
            let jwt = JwtSettings {
                issuer: Some("https://id.example/".into()),
                audience: Some("tokenrill".into()),
                jwks_url: url.map(|url| url.parse().unwrap()),
                jwks_file: file.map(Into::into),
                secret_env: secret.map(Into::into),
                scope_claim: None,
                limits_claim: None,
            };
            jwt.is_whole()
        };
        assert!(whole(URL, None, None) && whole(None, Some("jwks.json"), None) && whole(None, None, Some("SECRET")));
        for (url, file, secret) in [
            (None, None, None),
            (None, Some("f"), Some("S")),
            (None, Some(""), None),
            (None, Some("f"), Some("")),
            (URL, Some("f"), None),
            (URL, None, Some("S")),
        ] {
            assert!(!whole(url, file, secret), "{url:?} {file:?} {secret:?}");
        }
    }

    #[test]
    fn jwks_url_must_be_https_or_loopback() {
        for url in
            ["https://id.example/jwks?appid=1", "http://127.0.0.1:8081/jwks", "http://[::1]/", "http://localhost/"]
        {
            assert!(url.parse::<JwksUrl>().is_ok(), "{url}");
        }
        for url in [
            "",
            "id.example/jwks",
            "http://id.example/jwks",
            "http://localhost.example/jwks",
            "https://user:hunter2@id.example/jwks",
            "https://id.example/jwks#keys",
            "file:///jwks.json",
        ] {
            assert_eq!(url.parse::<JwksUrl>(), Err(JwksUrl::EXPECTED), "{url}");
        }
    }
}
