//! Values of JSON that the mappings build.

use super::Escaped;
use crate::json::{Object, RawText, Tree, well_formed};

/// Returns an object with these members, in this order.
pub fn object<const N: usize>(members: [(&str, Tree); N]) -> Object {
    members.into_iter().collect()
}

/// Returns a text from a JSON string's content, as it was written.
pub fn raw(content: &RawText) -> Tree {
    Tree::Text(content.clone())
}

/// Returns the text of a JSON string's content.
pub fn unescape(content: &RawText) -> String {
    Escaped::from_stored(&well_formed(content)).unescape().into_owned()
}

/// Returns a text.
pub fn text(text: &str) -> Tree {
    Tree::text(Escaped::from_text(text).as_str())
}

/// Copies a member that is present.
pub fn copy(from: &Object, name: &str, into: &mut Object) {
    if let Some(value) = from.present(name) {
        into.set(name, value.clone());
    }
}
