//! One JSON value.

use std::fmt;
use std::ops::Range;

use compact_str::CompactString;

use super::Object;
use super::parse::{self, Unreadable};
use super::surrogates::well_formed;

/// The content of a JSON string between its quotes, with its escapes as received.
pub type RawText = CompactString;

/// A value whose texts stay escaped as received and whose numbers keep their digits.
///
/// The concatenation of two escaped texts is the escaped text of both. The written form is valid for every parser: lone
/// surrogate halves are written as U+FFFD.
#[derive(Clone, PartialEq)]
pub enum Tree {
    Text(RawText),
    Object(Object),
    Array(Vec<Tree>),
    /// A number, `true`, `false` or `null`.
    Literal(CompactString),
}

impl Tree {
    pub const NULL: Self = Self::Literal(CompactString::const_new("null"));

    /// Parses a whole JSON text. Of members with the same name the last one counts. `NaN`, infinities and numbers
    /// beyond the range of a double become `null`.
    pub fn parse(json: &str) -> Result<Self, Unreadable> {
        parse::parse(json)
    }

    /// Makes a text of a string's content, which must be valid between quotes.
    pub fn text(content: &str) -> Self {
        Self::Text(content.into())
    }

    pub fn number(number: u32) -> Self {
        Self::Literal(itoa::Buffer::new().format(number).into())
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Literal(literal) if literal == "null")
    }

    pub const fn as_object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    pub const fn as_object_mut(&mut self) -> Option<&mut Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    pub const fn as_array(&self) -> Option<&Vec<Self>> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    pub const fn as_array_mut(&mut self) -> Option<&mut Vec<Self>> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    pub const fn as_text(&self) -> Option<&RawText> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub fn to_json(&self) -> String {
        let mut writer = TreeWriter::new(None);
        writer.value(self);
        writer.json
    }
}

/// Prints lengths: answers are never logged.
impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Object(object) => object.fmt(f),
            Self::Array(items) => items.fmt(f),
            Self::Literal(literal) => write!(f, "Literal({} bytes)", literal.len()),
        }
    }
}

/// Initial bytes of the output: enough for most chunks, so that it is not reallocated.
const INITIAL_CAPACITY: usize = 512;

/// Writes JSON on one line and records the range of one text in it.
pub(super) struct TreeWriter<'t> {
    pub json: String,
    marked: Option<&'t RawText>,
    pub range: Option<Range<usize>>,
}

impl<'t> TreeWriter<'t> {
    pub fn new(marked: Option<&'t RawText>) -> Self {
        Self { json: String::with_capacity(INITIAL_CAPACITY), marked, range: None }
    }

    pub fn value(&mut self, value: &Tree) {
        match value {
            Tree::Text(text) => self.text(text),
            Tree::Object(object) => self.object(object),
            Tree::Array(items) => {
                self.json.push('[');
                for (at, item) in items.iter().enumerate() {
                    self.json.push_str(if at == 0 { "" } else { "," });
                    self.value(item);
                }
                self.json.push(']');
            }
            Tree::Literal(literal) => self.json.push_str(literal),
        }
    }

    pub fn object(&mut self, object: &Object) {
        self.json.push('{');
        for (at, (name, value)) in object.iter().enumerate() {
            self.json.push_str(if at == 0 { "" } else { "," });
            self.name(name);
            self.value(value);
        }
        self.json.push('}');
    }

    fn text(&mut self, text: &RawText) {
        self.json.push('"');
        let start = self.json.len();
        self.json.push_str(&well_formed(text));
        if self.marked.is_some_and(|marked| std::ptr::eq(marked, text)) {
            self.range = Some(start..self.json.len());
        }
        self.json.push('"');
    }

    fn name(&mut self, name: &str) {
        if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.json.extend(["\"", name, "\":"]);
            return;
        }
        // Some clients end a line at these characters (`domain::wire_safe`).
        for char in serde_json::Value::from(name).to_string().chars() {
            match char {
                '\u{85}' => self.json.push_str("\\u0085"),
                '\u{2028}' => self.json.push_str("\\u2028"),
                '\u{2029}' => self.json.push_str("\\u2029"),
                char => self.json.push(char),
            }
        }
        self.json.push(':');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(json: &str) -> String {
        Tree::parse(json).expect("JSON").to_json()
    }

    #[test]
    fn valid_json_is_written_as_read() {
        let json = r#"{"a":[1.50,-0,1e9,true,null,"\ud83d\ude00\n",[],{}],"b c\"":{"d":"Zürich"},"n":123456789012345678901234567890}"#;
        assert_eq!(rewritten(json), json);
    }

    #[test]
    fn extensions_and_lone_surrogates_are_written_as_valid_json() {
        assert_eq!(rewritten("[NaN,Infinity,-Infinity,1e999,-1e999]"), "[null,null,null,null,null]");
        assert_eq!(rewritten(r#"["\ud83d","a\ude00"]"#), r#"["\ufffd","a\ufffd"]"#);
        assert_eq!(rewritten("{\"\\u2028\\ud83d\":1}"), "{\"\\u2028\u{fffd}\":1}");
    }

    #[test]
    fn the_range_of_a_text_is_recorded() {
        let tree = Tree::parse(r#"{"a":"x","b":["x","y"]}"#).expect("JSON");
        let object = tree.as_object().expect("an object");
        let text = object.get("b").and_then(Tree::as_array).and_then(|items| items[0].as_text());
        let (json, range) = object.to_json_around(text);
        assert_eq!((json.get(..range.start), json.get(range)), (Some(r#"{"a":"x","b":[""#), Some("x")));
    }

    #[test]
    fn debug_prints_no_text() {
        let tree = Tree::parse(r#"{"a":["secret",1]}"#).expect("JSON");
        assert!(!format!("{tree:?}").contains("secret"));
    }
}
