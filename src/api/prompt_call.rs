//! A prompt that a request names, in place of messages or before them.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::chat::DUPLICATE;
use super::problem::{ErrorCode, FieldError, Problem};
use super::prompts::unknown_prompt;
use crate::domain::{PromptReference, PromptVersion};
use crate::generation::NewGeneration;
use crate::json::{InvalidObject, JsonObject, Token, Tokens};
use crate::prompts::{Catalog, RenderError};

/// Which prompt, and what is put into it.
pub struct PromptCall {
    reference: PromptReference,
    /// An object, as it was written: its tree is built where the prompt is rendered, a few at a time.
    variables: Option<Box<RawValue>>,
    /// Where the variables stand in the body.
    pointer: &'static str,
}

/// How a model is named that is a prompt.
pub const MODEL_PREFIX: &str = "prompt/";

/// Values in all variables together: each costs about 100 bytes when the prompt is rendered, however short it is.
const MOST_VALUES: usize = 1 << 16;

impl PromptCall {
    /// The field `prompt`: `{id, version?, variables?}`.
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
            wrong("", "has id, and may have version and variables");
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

    /// A model `prompt/<id>`, with the field `variables` beside it.
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

    /// Puts the prompt's messages before those of the request, and its model and parameters where the request has
    /// none.
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
            // What the caller may not have, a prompt does not ask for.
            let most = match name.as_str() {
                "max_tokens" | "max_completion_tokens" => tokens,
                "n" => choices,
                _ => None,
            };
            let most = most.map(|most| u64::from(most.get())).filter(|most| value.as_u64() > Some(*most));
            // Also by null: that is how a request does without one.
            let is_set = |name: &str| new.fields.get(name).is_some();
            // Two names of one limit.
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

/// Checks the variables, which stand at `pointer`, without building their tree.
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

/// `pointer` is where the variables stand.
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
        RenderError::TooMuch => whole("make the prompt longer than it may become"),
        RenderError::Failed { place } => {
            tracing::warn!(%place, "a prompt could not be rendered");
            whole("are such that this prompt cannot be written with them")
        }
        RenderError::Nothing => whole("leave nothing of this prompt"),
        RenderError::Defect => {
            Problem::new(ErrorCode::Internal, "This service has a defect. Report the request id to its operator.")
        }
        RenderError::Busy => {
            Problem::new(ErrorCode::Overloaded, "Too many prompts are written at the moment. Try again in a second.")
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
    fn a_field_names_a_prompt_and_perhaps_its_version() {
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
    fn a_model_may_be_a_prompt() {
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
    fn variables_with_more_values_than_a_prompt_may_cost_are_refused() {
        let variables = |values: usize| format!(r#"{{"a":[{}0]}}"#, "0,".repeat(values - 3));
        assert!(read_variables(Some(&variables(MOST_VALUES)), "/variables").is_ok());
        assert!(read_variables(Some(&variables(MOST_VALUES + 1)), "/variables").is_err());
    }
}
