//! The tokens of a JSON text, without building a tree.

use std::borrow::Cow;

use memchr::memchr2;

/// Iterates over the tokens of a text that a JSON parser has accepted. Allocates nothing.
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    json: &'a str,
    at: usize,
    depth: usize,
}

/// One token. Strings include their quotes and are as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `}` or `]`
    Close,
    /// A member's name.
    Name(&'a str),
    Text(&'a str),
    /// A number, `true`, `false` or `null`.
    Scalar(&'a str),
}

impl<'a> Tokens<'a> {
    pub const fn new(json: &'a str) -> Self {
        Self { json, at: 0, depth: 0 }
    }

    /// Returns how many objects and arrays are open.
    pub const fn depth(&self) -> usize {
        self.depth
    }

    /// Skips the next value.
    pub fn skip_value(&mut self) {
        if matches!(self.next(), Some(Token::Object | Token::Array)) {
            self.leave();
        }
    }

    /// Skips the rest of the innermost open object or array.
    pub fn leave(&mut self) {
        let depth = self.depth;
        while self.depth >= depth && self.next().is_some() {}
    }

    fn peek(&mut self, skipped: &[u8]) -> Option<u8> {
        let rest = self.json.as_bytes().get(self.at..)?;
        self.at += rest.iter().position(|byte| !skipped.contains(byte)).unwrap_or(rest.len());
        self.json.as_bytes().get(self.at).copied()
    }

    /// Returns the string that begins here.
    fn string(&mut self) -> &'a str {
        let start = self.at;
        self.at += 1;
        while let Some(found) = memchr2(b'"', b'\\', self.json.as_bytes().get(self.at..).unwrap_or_default()) {
            self.at += found + 1;
            if self.json.as_bytes().get(self.at - 1) == Some(&b'"') {
                return self.json.get(start..self.at).unwrap_or_default();
            }
            self.at += 1;
        }
        self.at = self.json.len();
        self.json.get(start..).unwrap_or_default()
    }
}

const WHITESPACE: &[u8] = b" \t\r\n";
const BETWEEN: &[u8] = b" \t\r\n,";

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let token = match self.peek(BETWEEN)? {
            open @ (b'{' | b'[') => {
                self.depth += 1;
                self.at += 1;
                if open == b'{' { Token::Object } else { Token::Array }
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.at += 1;
                Token::Close
            }
            b'"' => {
                let string = self.string();
                if self.peek(WHITESPACE) == Some(b':') {
                    self.at += 1;
                    Token::Name(string)
                } else {
                    Token::Text(string)
                }
            }
            _ => {
                let start = self.at;
                let rest = self.json.as_bytes().get(start..).unwrap_or_default();
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
                Token::Scalar(self.json.get(start..self.at).unwrap_or_default())
            }
        };
        Some(token)
    }
}

/// Returns the text of a JSON string, given with its quotes; empty if the string is not text, such as half of a
/// surrogate pair.
pub fn unescape(string: &str) -> Cow<'_, str> {
    let content = string.get(1..string.len().saturating_sub(1)).unwrap_or_default();
    if memchr::memchr(b'\\', content.as_bytes()).is_none() {
        return Cow::Borrowed(content);
    }
    serde_json::from_str::<String>(string).map(Cow::Owned).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_in_order_with_names_apart_from_texts() {
        let tokens: Vec<_> = Tokens::new(r#" { "a" : [1, "x\"]", {}], "b":-1.0e3 ,"c":null} "#).collect();
        let expected = [
            Token::Object,
            Token::Name("\"a\""),
            Token::Array,
            Token::Scalar("1"),
            Token::Text(r#""x\"]""#),
            Token::Object,
            Token::Close,
            Token::Close,
            Token::Name("\"b\""),
            Token::Scalar("-1.0e3"),
            Token::Name("\"c\""),
            Token::Scalar("null"),
            Token::Close,
        ];
        assert_eq!(tokens, expected);
    }

    #[test]
    fn the_token_after_a_skipped_value_is_next() {
        for (json, next) in [
            (r#"{"a":{"b":[1]},"c":2}"#, Some(Token::Name("\"c\""))),
            (r#"{"a":1,"c":2}"#, Some(Token::Name("\"c\""))),
            (r#"{"a":"x"}"#, Some(Token::Close)),
        ] {
            let mut tokens = Tokens::new(json);
            assert_eq!((tokens.next(), tokens.next()), (Some(Token::Object), Some(Token::Name("\"a\""))));
            tokens.skip_value();
            assert_eq!(tokens.next(), next, "{json}");
        }
    }

    #[test]
    fn a_string_is_unescaped_and_half_of_a_pair_is_empty() {
        assert_eq!(unescape(r#""plain""#), "plain");
        assert_eq!(unescape(r#""a\nb""#), "a\nb");
        assert_eq!(unescape(r#""\ud83d""#), "");
    }
}
