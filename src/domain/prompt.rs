//! The texts of a request, from which its tokens are counted.

use std::fmt;

use crate::json::{Token, Tokens, unescape};

/// The part of a request's prompt that is kept to count its tokens if the provider does not.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    /// The texts of the messages and tools, each on its own lines, together at most [`Prompt::KEPT`] bytes.
    pub text: String,
    /// The number of these texts.
    pub texts: usize,
    /// The bytes of all texts, including those that are not kept.
    pub bytes: usize,
    pub messages: usize,
}

/// Estimates count a token for this many bytes of a text.
const BYTES_PER_TOKEN: usize = 4;

impl Prompt {
    /// Bytes that are kept: the beginning of a longer prompt.
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

    /// Adds every text in the input of a request for embeddings. Each number is a token, and counts as [`BYTES_PER_TOKEN`].
    pub(super) fn add_input(&mut self, json: &str) {
        for token in Tokens::new(json) {
            match token {
                Token::Text(string) => self.add(&unescape(string)),
                Token::Scalar(scalar) if scalar != "null" => self.bytes += BYTES_PER_TOKEN,
                _ => {}
            }
        }
    }

    /// Adds every text below `json`, except below members of the names `not_text`, and returns the number of values
    /// directly below it. Other content, such as an image, has no length that could be counted.
    pub(super) fn add_texts(&mut self, json: &str, not_text: &[&str]) -> usize {
        let (mut tokens, mut items) = (Tokens::new(json), 0);
        while let Some(token) = tokens.next() {
            match token {
                Token::Name(name) if not_text.contains(&&*unescape(name)) => tokens.skip_value(),
                Token::Text(string) => self.add(&unescape(string)),
                _ => {}
            }
            let depth = tokens.depth();
            let is_item = match token {
                Token::Object | Token::Array => depth == 2,
                Token::Text(_) | Token::Scalar(_) => depth == 1,
                Token::Close | Token::Name(_) => false,
            };
            items += usize::from(is_item);
        }
        items
    }
}

/// Prints lengths: prompts are never logged.
impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prompt").field("bytes", &self.bytes).field("messages", &self.messages).finish_non_exhaustive()
    }
}
