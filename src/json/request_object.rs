//! A JSON object that keeps its members as written.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use memchr::memchr;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::tokens::{Token, Tokens};

/// A JSON object that keeps the order of its members and the text of each value: numbers of any size and form, nested
/// content and escapes are written as they were read.
///
/// No two members have the same name after unescaping. Every nested string is valid text, and no value is nested deeper
/// than `serde_json` accepts. The text is stored once; no value is a tree, and a member costs 32 bytes.
#[derive(Clone)]
pub struct JsonObject {
    text: Arc<JsonText>,
    /// Names and values that are not in `text`.
    written: String,
    members: Vec<Member>,
    _held: Option<Arc<dyn Any + Send + Sync>>,
}

/// The text that an object is parsed from. The type that owns it may account for its bytes as long as a clone of the
/// object lives.
pub type JsonText = dyn AsRef<str> + Send + Sync;

#[derive(Clone)]
struct Member {
    /// Unescaped.
    name: TextRange,
    value: TextRange,
}

/// The range of a name or value: in `text`, or, beyond the end of `text`, in `written`.
#[derive(Clone, Copy)]
struct TextRange {
    start: usize,
    length: usize,
}

impl TextRange {
    fn of<'a>(self, text: &'a str, written: &'a str) -> &'a str {
        let (text, start) = match self.start.checked_sub(text.len()) {
            Some(start) => (written, start),
            None => (text, self.start),
        };
        text.get(start..start + self.length).unwrap_or_default()
    }
}

/// Why a text is not a valid [`JsonObject`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObject {
    #[error("not JSON: line {line}, column {column}")]
    Syntax { line: usize, column: usize },
    #[error("not an object")]
    NotAnObject,
    #[error("two members have the same name")]
    Duplicate(Box<str>),
    #[error("half of a surrogate pair in a member")]
    Surrogate(Box<str>),
    #[error("nested too deeply in a member")]
    TooDeep(Box<str>),
    #[error("a number beyond the range of a double in a member")]
    Number(Box<str>),
    #[error("more members than {MOST_MEMBERS}")]
    TooMany,
}

/// Maximum nesting below the object itself, as in `serde_json`.
const DEEPEST: usize = 126;

/// Maximum number of members. A short member costs several times the bytes of its text, so without a limit an object
/// could cost many times its size.
pub const MOST_MEMBERS: usize = 1 << 17;

impl JsonObject {
    /// Parses a copy of a whole text.
    pub fn parse(json: &[u8]) -> Result<Self, InvalidObject> {
        match std::str::from_utf8(json) {
            Ok(json) => Self::from_text(Arc::new(Box::<str>::from(json))),
            Err(_) => Err(not_an_object(json)),
        }
    }

    /// Parses a whole text, which lives as long as the object.
    pub fn from_text(text: Arc<JsonText>) -> Result<Self, InvalidObject> {
        let json = (*text).as_ref();
        let Members { list, written, count } =
            serde_json::from_str(json).map_err(|_| not_an_object(json.as_bytes()))?;
        if count > MOST_MEMBERS {
            return Err(InvalidObject::TooMany);
        }
        let range =
            |value: &str| TextRange { start: value.as_ptr().addr() - json.as_ptr().addr(), length: value.len() };
        let members = list.into_iter().map(|(name, value)| {
            let name = match name {
                Name::Plain(name) => range(name),
                Name::Unescaped(name) => TextRange { start: json.len() + name.start, length: name.length },
            };
            Member { name, value: range(value) }
        });
        let members = members.collect();
        let object = Self { text, written, members, _held: None };
        for (name, value) in object.iter() {
            check(name, value)?;
        }
        match object.duplicate() {
            Some(name) => Err(InvalidObject::Duplicate(name.into())),
            None => Ok(object),
        }
    }

    /// Returns an object without members. `held`, such as reserved memory, lives as long as a clone of it.
    pub fn holding(held: impl Any + Send + Sync) -> Self {
        Self { _held: Some(Arc::new(held)), ..Self::default() }
    }

