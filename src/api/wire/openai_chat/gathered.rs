//! JSON that grows, fragment by fragment.

use std::fmt;

use compact_str::CompactString;

use crate::domain::{Lookup, Skim, Unreadable, unquoted};

/// A value whose texts stay escaped as they came, and whose numbers keep their digits. Written again it is what was
/// read, and two escaped texts one behind the other are the escaped text of both.
#[derive(Clone, PartialEq)]
pub enum Gathered {
    /// What stands between a string's quotes.
    Text(String),
    Members(Members),
    Items(Vec<Gathered>),
    /// Any other value, as it stands in JSON.
    Other(CompactString),
}

/// An object's, in their order.
#[derive(Debug, Clone, Default)]
pub struct Members {
    list: Vec<(CompactString, Gathered)>,
    /// Where each stands, once they are more than [`FEW`]. Objects have few, which to compare costs a fifth of a table's
    /// making; whoever sends many shall not have each compared with each. Boxed, since a value is moved often.
    places: Option<Box<Lookup<CompactString, usize>>>,
}

const FEW: usize = 32;
/// As many as any object of a chunk has, as a rule.
const USUAL: usize = 8;

impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

/// Prints lengths: answers are never logged.
impl fmt::Debug for Gathered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Members(members) => members.fmt(f),
            Self::Items(items) => items.fmt(f),
            Self::Other(json) => write!(f, "Other({} bytes)", json.len()),
        }
    }
}

impl Gathered {
    pub const NULL: Self = Self::Other(CompactString::const_new("null"));

    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// The value of a whole JSON text.
    pub fn parse(json: &str) -> Result<Self, Unreadable> {
        let mut skim = Skim::new(json);
        let value = Self::read(&mut skim)?;
        skim.end()?;
        Ok(value)
    }

    /// The value that comes next.
    pub fn read(skim: &mut Skim<'_>) -> Result<Self, Unreadable> {
        Ok(match skim.peek() {
            Some(b'"') => Self::text(unquoted(skim.value()?)),
            Some(b'{') => {
                let mut members = Members::default();
                skim.object(|skim, name| {
                    members.insert(name, Self::read(skim)?);
                    Ok(())
                })?;
                Self::Members(members)
            }
            Some(b'[') => {
                let mut items = Vec::new();
                skim.array(|skim| {
                    items.push(Self::read(skim)?);
                    Ok(())
                })?;
                Self::Items(items)
            }
            _ => Self::Other(skim.value()?.into()),
        })
    }

    pub fn is_null(&self) -> bool {
        *self == Self::NULL
    }

    pub fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => {
                out.push('"');
                out.push_str(text);
                out.push('"');
            }
            Self::Members(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    push_name(name, out);
                    value.write(out);
                }
                out.push('}');
            }
            Self::Items(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Other(json) => out.push_str(json),
        }
    }
}

fn push_name(name: &str, out: &mut String) {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain {
        out.push('"');
        out.push_str(name);
        out.push_str("\":");
    } else {
        out.push_str(&serde_json::Value::from(name).to_string());
        out.push(':');
    }
}

