//! Request bodies as JSON.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::body_memory::FinishedBody;
use super::chat_fields::DUPLICATE;
use super::problem::{ErrorCode, FieldError, Problem};
use crate::domain::Fingerprint;
use crate::json::{InvalidObject, JsonObject, MOST_MEMBERS};

/// A larger index of members, in bytes, counts as memory of the body.
const SMALL_INDEX: usize = 4 << 10;

/// A complete JSON body. Its bytes count as memory of its account until the last clone is dropped.
#[derive(Clone)]
pub struct JsonBytes(Arc<BodyText>);

struct BodyText {
    text: String,
    memory: Mutex<FinishedBody>,
}

impl AsRef<str> for BodyText {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl JsonBytes {
    /// Errors: the body is not UTF-8.
    pub fn new(bytes: Vec<u8>, memory: FinishedBody) -> Result<Self, Problem> {
        let text = String::from_utf8(bytes).map_err(|error| syntax_error(error.as_bytes()))?;
        Ok(Self(Arc::new(BodyText { text, memory: Mutex::new(memory) })))
    }

    fn text(&self) -> &str {
        &self.0.text
    }

    pub fn len(&self) -> usize {
        self.0.text.len()
    }

    /// Returns a digest of the path and the body. A request with the same digest is a retry of this one.
    pub fn fingerprint(&self, path: &str) -> Fingerprint {
        let digest = Sha256::new().chain_update(path).chain_update([0]).chain_update(self.text());
        Fingerprint::new(digest.finalize().into())
    }

    /// Deserializes the body. `wanted` describes the expected form, for the error if the body has another one.
    pub fn read<'a, T: Deserialize<'a>>(&'a self, wanted: &str) -> Result<T, Problem> {
        serde_json::from_str(self.text()).map_err(|error| match error.classify() {
            Category::Data => {
                // Not serde's message, which would quote the invalid value.
                Problem::invalid(vec![FieldError { pointer: String::new(), detail: wanted.to_owned() }])
            }
            Category::Syntax | Category::Eof | Category::Io => not_json(self.text().as_bytes(), &error),
        })
    }

    /// Parses a request whose members are forwarded as they were written.
    ///
    /// Errors: the body is not JSON or not an object, has duplicate or too many members, an unpaired surrogate, a
    /// number beyond the range of a double or more than 127 levels of nesting, or its index of members does not fit
    /// into the memory for bodies.
    pub fn request(&self) -> Result<JsonObject, Problem> {
        let object = JsonObject::from_text(self.0.clone()).map_err(|error| {
            let invalid = |pointer: String, detail: &str| {
                Problem::invalid(vec![FieldError { pointer, detail: detail.to_owned() }])
            };
            let not_json = |name: &str, detail: &str| {
                Problem::new(ErrorCode::InvalidJson, format!("The request body is not valid JSON: `{name}` {detail}."))
            };
            match error {
                InvalidObject::Syntax { .. } => syntax_error(self.text().as_bytes()),
                InvalidObject::NotAnObject => invalid(String::new(), "must be a JSON object"),
                InvalidObject::Duplicate(name) => invalid(format!("/{name}"), DUPLICATE),
                InvalidObject::TooMany => invalid(String::new(), &format!("must have at most {MOST_MEMBERS} members")),
                InvalidObject::Surrogate(name) => not_json(&name, "contains an unpaired surrogate"),
                InvalidObject::Number(name) => not_json(&name, "contains a number beyond the range of a double"),
                InvalidObject::TooDeep(name) => not_json(&name, "is nested more than 127 levels deep"),
            }
        })?;
        let index = object.index_bytes();
        if index > SMALL_INDEX {
            self.0.memory.lock().unwrap_or_else(PoisonError::into_inner).grow(index)?;
        }
        Ok(object)
    }

    /// Parses a JSON object. `serde_json` refuses more than 128 levels of nesting.
    pub fn object(&self) -> Result<Map<String, Value>, Problem> {
        match serde_json::from_str(self.text()) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Problem::invalid(vec![FieldError {
                pointer: String::new(),
                detail: "must be a JSON object".into(),
            }])),
            Err(error) => Err(not_json(self.text().as_bytes(), &error)),
        }
    }
}

/// Returns the problem for the first syntax error of a body that is not JSON.
fn syntax_error(body: &[u8]) -> Problem {
    match serde_json::from_slice::<IgnoredAny>(body) {
        Err(error) => not_json(body, &error),
        Ok(_) => Problem::new(ErrorCode::InvalidJson, "The request body is not valid JSON in UTF-8."),
    }
}

/// Returns a problem with the rule and the position at which the parser stopped. It never quotes a value of the caller.
fn not_json(body: &[u8], error: &serde_json::Error) -> Problem {
    let detail = if body.trim_ascii().is_empty() {
        "The request body is empty. Send a JSON object.".to_owned()
    } else if body.starts_with(b"[object ") {
        "The request body is the text `[object Object]`. Convert the object with JSON.stringify.".to_owned()
    } else {
        format!("The request body is not valid JSON: {}.", Rule(error))
    };
    Problem::new(ErrorCode::InvalidJson, detail)
}

/// The rule that the body violates, and the position.
struct Rule<'a>(&'a serde_json::Error);

impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        // A fixed text for Category::Data, whose message would quote a value.
        let rule = match self.0.classify() {
            Category::Syntax if text.starts_with("recursion limit") => "it is nested more than 128 levels deep",
            Category::Syntax | Category::Eof => text.split(" at line ").next().unwrap_or_default(),
            Category::Data | Category::Io => "it has an invalid value",
        };
        write!(f, "{rule} at line {} column {}", self.0.line(), self.0.column())
    }
}

#[cfg(test)]
mod tests {
    use super::super::body_memory::BodyMemory;
    use super::*;
    use crate::domain::Account;

    #[test]
    fn an_invalid_body_is_refused_with_the_rule_and_the_position() {
        let detail = |body: &'static str| {
            let memory = BodyMemory::new(1024).hold(&Account::of_address([192, 0, 2, 1].into()), body.len());
            let json = JsonBytes::new(body.into(), memory.expect("memory")).expect("UTF-8");
            let problem = json.object().expect_err("it is not an object");
            problem.detail().to_owned()
        };
        assert_eq!(detail(""), "The request body is empty. Send a JSON object.");
        assert_eq!(detail(" \n"), "The request body is empty. Send a JSON object.");
        assert!(detail("[object Object]").contains("JSON.stringify"));
        assert_eq!(
            detail("{\"input\":\"a\"\n \"x\":1}"),
            "The request body is not valid JSON: expected `,` or `}` at line 2 column 2."
        );
    }
}
