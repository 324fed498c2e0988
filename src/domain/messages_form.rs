//! A request in the dialect of Anthropic's Messages API.

use std::fmt;
use std::num::NonZeroU32;

use super::prompt::Prompt;
use crate::json::JsonObject;

/// A request as its caller sent it to `POST /v1/messages`, for targets of the same dialect: the conversion to chat
/// completions loses some of it, such as cache breakpoints and signatures.
#[derive(Clone)]
pub struct MessagesForm {
    /// The body without the service's own fields.
    pub fields: JsonObject,
    /// `max_tokens`.
    pub limit: NonZeroU32,
    /// The first field that chat completions cannot carry. Targets of other dialects refuse the request.
    pub uncarried: Option<UncarriedField>,
}

/// Members that are not text of the prompt: type names, encoded content, and what only its provider can read.
const NOT_TEXT: [&str; 3] = ["data", "signature", "type"];

impl MessagesForm {
    /// Returns the texts that an estimate of the input tokens counts, without encoded content.
    pub fn prompt(&self) -> Prompt {
        let mut prompt = Prompt::default();
        for name in ["system", "messages", "tools"] {
            let texts = self.fields.get(name).map_or(0, |json| prompt.add_texts(json, &NOT_TEXT));
            prompt.messages += if name == "messages" { texts } else { 0 };
        }
        prompt
    }
}

/// A field without which a request would ask for something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncarriedField {
    /// The place of the field in the request, such as `messages[0].content[1]`.
    pub field: String,
    /// Follows the name of the field. Holds no value of the request.
    pub reason: &'static str,
}

/// Prints lengths: prompts are never logged.
impl fmt::Debug for MessagesForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessagesForm").field("fields", &self.fields.len()).finish_non_exhaustive()
    }
}
