//! The settings for tokens of an identity provider.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::keys::{CLAIM, SettingSection, TEXT, VARIABLE, key};

/// JSON Web Tokens of one issuer (RFC 7519). Absent by default. The issuer, the audience and one of `jwks_url`,
/// `jwks_file` and `secret_env` are required.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct JwtSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<JwksUrl>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope_claim: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits_claim: Option<String>,
}

pub(super) const SECTION: SettingSection = SettingSection {
    name: "auth.jwt",
    intro: "Tokens of an identity provider (JSON Web Tokens, RFC 7519), accepted as bearer tokens besides the keys. \
            `exp`, `iss`, `aud` and `sub` are required, `nbf` is checked, and clocks may differ by 30 s. `iss` and \
            `sub` identify the caller. Its scopes are the words of the claim `scope` (or `scp` if that is absent) that \
            auth.api_keys lists; without any, it may do nothing. Required: issuer, audience, and one of jwks_url, \
            jwks_file and secret_env.",
    keys: &[
        key("auth.jwt.issuer", TEXT, "The value that `iss` must have.").with_example("\"https://id.example.com/\""),
        key("auth.jwt.audience", TEXT, "A value that `aud` must contain.").with_example("\"tokenrill\""),
        key(
            "auth.jwt.jwks_url",
            JwksUrl::EXPECTED,
            "The URL of the issuer's keys, a JWK set, for RS256, ES256 and EdDSA: https, or http on loopback. They are \
             fetched at the start, at SIGHUP, every 10 minutes, and when a token names an unknown key (at most once in \
             10 s). While the issuer is unreachable, the last keys stay valid for a day.",
        )
        .with_example("\"https://id.example.com/.well-known/jwks.json\""),
        key(
            "auth.jwt.jwks_file",
            "the path of a file, as text in quotes",
            "In place of jwks_url: a file with such a set, read at the start and at SIGHUP.",
        )
        .with_alternative("\"jwks.json\""),
        key(
            "auth.jwt.secret_env",
            VARIABLE,
            "In place of jwks_url, for HS256: the environment variable with the secret shared with the issuer, of at \
             least 32 bytes.",
        )
        .with_alternative("\"JWT_SECRET\""),
        key(
            "auth.jwt.scope_claim",
            CLAIM,
            "The claim with the scopes: words separated by spaces, or a list of texts. Default: \"scope\", or \"scp\" if \
             a token has no \"scope\".",
        )
        .with_example("\"permissions\""),
        key(
            "auth.jwt.limits_claim",
            CLAIM,
            "The claim with the subject's own limits, which replace those of [limits]: an object with the same names. \
             Unknown names are ignored. A token whose claim cannot be read is refused. Default: absent.",
        )
        .with_example("\"limits\""),
    ],
};

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
