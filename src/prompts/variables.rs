//! The variables of a prompt.

use std::collections::BTreeSet;
use std::fmt;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value, json};

use super::VariableError;
use super::error::CatalogErrorKind;

/// The JSON Schema (2020-12) of a prompt's variables, which validates those of a request.
pub(super) struct Variables {
    schema: Value,
    defaults: Map<String, Value>,
    /// `None` if the prompt has no variables.
    validator: Option<Validator>,
}

/// An error at a place in the schema.
#[derive(Debug)]
pub(super) struct SchemaFault {
    /// A JSON pointer.
    pub(super) pointer: String,
    pub(super) problem: CatalogErrorKind,
}

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// The number of errors that are reported.
const MAX_ERRORS: usize = 16;
const MAX_NAME_BYTES: usize = 64;
/// The number of nested values from which on only the first error is collected.
const MAX_FULLY_VALIDATED: usize = 4096;

impl Variables {
    pub(super) fn none() -> Self {
        let schema = json!({ "type": "object", "properties": {}, "additionalProperties": false });
        Self { schema, defaults: Map::new(), validator: None }
    }

    /// Compiles the schema of an object. `type` defaults to `object`, and `additionalProperties` to `false`.
    pub(super) fn compile(mut schema: Map<String, Value>) -> Result<Self, SchemaFault> {
        let fault = |pointer: &str, problem| SchemaFault { pointer: pointer.into(), problem };
        if schema.get("type").is_some_and(|written| written != "object") {
            return Err(fault("/type", CatalogErrorKind::NotAnObject));
        }
        if schema.get("$schema").is_some_and(|written| written != DRAFT) {
            return Err(fault("/$schema", CatalogErrorKind::Draft));
        }
        schema.entry("type").or_insert_with(|| "object".into());
        schema.entry("properties").or_insert_with(|| json!({}));
        schema.entry("additionalProperties").or_insert(Value::Bool(false));
        let schema = Value::Object(schema);
        references(&schema, "")?;
        let options = jsonschema::options().with_draft(Draft::Draft202012).offline();
        let options = options.should_validate_formats(true).with_pattern_options(PatternOptions::regex());
        let validator = options.build(&schema).map_err(|error| {
            let pointer = error.instance_path().as_str();
            let detail = error.masked().to_string();
            let detail = detail.get(..detail.floor_char_boundary(200)).unwrap_or_default().into();
            let shown = if pointer.is_empty() { "/" } else { pointer }.into();
            fault(pointer, CatalogErrorKind::Schema { pointer: shown, detail })
        })?;
        let mut compiled = Self { defaults: Map::new(), schema, validator: Some(validator) };
        compiled.defaults = compiled.read_defaults()?;
        let closed = compiled.schema.get("additionalProperties") == Some(&Value::Bool(false));
        let required = compiled.schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let mut undeclared =
            required.filter_map(Value::as_str).filter(|name| !compiled.names().any(|own| own == *name));
        if let Some(name) = undeclared.next().filter(|_| closed) {
            return Err(fault("/required", CatalogErrorKind::Required(name.into())));
        }
        Ok(compiled)
    }

