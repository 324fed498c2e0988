//! An object that keeps its members as they were written.

use std::fmt;

use memchr::memchr;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::tokens::{Token, Tokens};

/// A JSON object whose members are in their order, each value the text that it was parsed from: numbers of any size and
/// form, nested content and escapes are written as they were read.
///
/// No two members have the same name after unescaping. Every nested string is text and no value is nested deeper than
/// `serde_json` reads.
#[derive(Clone, Default)]
pub struct JsonObject {
    members: Vec<(Box<str>, Box<RawValue>)>,
}

/// Why a text is not such an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObject {
    #[error("not JSON: line {line}, column {column}")]
    Syntax { line: usize, column: usize },
    #[error("not an object")]
    NotAnObject,
    #[error("two members have one name")]
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

/// Open objects and arrays below the object itself, as many as `serde_json` reads.
const DEEPEST: usize = 126;

/// A short member takes ten times the bytes of its text: more of them would let a body take many times its size.
pub const MOST_MEMBERS: usize = 1 << 18;

impl JsonObject {
    /// Parses a whole text.
    pub fn parse(json: &[u8]) -> Result<Self, InvalidObject> {
        let parsed = serde_json::from_slice(json);
        let Members { list: members, count } = parsed.map_err(|error| match error.classify() {
            Category::Data => match serde_json::from_slice::<Value>(json) {
                Ok(_) => InvalidObject::NotAnObject,
                Err(error) => syntax(&error),
            },
            Category::Syntax | Category::Eof | Category::Io => syntax(&error),
        })?;
        if count > MOST_MEMBERS {
            return Err(InvalidObject::TooMany);
        }
        for (name, value) in &members {
            check(name, value.get())?;
        }
        if let Some(name) = duplicate(&members) {
            return Err(InvalidObject::Duplicate(name.into()));
        }
        Ok(Self { members })
    }

    /// Returns a member's JSON.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.position(name).and_then(|at| self.members.get(at)).map(|(_, value)| value.get())
    }

    /// Returns a member's JSON, if it is there and not `null`.
    pub fn present(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|json| *json != "null")
    }

    /// Deserializes a member; `None` where it is absent, or of another type.
    pub fn read<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        serde_json::from_str(self.get(name)?).ok()
    }

    /// Replaces a member where it stands, or adds it as the last one.
    pub fn insert(&mut self, name: &str, value: Box<RawValue>) {
        match self.position(name).and_then(|at| self.members.get_mut(at)) {
            Some((_, known)) => *known = value,
            None => self.members.push((name.into(), value)),
        }
    }

    /// As [`JsonObject::insert`], for a value that serializes.
    pub fn set(&mut self, name: &str, value: &impl Serialize) {
        if let Ok(value) = serde_json::value::to_raw_value(value) {
            self.insert(name, value);
        }
    }

    /// Removes a member; the others keep their order.
    pub fn remove(&mut self, name: &str) -> Option<Box<RawValue>> {
        self.position(name).map(|at| self.members.remove(at).1)
    }

    /// Iterates over the names and their JSON.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members.iter().map(|(name, value)| (&**name, value.get()))
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Writes the object, without spaces between its members.
    pub fn to_json(&self) -> String {
        let mut json =
            String::with_capacity(self.members.iter().map(|(name, value)| name.len() + value.get().len() + 8).sum());
        write_members(&mut json, self.iter());
        json
    }

    /// Objects have few members: comparing costs less than hashing.
    fn position(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|(known, _)| **known == *name)
    }
}

fn syntax(error: &serde_json::Error) -> InvalidObject {
    InvalidObject::Syntax { line: error.line(), column: error.column() }
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

/// What stands in an object, not yet compared.
#[derive(Default)]
struct Members {
    list: Vec<(Box<str>, Box<RawValue>)>,
    /// How many there are, those that are not kept included.
    count: usize,
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Members::default();
                while let Some(name) = map.next_key::<String>()? {
                    members.count += 1;
                    if members.count > MOST_MEMBERS {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        members.list.push((name.into(), map.next_value()?));
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The first name that another member has too.
fn duplicate(members: &[(Box<str>, Box<RawValue>)]) -> Option<&str> {
    let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names.windows(2).find_map(|pair| match pair {
        [one, next] if one == next => Some(*one),
        _ => None,
    })
}

/// Checks what `serde_json` does not check in a value that it keeps as text.
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
            // Digits alone are an integer of any size.
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

/// Whether each escape of a surrogate is one of a pair (RFC 8259, section 8.2).
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
    fn a_name_that_stands_twice_after_unescaping_is_refused() {
        for json in [r#"{"model":1,"x":2,"model":3}"#, r#"{"model":1,"mode\u006c":1}"#] {
            assert_eq!(parse(json), Err(InvalidObject::Duplicate("model".into())), "{json}");
        }
        let many: Vec<_> = (0..40).map(|number| format!("\"m{}\":0", number % 39)).collect();
        assert_eq!(parse(&format!("{{{}}}", many.join(","))), Err(InvalidObject::Duplicate("m0".into())));
    }

    #[test]
    fn what_is_not_an_object_or_not_json_is_refused() {
        for json in ["[]", "null", "5", "\"x\""] {
            assert_eq!(parse(json), Err(InvalidObject::NotAnObject), "{json}");
        }
        let deep = "[".repeat(1_000) + &"]".repeat(1_000);
        for json in ["", "{", "{\"a\":}", "{\"a\":01}", "{}x", "{\"a\":NaN}", "[1,]", &deep] {
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
    fn nesting_ends_where_a_parser_gives_up() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        for depth in [1, DEEPEST, DEEPEST + 1, 100_000] {
            let parsed = serde_json::from_str::<Value>(&nested(depth)).is_ok();
            assert_eq!(parse(&nested(depth)).is_ok(), parsed, "{depth}");
        }
    }

    #[test]
    fn more_members_than_a_request_has_are_refused() {
        let members = |count: usize| {
            let members: Vec<_> = (0..count).map(|number| format!("\"{number}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(parse(&members(MOST_MEMBERS)).is_ok());
        assert_eq!(parse(&members(MOST_MEMBERS + 1)), Err(InvalidObject::TooMany));
    }

    #[test]
    fn a_member_is_replaced_where_it_stands_and_a_new_one_is_last() {
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
