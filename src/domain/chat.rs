//! A caller's request to a model.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::Serialize;

use super::chat_parameter::CHAT_PARAMETERS;
use super::messages_form::MessagesForm;
use super::output_limits::{OutputLimits, TooMuch};
use super::prompt::Prompt;
use crate::json::JsonObject;

/// One request to one model, its fields as the caller wrote them.
///
/// `fields` is the body of an OpenAI chat completion without the service's own fields. The upstream adapter sets
/// `model`, `stream`, `stream_options.include_usage` and the limit of the answer when it writes the body.
#[derive(Clone)]
pub struct ChatRequest {
    pub model: String,
    pub fields: JsonObject,
    /// The maximum tokens of each choice, if `fields` have none: that of the caller's limits or of `messages_form`.
    pub added_limit: Option<NonZeroU32>,
    /// The same request as it was sent, if that was in the dialect of Anthropic's Messages API.
    pub messages_form: Option<Arc<MessagesForm>>,
}

/// Members that are not text of the prompt: type names, and encoded content that is counted in other ways.
const NOT_TEXT: [&str; 4] = ["file", "image_url", "input_audio", "type"];

impl ChatRequest {
    pub const fn new(model: String, fields: JsonObject) -> Self {
        Self { model, fields, added_limit: None, messages_form: None }
    }

    /// Replaces a field, in each form of the request that knows it.
    pub fn set(&mut self, name: &str, value: &impl Serialize) {
        self.fields.set(name, value);
        let is_openais = CHAT_PARAMETERS.iter().any(|parameter| parameter.name == name);
        if let Some(form) = self.messages_form.as_mut().filter(|_| !is_openais || SHARED.contains(&name)) {
            Arc::make_mut(form).fields.set(name, value);
        }
    }

    /// Returns the texts that an estimate of the input tokens counts.
    ///
    /// A request in Anthropic's dialect has texts that its other form lacks: the larger of the two counts.
    pub fn prompt(&self) -> Prompt {
        let prompt = self.chat_prompt();
        let form = self.messages_form.as_ref().map(|form| form.prompt());
        form.filter(|form| form.bytes > prompt.bytes).unwrap_or(prompt)
    }

    fn chat_prompt(&self) -> Prompt {
        let mut prompt = Prompt::default();
        if let Some(messages) = self.fields.get("messages") {
            prompt.messages = prompt.add_texts(messages, &NOT_TEXT);
        }
        if let Some(tools) = self.fields.get("tools") {
            prompt.add_texts(tools, &NOT_TEXT);
        }
        prompt
    }

    /// Returns the maximum tokens of each choice of the answer.
    pub fn output_limit(&self) -> Option<u64> {
        let stated = OUTPUT_LIMITS.iter().find_map(|name| number(&self.fields, name));
        stated.or_else(|| self.added_limit.map(|limit| limit.get().into()))
    }

    /// Returns whether the caller did not ask for the limit that is added.
    pub fn limit_is_the_operators(&self) -> bool {
        let asked = self.messages_form.as_ref().map(|form| form.limit);
        self.added_limit.is_some_and(|added| asked.is_none_or(|asked| asked > added))
    }

    /// Returns how many choices the request asks for, also inside `extra_body`.
    pub fn choices(&self) -> u64 {
        let inner = self.extra_body().and_then(|inner| number(&inner, CHOICES)).unwrap_or_default();
        number(&self.fields, CHOICES).unwrap_or(1).max(inner)
    }

    /// Applies the caller's limits of tokens of each choice and of choices, under every name that a known server reads.
    /// A negative value under OpenAI's names, which some servers read as "no limit", is replaced by the limit. A
    /// request without a limit under OpenAI's names gets this one.
    ///
    /// # Errors
    ///
    /// The request, or an object in it that servers read, asks for more, or for an amount that is not a whole number.
    pub fn apply_limits(&mut self, tokens: Option<NonZeroU32>, choices: Option<NonZeroU32>) -> Result<(), TooMuch> {
        self.added_limit = self.messages_form.as_ref().map(|form| form.limit);
        let limits = OutputLimits { tokens, choices };
        if limits.is_none() {
            return Ok(());
        }
        if let Some(most) = tokens {
            for name in OUTPUT_LIMITS {
                if is_unlimited(&self.fields, name) {
                    self.fields.set(name, &most);
                }
            }
        }
        limits.check(&self.fields)?;
        if OUTPUT_LIMITS.iter().all(|name| number(&self.fields, name).is_none()) {
            let asked = self.messages_form.as_ref().map(|form| form.limit);
            self.added_limit = tokens.into_iter().chain(asked).min();
        }
        Ok(())
    }

    /// Returns `extra_body`, which some servers read as if its members were members of the request.
    fn extra_body(&self) -> Option<JsonObject> {
        JsonObject::parse(self.fields.get("extra_body")?.as_bytes()).ok()
    }
}

