//! The fields of a chat request by name: their types, which are this service's own, and which are refused.

use crate::domain::{CHAT_PARAMETERS, FieldKind};

/// Duplicate names are refused because two JSON parsers may take different ones: the checked value would not be the one
/// that the upstream reads.
pub const DUPLICATE: &str = "is a duplicate name in its object: send it once";

/// The fields of this service whose type is checked. [`CHAT_PARAMETERS`] are checked too; all other fields are forwarded
/// to the provider unchanged.
pub const FIELDS: &[(&str, FieldKind)] = &[
    ("input", FieldKind::NonEmptyText),
    ("messages", FieldKind::List),
    ("model", FieldKind::NonEmptyText),
    ("prompt", FieldKind::Object),
    ("channel", FieldKind::NonEmptyText),
    ("on_disconnect", FieldKind::OnDisconnect),
    ("on_upstream_failure", FieldKind::OnUpstreamFailure),
    ("grace_ms", FieldKind::Natural),
    ("max_queue_ms", FieldKind::Natural),
    ("metadata", FieldKind::Object),
    ("store", FieldKind::Flag),
    ("stream", FieldKind::Flag),
];

/// Returns the type of the field with this name, if it is known.
pub fn kind_of(name: &str) -> Option<FieldKind> {
    checked_fields().find(|(field, _)| *field == name).map(|(_, kind)| kind)
}

/// Returns every field whose type is checked.
pub fn checked_fields() -> impl Iterator<Item = (&'static str, FieldKind)> {
    let parameters = CHAT_PARAMETERS.iter().map(|parameter| (parameter.name, parameter.kind));
    FIELDS.iter().copied().chain(parameters)
}

/// Objects that this service reads or writes. Duplicate names in them are refused: the checked member might not be the
/// one that the upstream reads.
pub const READ_OBJECTS: [&str; 6] = ["stream_options", "extra_body", "options", "prompt", "metadata", "variables"];

/// Fields of this service that no provider knows.
const OWN_FIELDS: [&str; 8] =
    ["prompt", "channel", "on_disconnect", "on_upstream_failure", "grace_ms", "max_queue_ms", "metadata", "variables"];

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
    const SET_HERE: [&str; 12] = [
        "channel",
        "extra_body",
        "grace_ms",
        "input",
        "max_queue_ms",
        "messages",
        "model",
        "on_disconnect",
        "on_upstream_failure",
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
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_refuses_something_and_admits_null() {
        for (name, kind) in checked_fields() {
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