impl Members {
    pub fn get(&self, name: &str) -> Option<&Gathered> {
        self.list.get(self.place(name)?).map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Gathered> {
        let place = self.place(name)?;
        self.list.get_mut(place).map(|(_, value)| value)
    }

    /// Sets it: where it stood, or last.
    pub fn insert(&mut self, name: impl Into<CompactString>, value: Gathered) {
        let name = name.into();
        match self.get_mut(&name) {
            Some(known) => *known = value,
            None => self.push(name, value),
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<Gathered> {
        let place = self.place(name)?;
        let (_, value) = self.list.remove(place);
        self.places = None;
        self.note_places();
        Some(value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Gathered)> {
        self.list.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Takes over what `more` holds, which wins.
    pub fn extend(&mut self, more: Self) {
        if self.list.is_empty() {
            *self = more;
            return;
        }
        for (name, value) in more.list {
            self.insert(name, value);
        }
    }

    /// Says `more` after what has been said: strings are fragments, lists are longer by what comes or merged by
    /// `index`, objects member by member.
    pub fn merge(&mut self, more: Self) {
        for (name, value) in more.list {
            match self.get_mut(&name) {
                Some(known) if SAID_ONCE.contains(&name.as_str()) => {
                    if !value.is_null() {
                        *known = value;
                    }
                }
                Some(known) => known.merge(value),
                None => self.push(name, value),
            }
        }
    }

    fn place(&self, name: &str) -> Option<usize> {
        if self.list.len() > FEW {
            return self.places.as_ref()?.get(name).copied();
        }
        self.list.iter().position(|(known, _)| known == name)
    }

    fn push(&mut self, name: CompactString, value: Gathered) {
        // Not before: there may be many that are empty.
        if self.list.is_empty() {
            self.list.reserve(USUAL);
        }
        self.list.push((name, value));
        self.note_places();
    }

    /// Notes the places of those that have none yet.
    fn note_places(&mut self) {
        if self.list.len() > FEW {
            let places = self.places.get_or_insert_default();
            let new = self.list.iter().enumerate().skip(places.len());
            places.extend(new.map(|(place, (name, _))| (name.clone(), place)));
        }
    }

    fn index(&self) -> Option<&Gathered> {
        self.get("index")
    }
}

/// Said once, or each time in full: a name that came in two pieces would be no name.
const SAID_ONCE: [&str; 6] = ["index", "id", "type", "role", "name", "finish_reason"];

/// Whether a member, once it has been said, may be said again without a change.
pub fn changes_nothing(name: &str, value: &Gathered) -> bool {
    match value {
        Gathered::Other(_) => true,
        Gathered::Text(text) => text.is_empty() || SAID_ONCE.contains(&name),
        Gathered::Items(_) | Gathered::Members(_) => false,
    }
}

impl Gathered {
    fn merge(&mut self, more: Self) {
        match (self, more) {
            (_, more) if more.is_null() => {}
            (Self::Text(known), Self::Text(more)) => known.push_str(&more),
            (Self::Members(known), Self::Members(more)) => known.merge(more),
            (Self::Items(known), Self::Items(more)) => {
                for item in more {
                    // Without an index there is nothing to look for, in what may be a long list.
                    let same =
                        item.index().and_then(|index| known.iter_mut().find(|known| known.index() == Some(index)));
                    match same {
                        Some(same) => same.merge(item),
                        None => known.push(item),
                    }
                }
            }
            (known, more) => *known = more,
        }
    }

    fn index(&self) -> Option<&Self> {
        match self {
            Self::Members(members) => members.index(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Gathered) -> String {
        let mut out = String::new();
        value.write(&mut out);
        out
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        let json = r#"{"a":[1.50,-0,1e9,true,null,"\ud83d\ude00\n",[],{}],"b c\"":{"d":"Zürich"}}"#;
        assert_eq!(written(&Gathered::parse(json).expect("JSON")), json);
    }

    #[test]
    fn of_two_members_of_one_name_the_last_is_read() {
        assert_eq!(written(&Gathered::parse(r#"{"a":1,"b":2,"a":3}"#).expect("JSON")), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn debug_prints_no_text() {
        let value = Gathered::parse(r#"{"a":["secret",1]}"#).expect("JSON");
        assert!(!format!("{value:?}").contains("secret"));
    }

    #[test]
    fn many_members_are_what_few_are() {
        let many = |value: &str| {
            let members: Vec<_> = (0..5 * FEW).map(|at| format!("\"{}\":\"{value}\"", at % (2 * FEW))).collect();
            Gathered::parse(&format!("{{{}}}", members.join(","))).expect("JSON")
        };
        let mut known = many("a");
        known.merge(many("b"));
        let Gathered::Members(members) = &mut known else { unreachable!() };
        assert_eq!(members.remove("0"), Some(Gathered::text("ab")));
        assert_eq!((members.get("0"), members.get("1")), (None, Some(&Gathered::text("ab"))));
        members.insert("1", Gathered::NULL);
        let names: Vec<_> = members.iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, (1..2 * FEW).map(|at| at.to_string()).collect::<Vec<_>>());
        assert_eq!(members.get("1"), Some(&Gathered::NULL));
    }

    #[test]
    fn fragments_are_joined_each_by_its_kind() {
        let mut known = Gathered::parse(r#"{"id":"x","text":"a\n","list":[1],"n":1,"o":{"t":"o"}}"#).expect("JSON");
        let more = r#"{"id":"y","text":"\u00e9","list":[2],"n":2,"o":{"t":"k","u":null},"text2":null}"#;
        known.merge(Gathered::parse(more).expect("JSON"));
        let both = r#"{"id":"y","text":"a\n\u00e9","list":[1,2],"n":2,"o":{"t":"ok","u":null},"text2":null}"#;
        assert_eq!(written(&known), both);
        let mut calls = Gathered::parse(r#"[{"index":0,"t":"a"}]"#).expect("JSON");
        calls.merge(Gathered::parse(r#"[{"index":1,"t":"b"},{"index":0,"t":"c"},{"t":"d"}]"#).expect("JSON"));
        assert_eq!(written(&calls), r#"[{"index":0,"t":"ac"},{"index":1,"t":"b"},{"t":"d"}]"#);
    }
}