/// Reads a number of things in any JSON form, such as `1e3`; a fraction is cut off. Returns `None` for a negative
/// number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and negative ones are not read"
)]
pub fn number(fields: &JsonObject, name: &str) -> Option<u64> {
    fields.get(name)?.parse::<f64>().ok().filter(|number| *number >= 0.0).map(|number| number as u64)
}

fn is_unlimited(fields: &JsonObject, name: &str) -> bool {
    fields.get(name).and_then(|json| json.parse::<f64>().ok()).is_some_and(|number| number < 0.0)
}

/// OpenAI's name for the limit of output tokens, and its older name, which many servers know.
pub const OUTPUT_LIMITS: [&str; 2] = ["max_completion_tokens", "max_tokens"];
const CHOICES: &str = "n";
/// Parameters of OpenAI's chat completions that Anthropic's API has too, in the same form.
const SHARED: [&str; 2] = ["temperature", "top_p"];

/// Prints lengths: prompts are never logged.
impl fmt::Debug for ChatRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatRequest")
            .field("model", &self.model)
            .field("fields", &self.fields.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[expect(clippy::needless_pass_by_value, reason = "tests build it in place")]
    fn request(fields: Value) -> ChatRequest {
        let fields = JsonObject::parse(fields.to_string().as_bytes()).expect("an object");
        ChatRequest::new("demo".into(), fields)
    }

    fn limited(fields: Value, tokens: u32) -> Result<String, String> {
        let mut request = request(fields);
        let applied = request.apply_limits(NonZeroU32::new(tokens), NonZeroU32::new(2));
        applied
            .map(|()| format!("{} {:?}", request.fields.to_json(), request.added_limit.map(NonZeroU32::get)))
            .map_err(|error| error.field)
    }

    #[test]
    fn debug_prints_lengths_and_never_the_prompt() {
        let request = request(json!({"messages": [{"role": "user", "content": "my secret"}]}));
        assert!(!format!("{request:?} {:?}", request.prompt()).contains("secret"));
    }

    #[test]
    fn a_prompt_has_the_texts_of_messages_and_tools() {
        let prompt = request(json!({
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "data:AAAA"}}]},
            ],
            "tools": [{"type": "function", "function": {"name": "weather"}}],
            "user": "not part of it",
        }))
        .prompt();
        assert_eq!(prompt.text, "system\nBe brief.\nuser\nWhat is it?\nweather");
        assert_eq!((prompt.messages, prompt.bytes, prompt.texts), (2, 37, 5));
    }

    #[test]
    fn a_long_prompt_is_kept_up_to_its_limit() {
        let long = "é".repeat(Prompt::KEPT);
        let prompt = request(json!({"messages": [{"content": long}, {"content": "more"}]})).prompt();
        assert!((Prompt::KEPT - 1..=Prompt::KEPT).contains(&prompt.text.len()), "{prompt:?}");
        assert_eq!(prompt.bytes, long.len() + "more".len());
    }

    #[test]
    fn the_newer_name_of_a_limit_takes_precedence() {
        assert_eq!(request(json!({"max_tokens": 5, "max_completion_tokens": 7})).output_limit(), Some(7));
        assert_eq!(request(json!({"max_tokens": 5})).output_limit(), Some(5));
        assert_eq!(request(json!({})).output_limit(), None);
    }

    #[test]
    fn limits_are_applied_to_each_spelling_of_a_number_and_inside_extra_body() {
        for (fields, expected) in [
            (json!({}), Ok("{} Some(100)")),
            (json!({"max_tokens": 5}), Ok("{\"max_tokens\":5} None")),
            (json!({"max_tokens": -1}), Ok("{\"max_tokens\":100} None")),
            (
                json!({"max_completion_tokens": null, "max_tokens": null}),
                Ok("{\"max_completion_tokens\":null,\"max_tokens\":null} Some(100)"),
            ),
            (json!({"max_tokens": 101}), Err("max_tokens")),
            (json!({"max_completion_tokens": 1e30}), Err("max_completion_tokens")),
            (json!({"n": 3}), Err("n")),
            (json!({"extra_body": {"max_tokens": 101}}), Err("extra_body/max_tokens")),
            (json!({"extra_body": {"max_tokens": -1}}), Err("extra_body/max_tokens")),
            (json!({"extra_body": {"n": 3}}), Err("extra_body/n")),
            (json!({"max_new_tokens": 5}), Ok("{\"max_new_tokens\":5} Some(100)")),
            (json!({"max_new_tokens": -1}), Err("max_new_tokens")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(limited(fields.clone(), 100), expected, "{fields}");
        }
    }

    #[test]
    fn a_request_without_limits_keeps_minus_one() {
        let mut request = request(json!({"max_tokens": -1}));
        assert_eq!(request.apply_limits(None, None), Ok(()));
        assert_eq!((request.fields.to_json().as_str(), request.output_limit()), ("{\"max_tokens\":-1}", None));
    }
}