    fn read_defaults(&self) -> Result<Map<String, Value>, SchemaFault> {
        let mut defaults = Map::new();
        for (name, property) in self.schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let pointer = || format!("/properties/{}", escaped(name));
            let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
            let plain = name.chars().all(|c| letter(c) || c.is_ascii_digit()) && name.starts_with(letter);
            if !plain || name.len() > MAX_NAME_BYTES {
                return Err(SchemaFault { pointer: pointer(), problem: CatalogErrorKind::VariableName(name.clone()) });
            }
            let Some(default) = property.get("default") else { continue };
            let alone = json!({ name: default });
            let mut errors = self.validator.iter().flat_map(|validator| validator.iter_errors(&alone));
            let wrong = errors.find(|error| !error.instance_path().is_empty());
            if let Some(error) = wrong.and_then(|error| VariableError::all_of(&error).into_iter().next()) {
                let problem = CatalogErrorKind::Default { variable: name.clone(), detail: error.detail };
                return Err(SchemaFault { pointer: pointer() + "/default", problem });
            }
            defaults.insert(name.clone(), default.clone());
        }
        Ok(defaults)
    }

    /// Returns the schema with its defaults filled in.
    pub(super) const fn schema(&self) -> &Value {
        &self.schema
    }

    /// Returns the names of the declared variables.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.schema.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str())
    }

    /// Adds the defaults of absent variables, and validates all.
    pub(super) fn complete(&self, mut variables: Map<String, Value>) -> Result<Map<String, Value>, Vec<VariableError>> {
        for (name, default) in &self.defaults {
            variables.entry(name.as_str()).or_insert_with(|| default.clone());
        }
        let Some(validator) = &self.validator else {
            let unknown = variables.keys().take(MAX_ERRORS).map(|name| VariableError::unknown(name));
            let unknown: Vec<_> = unknown.collect();
            return if unknown.is_empty() { Ok(variables) } else { Err(unknown) };
        };
        let variables = Value::Object(variables);
        if let Err(first) = validator.validate(&variables) {
            // The library collects all errors before it returns the first, and those of a large value would take far
            // more memory than the value.
            let is_small = size(&variables, MAX_FULLY_VALIDATED) < MAX_FULLY_VALIDATED;
            let errors: Vec<_> = if is_small {
                let errors = validator.iter_errors(&variables);
                errors.flat_map(|error| VariableError::all_of(&error)).take(MAX_ERRORS).collect()
            } else {
                VariableError::all_of(&first).into_iter().take(MAX_ERRORS).collect()
            };
            return Err(errors);
        }
        match variables {
            Value::Object(variables) => Ok(variables),
            _ => Ok(Map::new()),
        }
    }
}

/// Returns the number of values in a value, itself included, capped at `most`.
fn size(value: &Value, most: usize) -> usize {
    let (mut ahead, mut seen) = (vec![value], 0);
    while let Some(value) = ahead.pop() {
        seen += 1;
        if seen + ahead.len() >= most {
            return most;
        }
        match value {
            Value::Array(items) => ahead.extend(items.iter().take(most)),
            Value::Object(members) => ahead.extend(members.values().take(most)),
            _ => {}
        }
    }
    seen
}

/// Refuses references to other documents, and endless loops of references.
fn references(root: &Value, pointer: &str) -> Result<(), SchemaFault> {
    /// These identify parts other than by JSON pointer, or change the base of references.
    const NAMES: [&str; 4] = ["$id", "$anchor", "$dynamicAnchor", "$dynamicRef"];
    let schema = root.pointer(pointer).unwrap_or(&Value::Null);
    let fault = |key: &str, problem| SchemaFault { pointer: format!("{pointer}/{key}"), problem };
    for name in NAMES {
        if schema.get(name).is_some_and(Value::is_string) {
            return Err(fault(name, CatalogErrorKind::Reference(name)));
        }
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let place = target.strip_prefix('#').filter(|place| place.is_empty() || place.starts_with('/'));
        if place.is_none_or(|place| place.contains('%')) {
            return Err(fault("$ref", CatalogErrorKind::Reference("$ref")));
        }
        let (mut ahead, mut seen) = (in_place(root, pointer), BTreeSet::new());
        while let Some(next) = ahead.pop() {
            if next == pointer {
                return Err(fault("$ref", CatalogErrorKind::EndlessSchema));
            }
            if seen.insert(next.clone()) {
                ahead.extend(in_place(root, &next));
            }
        }
    }
    parts(schema).iter().try_for_each(|part| references(root, &format!("{pointer}/{part}")))
}

/// Returns the schemas that are applied to the same value as this one.
fn in_place(root: &Value, pointer: &str) -> Vec<String> {
    let Some(schema) = root.pointer(pointer) else { return Vec::new() };
    let several = ["allOf", "anyOf", "oneOf", "dependentSchemas"].into_iter().flat_map(|key| {
        let parts = schema.get(key).map(parts).unwrap_or_default();
        parts.into_iter().map(move |part| format!("{pointer}/{key}/{part}"))
    });
    let one = ["not", "if", "then", "else"].into_iter().map(|key| format!("{pointer}/{key}"));
    let named = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
    several.chain(one).chain(named.map(str::to_owned)).collect()
}

fn parts(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members.keys().map(|key| escaped(key)).collect(),
        Value::Array(items) => (0..items.len()).map(|at| at.to_string()).collect(),
        _ => Vec::new(),
    }
}

/// Escapes a part of a JSON pointer (RFC 6901).
pub(super) fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Variables({})", self.names().count())
    }
}
