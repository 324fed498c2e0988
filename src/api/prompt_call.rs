//! Prompts that a request refers to, instead of messages or before them.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::chat_fields::DUPLICATE;
use super::problem::{ErrorCode, FieldError, Problem};
use crate::domain::{PromptReference, PromptVersion};
use crate::generation::NewGeneration;
use crate::json::{InvalidObject, JsonObject, Token, Tokens};
use crate::prompts::{Catalog, RenderError};

/// A reference to a prompt, and the variables for it.
pub struct PromptCall {
    reference: PromptReference,
    /// The text of an object. It is parsed only when the prompt is rendered, which a few requests do at a time.
    variables: Option<Box<RawValue>>,
    /// The path of the variables in the body (JSON Pointer).
    pointer: &'static str,
}

/// The prefix of a model name that refers to a prompt.
pub const MODEL_PREFIX: &str = "prompt/";

/// The maximum number of values in all variables: each takes about 100 bytes during rendering, however short it is.
const MOST_VALUES: usize = 1 << 16;

impl PromptCall {
    /// Parses the field `prompt`: `{id, version?, variables?}`.
    pub fn of_field(prompt: &JsonObject) -> Result<Self, Vec<FieldError>> {
        const VARIABLES: &str = "/prompt/variables";
        let (mut errors, mut variables) = (Vec::new(), None);
        let mut wrong = |member: &str, detail: &str| {
            errors.push(FieldError { pointer: format!("/prompt{member}"), detail: detail.to_owned() });
        };
        let reference = prompt.read::<String>("id").and_then(|id| id.parse::<PromptReference>().ok());
        match (prompt.get("id"), &reference) {
            (None, _) => wrong("/id", "is missing"),
            (Some(_), None) => wrong("/id", "must be a prompt's id, or id@version"),
            (Some(_), Some(_)) => {}
        }
        let version = prompt.read::<String>("version").and_then(|version| version.parse::<PromptVersion>().ok());
        if version.is_none() && prompt.present("version").is_some() {
            wrong("/version", "must be a prompt's version: 12 hexadecimal digits");
        }
        if prompt.iter().any(|(name, _)| !["id", "version", "variables"].contains(&name)) {
            wrong("", "may have only id, version and variables");
        }
        match read_variables(prompt.present("variables"), VARIABLES) {
            Ok(read) => variables = read,
            Err(error) => errors.push(error),
        }
        match reference {
            Some(reference) if errors.is_empty() => {
                let version = version.or(reference.version);
                let reference = PromptReference { version, ..reference };
                Ok(Self { reference, variables, pointer: VARIABLES })
            }
            _ => Err(errors),
        }
    }

    /// Parses a model `prompt/<id>` and the field `variables`.
    pub fn of_model(model: &str, variables: Option<&str>) -> Result<Self, Vec<FieldError>> {
        const VARIABLES: &str = "/variables";
        let id = model.strip_prefix(MODEL_PREFIX).unwrap_or_default();
        let reference = id.parse().map_err(|_| {
            let detail = "must name a prompt after prompt/: its id, or id@version".to_owned();
            vec![FieldError { pointer: "/model".to_owned(), detail }]
        })?;
        let variables = read_variables(variables, VARIABLES).map_err(|error| vec![error])?;
        Ok(Self { reference, variables, pointer: VARIABLES })
    }

    /// Inserts the prompt's messages before the request's own. Sets its model and parameters unless the request does.
    pub async fn apply(self, prompts: &Catalog, new: &mut NewGeneration) -> Result<(), Problem> {
        let prompt = prompts.get(&self.reference).ok_or_else(|| unknown_prompt(prompts, &self.reference))?;
        let messages = prompts.render(&self.reference, self.variables).await;
        let messages = messages.map_err(|error| render_problem(error, self.pointer))?;
        let messages = messages.into_iter();
        let mut all: Vec<String> = messages
            .map(|message| json!({"role": message.role.name(), "content": message.content}).to_string())
            .collect();
        let own = new.fields.get("messages").and_then(|json| json.strip_prefix('[')?.strip_suffix(']'));
        all.extend(own.map(str::trim).filter(|own| !own.is_empty()).map(str::to_owned));
        let all = RawValue::from_string(format!("[{}]", all.join(",")));
        let model = new.model.as_deref().or(prompt.model.as_deref()).unwrap_or_default();
        let (tokens, choices) = new.spender.most(model);
        for (name, value) in &prompt.parameters {
            // A prompt must not exceed the caller's own limits.
            let most = match name.as_str() {
                "max_tokens" | "max_completion_tokens" => tokens,
                "n" => choices,
                _ => None,
            };
            let most = most.map(|most| u64::from(most.get())).filter(|most| value.as_u64() > Some(*most));
            // An explicit null counts as set: the request then opts out of the prompt's value.
            let is_set = |name: &str| new.fields.get(name).is_some();
            // Both fields set the same limit.
            let limits = ["max_tokens", "max_completion_tokens"];
            let is_limited = limits.contains(&name.as_str()) && limits.into_iter().any(is_set);
            if !is_set(name) && !is_limited {
                new.fields.set(name, &most.map_or_else(|| value.clone(), Value::from));
            }
        }
        if let Ok(all) = all {
            new.fields.insert("messages", &all);
        }
        if new.model.is_none() {
            new.model.clone_from(&prompt.model);
        }
        new.prompt = Some(prompt.reference());
        Ok(())
    }
}

