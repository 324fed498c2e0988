//! The parameters that a prompt may set.

use serde_json::Value;

use super::error::CatalogErrorKind;
use crate::domain::{CHAT_PARAMETERS, ChatParameter, SetBy};

/// Checks that a prompt may set this parameter, and the type of the value. The provider validates the rest.
pub(super) fn check(key: &str, value: &Value) -> Result<(), CatalogErrorKind> {
    let Some(parameter) = settable().find(|parameter| parameter.name == key) else {
        let known = settable().map(|parameter| parameter.name).collect::<Vec<_>>().join(", ");
        return Err(CatalogErrorKind::UnknownParameter { key: key.into(), known });
    };
    if parameter.kind.admits(&value.to_string()) {
        Ok(())
    } else {
        Err(CatalogErrorKind::Wrong { key: key.into(), expected: parameter.kind.expected() })
    }
}

fn settable() -> impl Iterator<Item = &'static ChatParameter> {
    CHAT_PARAMETERS.iter().filter(|parameter| parameter.set_by == SetBy::RequestOrPrompt)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn readme_lists_every_parameter() {
        let readme = include_str!("../../prompts/README.md");
        for parameter in settable() {
            assert!(readme.contains(&format!("`{}`", parameter.name)), "{}", parameter.name);
        }
    }

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
