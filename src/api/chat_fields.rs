//! The fields of a chat request by name: their types, which are this service's own, and which are refused.

use crate::json::{Token, Tokens};

/// Duplicate names are refused because two JSON parsers may take different ones: the checked value would not be the one
/// that the upstream reads.
pub const DUPLICATE: &str = "is a duplicate name in its object: send it once";

/// The type of a field. A provider checks its own ranges; this service refuses only what no provider accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    NonEmptyText,
    Number,
    Natural,
    Positive,
    /// Like `Positive`, or -1, which some servers read as "no limit".
    TokenLimit,
    Integer,
    Flag,
    List,
    Objects,
    Object,
    TextOrTexts,
    TextOrObject,
    OnDisconnect,
}

/// The bound of whole numbers that this service reads: they must fit a signed 64-bit integer. The notation does not
/// matter: `1e3` is a whole number (JSON Schema 2020-12, section 4.2.3).
const LIMIT: f64 = 9_223_372_036_854_775_808.0;

/// The fields whose type is checked; all others are forwarded to the provider unchanged.
pub const FIELDS: &[(&str, Kind)] = &[
    ("input", Kind::NonEmptyText),
    ("messages", Kind::List),
    ("model", Kind::NonEmptyText),
    ("prompt", Kind::Object),
    ("channel", Kind::NonEmptyText),
    ("on_disconnect", Kind::OnDisconnect),
    ("grace_ms", Kind::Natural),
    ("max_queue_ms", Kind::Natural),
    ("metadata", Kind::Object),
    ("store", Kind::Flag),
    ("stream", Kind::Flag),
    ("temperature", Kind::Number),
    ("top_p", Kind::Number),
    ("frequency_penalty", Kind::Number),
    ("presence_penalty", Kind::Number),
    ("max_tokens", Kind::TokenLimit),
    ("max_completion_tokens", Kind::TokenLimit),
    ("n", Kind::Positive),
    ("seed", Kind::Integer),
    ("stop", Kind::TextOrTexts),
    ("logprobs", Kind::Flag),
    ("top_logprobs", Kind::Natural),
    ("logit_bias", Kind::Object),
    ("tool_choice", Kind::TextOrObject),
    ("tools", Kind::Objects),
    ("parallel_tool_calls", Kind::Flag),
    ("response_format", Kind::Object),
    ("reasoning_effort", Kind::Text),
    ("stream_options", Kind::Object),
    ("user", Kind::Text),
];

/// Returns the type of the field with this name, if it is known.
pub fn kind_of(name: &str) -> Option<Kind> {
    FIELDS.iter().find(|(field, _)| *field == name).map(|(_, kind)| *kind)
}

impl Kind {
    /// Whether a value is of this kind; `null` counts as absent and is of every kind. `json` must be valid JSON without
    /// surrounding whitespace.
    pub fn admits(self, json: &str) -> bool {
        let number = json.parse::<f64>().ok();
        let whole =
            number.filter(|number| json.parse::<i64>().is_ok() || (number.fract() == 0.0 && number.abs() < LIMIT));
        match self {
            _ if json == "null" => true,
            Self::Text => json.starts_with('"'),
            Self::NonEmptyText => json.starts_with('"') && json != "\"\"",
            Self::Number => number.is_some(),
            Self::Natural => whole >= Some(0.0),
            Self::Positive => whole > Some(0.0),
            Self::TokenLimit => whole.is_some_and(|limit| limit > 0.0 || limit.to_bits() == (-1.0_f64).to_bits()),
            // This service does not read these, so they may have any size.
            Self::Integer => whole.is_some() || json.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()),
            Self::Flag => matches!(json, "true" | "false"),
            Self::List => json.starts_with('['),
            Self::Objects => all_items(json, |token| token == Token::Object),
            Self::Object => json.starts_with('{'),
            Self::TextOrTexts => json.starts_with('"') || all_items(json, |token| matches!(token, Token::Text(_))),
            Self::TextOrObject => json.starts_with('"') || json.starts_with('{'),
            Self::OnDisconnect => matches!(json, "\"cancel\"" | "\"continue\""),
        }
    }

    pub const fn demand(self) -> &'static str {
        match self {
            Self::Text => "must be a string",
            Self::NonEmptyText => "must be a string that is not empty",
            Self::Number => "must be a number",
            Self::Natural => "must be a whole number, 0 or more",
            Self::Positive => "must be a whole number, 1 or more",
            Self::TokenLimit => "must be a whole number, 1 or more, or -1",
            Self::Integer => "must be a whole number",
            Self::Flag => "must be true or false",
            Self::List => "must be an array",
            Self::Objects => "must be an array of objects",
            Self::Object => "must be an object",
            Self::TextOrTexts => "must be a string or an array of strings",
            Self::TextOrObject => "must be a string or an object",
            Self::OnDisconnect => "must be \"cancel\" or \"continue\"",
        }
    }
}

