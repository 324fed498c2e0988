//! What a caller asks of a model.

use std::fmt;
use std::num::NonZeroU32;

use serde_json::{Map, Value};

/// One question to one model, with every field that a provider may understand preserved.
///
/// `fields` is the body of an OpenAI chat completion without `model`, `stream` and
/// `stream_options.include_usage`, which the upstream adapter sets; whoever builds a request has
/// already removed the fields that are ours alone.
#[derive(Clone, PartialEq)]
pub struct ChatRequest {
    pub model: String,
    pub fields: Map<String, Value>,
}

/// What of a request's prompt is kept to count its tokens by, where the provider does not.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    /// The texts of the messages and tools, each on lines of its own, together at most [`Prompt::KEPT`] bytes.
    pub text: String,
    /// How many texts these are.
    pub texts: usize,
    /// The bytes of all texts, those that are not kept as well.
    pub bytes: usize,
    pub messages: usize,
}

impl Prompt {
    /// Bytes that are kept; of a longer prompt the beginning.
    pub const KEPT: usize = 16 * 1024;

    fn add(&mut self, text: &str) {
        self.bytes += text.len();
        let between = usize::from(self.texts > 0);
        let room = Self::KEPT.saturating_sub(self.text.len() + between);
        let kept = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
        if !kept.is_empty() {
            self.text.extend(std::iter::repeat_n('\n', between));
            self.text.push_str(kept);
            self.texts += 1;
        }
    }

    /// Every text below `value`. What is not text, such as an image, has no length that could be counted.
    fn add_texts(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.add(text),
            Value::Array(items) => items.iter().for_each(|item| self.add_texts(item)),
            Value::Object(members) => {
                let told = members.iter().filter(|(name, _)| !NOT_TEXT.contains(&name.as_str()));
                told.for_each(|(_, value)| self.add_texts(value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Members that hold no text of the prompt: names of kinds, and what is encoded and counted in other ways.
const NOT_TEXT: [&str; 4] = ["file", "image_url", "input_audio", "type"];

impl ChatRequest {
    /// What an estimate of the input tokens counts.
    pub fn prompt(&self) -> Prompt {
        let mut prompt = Prompt::default();
        if let Some(Value::Array(messages)) = field(&self.fields, "messages") {
            prompt.messages = messages.len();
            for message in messages {
                prompt.add_texts(message);
            }
        }
        if let Some(tools) = field(&self.fields, "tools") {
            prompt.add_texts(tools);
        }
        prompt
    }

    /// How many tokens each choice of the answer may have at most, as the request says.
    pub fn output_limit(&self) -> Option<u64> {
        OUTPUT_LIMITS.iter().find_map(|name| self.number(name))
    }

    /// How many choices the request asks for.
    pub fn choices(&self) -> u64 {
        self.number(CHOICES).unwrap_or(1)
    }

    /// A whole number, however it is written: `1e3` is one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    fn number(&self, name: &str) -> Option<u64> {
        field(&self.fields, name)?.as_f64().map(|number| number as u64)
    }

    /// Asks for no more than so many tokens in each choice, and so many choices: one that names no limit of its own
    /// is given this one.
    pub fn keep_to(&mut self, tokens: Option<NonZeroU32>, choices: Option<NonZeroU32>) -> Result<(), TooMuch> {
        let wanted = OUTPUT_LIMITS.map(|name| (name, tokens)).into_iter().chain([(CHOICES, choices)]);
        for (field, most) in wanted.filter_map(|(name, most)| Some((name, most?))) {
            if self.number(field).is_some_and(|asked| asked > most.get().into()) {
                return Err(TooMuch { field, most });
            }
        }
        if let (Some(tokens), [None, None]) = (tokens, OUTPUT_LIMITS.map(|name| self.number(name))) {
            self.fields.insert(OUTPUT_LIMITS[0].to_owned(), tokens.get().into());
        }
        Ok(())
    }
}

/// A field by its name. A request has few, and is asked for many: comparing costs less than hashing.
pub fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
}

/// OpenAI's name for it, and the one before that, which many servers know.
const OUTPUT_LIMITS: [&str; 2] = ["max_completion_tokens", "max_tokens"];
const CHOICES: &str = "n";

/// A request asks for more than its caller may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} is more than {most}")]
pub struct TooMuch {
    pub field: &'static str,
    pub most: NonZeroU32,
}

/// Prints lengths: prompts are never logged.
impl fmt::Debug for ChatRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatRequest")
            .field("model", &self.model)
            .field("fields", &self.fields.len())
            .finish_non_exhaustive()
    }
}

/// As above.
impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prompt").field("bytes", &self.bytes).field("messages", &self.messages).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(fields: Value) -> ChatRequest {
        let Value::Object(fields) = fields else { unreachable!() };
        ChatRequest { model: "demo".into(), fields }
    }

    #[test]
    fn debug_prints_lengths_and_never_the_prompt() {
        let request = request(json!({"messages": [{"role": "user", "content": "my secret"}]}));
        assert!(!format!("{request:?} {:?}", request.prompt()).contains("secret"));
    }

    #[test]
    fn a_prompt_is_its_texts() {
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
    fn of_a_long_prompt_the_beginning_is_kept() {
        let long = "é".repeat(Prompt::KEPT);
        let prompt = request(json!({"messages": [{"content": long}, {"content": "more"}]})).prompt();
        assert!((Prompt::KEPT - 1..=Prompt::KEPT).contains(&prompt.text.len()), "{prompt:?}");
        assert_eq!(prompt.bytes, long.len() + "more".len());
    }

    #[test]
    fn the_newer_name_of_a_limit_counts_first() {
        assert_eq!(request(json!({"max_tokens": 5, "max_completion_tokens": 7})).output_limit(), Some(7));
        assert_eq!(request(json!({"max_tokens": 5})).output_limit(), Some(5));
        assert_eq!(request(json!({})).output_limit(), None);
    }
}
