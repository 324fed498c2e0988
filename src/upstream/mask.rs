//! Takes out of an upstream's words what must not be read on.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use secrecy::{ExposeSecret, SecretString};

/// Masks secrets for operators, and addresses too for callers.
#[derive(Clone, Default)]
pub struct Masker {
    secrets: Vec<SecretString>,
    /// The hosts of the configured upstreams.
    hosts: Vec<String>,
}

/// What stands in place of what was taken out.
const MASK: &str = "[masked]";

/// A shorter secret would mask ordinary words.
const SHORTEST_SECRET: usize = 6;
/// The beginnings of keys of well-known providers, and of credentials that appear in headers.
const KEY_PREFIXES: [&str; 16] = [
    "sk-",
    "sk_",
    "pk-",
    "gsk_",
    "xai-",
    "hf_",
    "r8_",
    "nvapi-",
    "AIza",
    "AKIA",
    "ASIA",
    "ghp_",
    "github_pat_",
    "eyJ",
    "trk_",
    "pplx-",
];
const SHORTEST_KEY: usize = 12;
/// Letters and digits with nothing between them are a key or a hash from this length on.
const SHORTEST_RANDOM: usize = 24;
/// Ids that help an operator and open nothing.
const REQUEST_ID_PREFIXES: [&str; 5] = ["req_", "req-", "chatcmpl-", "resp_", "msg_"];
/// Ids of a provider's customers.
const ACCOUNT_PREFIXES: [&str; 5] = ["org-", "org_", "proj_", "proj-", "user-"];
const DOMAINS: [&str; 14] =
    ["com", "net", "org", "io", "ai", "dev", "cloud", "app", "local", "internal", "svc", "lan", "corp", "intra"];
impl Masker {
    /// `secrets` are the keys and header values of all upstreams; `hosts` their names.
    pub fn new(secrets: impl IntoIterator<Item = SecretString>, hosts: impl IntoIterator<Item = String>) -> Self {
        let long = |secret: &SecretString| secret.expose_secret().len() >= SHORTEST_SECRET;
        Self { secrets: secrets.into_iter().filter(long).collect(), hosts: hosts.into_iter().collect() }
    }

    /// Masks every configured secret and whatever is shaped like a key.
    pub fn for_operators(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for secret in &self.secrets {
            if masked.contains(secret.expose_secret()) {
                masked = masked.replace(secret.expose_secret(), MASK);
            }
        }
        map_words(&masked, |word| is_key(word).then_some(MASK))
    }

    /// Masks account ids, URLs, hosts and addresses too.
    pub fn for_callers(&self, text: &str) -> String {
        map_words(&self.for_operators(text), |word| (is_account(word) || self.is_address(word)).then_some(MASK))
    }

    fn is_address(&self, word: &str) -> bool {
        let word = word.trim_end_matches(['.', ',', ':']);
        let bare = word.trim_matches(['[', ']', '(', ')']);
        let host = bare.rsplit_once(':').map_or(bare, |(host, port)| if is_number(port) { host } else { bare });
        let domain =
            host.rsplit_once('.').is_some_and(|(_, last)| DOMAINS.contains(&last.to_ascii_lowercase().as_str()));
        word.contains("://")
            || domain
            || host.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
            || host.parse::<IpAddr>().is_ok()
            || bare.parse::<SocketAddr>().is_ok()
    }
}

/// Replaces words, which are separated by blanks, quotes, commas and brackets, where `masked` says so.
fn map_words(text: &str, masked: impl Fn(&str) -> Option<&'static str>) -> String {
    let is_separator = |char: char| {
        char.is_whitespace()
            || matches!(char, '"' | '\'' | '`' | ',' | ';' | '(' | ')' | '<' | '>' | '{' | '}' | '|' | '=')
    };
    let mut mapped = String::with_capacity(text.len());
    for word in text.split_inclusive(is_separator) {
        let separator_at =
            word.char_indices().last().filter(|(_, last)| is_separator(*last)).map_or(word.len(), |(at, _)| at);
        let (word, separator) = word.split_at(separator_at);
        mapped.push_str(masked(word).unwrap_or(word));
        mapped.push_str(separator);
    }
    mapped
}

fn is_key(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ':', '!', '?']).trim_matches(['[', ']']);
    let has_prefix = |prefixes: &[&str]| prefixes.iter().any(|prefix| word.starts_with(prefix));
    // A key may follow a name: `key:sk-...`.
    let tail = word.rsplit(':').next().unwrap_or(word);
    let is_prefixed =
        |word: &str| word.len() >= SHORTEST_KEY && KEY_PREFIXES.iter().any(|prefix| word.starts_with(prefix));
    let is_random = word.split(|char: char| !char.is_ascii_alphanumeric()).any(is_random);
    is_prefixed(word) || is_prefixed(tail) || (is_random && !has_prefix(&REQUEST_ID_PREFIXES))
}

/// Whether letters and digits are too many for a name.
fn is_random(run: &str) -> bool {
    run.len() >= SHORTEST_RANDOM
        && run.bytes().any(|byte| byte.is_ascii_digit())
        && run.bytes().any(|byte| byte.is_ascii_alphabetic())
}

fn is_account(word: &str) -> bool {
    word.len() >= SHORTEST_KEY && ACCOUNT_PREFIXES.iter().any(|prefix| word.starts_with(prefix))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Prints how many secrets there are.
impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").field("secrets", &self.secrets.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masker() -> Masker {
        Masker::new([SecretString::from("hunter2-is-it")], ["models.example".to_owned()])
    }

    #[test]
    fn configured_secrets_and_whatever_is_shaped_like_a_key_are_masked_for_operators() {
        for (text, expected) in [
            ("The key hunter2-is-it is wrong", "The key [masked] is wrong"),
            ("x=hunter2-is-it.", "x=[masked]."),
            (
                "Incorrect API key provided: sk-proj-****************abcd. See",
                "Incorrect API key provided: [masked] See",
            ),
            ("key:gsk_0123456789abcdef", "[masked]"),
            ("token 'eyJhbGciOiJIUzI1NiJ9.e30.abc'", "token '[masked]'"),
            ("0123456789abcdef0123456789abcdef", "[masked]"),
            ("see req_0123456789abcdef0123456789abcdef", "see req_0123456789abcdef0123456789abcdef"),
            ("maximum context length is 8192 tokens", "maximum context length is 8192 tokens"),
            (
                "The model `meta-llama/Llama-3.3-70B-Instruct-Turbo-Free` does not exist",
                "The model `meta-llama/Llama-3.3-70B-Instruct-Turbo-Free` does not exist",
            ),
        ] {
            assert_eq!(masker().for_operators(text), expected);
        }
        assert!(!format!("{:?}", masker()).contains("hunter2"));
    }

    #[test]
    fn accounts_and_addresses_are_masked_for_callers_too() {
        for (text, expected) in [
            ("organization org-0123456789 has no access", "organization [masked] has no access"),
            ("see https://platform.example/keys.", "see [masked]"),
            ("no route to 10.0.0.7:8000", "no route to [masked]"),
            ("host models.example, port 443", "host [masked], port 443"),
            ("at gpu1.svc and localhost:11434", "at [masked] and [masked]"),
            ("body.messages.0.content: Field required", "body.messages.0.content: Field required"),
            ("Unsupported value: 'temperature'", "Unsupported value: 'temperature'"),
        ] {
            assert_eq!(masker().for_callers(text), expected);
        }
    }
}
