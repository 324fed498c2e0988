//! The members of a JSON object.

use std::collections::HashMap;
use std::ops::Range;

use compact_str::CompactString;

use super::tree::TreeWriter;
use super::{RawText, Tree};

/// An object, its members in the order received. No two have the same name.
#[derive(Debug, Clone, Default)]
#[expect(clippy::box_collection, reason = "few objects have it, and each value of a tree has its size")]
pub struct Object {
    members: Vec<(CompactString, Tree)>,
    /// The index of each member, once there are more than [`FEW`]: with 100,000 members from an upstream, comparing all
    /// names would be quadratic. Boxed to keep the tree's values small.
    places: Option<Box<HashMap<CompactString, usize>>>,
}

/// Up to this many members are found faster by comparing their names.
const FEW: usize = 32;

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

impl Object {
    pub fn get(&self, name: &str) -> Option<&Tree> {
        self.members.get(self.place(name)?).map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Tree> {
        let place = self.place(name)?;
        self.members.get_mut(place).map(|(_, value)| value)
    }

    /// As [`Object::get`], with `null` treated as an absent member.
    pub fn present(&self, name: &str) -> Option<&Tree> {
        self.get(name).filter(|value| !value.is_null())
    }

    /// Returns a member that is a non-empty text.
    pub fn text(&self, name: &str) -> Option<&RawText> {
        self.get(name)?.as_text().filter(|text| !text.is_empty())
    }

    /// Replaces a member in its position, or adds it as the last one.
    pub fn set(&mut self, name: impl Into<CompactString>, value: Tree) {
        let name = name.into();
        if let Some(known) = self.get_mut(&name) {
            *known = value;
            return;
        }
        self.members.push((name, value));
        self.note_places();
    }

    pub fn remove(&mut self, name: &str) -> Option<Tree> {
        let place = self.place(name)?;
        let (_, value) = self.members.remove(place);
        self.places = None;
        self.note_places();
        Some(value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tree)> {
        self.members.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn to_json(&self) -> String {
        self.to_json_around(None).0
    }

    /// Writes the object; returns it with the byte range of `text`, one of its texts. Without `text` the range is the
    /// empty one at the end.
    pub fn to_json_around(&self, text: Option<&RawText>) -> (String, Range<usize>) {
        let mut writer = TreeWriter::new(text);
        writer.object(self);
        let end = writer.json.len();
        (writer.json, writer.range.unwrap_or(end..end))
    }

    fn place(&self, name: &str) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(name).copied(),
            // Comparing the lengths first avoids most calls of memcmp.
            None => self.members.iter().position(|(known, _)| known.len() == name.len() && known == name),
        }
    }

    /// Indexes the members that are not in `places` yet.
    fn note_places(&mut self) {
        if self.members.len() > FEW {
            let places = self.places.get_or_insert_default();
            let new = self.members.iter().enumerate().skip(places.len());
            places.extend(new.map(|(place, (name, _))| (name.clone(), place)));
        }
    }
}

impl IntoIterator for Object {
    type Item = (CompactString, Tree);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.into_iter()
    }
}

impl<N: Into<CompactString>> FromIterator<(N, Tree)> for Object {
    fn from_iter<I: IntoIterator<Item = (N, Tree)>>(members: I) -> Self {
        let mut object = Self::default();
        for (name, value) in members {
            object.set(name, value);
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_with_and_without_an_index() {
        for count in [3, FEW, FEW + 1, 5 * FEW] {
            let mut object: Object = (0..2 * count).map(|at| ((at % count).to_string(), Tree::text("a"))).collect();
            assert_eq!(object.iter().count(), count);
            object.set("1", Tree::NULL);
            assert_eq!(object.remove("0"), Some(Tree::text("a")));
            assert_eq!((object.get("0"), object.get("1"), object.present("1")), (None, Some(&Tree::NULL), None));
            let names: Vec<_> = object.iter().map(|(name, _)| name.to_owned()).collect();
            assert_eq!(names, (1..count).map(|at| at.to_string()).collect::<Vec<_>>());
            assert_eq!(object.text(&(count - 1).to_string()), Some(&"a".into()));
        }
    }
}
