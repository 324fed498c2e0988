//! A lenient parser of JSON texts.

use compact_str::CompactString;

use super::surrogates::well_formed;
use super::{Object, Tree};

/// The text is not JSON, even for a lenient parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON")]
pub struct Unreadable;

/// Parses a whole JSON text (RFC 8259), and the extensions that Python's and JavaScript's parsers accept
/// (`Tree::parse`).
pub fn parse(json: &str) -> Result<Tree, Unreadable> {
    let mut scanner = Scanner { json, at: 0, depth: 0 };
    let value = scanner.value()?;
    if scanner.peek().is_some() {
        return Err(Unreadable);
    }
    Ok(value)
}

struct Scanner<'a> {
    json: &'a str,
    at: usize,
    depth: u32,
}

/// Maximum nesting, as in `serde_json`: the parser is recursive.
const DEEPEST: u32 = 127;

impl<'a> Scanner<'a> {
    /// Returns the first byte of the next token.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.json.as_bytes().get(self.at).copied() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                byte => return byte,
            }
        }
    }

    fn value(&mut self) -> Result<Tree, Unreadable> {
        match self.peek().ok_or(Unreadable)? {
            b'"' => Ok(Tree::Text(self.string()?.into())),
            b'{' => {
                let mut object = Object::default();
                self.nested(b'{', b'}', |scanner| {
                    let name = scanner.name()?;
                    scanner.take(b':')?;
                    object.set(name, scanner.value()?);
                    Ok(())
                })?;
                Ok(Tree::Object(object))
            }
            b'[' => {
                let mut items = Vec::new();
                self.nested(b'[', b']', |scanner| {
                    items.push(scanner.value()?);
                    Ok(())
                })?;
                Ok(Tree::Array(items))
            }
            _ => self.literal(),
        }
    }

    fn nested(
        &mut self,
        open: u8,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        self.take(open)?;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Unreadable);
        }
        if self.peek() != Some(close) {
            item(self)?;
            while self.peek() == Some(b',') {
                self.at += 1;
                item(self)?;
            }
        }
        self.depth -= 1;
        self.take(close)
    }

    fn take(&mut self, byte: u8) -> Result<(), Unreadable> {
        if self.peek() != Some(byte) {
            return Err(Unreadable);
        }
        self.at += 1;
        Ok(())
    }

    fn name(&mut self) -> Result<CompactString, Unreadable> {
        if self.peek() != Some(b'"') {
            return Err(Unreadable);
        }
        let content = self.string()?;
        if !content.contains('\\') {
            return Ok(content.into());
        }
        serde_json::from_str::<String>(&format!("\"{}\"", well_formed(content))).map(Into::into).map_err(|_| Unreadable)
    }

    /// Returns the content of the string that begins here.
    fn string(&mut self) -> Result<&'a str, Unreadable> {
        self.at += 1;
        let start = self.at;
        loop {
            let rest = self.json.as_bytes().get(self.at..).unwrap_or_default();
            let plain = plain_length(rest);
            self.at += plain;
            match rest.get(plain..).unwrap_or_default() {
                [b'"', ..] => {
                    self.at += 1;
                    return self.json.get(start..self.at - 1).ok_or(Unreadable);
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
                [b'\\', b'u', digits @ ..]
                    if digits.get(..4).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) =>
                {
                    self.at += 6;
                }
                _ => return Err(Unreadable),
            }
        }
    }

    fn literal(&mut self) -> Result<Tree, Unreadable> {
        let rest = self.json.get(self.at..).unwrap_or_default();
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let length = rest.bytes().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        self.at += length;
        match rest.get(..length).unwrap_or_default() {
            "null" | "NaN" | "Infinity" | "-Infinity" => Ok(Tree::NULL),
            word @ ("true" | "false") => Ok(Tree::Literal(word.into())),
            number if is_number(number) => {
                let is_finite = number.parse::<f64>().is_ok_and(f64::is_finite);
                Ok(if is_finite { Tree::Literal(number.into()) } else { Tree::NULL })
            }
            _ => Err(Unreadable),
        }
    }
}

