//! Distinguishes the tool calls of a choice and numbers them.

use super::chunk_piece::MALFORMED;
use crate::domain::RequestId;
use crate::json::{Object, RawText, Tree};
use crate::upstream::AttemptErrorKind;

/// The tool calls that a choice has begun, in their order. Their numbers on every wire are 0, 1, 2, ...
#[derive(Debug, Default)]
pub struct ToolCalls {
    begun: Vec<BegunCall>,
}

#[derive(Debug)]
struct BegunCall {
    /// The index that the upstream sends. Some upstreams send none, or the same for several calls.
    index: Option<i64>,
    id: Option<RawText>,
    name: Option<RawText>,
    /// Set if the call began without an id and got a generated one. An id that the upstream sends later is then
    /// ignored.
    has_generated_id: bool,
}

/// A normalized fragment of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    pub number: u32,
    pub begins: Begins,
    /// Set if it is new to the call, like `name`.
    pub id: Option<RawText>,
    pub name: Option<RawText>,
}

/// Whether a fragment begins its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    Call,
    Nothing,
}

/// Most calls in one choice; more are malformed.
const MOST_CALLS: usize = 1024;

impl ToolCalls {
    /// Finds the call that a fragment belongs to, sets the number of the call, and removes an id, name or type that is
    /// empty or was sent before. `position` is the position of the fragment among its `siblings`, the fragments of the
    /// same chunk.
    ///
    /// A different id is a different call, also at the same index. A fragment without an id belongs to the last call at
    /// its index; one without id and index belongs to the last call.
    pub fn fragment(
        &mut self,
        call: &mut Object,
        position: usize,
        siblings: usize,
    ) -> Result<Fragment, AttemptErrorKind> {
        let id = text_of(call.get("id"));
        let name = call.get("function").and_then(Tree::as_object).and_then(|function| text_of(function.get("name")));
        let index = integer(call.get("index"));
        let known = match (index, &id) {
            (Some(index), Some(id)) => self.at_index_with_id(index, id),
            (Some(index), None) => self.last(|call| call.index == Some(index)),
            (None, Some(id)) => self.last(|call| call.id.as_ref() == Some(id)),
            // Only their positions distinguish these fragments.
            (None, None) if siblings > 1 => {
                let position = i64::try_from(position).unwrap_or(i64::MAX);
                self.last(|call| call.index == Some(position))
            }
            (None, None) => self.begun.len().checked_sub(1).filter(|last| self.has_name(*last, name.as_ref())),
        };
        let begins = if known.is_some() { Begins::Nothing } else { Begins::Call };
        let at = known.unwrap_or(self.begun.len());
        if begins == Begins::Call {
            if self.begun.len() >= MOST_CALLS {
                return Err(MALFORMED);
            }
            let position = (siblings > 1 && id.is_none()).then(|| i64::try_from(position).unwrap_or(i64::MAX));
            self.begun.push(BegunCall { index: index.or(position), id: None, name: None, has_generated_id: false });
        }
        let number = u32::try_from(at).map_err(|_| MALFORMED)?;
        let begun = self.begun.get_mut(at).ok_or(MALFORMED)?;
        let mut id = replace(&mut begun.id, id).filter(|_| !begun.has_generated_id);
        if begins == Begins::Call && id.is_none() && call.present("function").is_some() {
            begun.has_generated_id = true;
            id = Some(generate_id());
        }
        let name = replace(&mut begun.name, name);
        write(call, number, begins, id.as_ref(), name.as_ref());
        Ok(Fragment { number, begins, id, name })
    }

    fn last(&self, is_it: impl Fn(&BegunCall) -> bool) -> Option<usize> {
        self.begun.iter().rposition(is_it)
    }

    fn at_index_with_id(&self, index: i64, id: &RawText) -> Option<usize> {
        let last = self.last(|call| call.index == Some(index))?;
        let has_none = self.begun.get(last).is_some_and(|call| call.id.is_none());
        if has_none { Some(last) } else { self.last(|call| call.index == Some(index) && call.id.as_ref() == Some(id)) }
    }

