//! A caller's request for embeddings.

use std::fmt;

use super::prompt::Prompt;
use crate::json::JsonObject;

/// One request for embeddings to one model, its fields as the caller wrote them: the body of OpenAI's
/// `POST /v1/embeddings`. The upstream adapter sets `model` when it writes the body.
#[derive(Clone)]
pub struct EmbeddingRequest {
    /// The requested model, or the default.
    pub model: String,
    pub fields: JsonObject,
}

impl EmbeddingRequest {
    /// Returns the texts of `input`, from which its tokens are estimated. A token that the caller sent as a number counts
    /// as one.
    pub fn prompt(&self) -> Prompt {
        let mut prompt = Prompt::default();
        if let Some(input) = self.fields.get("input") {
            prompt.add_input(input);
        }
        prompt
    }
}

/// Prints lengths: texts are never logged.
impl fmt::Debug for EmbeddingRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddingRequest")
            .field("model", &self.model)
            .field("fields", &self.fields.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(input: &str) -> Prompt {
        let fields = JsonObject::parse(format!(r#"{{"input":{input}}}"#).as_bytes()).expect("an object");
        EmbeddingRequest { model: "m".to_owned(), fields }.prompt()
    }

    #[test]
    fn prompt_has_every_text_of_the_input_and_four_bytes_for_each_token() {
        for (input, bytes, text) in [
            (r#""a text""#, 6, "a text"),
            (r#"["one","two \"2\""]"#, 10, "one\ntwo \"2\""),
            ("[1,2,3]", 12, ""),
            ("[[1,2],[3]]", 12, ""),
            (r#"[{"text":"part"}]"#, 4, "part"),
            ("null", 0, ""),
        ] {
            let prompt = prompt(input);
            assert_eq!((prompt.bytes, prompt.text.as_str()), (bytes, text), "{input}");
        }
    }
}
