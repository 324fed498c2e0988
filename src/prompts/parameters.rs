//! The parameters that a prompt may set.

use serde_json::Value;

use super::error::CatalogErrorKind;

/// OpenAI's chat parameters that shape the answer. Parameters that choose the server, the key or extra headers and
/// fields are not included: permission to write a prompt must not give control over the service.
const KNOWN: [(&str, Takes); 18] = [
    ("temperature", Takes::Number),
    ("top_p", Takes::Number),
    ("frequency_penalty", Takes::Number),
    ("presence_penalty", Takes::Number),
    ("max_tokens", Takes::Count),
    ("max_completion_tokens", Takes::Count),
    ("n", Takes::Count),
    ("seed", Takes::Integer),
    ("stop", Takes::Texts),
    ("response_format", Takes::Table),
    ("reasoning_effort", Takes::Text),
    ("verbosity", Takes::Text),
    ("logit_bias", Takes::Table),
    ("logprobs", Takes::Truth),
    ("top_logprobs", Takes::Integer),
    ("tools", Takes::Tables),
    ("tool_choice", Takes::TextOrTable),
    ("parallel_tool_calls", Takes::Truth),
];

#[derive(Clone, Copy)]
enum Takes {
    Number,
    Integer,
    Count,
    Truth,
    Text,
    Texts,
    Table,
    Tables,
    TextOrTable,
}

/// Checks that a prompt may set this parameter, and the type of the value. The provider validates the rest.
pub(super) fn check(key: &str, value: &Value) -> Result<(), CatalogErrorKind> {
    let Some((_, takes)) = KNOWN.iter().find(|(known, _)| *known == key) else {
        let known = KNOWN.map(|(known, _)| known).join(", ");
        return Err(CatalogErrorKind::UnknownParameter { key: key.into(), known });
    };
    let all = |kind: fn(&Value) -> bool| value.as_array().is_some_and(|items| items.iter().all(kind));
    let (right, expected) = match takes {
        Takes::Number => (value.is_number(), "a number"),
        Takes::Integer => (value.is_i64(), "a whole number"),
        Takes::Count => (value.as_i64().is_some_and(|count| count > 0), "a whole number above 0"),
        Takes::Truth => (value.is_boolean(), "true or false"),
        Takes::Text => (value.is_string(), "a string"),
        Takes::Texts => (value.is_string() || all(Value::is_string), "a string or an array of strings"),
        Takes::Table => (value.is_object(), "a table"),
        Takes::Tables => (all(Value::is_object), "an array of tables"),
        Takes::TextOrTable => (value.is_string() || value.is_object(), "a string or a table"),
    };
    if right { Ok(()) } else { Err(CatalogErrorKind::Wrong { key: key.into(), expected }) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_that_shape_the_answer_are_accepted() {
        for (key, value) in [
            ("temperature", json!(0)),
            ("temperature", json!(0.5)),
            ("max_tokens", json!(1)),
            ("stop", json!("end")),
            ("stop", json!(["a", "b"])),
            ("response_format", json!({ "type": "json_object" })),
            ("tool_choice", json!("auto")),
            ("tools", json!([{ "type": "function" }])),
        ] {
            assert!(check(key, &value).is_ok(), "{key}");
        }
    }

    #[test]
    fn parameters_that_control_the_service_are_refused() {
        for key in ["model", "messages", "stream", "stream_options", "api_base", "base_url", "api_key", "extra_headers"]
            .into_iter()
            .chain(["extra_body", "user", "metadata", "store", "service_tier", "Temperature", ""])
        {
            assert!(matches!(check(key, &json!(true)), Err(CatalogErrorKind::UnknownParameter { .. })), "{key}");
        }
    }

    #[test]
    fn values_of_the_wrong_type_are_refused() {
        for (key, value) in [
            ("temperature", json!("0.5")),
            ("max_tokens", json!(0)),
            ("max_tokens", json!(1.5)),
            ("stop", json!([1])),
            ("logprobs", json!(1)),
            ("tools", json!({})),
            ("tool_choice", json!(1)),
        ] {
            assert!(matches!(check(key, &value), Err(CatalogErrorKind::Wrong { .. })), "{key}");
        }
    }
}
