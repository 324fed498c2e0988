//! Makes constant what must be constant in a stream of chunks, and present what must be present.
//!
//! OpenAI's clients rely on more than many servers send: one `id`, `created` and `model` for the whole
//! stream, the role in a choice's first chunk and in no other, `finish_reason` in every choice and set
//! once, usage in a chunk of its own. Servers are put right here, on arrival and once for each shape
//! of chunk, so that a viewer's frame is a copy. A chunk that needs nothing stays as it came.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use smallvec::SmallVec;

use super::members::{Members, quoted};
use super::pieces::{WireChoice, WireChunk};
use super::templates::Own;
use crate::domain::{RequestId, Trailer};

/// What one stream has shown so far.
#[derive(Debug, Default)]
pub struct Canon {
    head: Option<Head>,
    choices: BTreeMap<u32, Choice>,
    usage_json: Option<Box<str>>,
    /// What the chunk of the usage has beside what every chunk has, each member behind a comma.
    beside_usage: String,
}

/// The members that are the same in every chunk, as JSON.
#[derive(Debug)]
struct Head {
    id: Box<str>,
    created: Box<str>,
    model: Box<str>,
}

#[derive(Debug, Default)]
struct Choice {
    has_role: bool,
    finished: bool,
}

/// A chunk put right.
#[derive(Debug, PartialEq, Eq)]
pub struct Canonical<'a> {
    /// `None` for a chunk that only carries usage: that comes at the end, to who asked for it.
    pub json: Option<Cow<'a, str>>,
    /// Whether the next chunk of this form is put right in the same way.
    pub repeats: bool,
}

/// A longer id or model is not taken over: it would be in every chunk, and make much of little.
pub const LONGEST_NAME: usize = 256;
/// Random characters with which OpenAI evens out the length of its chunks against who counts the bytes
/// on its connection. They mean nothing behind it, and would make each chunk a shape of its own.
const OBFUSCATION: &str = "obfuscation";
const OBJECT: &str = "\"chat.completion.chunk\"";

impl Canon {
    /// As after one chunk that gave the role of a choice, and needed nothing.
    pub fn begun(own: Own<'_>, model: &str, choice: u32) -> Self {
        let head = Head { id: own.id.into(), created: own.created.into(), model: model.into() };
        let choices = BTreeMap::from([(choice, Choice { has_role: true, finished: false })]);
        Self { head: Some(head), choices, ..Self::default() }
    }

    /// Whether nothing has come yet.
    pub const fn is_fresh(&self) -> bool {
        self.head.is_none()
    }

    /// The one choice that there is, if it has its role and has not finished.
    pub fn sole_role(&self) -> Option<u32> {
        let (index, choice) = self.choices.first_key_value().filter(|_| self.choices.len() == 1)?;
        Some(*index).filter(|_| choice.has_role && !choice.finished)
    }

    /// Puts a chunk right. `model` is what the request named, for a server that does not say.
    pub fn chunk<'a>(&mut self, chunk: &WireChunk<'a>, model: &str) -> Canonical<'a> {
        let members = &chunk.members;
        let head = self.head.get_or_insert_with(|| Head::of(members, model));
        let usage = members.said("usage");
        if let Some(usage) = usage {
            // One that counts nothing is none.
            if chunk.usage.is_some_and(|usage| usage.counted().is_some()) {
                self.usage_json = Some(usage.into());
            }
            if chunk.choices.is_empty() {
                self.beside_usage = beside_usage(members);
                return Canonical { json: None, repeats: false };
            }
        }
        let mut right = Right::new(members);
        let mut repeats = usage.is_none();
        right.member("id", &head.id);
        right.member("object", OBJECT);
        right.member("created", &head.created);
        right.member("model", &head.model);
        for name in ["usage", OBFUSCATION] {
            right.remove(name);
        }
        let mut choices: SmallVec<[Cow<'_, str>; 1]> = SmallVec::new();
        for choice in &chunk.choices {
            let (choice, lasting) = choice_put_right(choice, &mut self.choices);
            repeats &= lasting;
            choices.push(choice);
        }
        if members.said("choices").is_none() {
            right.member("choices", "[]");
        } else if choices.iter().any(|choice| matches!(choice, Cow::Owned(_))) {
            right.replace("choices", format!("[{}]", choices.join(",")));
        }
        Canonical { json: Some(right.write()), repeats }
    }

    /// What comes after the last chunk that said something: `silent` are the chunks since then.
    pub fn close(&mut self, silent: String, model: &str) -> Trailer {
        let head = self.head.get_or_insert_with(|| Head::of(&Members::default(), model)).to_string();
        let mut chunks_json = silent;
        if self.choices.is_empty() {
            self.choices.insert(0, Choice::default());
        }
        for (index, choice) in &mut self.choices {
            if !std::mem::replace(&mut choice.finished, true) {
                let delta = if choice.has_role { "{}" } else { ROLE_ALONE };
                _ = writeln!(
                    chunks_json,
                    "{{{head},\"choices\":[{{\"index\":{index},\"delta\":{delta},\"finish_reason\":\"stop\"}}]}}"
                );
            }
        }
        let head_json = (head + &self.beside_usage).into();
        Trailer {
            chunks_json: chunks_json.into(),
            head_json,
            usage_json: self.usage_json.take(),
            completion_json: None,
        }
    }
}