    /// Returns a member's JSON.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.position(name).and_then(|at| self.members.get(at)).map(|member| self.at(member.value))
    }

    /// Returns a member's JSON, if it is there and not `null`.
    pub fn present(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|json| *json != "null")
    }

    /// Deserializes a member; `None` if it is absent or of another type.
    pub fn read<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        serde_json::from_str(self.get(name)?).ok()
    }

    /// Replaces a member in its position, or adds it as the last one.
    pub fn insert(&mut self, name: &str, value: &RawValue) {
        let value = self.write(value.get());
        if let Some(known) = self.position(name).and_then(|at| self.members.get_mut(at)) {
            known.value = value;
        } else {
            let name = self.write(name);
            self.members.push(Member { name, value });
        }
    }

    /// As [`JsonObject::insert`], for a value that serializes.
    pub fn set(&mut self, name: &str, value: &impl Serialize) {
        if let Ok(value) = serde_json::value::to_raw_value(value) {
            self.insert(name, &value);
        }
    }

    /// Removes a member; the others keep their order.
    pub fn remove(&mut self, name: &str) {
        if let Some(at) = self.position(name) {
            self.members.remove(at);
        }
    }

    /// Iterates over the names and their JSON.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members.iter().map(|member| (self.at(member.name), self.at(member.value)))
    }

    /// Returns the bytes of the text that the object was parsed from.
    pub fn text_len(&self) -> usize {
        (*self.text).as_ref().len()
    }

    /// Returns the bytes that the object holds beside its text.
    pub fn index_bytes(&self) -> usize {
        self.members.capacity() * size_of::<Member>() + self.written.capacity()
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Writes the object, without spaces between its members.
    pub fn to_json(&self) -> String {
        let mut json = String::with_capacity(self.iter().map(|(name, value)| name.len() + value.len() + 8).sum());
        write_members(&mut json, self.iter());
        json
    }

    fn at(&self, range: TextRange) -> &str {
        range.of((*self.text).as_ref(), &self.written)
    }

    fn write(&mut self, text: &str) -> TextRange {
        let start = (*self.text).as_ref().len() + self.written.len();
        self.written.push_str(text);
        TextRange { start, length: text.len() }
    }

    /// Objects have few members: comparing costs less than hashing.
    fn position(&self, name: &str) -> Option<usize> {
        let text = (*self.text).as_ref();
        let has_name =
            |member: &Member| member.name.length == name.len() && member.name.of(text, &self.written) == name;
        self.members.iter().position(has_name)
    }

    /// Returns a name that two members have.
    fn duplicate(&self) -> Option<&str> {
        let mut names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.windows(2).find_map(|pair| match pair {
            [one, next] if one == next => Some(*one),
            _ => None,
        })
    }
}

impl Default for JsonObject {
    fn default() -> Self {
        Self { text: Arc::new(""), written: String::new(), members: Vec::new(), _held: None }
    }
}

/// Returns why a text could not be parsed.
fn not_an_object(json: &[u8]) -> InvalidObject {
    match serde_json::from_slice::<IgnoredAny>(json) {
        Ok(_) if std::str::from_utf8(json).is_ok() => InvalidObject::NotAnObject,
        Ok(_) => InvalidObject::Syntax { line: 1, column: 0 },
        Err(error) => InvalidObject::Syntax { line: error.line(), column: error.column() },
    }
}

/// Writes an object with these members.
pub fn write_members<'a>(json: &mut String, members: impl Iterator<Item = (&'a str, &'a str)>) {
    json.push('{');
    for (at, (name, value)) in members.enumerate() {
        if at > 0 {
            json.push(',');
        }
        json.push_str(&Value::from(name).to_string());
        json.push(':');
        json.push_str(value);
    }
    json.push('}');
}

/// The members of an object, not checked for duplicates yet.
#[derive(Default)]
struct Members<'a> {
    list: Vec<(Name<'a>, &'a str)>,
    /// The unescaped forms of names that are written with escapes.
    written: String,
    /// The number of members, including those that are not kept.
    count: usize,
}