    /// Returns whether a fragment with this name can belong to a call.
    fn has_name(&self, at: usize, name: Option<&RawText>) -> bool {
        let known = self.begun.get(at).and_then(|call| call.name.as_ref());
        name.is_none() || known.is_none() || known == name
    }
}

/// Generates an id for a call without one: clients send it with the result of the tool.
pub fn generate_id() -> RawText {
    format!("call_{}", RequestId::random()).into()
}

/// Stores a value; returns it if it is new to the call.
fn replace(known: &mut Option<RawText>, sent: Option<RawText>) -> Option<RawText> {
    let new = sent.filter(|sent| known.as_ref() != Some(sent))?;
    Some(known.insert(new).clone())
}

fn write(call: &mut Object, number: u32, begins: Begins, id: Option<&RawText>, name: Option<&RawText>) {
    call.set("index", Tree::number(number));
    let id_tree = id.map(|id| Tree::Text(id.clone()));
    set_or_remove(call, "id", id_tree);
    let is_function = call.present("function").is_some();
    let kind = call.text("type").cloned();
    let kind = kind.or_else(|| is_function.then(|| "function".into())).filter(|_| begins == Begins::Call);
    set_or_remove(call, "type", kind.map(Tree::Text));
    if let Some(function) = call.get_mut("function").and_then(Tree::as_object_mut) {
        set_or_remove(function, "name", name.map(|name| Tree::Text(name.clone())));
    }
}

fn set_or_remove(object: &mut Object, name: &'static str, value: Option<Tree>) {
    match value {
        Some(value) => object.set(name, value),
        None => _ = object.remove(name),
    }
}

/// Returns a text that is not empty, or a number as a text.
fn text_of(value: Option<&Tree>) -> Option<RawText> {
    match value? {
        Tree::Text(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Tree::Literal(number) if number.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            Some(number.clone())
        }
        _ => None,
    }
}

