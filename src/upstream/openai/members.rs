//! An object's members, in their order and as they came.

use std::borrow::Cow;

use crate::domain::{Escaped, Skim, Unreadable};

/// An object, parsed no further than its members. No two have the same name: one reader would take the
/// first for what was said, another the last.
pub struct Members<'a> {
    /// The object as it came.
    pub json: &'a str,
    list: Vec<(Cow<'a, str>, &'a str)>,
}

/// As many members as any object of a chunk has, as a rule.
const USUAL: usize = 8;

/// The empty object.
impl Default for Members<'_> {
    fn default() -> Self {
        Self { json: "{}", list: Vec::new() }
    }
}

impl<'a> Members<'a> {
    /// Goes over the object that comes next; `value` goes over the value of each name.
    pub fn skim(
        skim: &mut Skim<'a>,
        mut value: impl FnMut(&mut Skim<'a>, &str) -> Result<&'a str, Unreadable>,
    ) -> Result<Self, Unreadable> {
        let mut list = Vec::new();
        let json = skim.object(|skim, name| {
            let value = value(skim, &name)?;
            // Not before: there may be many that are empty.
            if list.is_empty() {
                list.reserve(USUAL);
            }
            list.push((name, value));
            Ok(())
        })?;
        if are_unique(&list) { Ok(Self { json, list }) } else { Err(Unreadable) }
    }

    /// The object that comes next, no deeper.
    pub fn flat(skim: &mut Skim<'a>) -> Result<Self, Unreadable> {
        Self::skim(skim, |skim, _| skim.value())
    }

    /// The object that comes next, and that which it has by this name.
    pub fn with(skim: &mut Skim<'a>, inner: &str) -> Result<(Self, Option<Self>), Unreadable> {
        let mut found = None;
        let outer = Self::skim(skim, |skim, name| {
            if name != inner || skim.is_at_null() {
                return skim.value();
            }
            Ok(found.insert(Self::flat(skim)?).json)
        })?;
        Ok((outer, found))
    }

    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.list.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    /// As [`Members::get`]; a `null` is an absent member.
    pub fn said(&self, name: &str) -> Option<&'a str> {
        self.get(name).filter(|value| *value != "null")
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.list.iter().map(|(name, value)| (name.as_ref(), *value))
    }
}

/// A JSON string, fit for one line of an event stream.
pub fn quoted(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let escaped = (!is_plain).then(|| Escaped::from_text(text));
    ["\"", escaped.as_ref().map_or(text, Escaped::as_str), "\""].concat()
}

/// A few are compared with one another, which takes no list of their own.
fn are_unique(members: &[(Cow<'_, str>, &str)]) -> bool {
    if members.len() <= 16 {
        let mut rest = members.iter();
        return std::iter::from_fn(|| rest.next().map(|one| (one, rest.as_slice())))
            .all(|(one, others)| others.iter().all(|other| other.0 != one.0));
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    names.is_sorted_by(|one, next| one < next)
}
