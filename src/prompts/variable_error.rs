//! What is wrong with a variable, told to whoever gave it.

use jsonschema::error::TypeKind;
use jsonschema::{ValidationError, error::ValidationErrorKind as Kind};
use serde_json::Value;

use super::variables::escaped;

/// A place in the variables and what is wrong there. It says what the prompt expects and never what it was given,
/// which may be a secret and may be long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableError {
    /// A JSON pointer (RFC 6901), such as `/text`; empty for all variables together.
    pub pointer: String,
    /// Goes on where the name ends, as in `must be a string`.
    pub detail: String,
}

const LONGEST_POINTER: usize = 256;
const LONGEST_LIST: usize = 300;

impl VariableError {
    /// That the prompt takes no such variable.
    pub(super) fn unknown(name: &str) -> Self {
        Self::at("", Some(name), "is no variable of this prompt".into())
    }

    /// One for each name that the error names.
    pub(super) fn all_of(error: &ValidationError<'_>) -> Vec<Self> {
        let place = error.instance_path().as_str();
        match error.kind() {
            Kind::Required { property } => vec![Self::at(place, property.as_str(), "is missing".into())],
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let detail = if place.is_empty() { "is no variable of this prompt" } else { "is not taken here" };
                unexpected.iter().map(|name| Self::at(place, Some(name), detail.into())).collect()
            }
            // Where the schema names no field at all, the library does not say which one it met.
            Kind::FalseSchema if error.schema_path().as_str().ends_with("/additionalProperties") => {
                vec![Self::at(place, None, "has a field that is not taken here".into())]
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
        if pointer.len() > LONGEST_POINTER {
            pointer.truncate(pointer.floor_char_boundary(LONGEST_POINTER));
            pointer.push('…');
        }
        Self { pointer, detail }
    }
}

/// Written from what the schema says: the library's own sentences hold the value.
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
        Kind::Format { format } => format!("must be of the format {format}"),
        Kind::UniqueItems => "must have no item twice".into(),
        Kind::Contains => "must have an item that the prompt expects".into(),
        Kind::PropertyNames { .. } => "has a field whose name the prompt does not take".into(),
        Kind::OneOfMultipleValid { .. } => "fits more than one of the forms that the prompt takes".into(),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => "fits none of the forms that the prompt takes".into(),
        Kind::FalseSchema => "is not taken here".into(),
        _ => "is not what the prompt takes".into(),
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

/// What is too long to be read is left out.
fn listed(beginning: &str, what: &str) -> String {
    if what.len() <= LONGEST_LIST { format!("{beginning} {what}") } else { "is not what the prompt takes".into() }
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
    fn an_error_names_the_variable_and_what_is_expected() {
        for (property, value, detail) in [
            (json!({ "type": "string" }), json!(1), "must be a string"),
            (json!({ "type": ["array", "null"] }), json!(1), "must be null or an array"),
            (json!({ "type": "integer" }), json!(1.5), "must be an integer"),
            (json!({ "enum": ["de", "fr"] }), json!("secret"), r#"must be one of "de", "fr""#),
            (json!({ "enum": ["x".repeat(400)] }), json!("secret"), "is not what the prompt takes"),
            (json!({ "const": "de" }), json!("secret"), r#"must be "de""#),
            (json!({ "minLength": 1 }), json!(""), "must have at least 1 character"),
            (json!({ "maxLength": 3 }), json!("secret"), "must have at most 3 characters"),
            (json!({ "minItems": 2 }), json!(["secret"]), "must have at least 2 items"),
            (json!({ "maxItems": 0 }), json!(["secret"]), "must have at most 0 items"),
            (json!({ "uniqueItems": true }), json!(["secret", "secret"]), "must have no item twice"),
            (json!({ "minimum": 2 }), json!(1), "must be at least 2"),
            (json!({ "exclusiveMaximum": 2 }), json!(7777), "must be less than 2"),
            (json!({ "multipleOf": 2 }), json!(7777), "must be a multiple of 2"),
            (json!({ "pattern": "^[a-z]{2}$" }), json!("secret"), "must match the pattern ^[a-z]{2}$"),
            (json!({ "format": "date" }), json!("secret"), "must be of the format date"),
            (json!({ "anyOf": [{ "type": "null" }] }), json!("secret"), "fits none of the forms that the prompt takes"),
            (json!(false), json!("secret"), "is not taken here"),
            (json!({ "not": {} }), json!("secret"), "is not what the prompt takes"),
        ] {
            let told = errors(json!({ "properties": { "it": property } }), json!({ "it": value }));
            assert_eq!(told, [("/it".into(), detail.into())]);
        }
    }

    #[test]
    fn missing_and_unknown_names_are_told_where_they_belong() {
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
        let told = errors(
            schema,
            json!({ "terms": [{ "secret": "secret" }], "nonsense": "secret", "more": 1, "none": { "secret": 1 } }),
        );
        let mut told: Vec<_> = told.iter().map(|(pointer, detail)| (pointer.as_str(), detail.as_str())).collect();
        told.sort_unstable();
        assert_eq!(
            told,
            [
                ("/more", "is no variable of this prompt"),
                ("/none", "has a field that is not taken here"),
                ("/nonsense", "is no variable of this prompt"),
                ("/terms/0/a~1b", "is missing"),
                ("/terms/0/secret", "is not taken here"),
                ("/text", "is missing"),
            ]
        );
    }

    #[test]
    fn no_more_than_sixteen_are_told_and_none_at_length() {
        let many: Value =
            (0..100).map(|n| (format!("{n:0300}"), json!("secret"))).collect::<serde_json::Map<_, _>>().into();
        for schema in [json!({}), json!({ "properties": { "text": { "type": "string" } } })] {
            let told = errors(schema, many.clone());
            assert_eq!(told.len(), 16);
            assert!(told.iter().all(|(pointer, _)| pointer.len() < 300 && pointer.ends_with('…')));
        }
        // Of a large value one: the library would make all of them first.
        for (items, told) in [(1_000, 16), (10_000, 1)] {
            let schema = json!({ "properties": { "n": { "items": { "type": "integer" } } } });
            assert_eq!(errors(schema, json!({ "n": vec![json!("secret"); items] })).len(), told, "{items}");
        }
    }
}