/// Returns an integer, also from a float or a string.
pub fn integer(value: Option<&Tree>) -> Option<i64> {
    let (Tree::Literal(digits) | Tree::Text(digits)) = value? else { return None };
    let digits = digits.strip_suffix(".0").unwrap_or(digits);
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the normalized fragments of `chunks`, each of which is a list of fragments.
    fn read(chunks: &[&str]) -> Vec<String> {
        let mut calls = ToolCalls::default();
        let mut read = Vec::new();
        for chunk in chunks {
            let mut fragments = Tree::parse(chunk).expect("JSON");
            let fragments = fragments.as_array_mut().expect("a list");
            let siblings = fragments.len();
            for (position, fragment) in fragments.iter_mut().enumerate() {
                let fragment = fragment.as_object_mut().expect("an object");
                calls.fragment(fragment, position, siblings).expect("few calls");
                read.push(fragment.to_json());
            }
        }
        read
    }

    fn numbers(chunks: &[&str]) -> Vec<i64> {
        let number =
            |json: &String| Tree::parse(json).expect("JSON").as_object().and_then(|call| integer(call.get("index")));
        read(chunks).iter().filter_map(number).collect()
    }

    #[test]
    fn calls_are_numbered_from_zero_for_every_numbering_of_the_upstream() {
        for (what, chunks, expected) in [
            ("index", vec![r#"[{"index":0,"id":"a"}]"#, r#"[{"index":1,"id":"b"},{"index":0}]"#], vec![0, 1, 0]),
            ("index from 1", vec![r#"[{"index":1,"id":"a"}]"#, r#"[{"index":2,"id":"b"},{"index":1}]"#], vec![0, 1, 0]),
            ("another id", vec![r#"[{"index":0,"id":"a"},{"index":0,"id":"b"}]"#, r#"[{"index":0}]"#], vec![0, 1, 1]),
            (
                "ids in every fragment",
                vec![r#"[{"index":0,"id":"a"}]"#, r#"[{"index":0,"id":"b"}]"#, r#"[{"index":0,"id":"a"}]"#],
                vec![0, 1, 0],
            ),
            (
                "no index",
                vec![r#"[{"id":"a"}]"#, "[{}]", r#"[{"id":"b"}]"#, "[{}]", r#"[{"id":"a"}]"#],
                vec![0, 0, 1, 1, 0],
            ),
            (
                "negative",
                vec![r#"[{"index":-1,"id":"a"}]"#, r#"[{"index":-1,"id":"b"}]"#, r#"[{"index":-1}]"#],
                vec![0, 1, 1],
            ),
            (
                "strings",
                vec![r#"[{"index":"0","id":"a"}]"#, r#"[{"index":"1","id":"b"}]"#, r#"[{"index":"0"}]"#],
                vec![0, 1, 0],
            ),
            ("null", vec![r#"[{"index":null,"id":"a"}]"#, r#"[{"index":null,"id":null}]"#], vec![0, 0]),
            ("one id at two", vec![r#"[{"index":0,"id":"a"}]"#, r#"[{"index":1,"id":"a"}]"#], vec![0, 1]),
            ("no ids", vec![r#"[{"index":0}]"#, r#"[{"index":1}]"#, r#"[{"index":0,"id":""}]"#], vec![0, 1, 0]),
            ("positions", vec!["[{},{}]", "[{},{}]"], vec![0, 1, 0, 1]),
            (
                "a late id",
                vec![r#"[{"index":0}]"#, r#"[{"index":0,"id":"a"}]"#, r#"[{"index":0,"id":"a"}]"#],
                vec![0, 0, 0],
            ),
            ("names", vec![r#"[{"function":{"name":"f"}}]"#, r#"[{"function":{"name":"g"}}]"#, "[{}]"], vec![0, 1, 1]),
        ] {
            assert_eq!(numbers(&chunks), expected, "{what}");
        }
    }

    #[test]
    fn empty_and_repeated_members_are_removed() {
        let read = read(&[
            r#"[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"x"}}]"#,
            r#"[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"y"}}]"#,
            r#"[{"index":0,"id":"","type":null,"function":{"name":null,"arguments":"z"}}]"#,
            r#"[{"id":7,"function":{"arguments":""}}]"#,
            r#"[{"id":"c","type":"custom","custom":{"input":"x"}}]"#,
        ]);
        assert_eq!(
            read,
            [
                r#"{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"x"}}"#,
                r#"{"index":0,"function":{"arguments":"y"}}"#,
                r#"{"index":0,"function":{"arguments":"z"}}"#,
                r#"{"id":"7","function":{"arguments":""},"index":1,"type":"function"}"#,
                r#"{"id":"c","type":"custom","custom":{"input":"x"},"index":2}"#,
            ]
        );
    }

    #[test]
    fn call_without_an_id_keeps_its_generated_id() {
        let read = read(&[
            r#"[{"index":0,"function":{"name":"f","arguments":""}}]"#,
            r#"[{"index":0,"id":"late","function":{"arguments":"x"}}]"#,
            r#"[{"index":0,"id":"late","function":{"arguments":"y"}}]"#,
        ]);
        assert!(read[0].contains(r#""id":"call_req_"#), "{read:?}");
        assert_eq!(read[1..], ["x", "y"].map(|text| format!(r#"{{"index":0,"function":{{"arguments":"{text}"}}}}"#)));
    }

    #[test]
    fn call_number_1025_is_malformed() {
        let mut calls = ToolCalls::default();
        let mut begin = |at: usize| {
            let mut call: Object = [("id", Tree::text(&at.to_string()))].into_iter().collect();
            calls.fragment(&mut call, 0, 1)
        };
        assert!((0..1024).all(|at| begin(at).is_ok()));
        assert_eq!(begin(1024), Err(MALFORMED));
    }
}
