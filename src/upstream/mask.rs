//! Masks secrets and addresses in the texts of upstreams.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use secrecy::{ExposeSecret, SecretString};

/// Masks secrets in texts for operators, and addresses too in texts for callers.
#[derive(Clone, Default)]
pub struct Masker {
    secrets: Vec<SecretString>,
    /// The hosts of the configured upstreams.
    hosts: Vec<String>,
}

/// Placeholder for the masked text.
const MASK: &str = "[masked]";

/// Shorter secrets are not masked: they would match ordinary words.
const SHORTEST_SECRET: usize = 6;
/// Prefixes of keys of well-known providers, and of credentials that appear in headers.
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
/// Shortest run of letters and digits that is taken for a key or a hash.
const SHORTEST_RANDOM: usize = 24;
/// Prefixes of ids that help an operator and grant no access.
const REQUEST_ID_PREFIXES: [&str; 5] = ["req_", "req-", "chatcmpl-", "resp_", "msg_"];
/// Prefixes of ids of a provider's customers.
const ACCOUNT_PREFIXES: [&str; 5] = ["org-", "org_", "proj_", "proj-", "user-"];
const DOMAINS: [&str; 14] =
    ["com", "net", "org", "io", "ai", "dev", "cloud", "app", "local", "internal", "svc", "lan", "corp", "intra"];
impl Masker {
    /// `secrets` are the keys and header values of all upstreams; `hosts` are their host names.
    pub fn new(secrets: impl IntoIterator<Item = SecretString>, hosts: impl IntoIterator<Item = String>) -> Self {
        let long = |secret: &SecretString| secret.expose_secret().len() >= SHORTEST_SECRET;
        Self { secrets: secrets.into_iter().filter(long).collect(), hosts: hosts.into_iter().collect() }
    }

    /// Masks every configured secret and every word that looks like a key.
    pub fn for_operators(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for secret in &self.secrets {
            if masked.contains(secret.expose_secret()) {
                masked = masked.replace(secret.expose_secret(), MASK);
            }
        }
        map_words(&masked, |word| is_key(word).then_some(MASK))
    }

    /// Masks what [`Masker::for_operators`] masks, and account ids, URLs, hosts and addresses.
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

/// Replaces the words for which `masked` returns a text. Blanks, quotes, commas and brackets separate words.
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

/// Returns whether a run of letters and digits is more likely a key or a hash than a name.
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

/// Prints only the number of secrets.
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
    fn secrets_and_key_like_words_are_masked_for_operators() {
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
    fn accounts_and_addresses_are_masked_for_callers() {
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
