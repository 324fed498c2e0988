//! JSON read once, where it stands.

use std::borrow::Cow;
use std::ops::Range;

/// Goes over a JSON text from its beginning to its end, without a tree: what somebody needs is told by where it stands.
///
/// Stricter than a parser that only skips: a lone surrogate, a number beyond all measure and a nesting of 128 and more
/// are refused. Passed on they would fail, or leave a hole, at who reads them. The same texts are JSON to `serde_json`.
pub struct Skim<'a> {
    json: &'a str,
    at: usize,
    depth: u32,
}

/// Not JSON that every reader can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON that every reader can read")]
pub struct Unreadable;

/// Where `serde_json` gives up too.
const DEEPEST: u32 = 127;

impl<'a> Skim<'a> {
    pub const fn new(json: &'a str) -> Self {
        Self { json, at: 0, depth: 0 }
    }

    /// The first byte of what comes next.
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            match self.json.as_bytes().get(self.at).copied() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                byte => return byte,
            }
        }
    }

    /// Whether it can be nothing but `null`.
    pub fn is_at_null(&mut self) -> bool {
        self.peek() == Some(b'n')
    }

    /// Goes over the value that comes next.
    pub fn value(&mut self) -> Result<&'a str, Unreadable> {
        match self.peek().ok_or(Unreadable)? {
            b'"' => Ok(self.string()?.0),
            b'{' => self.object(|skim, _| skim.value().map(drop)),
            b'[' => self.array(|skim| skim.value().map(drop)),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
        }
    }

    /// Goes over the object that comes next; `value` is called with each name, and must go over its value.
    pub fn object(
        &mut self,
        mut value: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), Unreadable>,
    ) -> Result<&'a str, Unreadable> {
        self.nested(b'{', b'}', |skim| {
            if skim.peek() != Some(b'"') {
                return Err(Unreadable);
            }
            let name = match skim.string()? {
                (quoted, Escapes::No) => Cow::Borrowed(unquoted(quoted)),
                (quoted, Escapes::Yes) => Cow::Owned(serde_json::from_str(quoted).map_err(|_| Unreadable)?),
            };
            skim.take(b':')?;
            value(skim, name)
        })
    }

    /// Goes over the array that comes next; `item` is called at each of its values, and must go over it.
    pub fn array(&mut self, item: impl FnMut(&mut Self) -> Result<(), Unreadable>) -> Result<&'a str, Unreadable> {
        self.nested(b'[', b']', item)
    }

    /// That nothing more comes.
    pub fn end(&mut self) -> Result<(), Unreadable> {
        self.peek().map_or(Ok(()), |_| Err(Unreadable))
    }

    fn nested(
        &mut self,
        open: u8,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<&'a str, Unreadable> {
        self.take(open)?;
        let start = self.at - 1;
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
        self.take(close)?;
        self.depth -= 1;
        Ok(self.since(start))
    }

    fn take(&mut self, byte: u8) -> Result<(), Unreadable> {
        if self.peek() != Some(byte) {
            return Err(Unreadable);
        }
        self.at += 1;
        Ok(())
    }

    /// The string that begins here, quotes included.
    fn string(&mut self) -> Result<(&'a str, Escapes), Unreadable> {
        let (start, mut escapes) = (self.at, Escapes::No);
        self.at += 1;
        loop {
            let rest = self.json.as_bytes().get(self.at..).unwrap_or_default();
            let plain = plain_length(rest);
            self.at += plain + 1;
            match rest.get(plain) {
                Some(b'"') => break,
                Some(b'\\') => self.at += 1,
                _ => return Err(Unreadable),
            }
            escapes = Escapes::Yes;
        }
        let quoted = self.since(start);
        if escapes == Escapes::Yes {
            serde_json::from_str::<String>(quoted).map_err(|_| Unreadable)?;
        }
        Ok((quoted, escapes))
    }

    fn word(&mut self, word: &str) -> Result<&'a str, Unreadable> {
        let start = self.at;
        self.at += word.len();
        if self.since(start) == word { Ok(self.since(start)) } else { Err(Unreadable) }
    }

    fn number(&mut self) -> Result<&'a str, Unreadable> {
        let (start, rest) = (self.at, self.json.as_bytes().get(self.at..).unwrap_or_default());
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        self.at += length;
        let number = self.since(start);
        let is_plain = matches!(number.as_bytes(), [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit));
        if (is_plain && length < 16) || number == "0" || serde_json::from_str::<f64>(number).is_ok() {
            return Ok(number);
        }
        Err(Unreadable)
    }

    /// What has been gone over since `start`.
    fn since(&self, start: usize) -> &'a str {
        self.json.get(start..self.at).unwrap_or_default()
    }
}