/// Validates the variables without parsing them into a tree. `pointer` is their path in the body.
pub fn read_variables(json: Option<&str>, pointer: &str) -> Result<Option<Box<RawValue>>, FieldError> {
    let Some(json) = json else { return Ok(None) };
    let error = |pointer: String, detail: &str| FieldError { pointer, detail: detail.to_owned() };
    match JsonObject::parse(json.as_bytes()) {
        Ok(_) => {}
        Err(InvalidObject::Duplicate(name)) => return Err(error(format!("{pointer}/{name}"), DUPLICATE)),
        Err(_) => return Err(error(pointer.to_owned(), "must be an object")),
    }
    let values = Tokens::new(json).filter(|token| !matches!(token, Token::Close | Token::Name(_)));
    if values.count() > MOST_VALUES {
        return Err(error(pointer.to_owned(), &format!("must hold at most {MOST_VALUES} values")));
    }
    Ok(RawValue::from_string(json.to_owned()).ok())
}

/// Returns the problem for an unknown prompt, with the id of a similar one.
pub fn unknown_prompt(prompts: &Catalog, reference: &PromptReference) -> Problem {
    const DISTANCE: usize = 2;
    let unknown = reference.id.as_str();
    let distance = |id: &str| strsim::damerau_levenshtein(unknown, id);
    let ids = prompts.list().map(|prompt| prompt.id.as_str());
    let nearest = ids.map(|id| (distance(id), id)).min().filter(|(distance, _)| *distance <= DISTANCE);
    let detail = match nearest {
        Some((0, id)) => format!("The prompt `{id}` has another version now. GET /v1/prompts/{id} shows it."),
        Some((_, id)) => format!("There is no such prompt: did you mean `{id}`?"),
        None => "There is no such prompt. GET /v1/prompts lists the prompts.".to_owned(),
    };
    Problem::new(ErrorCode::PromptNotFound, detail)
}

/// Converts an error of rendering. `pointer` is the path of the variables in the body.
pub fn render_problem(error: RenderError, pointer: &str) -> Problem {
    let whole = |detail: &str| {
        Problem::invalid_variables(vec![FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() }])
    };
    match error {
        RenderError::NotFound => Problem::prompt_not_found(),
        RenderError::Variables(errors) => Problem::invalid_variables(
            errors
                .into_iter()
                .map(|error| FieldError { pointer: format!("{pointer}{}", error.pointer), detail: error.detail })
                .collect(),
        ),
        RenderError::TooMuch => whole("make the prompt too large or too slow to render"),
        RenderError::Failed { place } => {
            tracing::warn!(%place, "a prompt could not be rendered");
            whole("do not work with this prompt's template")
        }
        RenderError::Nothing => whole("make the rendered prompt empty"),
        RenderError::Defect => {
            Problem::new(ErrorCode::Internal, "This service has a defect. Report the request id to its operator.")
        }
        RenderError::Busy => {
            Problem::new(ErrorCode::Overloaded, "Too many prompts are being rendered. Try again in a second.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(value: Value) -> Result<String, Vec<String>> {
        let Value::Object(members) = value else { unreachable!() };
        let members = JsonObject::parse(Value::Object(members).to_string().as_bytes()).expect("an object");
        let call = PromptCall::of_field(&members);
        call.map(|call| call.reference.to_string())
            .map_err(|errors| errors.into_iter().map(|error| error.pointer).collect())
    }

    #[test]
    fn prompt_field_with_id_and_optional_version_is_parsed() {
        let pinned = Ok("summarise@0123456789ab".to_owned());
        assert_eq!(field(json!({"id": "summarise"})), Ok("summarise".to_owned()));
        assert_eq!(field(json!({"id": "summarise@0123456789ab", "variables": {"a": 1}})), pinned);
        assert_eq!(field(json!({"id": "summarise", "version": "0123456789ab", "variables": null})), pinned);
        for (wrong, pointers) in [
            (json!({}), vec!["/prompt/id"]),
            (json!({"id": 5}), vec!["/prompt/id"]),
            (json!({"id": "../x"}), vec!["/prompt/id"]),
            (json!({"id": "a", "version": "x", "variables": []}), vec!["/prompt/version", "/prompt/variables"]),
            (json!({"id": "a", "template": "{{ 7 * 7 }}"}), vec!["/prompt"]),
        ] {
            assert_eq!(field(wrong.clone()), Err(pointers.into_iter().map(str::to_owned).collect()), "{wrong}");
        }
    }

    #[test]
    fn model_with_prompt_prefix_refers_to_a_prompt() {
        let pointer = |model: &str, variables| {
            let errors = PromptCall::of_model(model, variables).err();
            errors.and_then(|mut errors| errors.pop()).map(|error| error.pointer)
        };
        assert_eq!(pointer("prompt/a", None), None);
        assert_eq!(pointer("prompt/a@0123456789ab", Some(r#"{"x": 1}"#)), None);
        assert_eq!(pointer("prompt/a", Some("5")).as_deref(), Some("/variables"));
        assert_eq!(pointer("prompt/a", Some(r#"{"x":1,"\u0078":2}"#)).as_deref(), Some("/variables/x"));
        assert_eq!(pointer("prompt/A", None).as_deref(), Some("/model"));
    }

    #[test]
    fn variables_with_too_many_values_are_refused() {
        let variables = |values: usize| format!(r#"{{"a":[{}0]}}"#, "0,".repeat(values - 3));
        assert!(read_variables(Some(&variables(MOST_VALUES)), "/variables").is_ok());
        assert!(read_variables(Some(&variables(MOST_VALUES + 1)), "/variables").is_err());
    }
}
