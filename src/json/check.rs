//! Checks a JSON text that arrives in pieces.

/// Finds whether the pieces of a text are JSON (RFC 8259) together. Keeps none of the text.
#[derive(Debug, Clone)]
pub struct JsonCheck {
    state: CheckState,
    depth: u32,
    /// One bit for each open object (1) or array (0), the innermost lowest.
    open: u128,
}

/// Proves that a text is JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeJson(());

/// What may follow.
#[derive(Debug, Clone, Copy)]
enum CheckState {
    Value,
    FirstItem,
    FirstName,
    Name,
    Colon,
    AfterValue,
    Text(TextRole),
    Escape(TextRole),
    /// This number of hexadecimal digits.
    Digits(TextRole, u8),
    /// The rest of `true`, `false` or `null`.
    Word(&'static [u8]),
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    NotJson,
}

/// The role of a string.
#[derive(Debug, Clone, Copy)]
enum TextRole {
    Name,
    Value,
}

/// Maximum nesting, as in `serde_json`.
const DEEPEST: u32 = 127;

impl Default for JsonCheck {
    fn default() -> Self {
        Self { state: CheckState::Value, depth: 0, open: 0 }
    }
}

impl JsonCheck {
    /// Continues with the next piece.
    pub fn push(&mut self, piece: &str) {
        for byte in piece.bytes() {
            self.state = self.next(byte);
        }
    }

    /// Returns the proof, if the pieces are a whole JSON text.
    pub fn whole(&self) -> Option<WholeJson> {
        use CheckState::{AfterValue, ExponentDigits, Fraction, Integer, Zero};
        let is_whole = matches!(self.state, AfterValue | Zero | Integer | Fraction | ExponentDigits);
        (is_whole && self.depth == 0).then_some(WholeJson(()))
    }

    fn next(&mut self, byte: u8) -> CheckState {
        use CheckState::{
            AfterValue, Colon, Digits, Escape, Exponent, ExponentDigits, ExponentSign, FirstItem, FirstName, Fraction,
            Integer, Minus, Name, NotJson, Point, Text, Value, Word, Zero,
        };
        match (self.state, byte) {
            (Text(TextRole::Name), b'"') => Colon,
            (Text(TextRole::Value), b'"') => AfterValue,
            (Text(role), b'\\') => Escape(role),
            (Text(_), b' '..)
            | (Value | FirstItem | FirstName | Name | Colon | AfterValue, b' ' | b'\n' | b'\r' | b'\t') => self.state,
            (Escape(role), b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't')
            | (Digits(role, 1), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => Text(role),
            (Escape(role), b'u') => Digits(role, 4),
            (Digits(role, left), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => Digits(role, left - 1),
            (Word([wanted]), _) if byte == *wanted => AfterValue,
            (Word([wanted, rest @ ..]), _) if byte == *wanted => Word(rest),
            (Minus, b'0') => Zero,
            (Minus, b'1'..=b'9') | (Integer, b'0'..=b'9') => Integer,
            (Zero | Integer, b'.') => Point,
            (Point | Fraction, b'0'..=b'9') => Fraction,
            (Zero | Integer | Fraction, b'e' | b'E') => Exponent,
            (Exponent, b'+' | b'-') => ExponentSign,
            (Exponent | ExponentSign | ExponentDigits, b'0'..=b'9') => ExponentDigits,
            // Only the next token ends a number.
            (Zero | Integer | Fraction | ExponentDigits, _) => {
                self.state = AfterValue;
                self.next(byte)
            }
            (FirstItem, b']') | (FirstName, b'}') | (AfterValue, b']' | b'}') => self.close(byte),
            (Value | FirstItem, _) => self.begin(byte),
            (FirstName | Name, b'"') => Text(TextRole::Name),
            (Colon, b':') => Value,
            (AfterValue, b',') if self.depth > 0 => {
                if self.is_in_object() {
                    Name
                } else {
                    Value
                }
            }
            _ => NotJson,
        }
    }

    /// Begins a value with its first byte.
    fn begin(&mut self, byte: u8) -> CheckState {
        match byte {
            b'{' | b'[' if self.depth == DEEPEST => CheckState::NotJson,
            b'{' | b'[' => {
                self.depth += 1;
                self.open = self.open << 1 | u128::from(byte == b'{');
                if byte == b'{' { CheckState::FirstName } else { CheckState::FirstItem }
            }
            b'"' => CheckState::Text(TextRole::Value),
            b't' => CheckState::Word(b"rue"),
            b'f' => CheckState::Word(b"alse"),
            b'n' => CheckState::Word(b"ull"),
            b'-' => CheckState::Minus,
            b'0' => CheckState::Zero,
            b'1'..=b'9' => CheckState::Integer,
            _ => CheckState::NotJson,
        }
    }

    const fn close(&mut self, byte: u8) -> CheckState {
        if self.depth == 0 || self.is_in_object() != (byte == b'}') {
            return CheckState::NotJson;
        }
        self.depth -= 1;
        self.open >>= 1;
        CheckState::AfterValue
    }

    const fn is_in_object(&self) -> bool {
        self.open & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    /// Parts of JSON texts, whole and broken.
    fn parts() -> impl Strategy<Value = Vec<String>> {
        let part = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\"a\"",
            "\"a\":",
            "{\"\\u00e9\":",
            "\\",
            "\\n",
            "\\u12",
            "u",
            "0",
            "-",
            "17",
            ".5",
            ".",
            "e",
            "E+3",
            "true",
            "fal",
            "se",
            "null",
            " ",
            "\n",
            "\u{e9}",
            "\u{2028}",
            "\u{1}",
            "x",
        ]);
        prop::collection::vec(part.prop_map(str::to_owned), 0..12)
    }

    /// A JSON text.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|value| value.to_string()),
            any::<f64>().prop_map(|value| serde_json::Value::from(value).to_string()),
            any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let member = (any::<String>(), inner.clone())
                .prop_map(|(name, value)| format!("{} :{value}\n", serde_json::Value::from(name)));
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(" ,"))),
                prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    fn is_whole(pieces: &[impl AsRef<str>]) -> bool {
        let mut check = JsonCheck::default();
        for piece in pieces {
            check.push(piece.as_ref());
        }
        check.whole().is_some()
    }

    proptest! {
        #[test]
        fn pieces_are_whole_json_if_a_parser_accepts_the_text(pieces in parts()) {
            let text = pieces.concat();
            prop_assert_eq!(is_whole(&pieces), serde_json::from_str::<IgnoredAny>(&text).is_ok(), "{}", text);
        }

        #[test]
        fn json_cut_anywhere_is_whole_and_without_its_end_it_is_what_a_parser_finds(json in json(), cut in any::<prop::sample::Index>()) {
            let (head, rest) = json.split_at(json.floor_char_boundary(cut.index(json.len())));
            prop_assert!(is_whole(&[head, rest]));
            prop_assert_eq!(is_whole(&[head]), serde_json::from_str::<IgnoredAny>(head).is_ok());
        }
    }

    #[test]
    fn nesting_is_limited() {
        for (depth, expected) in [(DEEPEST, true), (DEEPEST + 1, false)] {
            let json = "[".repeat(depth as usize) + &"]".repeat(depth as usize);
            assert_eq!(is_whole(&[&json]), expected);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), expected);
        }
    }
}
