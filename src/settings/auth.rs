//! The settings of authentication.

use serde::{Deserialize, Serialize};

use super::JwtSettings;
use super::keys::{SettingSection, VARIABLE, key};
use super::limits::quota_with_known_names;
use crate::domain::{Budget, Quota};

/// Authentication.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct AuthSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<AuthMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_secret_env: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    #[serde(skip_serializing_if = "JwtSettings::is_absent")]
    pub jwt: JwtSettings,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_keys: Vec<ApiKeySettings>,
}

/// The settings of an API key.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeySettings {
    pub name: String,
    /// The hash that `tokenrill key new` printed.
    pub hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "quota_with_known_names")]
    pub limits: Option<Quota>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// How callers are authenticated, if set explicitly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Callers are not authenticated. Set explicitly, it permits a listener on any address.
    None,
    /// Callers must send a key of `auth.api_keys`, a token of `auth.jwt`, or a ticket.
    Required,
}

pub(super) const SECTION: SettingSection = SettingSection {
    name: "auth",
    intro: "",
    keys: &[
        key(
            "auth.mode",
            "\"none\" or \"required\"",
            "\"required\": every caller must send a key of auth.api_keys, a token of auth.jwt, or a ticket made with \
             one. \"none\": no caller is authenticated. Default: absent, which means \"none\", but then the address to \
             listen on must be loopback. Set \"none\" explicitly to admit every client that can reach the address.",
        )
        .with_example("\"required\""),
        key(
            "auth.ticket_secret_env",
            VARIABLE,
            "The environment variable with the secret that signs tickets, of at least 32 bytes. Default: absent, for a \
             secret that ends with the process.",
        )
        .with_example("\"TICKET_SECRET\""),
        key(
            "auth.cookie",
            "the name of a cookie, as text in quotes",
            "The cookie in which a token of auth.jwt is accepted too, for pages that keep the token out of reach of \
             their scripts. Set the cookie with HttpOnly, Secure and SameSite. With it, a request other than GET also \
             needs an Origin of cors.origins or of this service, and a body must be JSON. Default: absent.",
        )
        .with_example("\"session\""),
        key(
            "auth.api_keys",
            "written as tables, each under its own [[auth.api_keys]], with name, hash, optional scopes, models, \
             limits and budget",
            "The accepted API keys. `tokenrill key new` prints a key and its entry for this file, with a hash from which \
             the key cannot be recovered. Keys with the same name belong to the same caller, which allows a key \
             rotation. To revoke a key, remove it and send SIGHUP. Default: none. In the environment: [{ name = ..., \
             hash = ... }].\n\
             name: owner of the key, and of everything that is started with it. Required.\n\
             hash: the hash that was printed. Required.\n\
             scopes: the permitted operations: \"generate\" (start and attach again), \"follow\" (read), \"stop\" (stop \
             and erase), for the owner's generations only; `publish:<channel>` and `subscribe:<channel>`, where `*` \
             stands for any characters (it matches system.time and system.metrics only if the pattern begins with \
             system.); \"admin\" (read /metrics and the usage of all callers, list and close connections). Default: the \
             first three.\n\
             models: the permitted models; `*` stands for any characters. Default: [\"*\"].\n\
             limits: the owner's own limits, which replace those of [limits], with the same names. Default: absent.\n\
             budget: the most that the owner may spend, in US dollars, from 0.000000001 to 1000000, per \"day\" or \
             \"month\" in UTC. It then may only ask for models with prices for input and output. Default: absent.",
        )
        .with_example(
            "[[auth.api_keys]]\n\
             name = \"web\"\n\
             hash = \"0123456789abcdef:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"\n\
             scopes = [\"generate\", \"follow\", \"stop\", \"subscribe:room-*\"]\n\
             models = [\"gpt-*\"]\n\
             limits = { requests_per_minute = 600, concurrent_generations = 20 }\n\
             budget = { usd = 20, per = \"month\" }",
        ),
    ],
};

impl AuthSettings {
    /// Returns whether no credential is configured: neither a key nor `auth.jwt`.
    pub fn admits_nobody(&self) -> bool {
        self.api_keys.is_empty() && self.jwt.is_absent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BudgetPeriod, Usd};

    #[test]
    fn budget_of_a_key_is_read_from_and_written_as_a_toml_number() {
        for (usd, nanos) in [("20", 20_000_000_000), ("0.1", 100_000_000), ("999999.999999999", 999_999_999_999_999)] {
            let key = format!("name = \"a\"\nhash = \"b\"\nbudget = {{ usd = {usd}, per = \"day\" }}");
            let key: ApiKeySettings = toml::from_str(&key).unwrap();
            assert_eq!(key.budget, Some(Budget { most: Usd::from_nanos(nanos), per: BudgetPeriod::Day }));
            let written = toml::to_string(&key).unwrap();
            assert_eq!(toml::from_str::<ApiKeySettings>(&written).unwrap(), key, "{written}");
        }
    }
}