/// Returns whether the text is a number (RFC 8259, section 6).
fn is_number(text: &str) -> bool {
    let after_digits = |text: &'_ str| {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        (digits > 0).then_some(digits)
    };
    let text = text.strip_prefix('-').unwrap_or(text);
    let Some(integer) = after_digits(text).filter(|digits| *digits == 1 || !text.starts_with('0')) else {
        return false;
    };
    let mut rest = text.get(integer..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix('.') {
        let Some(digits) = after_digits(fraction) else { return false };
        rest = fraction.get(digits..).unwrap_or_default();
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        return after_digits(exponent) == Some(exponent.len());
    }
    rest.is_empty()
}

/// Returns the number of bytes before the first that ends a string, begins an escape or is not allowed in a string.
///
/// Checks eight at a time: most strings are short, and a search that is made for long ones starts too slowly.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    // Sets the top bit of each byte that is less than `least`. Bits above the lowest such byte may be wrong.
    let below = |word: u64, least: u8| word.wrapping_sub(ONES * u64::from(least)) & !word & (ONES << 7);
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        let found = below(word, b' ') | is(b'"') | is(b'\\');
        if found != 0 {
            return at * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let plain = rest.iter().take_while(|byte| !matches!(byte, 0..b' ' | b'"' | b'\\'));
    words.len() * 8 + plain.count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn plain_bytes_are_counted_wherever_they_end() {
        for (byte, at) in (0..=u8::MAX).flat_map(|byte| (0..20).map(move |at| (byte, at))) {
            let mut bytes = [b'a'; 20];
            bytes[at] = byte;
            let ends = byte < b' ' || matches!(byte, b'"' | b'\\');
            for bytes in [&bytes[..], &[&bytes[..], &[0x80; 9]].concat()] {
                assert_eq!(plain_length(bytes), if ends { at } else { bytes.len() }, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn json_and_its_known_extensions_are_parsed_and_nothing_else() {
        let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for good in [
            r#" {"a":[1,-1,0.5e3, true,null,"\ud83d\ude00",[ ]],"\u2028":{ }} "#,
            &deep(127),
            "0",
            "\"\"",
            r#"{"a":["\ud83d"]}"#,
            r#"{"\ude00":1}"#,
            "[NaN, -Infinity,Infinity]",
            "[1e999]",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "[1,]",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "[1 2]",
            "1 2",
            "01",
            "1.",
            "+1",
            "-",
            "1e",
            "1e+",
            ".5",
            "nul",
            "nan",
            "-NaN",
            "\"",
            "\"\\",
            "\"\\\"",
            "\"a\nb\"",
            r#""\x""#,
            r#""\u12g4""#,
            r#""\u12"#,
            &deep(128),
            &deep(10_000),
            "\u{a0}1",
            "\"\\é\"",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_last_of_two_members_with_the_same_name_counts() {
        let tree = parse(r#"{"a":1,"b":2,"\u0061":3}"#).expect("JSON");
        assert_eq!(tree.to_json(), r#"{"a":3,"b":2}"#);
    }

    /// Pieces of JSON in random order: most results are not JSON, many are.
    fn nearly_json() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            r#"{"a":"#,
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            r#""b""#,
            r#""\u00e9\n""#,
            "1",
            "-0",
            ".",
            "12345678901234567890",
            "true",
            "null",
            "fals",
            " ",
            "\n",
            "é",
        ]);
        prop::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat())
    }

    /// Valid JSON values, so that accepted texts are not rare.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
        .prop_map(|value| value.to_string())
    }

    proptest! {
        #[test]
        fn serde_json_parses_the_same_values(text in prop_oneof![nearly_json(), json()]) {
            let read = parse(&text).map(|tree| serde_json::from_str::<Value>(&tree.to_json()).expect("JSON"));
            prop_assert_eq!(read.ok(), serde_json::from_str::<Value>(&text).ok());
        }
    }
}