fn beside_usage(chunk: &Members<'_>) -> String {
    const KNOWN: [&str; 8] = ["id", "object", "created", "model", "choices", "usage", "error", OBFUSCATION];
    let mut members = String::new();
    for (name, value) in chunk.iter().filter(|(name, _)| !KNOWN.contains(name)) {
        _ = write!(members, ",{}:{value}", quoted(name));
    }
    members
}

const ROLE_ALONE: &str = "{\"role\":\"assistant\",\"content\":\"\"}";

/// One choice put right, and whether the next like it is put right in the same way.
fn choice_put_right<'a>(choice: &WireChoice<'a>, choices: &mut BTreeMap<u32, Choice>) -> (Cow<'a, str>, bool) {
    let WireChoice { index, members, delta, .. } = choice;
    let seen = choices.entry(*index).or_default();
    let mut right = Right::new(members);
    right.member("index", itoa::Buffer::new().format(*index));

    let empty = Members::default();
    let mut right_delta = Right::new(delta.as_ref().unwrap_or(&empty));
    let first = !std::mem::replace(&mut seen.has_role, true);
    if first {
        right_delta.member("role", "\"assistant\"");
    } else {
        right_delta.remove("role");
    }
    right.member("delta", &right_delta.write());

    let finish = members.get("finish_reason").filter(|reason| !matches!(*reason, "null" | "\"\""));
    let finishes = finish.is_some() && !std::mem::replace(&mut seen.finished, true);
    right.member("finish_reason", finish.filter(|_| finishes).unwrap_or("null"));
    (right.write(), !first && finish.is_none())
}

impl Head {
    fn of(chunk: &Members<'_>, model: &str) -> Self {
        let text = |name| {
            chunk.get(name).filter(|value| value.starts_with('"') && *value != "\"\"" && value.len() <= LONGEST_NAME)
        };
        Self {
            id: text("id").map_or_else(|| quoted(&format!("chatcmpl-{}", RequestId::random())).into(), Into::into),
            created: chunk.get("created").filter(|value| value.parse::<u64>().is_ok()).unwrap_or("0").into(),
            model: text("model").map_or_else(|| quoted(model).into(), Into::into),
        }
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"id\":{},\"object\":{OBJECT},\"created\":{},\"model\":{}", self.id, self.created, self.model)
    }
}