/// How many bytes mean themselves, up to the first that ends a string, escapes something or may not stand in one.
///
/// Eight at a time: most strings are short, and a search that is made for long ones begins too slowly.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    // The top bit of each byte that is less than `least`; of those above the first such byte it may be wrong.
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

/// Whether a string holds escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Yes,
    No,
}

/// Where `part`, which was cut out of `json`, stands in it.
pub fn range_in(json: &str, part: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(json.as_ptr().addr())?;
    Some(start..start + part.len()).filter(|range| range.end <= json.len())
}

/// What stands between a string's quotes.
pub fn unquoted(quoted: &str) -> &str {
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_string_s_plain_bytes_are_counted_wherever_they_end() {
        for (byte, at) in (0..=u8::MAX).flat_map(|byte| (0..20).map(move |at| (byte, at))) {
            let mut bytes = [b'a'; 20];
            bytes[at] = byte;
            let ends = byte < b' ' || matches!(byte, b'"' | b'\\');
            for bytes in [&bytes[..], &[&bytes[..], &[0x80; 9]].concat()] {
                assert_eq!(plain_length(bytes), if ends { at } else { bytes.len() }, "{byte} at {at}");
            }
        }
    }

    fn is_readable(json: &str) -> bool {
        let mut skim = Skim::new(json);
        skim.value().and_then(|_| skim.end()).is_ok()
    }

    #[test]
    fn what_some_reader_cannot_read_is_refused() {
        let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for good in [r#" {"a":[1,-1,0.5e3, true,null,"\ud83d\ude00",[ ]],"\u2028":{ }} "#, &deep(127), "0", "\"\""] {
            assert!(is_readable(good), "{good}");
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
            "[1e999]",
            "nul",
            "\"",
            "\"\\",
            "\"\\\"",
            "\"a\nb\"",
            r#"{"a":["\ud83d"]}"#,
            r#"{"\ude00":1}"#,
            r#""\x""#,
            &deep(128),
            &deep(10_000),
            "\u{a0}1",
            "\"\\é\"",
        ] {
            assert!(!is_readable(bad), "{bad}");
        }
    }

    #[test]
    fn members_and_items_are_told_where_they_stand() {
        let json = r#"{ "a" : [1, {"x":"y"}], "b\n":"c" }"#;
        let (mut skim, mut seen) = (Skim::new(json), Vec::new());
        let whole = skim.object(|skim, name| {
            let value = match name.as_ref() {
                "a" => skim.array(|skim| skim.value().map(|item| seen.push(item.to_owned()))),
                _ => skim.value(),
            };
            value.map(|value| seen.push(format!("{name}={value}")))
        });
        assert_eq!(whole, Ok(json));
        assert_eq!(seen, ["1", r#"{"x":"y"}"#, r#"a=[1, {"x":"y"}]"#, "b\n=\"c\""]);
    }

    /// Pieces of JSON in any order: most are none, and many are.
    fn nearly_json() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just(r#"{"a":"#),
            Just("}"),
            Just("["),
            Just("]"),
            Just(","),
            Just(":"),
            Just("\""),
            Just("\\"),
            Just(r#""b""#),
            Just(r#""\ud800""#),
            Just(r#""\u00e9\n""#),
            Just("1"),
            Just("-0"),
            Just("1e9"),
            Just("1e999"),
            Just("."),
            Just("12345678901234567890"),
            Just("true"),
            Just("null"),
            Just("fals"),
            Just(" "),
            Just("\n"),
            Just("é"),
        ];
        prop::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat())
    }

    /// Values as they are written, so that the accepted are not rare.
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
        fn the_same_is_json_to_another_parser(text in prop_oneof![nearly_json(), json()]) {
            prop_assert_eq!(is_readable(&text), serde_json::from_str::<Value>(&text).is_ok());
        }
    }
}