/// A member's name.
enum Name<'a> {
    Plain(&'a str),
    /// Its range in `written`.
    Unescaped(TextRange),
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some(name) = map.next_key_seed(NameSeed(&mut members.written))? {
                    members.count += 1;
                    if members.count > MOST_MEMBERS {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        members.list.push((name, map.next_value::<&RawValue>()?.get()));
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Reads a name; one with escapes is unescaped into the string.
struct NameSeed<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Name<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name<'de>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed<'_> {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
        Ok(Name::Plain(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
        let start = self.0.len();
        self.0.push_str(name);
        Ok(Name::Unescaped(TextRange { start, length: name.len() }))
    }
}

/// Checks nesting, surrogates and numbers, which `serde_json` does not check in a value that it keeps as text.
fn check(name: &str, value: &str) -> Result<(), InvalidObject> {
    let mut tokens = Tokens::new(value);
    while let Some(token) = tokens.next() {
        match token {
            Token::Object | Token::Array if tokens.depth() > DEEPEST => {
                return Err(InvalidObject::TooDeep(name.into()));
            }
            Token::Name(string) | Token::Text(string) if !is_text(string) => {
                return Err(InvalidObject::Surrogate(name.into()));
            }
            // Without an exponent the number is accepted at any size: an integer may have any number of digits.
            Token::Scalar(scalar)
                if scalar.contains(['e', 'E']) && scalar.parse::<f64>().is_ok_and(f64::is_infinite) =>
            {
                return Err(InvalidObject::Number(name.into()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns whether each surrogate escape is part of a pair (RFC 8259, section 8.2).
fn is_text(string: &str) -> bool {
    let mut rest = string;
    while let Some(at) = memchr(b'\\', rest.as_bytes()) {
        let unit = |at: usize| {
            let digits = rest.get(at..)?.strip_prefix("\\u")?.get(..4)?;
            u16::from_str_radix(digits, 16).ok()
        };
        let length = match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => return false,
            Some(_) => 6,
            None => 2,
        };
        rest = rest.get(at + length..).unwrap_or_default();
    }
    true
}

/// Prints lengths: requests are never logged.
impl fmt::Debug for JsonObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonObject").field("members", &self.members.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<String, InvalidObject> {
        JsonObject::parse(json.as_bytes()).map(|object| object.to_json())
    }

    #[test]
    fn numbers_order_escapes_and_nested_content_are_written_as_they_were_read() {
        let json = concat!(
            r#"{"z":1.0,"a":1e3,"n":123456789012345678901234567890,"m":-0.10E+05,"#,
            r#""nested": {"b": [1, 2.50], "b": "\u00e9\/", "😀": "\ud83d\ude00"},"last":null}"#
        );
        assert_eq!(parse(json).as_deref(), Ok(json.replace(r#""nested": {"#, r#""nested":{"#).as_str()));
    }

    #[test]
    fn a_duplicate_name_after_unescaping_is_refused() {
        for json in [r#"{"model":1,"x":2,"model":3}"#, r#"{"model":1,"mode\u006c":1}"#] {
            assert_eq!(parse(json), Err(InvalidObject::Duplicate("model".into())), "{json}");
        }
        let many: Vec<_> = (0..40).map(|number| format!("\"m{}\":0", number % 39)).collect();
        assert_eq!(parse(&format!("{{{}}}", many.join(","))), Err(InvalidObject::Duplicate("m0".into())));
    }

    #[test]
    fn a_text_that_is_not_an_object_or_not_json_is_refused() {
        let deep = "[".repeat(1_000) + &"]".repeat(1_000);
        for json in ["[]", "null", "5", "\"x\"", &deep] {
            assert_eq!(parse(json), Err(InvalidObject::NotAnObject), "{json}");
        }
        for json in ["", "{", "{\"a\":}", "{\"a\":01}", "{}x", "{\"a\":NaN}", "[1,]"] {
            assert!(matches!(parse(json), Err(InvalidObject::Syntax { .. })), "{json}");
        }
        assert!(matches!(JsonObject::parse(b"{\"a\":\"\xff\"}").map(drop), Err(InvalidObject::Syntax { .. })));
    }

    #[test]
    fn half_of_a_surrogate_pair_is_refused_and_a_pair_is_not() {
        for string in [r"\ud83d", r"\ude00", r"\ud83dx", r"\ud83d\ud83d", r"\\\ud83d"] {
            let json = format!(r#"{{"a":[{{"b":"{string}"}}]}}"#);
            assert_eq!(parse(&json), Err(InvalidObject::Surrogate("a".into())), "{string}");
        }
        for string in [r"\ud83d\ude00", r"\uD83D\uDE00", r"\\ud83d", r"\u0000"] {
            assert!(parse(&format!(r#"{{"a":"{string}"}}"#)).is_ok(), "{string}");
        }
    }

    #[test]
    fn a_number_beyond_the_range_of_a_double_is_refused_unless_it_is_an_integer() {
        for json in [r#"{"a":1e400}"#, r#"{"a":[-1.0E+400]}"#] {
            assert_eq!(parse(json), Err(InvalidObject::Number("a".into())), "{json}");
        }
        let integer = format!("{{\"a\":{},\"b\":1e-400,\"c\":false}}", "9".repeat(400));
        assert_eq!(parse(&integer).as_deref(), Ok(integer.as_str()));
    }

    #[test]
    fn the_maximum_nesting_is_that_of_serde_json() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        for depth in [1, DEEPEST, DEEPEST + 1, 100_000] {
            let parsed = serde_json::from_str::<Value>(&nested(depth)).is_ok();
            assert_eq!(parse(&nested(depth)).is_ok(), parsed, "{depth}");
        }
    }

    #[test]
    fn more_members_than_the_maximum_are_refused() {
        let members = |count: usize| {
            let members: Vec<_> = (0..count).map(|number| format!("\"{number}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(parse(&members(MOST_MEMBERS)).is_ok());
        assert_eq!(parse(&members(MOST_MEMBERS + 1)), Err(InvalidObject::TooMany));
    }

    #[test]
    fn a_member_is_replaced_in_its_position_and_a_new_one_is_last() {
        let mut object = JsonObject::parse(br#"{"a":1,"b":2,"c":3}"#).expect("an object");
        object.set("b", &"x");
        object.set("d", &true);
        object.remove("a");
        assert_eq!(object.to_json(), r#"{"b":"x","c":3,"d":true}"#);
        assert_eq!((object.read::<u64>("c"), object.read::<u64>("b")), (Some(3), None));
    }

    #[test]
    fn debug_prints_no_content() {
        let object = JsonObject::parse(br#"{"secret":"secret"}"#).expect("an object");
        assert!(!format!("{object:?}").contains("secret"));
    }
}
