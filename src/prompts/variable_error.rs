//! Validation errors of variables, as they are sent to the client.

use jsonschema::error::TypeKind;
use jsonschema::{ValidationError, error::ValidationErrorKind as Kind};
use serde_json::Value;

use super::variables::escaped;

/// A validation error and its place in the variables. It states what the prompt expects and never quotes the value,
/// which may be secret or long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableError {
    /// A JSON pointer (RFC 6901), such as `/text`; empty for all variables together.
    pub pointer: String,
    /// Continues a sentence that begins with the name of the variable, as in `must be a string`.
    pub detail: String,
}

const MAX_POINTER_BYTES: usize = 256;
const MAX_LIST_BYTES: usize = 300;

impl VariableError {
    /// The error for a variable that the prompt does not declare.
    pub(super) fn unknown(name: &str) -> Self {
        Self::at("", Some(name), "is not a variable of this prompt".into())
    }

    /// Converts an error of the library, to one error for each name that it contains.
    pub(super) fn all_of(error: &ValidationError<'_>) -> Vec<Self> {
        let place = error.instance_path().as_str();
        match error.kind() {
            Kind::Required { property } => vec![Self::at(place, property.as_str(), "is missing".into())],
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let detail = if place.is_empty() { "is not a variable of this prompt" } else { "is not allowed here" };
                unexpected.iter().map(|name| Self::at(place, Some(name), detail.into())).collect()
            }
            // If the schema allows no field at all, the library does not report the name of the unexpected one.
            Kind::FalseSchema if error.schema_path().as_str().ends_with("/additionalProperties") => {
                vec![Self::at(place, None, "has a field that is not allowed here".into())]
            }
            kind => vec![Self::at(place, None, detail(kind))],
        }
    }

    fn at(place: &str, name: Option<&str>, detail: String) -> Self {
        let mut pointer = place.to_owned();
        if let Some(name) = name {
            pointer.push('/');
            pointer.push_str(&escaped(name));
        }
        if pointer.len() > MAX_POINTER_BYTES {
            pointer.truncate(pointer.floor_char_boundary(MAX_POINTER_BYTES));
            pointer.push('…');
        }
        Self { pointer, detail }
    }
}

/// Builds the message from the schema, since the messages of the library contain the value.
fn detail(kind: &Kind) -> String {
    match kind {
        Kind::Type { kind } => must_be(kind),
        Kind::Enum { options } => {
            let options: Vec<_> = options.as_array().into_iter().flatten().map(Value::to_string).collect();
            listed("must be one of", &options.join(", "))
        }
        Kind::Constant { expected_value } => listed("must be", &expected_value.to_string()),
        Kind::MinLength { limit } => format!("must have at least {}", counted(*limit, "character")),
        Kind::MaxLength { limit } => format!("must have at most {}", counted(*limit, "character")),
        Kind::MinItems { limit } => format!("must have at least {}", counted(*limit, "item")),
        Kind::MaxItems { limit } => format!("must have at most {}", counted(*limit, "item")),
        Kind::AdditionalItems { limit } => format!("must have at most {}", counted(*limit as u64, "item")),
        Kind::MinProperties { limit } => format!("must have at least {}", counted(*limit, "field")),
        Kind::MaxProperties { limit } => format!("must have at most {}", counted(*limit, "field")),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::Pattern { pattern } => listed("must match the pattern", pattern),
        Kind::Format { format } => format!("must have the format {format}"),
        Kind::UniqueItems => "must not have duplicate items".into(),
        Kind::Contains => "must have an item that the prompt expects".into(),
        Kind::PropertyNames { .. } => "has a field whose name is not allowed".into(),
        Kind::OneOfMultipleValid { .. } => "matches more than one of the allowed alternatives".into(),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => "matches none of the allowed alternatives".into(),
        Kind::FalseSchema => "is not allowed here".into(),
        _ => "is not valid for this prompt".into(),
    }
}

fn must_be(kind: &TypeKind) -> String {
    let with_article = |name: &str| match name {
        "null" => "null".to_owned(),
        "array" | "integer" | "object" => format!("an {name}"),
        _ => format!("a {name}"),
    };
    let names: Vec<_> = match kind {
        TypeKind::Single(one) => vec![with_article(one.as_str())],
        TypeKind::Multiple(several) => several.iter().map(|one| with_article(one.as_str())).collect(),
    };
    format!("must be {}", names.join(" or "))
}

fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Appends `list`, unless it is too long to be useful.
fn listed(beginning: &str, list: &str) -> String {
    if list.len() <= MAX_LIST_BYTES { format!("{beginning} {list}") } else { "is not valid for this prompt".into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::variables::Variables;
    use super::*;

    fn errors(schema: Value, variables: Value) -> Vec<(String, String)> {
        let (Value::Object(schema), Value::Object(variables)) = (schema, variables) else { panic!("objects") };
        let errors = Variables::compile(schema).expect("a schema").complete(variables).expect_err("errors");
        errors.into_iter().map(|error| (error.pointer, error.detail)).collect()
    }

    #[test]
    fn error_has_the_pointer_and_the_expectation() {
        for (property, value, detail) in [
            (json!({ "type": "string" }), json!(1), "must be a string"),
            (json!({ "type": ["array", "null"] }), json!(1), "must be null or an array"),
            (json!({ "type": "integer" }), json!(1.5), "must be an integer"),
            (json!({ "enum": ["de", "fr"] }), json!("secret"), r#"must be one of "de", "fr""#),
            (json!({ "enum": ["x".repeat(400)] }), json!("secret"), "is not valid for this prompt"),
            (json!({ "const": "de" }), json!("secret"), r#"must be "de""#),
            (json!({ "minLength": 1 }), json!(""), "must have at least 1 character"),
            (json!({ "maxLength": 3 }), json!("secret"), "must have at most 3 characters"),
            (json!({ "minItems": 2 }), json!(["secret"]), "must have at least 2 items"),
            (json!({ "maxItems": 0 }), json!(["secret"]), "must have at most 0 items"),
            (json!({ "uniqueItems": true }), json!(["secret", "secret"]), "must not have duplicate items"),
            (json!({ "minimum": 2 }), json!(1), "must be at least 2"),
            (json!({ "exclusiveMaximum": 2 }), json!(7777), "must be less than 2"),
            (json!({ "multipleOf": 2 }), json!(7777), "must be a multiple of 2"),
            (json!({ "pattern": "^[a-z]{2}$" }), json!("secret"), "must match the pattern ^[a-z]{2}$"),
            (json!({ "format": "date" }), json!("secret"), "must have the format date"),
            (json!({ "anyOf": [{ "type": "null" }] }), json!("secret"), "matches none of the allowed alternatives"),
            (json!(false), json!("secret"), "is not allowed here"),
            (json!({ "not": {} }), json!("secret"), "is not valid for this prompt"),
        ] {
            let actual = errors(json!({ "properties": { "it": property } }), json!({ "it": value }));
            assert_eq!(actual, [("/it".into(), detail.into())]);
        }
    }

    #[test]
    fn missing_and_unknown_names_have_their_own_pointers() {
        let schema = json!({
            "required": ["text", "terms"],
            "properties": {
                "text": { "type": "string" },
                "terms": {
                    "items": { "required": ["a/b"], "properties": { "a/b": true }, "additionalProperties": false },
                },
                "none": { "additionalProperties": false },
            },
        });
        let actual = errors(
            schema,
            json!({ "terms": [{ "secret": "secret" }], "nonsense": "secret", "more": 1, "none": { "secret": 1 } }),
        );
        let mut actual: Vec<_> = actual.iter().map(|(pointer, detail)| (pointer.as_str(), detail.as_str())).collect();
        actual.sort_unstable();
        assert_eq!(
            actual,
            [
                ("/more", "is not a variable of this prompt"),
                ("/none", "has a field that is not allowed here"),
                ("/nonsense", "is not a variable of this prompt"),
                ("/terms/0/a~1b", "is missing"),
                ("/terms/0/secret", "is not allowed here"),
                ("/text", "is missing"),
            ]
        );
    }

    #[test]
    fn errors_are_limited_to_16_and_short_pointers() {
        let many: Value =
            (0..100).map(|n| (format!("{n:0300}"), json!("secret"))).collect::<serde_json::Map<_, _>>().into();
        for schema in [json!({}), json!({ "properties": { "text": { "type": "string" } } })] {
            let actual = errors(schema, many.clone());
            assert_eq!(actual.len(), 16);
            assert!(actual.iter().all(|(pointer, _)| pointer.len() < 300 && pointer.ends_with('…')));
        }
        // A large value has one error, since the library would collect all errors first.
        for (items, count) in [(1_000, 16), (10_000, 1)] {
            let schema = json!({ "properties": { "n": { "items": { "type": "integer" } } } });
            assert_eq!(errors(schema, json!({ "n": vec![json!("secret"); items] })).len(), count, "{items}");
        }
    }
}