/// Whether `json` is an array of which the first token of every item is `wanted`.
fn all_items(json: &str, mut wanted: impl FnMut(Token<'_>) -> bool) -> bool {
    let mut tokens = Tokens::new(json);
    if tokens.next() != Some(Token::Array) {
        return false;
    }
    while let Some(token) = tokens.next() {
        match token {
            Token::Close => break,
            token if !wanted(token) => return false,
            Token::Object | Token::Array => tokens.leave(),
            Token::Name(_) | Token::Text(_) | Token::Scalar(_) => {}
        }
    }
    true
}

/// Objects that this service reads or writes. Duplicate names in them are refused: the checked member might not be the
/// one that the upstream reads.
pub const READ_OBJECTS: [&str; 6] = ["stream_options", "extra_body", "options", "prompt", "metadata", "variables"];

/// Fields of this service that no provider knows.
const OWN_FIELDS: [&str; 7] =
    ["prompt", "channel", "on_disconnect", "grace_ms", "max_queue_ms", "metadata", "variables"];

/// Returns the field of this service of which an unknown name is probably a typo.
pub fn nearest_own_field(name: &str) -> Option<&'static str> {
    if kind_of(name).is_some() || CHOOSE_NO_MODEL.contains(&name) {
        return None;
    }
    // Names whose lengths differ too much are not compared, because a body may contain long names.
    let near = OWN_FIELDS.into_iter().filter(|own| own.len().abs_diff(name.len()) <= LARGEST_TYPO);
    let near = near.map(|own| (strsim::damerau_levenshtein(own, name), own));
    near.filter(|(distance, _)| *distance <= LARGEST_TYPO).min().map(|(_, own)| own)
}

/// The most edits between a typo and the field that it means.
const LARGEST_TYPO: usize = 2;

/// Whether a field is refused in `extra_body`, because it is this service's own or set in the upstream request.
pub fn is_set_here(name: &str) -> bool {
    const SET_HERE: [&str; 11] = [
        "channel",
        "extra_body",
        "grace_ms",
        "input",
        "max_queue_ms",
        "messages",
        "model",
        "on_disconnect",
        "prompt",
        "stream",
        "stream_options",
    ];
    SET_HERE.contains(&name)
}

/// Fields by which a caller could redirect this service or its upstream to another server: the names that gateways are
/// known to read. An upstream that reads other names needs its own guard.
const STEERING: &[&str] = &[
    "allowed_model_region",
    "api_base",
    "api_key",
    "api_type",
    "api_version",
    "base_url",
    "callbacks",
    "custom_llm_provider",
    "default_headers",
    "default_query",
    "extra_headers",
    "extra_query",
    "fallbacks",
    "headers",
    "litellm_params",
    "model_list",
    "organization",
    "proxies",
    "proxy",
    "router_settings",
    "user_config",
];

/// Prefixes of such fields: addresses and credentials of cloud providers.
const STEERING_PREFIXES: &[&str] = &["aws_", "azure_", "vertex_", "watsonx_"];

/// Whether a caller could redirect this service or its upstream by a field of this name.
pub fn steers(name: &str) -> bool {
    STEERING.contains(&name) || STEERING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Fields of OpenAI's chat completions and of compatible servers that are in no other table here and do not select a
/// model. Other names are not safe: a router may read `models`, `route` or a name that is not known here, and respond
/// with another model than `model`.
pub const CHOOSE_NO_MODEL: &[&str] = &[
    "audio",
    "function_call",
    "functions",
    "min_p",
    "modalities",
    "prediction",
    "prompt_cache_key",
    "reasoning",
    "repetition_penalty",
    "safety_identifier",
    "service_tier",
    "top_k",
    "variables",
    "verbosity",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_number_is_accepted_in_every_notation() {
        for (json, positive) in [
            ("1", true),
            ("5.0", true),
            ("1.5e16", true),
            ("9223372036854775807", true),
            ("9223372036854775808", false),
            ("1e19", false),
            ("1.5", false),
            ("0.0", false),
            ("-1", false),
            ("\"1\"", false),
        ] {
            assert_eq!(Kind::Positive.admits(json), positive, "{json}");
        }
        for (json, admits) in [("123456789012345678901234567890", true), ("-5", true), ("1e30", false), ("0.5", false)]
        {
            assert_eq!(Kind::Integer.admits(json), admits, "{json}");
        }
        assert!(Kind::TokenLimit.admits("-1") && !Kind::TokenLimit.admits("-2") && !Kind::TokenLimit.admits("0"));
    }

    #[test]
    fn list_with_an_item_of_the_wrong_type_is_refused() {
        for (kind, json, admits) in [
            (Kind::TextOrTexts, r#"["a","b"]"#, true),
            (Kind::TextOrTexts, "[]", true),
            (Kind::TextOrTexts, "[1]", false),
            (Kind::Objects, r#"[{"a":[1,{}]},{}]"#, true),
            (Kind::Objects, "[{},null]", false),
            (Kind::Objects, "{}", false),
        ] {
            assert_eq!(kind.admits(json), admits, "{json}");
        }
    }

    #[test]
    fn every_kind_refuses_something_and_admits_null() {
        for (name, kind) in FIELDS {
            let wrong = ["-1.5", "{}", "[]", "true", "\"\""];
            assert!(kind.admits("null") && wrong.iter().any(|json| !kind.admits(json)), "{name}");
        }
    }

    #[test]
    fn typo_of_an_own_field_is_found_and_a_chat_parameter_is_not_a_typo() {
        for (name, nearest) in [
            ("grcae_ms", Some("grace_ms")),
            ("graceMs", Some("grace_ms")),
            ("onDisconnect", Some("on_disconnect")),
            ("meta_data", Some("metadata")),
            ("promts", Some("prompt")),
            ("grace_ms", None),
            ("metadata", None),
            ("sotre", None),
            ("inptu", None),
            ("nobody_knows", None),
            ("prompt_cache_key", None),
            ("models", None),
            ("mode", None),
        ] {
            assert_eq!(nearest_own_field(name), nearest, "{name}");
        }
    }
}
