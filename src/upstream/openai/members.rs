//! An object's members, in their order and as they came.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::Escaped;

/// An object, parsed no further than its members. No two have the same name: one reader would take the
/// first for what was said, another the last.
#[derive(Debug, Default)]
pub struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    /// As [`Members::get`]; a `null` is an absent member.
    pub fn said(&self, name: &str) -> Option<&'a RawValue> {
        self.get(name).filter(|value| value.get() != "null")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// A JSON string, fit for one line of an event stream.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", Escaped::from_text(text).as_str())
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            members.push((name, map.next_value()?));
        }
        if are_unique(&members) { Ok(Members(members)) } else { Err(A::Error::custom("two members of the same name")) }
    }
}

/// A few are compared with one another, which takes no list of their own.
fn are_unique(members: &[(Cow<'_, str>, &RawValue)]) -> bool {
    if members.len() <= 16 {
        let mut rest = members.iter();
        return std::iter::from_fn(|| rest.next().map(|one| (one, rest.as_slice())))
            .all(|(one, others)| others.iter().all(|other| other.0 != one.0));
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    names.is_sorted_by(|one, next| one < next)
}

/// A member's name, borrowed where it holds no escape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