/// An object to be put right: what is to be changed, and only then a new text.
struct Right<'m, 'a> {
    object: &'m Members<'a>,
    replaced: Vec<(&'static str, String)>,
    added: Vec<(&'static str, String)>,
    removed: Vec<&'static str>,
}

impl<'m, 'a> Right<'m, 'a> {
    const fn new(object: &'m Members<'a>) -> Self {
        Self { object, replaced: Vec::new(), added: Vec::new(), removed: Vec::new() }
    }

    /// The member must be there with this value.
    fn member(&mut self, name: &'static str, value: &str) {
        match self.object.get(name) {
            Some(present) if present == value => {}
            Some(_) => self.replaced.push((name, value.to_owned())),
            None => self.added.push((name, value.to_owned())),
        }
    }

    fn replace(&mut self, name: &'static str, value: String) {
        self.replaced.push((name, value));
    }

    /// The member must not be there.
    fn remove(&mut self, name: &'static str) {
        if self.object.get(name).is_some() {
            self.removed.push(name);
        }
    }

    fn write(self) -> Cow<'a, str> {
        if self.replaced.is_empty() && self.added.is_empty() && self.removed.is_empty() {
            return Cow::Borrowed(self.object.json);
        }
        let kept = self.object.iter().filter(|(name, _)| !self.removed.contains(name)).map(|(name, value)| {
            let replaced = self.replaced.iter().find(|(replaced, _)| *replaced == name);
            (name, replaced.map_or(value, |(_, value)| value.as_str()))
        });
        let added = self.added.iter().map(|(name, value)| (*name, value.as_str()));
        let mut json = String::with_capacity(self.object.json.len() + 64);
        json.push('{');
        for (name, value) in added.chain(kept) {
            if json.len() > 1 {
                json.push(',');
            }
            json.push_str(&quoted(name));
            json.push(':');
            json.push_str(value);
        }
        json.push('}');
        Cow::Owned(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> WireChunk<'_> {
        WireChunk::read(json).expect("a chunk")
    }

    /// The chunks of one stream, put right.
    fn put_right(chunks: &[&str]) -> Vec<Option<String>> {
        let mut canon = Canon::default();
        let right = chunks.iter().map(|chunk| canon.chunk(&read(chunk), "m").json.map(Cow::into_owned));
        right.collect()
    }

    #[test]
    fn what_is_right_stays_as_it_came() {
        let chunks = [
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","x":1, "choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":null}]}"#,
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        ];
        let mut canon = Canon::default();
        for chunk in chunks {
            assert!(matches!(canon.chunk(&read(chunk), "other").json, Some(Cow::Borrowed(same)) if same == chunk));
        }
    }

    #[test]
    fn what_must_be_constant_is_made_so_and_what_is_missing_is_added() {
        let right = put_right(&[
            r#"{"id":"a","created":5,"model":"m1","choices":[{"delta":{"content":"x"}}],"usage":null}"#,
            r#"{"id":"b","created":6,"model":"m2","choices":[{"index":0,"delta":{"role":"assistant","content":"y"},"finish_reason":""}]}"#,
        ]);
        assert_eq!(
            right[0].as_deref(),
            Some(
                r#"{"object":"chat.completion.chunk","id":"a","created":5,"model":"m1","choices":[{"index":0,"finish_reason":null,"delta":{"role":"assistant","content":"x"}}]}"#
            )
        );
        assert_eq!(
            right[1].as_deref(),
            Some(
                r#"{"object":"chat.completion.chunk","id":"a","created":5,"model":"m1","choices":[{"index":0,"delta":{"content":"y"},"finish_reason":null}]}"#
            )
        );
    }

    #[test]
    fn what_is_long_is_not_repeated_in_every_chunk() {
        let id = "x".repeat(10_000);
        let right = put_right(&[&format!(r#"{{"id":"{id}","model":"{id}"}}"#), "{}"]);
        assert!(right.iter().flatten().all(|chunk| chunk.len() < 200), "{right:?}");
    }

    #[test]
    fn null_is_absent_also_where_clients_do_not_expect_it() {
        let right = put_right(&[
            r#"{"id":"a","created":1,"model":"m","choices":null}"#,
            r#"{"id":"a","created":1,"model":"m","choices":[{"index":null,"delta":null,"finish_reason":null}]}"#,
        ]);
        assert!(right[0].as_deref().is_some_and(|chunk| chunk.ends_with(r#""choices":[]}"#)), "{right:?}");
        let choice = r#""choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}"#;
        assert!(right[1].as_deref().is_some_and(|chunk| chunk.ends_with(choice)), "{right:?}");
    }

    #[test]
    fn what_stands_beside_the_usage_stays_there_and_a_usage_that_counts_nothing_is_none() {
        let mut canon = Canon::default();
        for usage in [
            r#"{"id":"a","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":1}}"#,
            r#"{"id":"a","created":1,"model":"m","choices":[],"usage":{},"x\u2028":[1]}"#,
        ] {
            assert_eq!(canon.chunk(&read(usage), "m").json, None);
        }
        let trailer = canon.close(String::new(), "m");
        assert_eq!(trailer.usage_json.as_deref(), Some(r#"{"prompt_tokens":1}"#));
        assert!(trailer.head_json.ends_with(r#""model":"m","x\u2028":[1]"#), "{}", trailer.head_json);
    }

    #[test]
    fn a_choice_finishes_once() {
        let finish = r#"{"id":"a","object":"chat.completion.chunk","created":5,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        let right = put_right(&[finish, finish]);
        let count = right.iter().flatten().filter(|chunk| chunk.contains("\"finish_reason\":\"stop\"")).count();
        assert_eq!(count, 1);
    }

    #[test]
    fn usage_waits_for_the_end() {
        let mut canon = Canon::default();
        let usage = r#"{"id":"a","choices":[],"usage":{"prompt_tokens":1,"x":2}}"#;
        assert_eq!(canon.chunk(&read(usage), "m").json, None);
        let trailer = canon.close(String::new(), "m");
        assert_eq!(trailer.usage_json.as_deref(), Some(r#"{"prompt_tokens":1,"x":2}"#));
    }

    #[test]
    fn an_end_without_a_finish_reason_gets_one() {
        let mut canon = Canon::default();
        canon.chunk(&read(r#"{"id":"a","created":5,"choices":[{"index":1,"delta":{"content":"x"}}]}"#), "m");
        let trailer = canon.close("{silent}\n".into(), "m");
        assert_eq!(
            &*trailer.chunks_json,
            "{silent}\n{\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"created\":5,\"model\":\"m\",\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}\n"
        );
    }
}
