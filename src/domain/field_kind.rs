//! The types of a request's fields.

use crate::json::{Token, Tokens};

/// The type of a field. A provider checks its own ranges; this service refuses only what no provider accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    Text,
    NonEmptyText,
    Number,
    Natural,
    Positive,
    /// Like `Positive`, or -1, which some servers read as "no limit".
    TokenLimit,
    Integer,
    Flag,
    List,
    Objects,
    Object,
    TextOrTexts,
    TextOrObject,
    OnDisconnect,
    OnUpstreamFailure,
}

/// The bound of whole numbers that this service reads: they must fit a signed 64-bit integer. The notation does not
/// matter: `1e3` is a whole number (JSON Schema 2020-12, section 4.2.3).
const LIMIT: f64 = 9_223_372_036_854_775_808.0;

impl FieldKind {
    /// Whether a value is of this kind; `null` counts as absent and is of every kind. `json` must be valid JSON without
    /// surrounding whitespace.
    pub fn admits(self, json: &str) -> bool {
        let number = json.parse::<f64>().ok();
        let whole =
            number.filter(|number| json.parse::<i64>().is_ok() || (number.fract() == 0.0 && number.abs() < LIMIT));
        match self {
            _ if json == "null" => true,
            Self::Text => json.starts_with('"'),
            Self::NonEmptyText => json.starts_with('"') && json != "\"\"",
            Self::Number => number.is_some(),
            Self::Natural => whole >= Some(0.0),
            Self::Positive => whole > Some(0.0),
            Self::TokenLimit => whole.is_some_and(|limit| limit > 0.0 || limit.to_bits() == (-1.0_f64).to_bits()),
            // This service does not read these, so they may have any size.
            Self::Integer => whole.is_some() || json.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()),
            Self::Flag => matches!(json, "true" | "false"),
            Self::List => json.starts_with('['),
            Self::Objects => all_items(json, |token| token == Token::Object),
            Self::Object => json.starts_with('{'),
            Self::TextOrTexts => json.starts_with('"') || all_items(json, |token| matches!(token, Token::Text(_))),
            Self::TextOrObject => json.starts_with('"') || json.starts_with('{'),
            Self::OnDisconnect => matches!(json, "\"cancel\"" | "\"continue\""),
            Self::OnUpstreamFailure => matches!(json, "\"fail\"" | "\"restart\""),
        }
    }

    /// Returns the expected value, as a phrase that follows "must be".
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::NonEmptyText => "a string that is not empty",
            Self::Number => "a number",
            Self::Natural => "a whole number, 0 or more",
            Self::Positive => "a whole number, 1 or more",
            Self::TokenLimit => "a whole number, 1 or more, or -1",
            Self::Integer => "a whole number",
            Self::Flag => "true or false",
            Self::List => "an array",
            Self::Objects => "an array of objects",
            Self::Object => "an object",
            Self::TextOrTexts => "a string or an array of strings",
            Self::TextOrObject => "a string or an object",
            Self::OnDisconnect => "\"cancel\" or \"continue\"",
            Self::OnUpstreamFailure => "\"fail\" or \"restart\"",
        }
    }
}

/// Whether `json` is an array of which the first token of every item is `wanted`.
fn all_items(json: &str, mut wanted: impl FnMut(Token<'_>) -> bool) -> bool {
    let mut tokens = Tokens::new(json);
    if tokens.next() != Some(Token::Array) {
        return false;
    }
    while let Some(token) = tokens.next() {
        match token {
            Token::Close => break,
            token if !wanted(token) => return false,
            Token::Object | Token::Array => tokens.leave(),
            Token::Name(_) | Token::Text(_) | Token::Scalar(_) => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_number_is_accepted_in_every_notation() {
        for (json, positive) in [
            ("1", true),
            ("5.0", true),
            ("1.5e16", true),
            ("9223372036854775807", true),
            ("9223372036854775808", false),
            ("1e19", false),
            ("1.5", false),
            ("0.0", false),
            ("-1", false),
            ("\"1\"", false),
        ] {
            assert_eq!(FieldKind::Positive.admits(json), positive, "{json}");
        }
        for (json, admits) in [("123456789012345678901234567890", true), ("-5", true), ("1e30", false), ("0.5", false)]
        {
            assert_eq!(FieldKind::Integer.admits(json), admits, "{json}");
        }
        assert!(
            FieldKind::TokenLimit.admits("-1")
                && !FieldKind::TokenLimit.admits("-2")
                && !FieldKind::TokenLimit.admits("0")
        );
    }

    #[test]
    fn list_with_an_item_of_the_wrong_type_is_refused() {
        for (kind, json, admits) in [
            (FieldKind::TextOrTexts, r#"["a","b"]"#, true),
            (FieldKind::TextOrTexts, "[]", true),
            (FieldKind::TextOrTexts, "[1]", false),
            (FieldKind::Objects, r#"[{"a":[1,{}]},{}]"#, true),
            (FieldKind::Objects, "[{},null]", false),
            (FieldKind::Objects, "{}", false),
        ] {
            assert_eq!(kind.admits(json), admits, "{json}");
        }
    }
}
