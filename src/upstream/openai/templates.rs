//! What the streams of one upstream have in common.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::canonical::LONGEST_NAME;
use super::chunk::FORMS;
use super::members::Members;
use crate::domain::{Frame, Part, Shape, range_in};

/// How the streams of one upstream begin and go on. Clones share it.
///
/// The first chunks of two streams differ in their `id` and `created` alone, as a rule: a stream that begins as an
/// earlier one did goes on like that one, and its first chunks need not be parsed either.
#[derive(Clone, Default)]
pub struct Templates(Arc<Mutex<VecDeque<Arc<Family>>>>);

/// Streams that begin alike: with a chunk that gives the role of one choice and says nothing.
#[derive(Clone)]
pub struct Family {
    first: Template,
    pub model: Box<str>,
    pub choice: u32,
    texts: Vec<TextTemplate>,
}

/// A chunk that says a text, or its beginning up to the text.
#[derive(Clone, PartialEq)]
struct TextTemplate {
    before: Template,
    after: Arc<str>,
    part: Part,
}

/// JSON around the values of `id` and `created`.
#[derive(Clone, PartialEq)]
struct Template([Box<str>; 3]);

/// Where the values of `id` and `created` stand in a chunk.
#[derive(Debug)]
pub struct OwnAt {
    id: Range<usize>,
    created: Range<usize>,
}

/// The two values that are a stream's own, as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own<'a> {
    pub id: &'a str,
    pub created: &'a str,
}

/// Families that are kept, those that were met last: one for each model and kind of request, as a rule.
const MOST_FAMILIES: usize = 16;
/// A longer chunk is each time its stream's own affair: what is kept here, each stream of the family takes over.
const LONGEST: usize = 2048;

impl Templates {
    /// The family whose streams begin with `json`, and what in it is this stream's own.
    pub fn find<'a>(&self, json: &'a str) -> Option<(Arc<Family>, Own<'a>)> {
        let mut families = self.lock();
        let own = |(at, family): (usize, &Arc<Family>)| Some((at, family.first.own(json)?));
        let (at, own) = families.iter().enumerate().find_map(own)?;
        let family = families.remove(at)?;
        families.push_front(Arc::clone(&family));
        Some((family, own))
    }

    /// Remembers how a stream began that gave its role to `choice` and said nothing.
    pub fn begun(&self, json: &str, members: &Members<'_>, choice: u32) -> Option<Arc<Family>> {
        let json = Some(json).filter(|json| json.len() <= LONGEST)?;
        let (first, model) = (Template::of(json, &OwnAt::of(json, members)?)?, members.get("model")?.into());
        let mut families = self.lock();
        if let Some(known) = families.iter().find(|family| family.first == first) {
            return Some(Arc::clone(known));
        }
        let family = Arc::new(Family { first, model, choice, texts: Vec::new() });
        families.push_front(Arc::clone(&family));
        families.truncate(MOST_FAMILIES);
        Some(family)
    }

    /// Remembers the shape of chunks with one choice of which a stream of the family has said two: one alone may have
    /// what is a token's own.
    pub fn learn(&self, family: &mut Arc<Family>, shape: &Shape, own: &OwnAt) {
        let Shape { frame: Some(frame), part, .. } = shape else { return };
        let Frame { before, after } = &**frame;
        let is_ours = is_said_by_many(part) && part.choice() == Some(family.choice);
        if !is_ours || before.len() + after.len() > LONGEST {
            return;
        }
        let Some(before) = Template::of(before, own) else { return };
        let text = TextTemplate { before, after: Arc::clone(after), part: part.clone() };
        let mut families = self.lock();
        let Some(known) = families.iter_mut().find(|known| known.first == family.first) else { return };
        if known.texts.len() < FORMS && !known.texts.contains(&text) {
            let mut grown = Family::clone(known);
            grown.texts.push(text);
            *known = Arc::new(grown);
        }
        family.clone_from(known);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Family>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nothing but its text is a chunk's own: log probabilities are a token's, and a call's name and id are a call's.
/// They would stay here longer than the answer that they belong to.
const fn is_said_by_many(part: &Part) -> bool {
    matches!(
        part,
        Part::Text { logprobs_json: None, .. }
            | Part::Reasoning { .. }
            | Part::Refusal { .. }
            | Part::ToolCall { id: None, name: None, .. }
    )
}

impl Family {
    /// The shapes of this stream's chunks.
    pub fn shapes(&self, own: Own<'_>) -> impl Iterator<Item = Arc<Shape>> {
        self.texts.iter().map(move |TextTemplate { before, after, part }| {
            let frame = Frame { before: before.with(own), after: Arc::clone(after) };
            Arc::new(Shape::new(Some(frame), part.clone()))
        })
    }
}

impl OwnAt {
    /// In the object that has these members.
    pub fn of(json: &str, members: &Members<'_>) -> Option<Self> {
        let at = |name| range_in(json, members.get(name)?);
        Some(Self { id: at("id")?, created: at("created")? })
    }
}

impl Template {
    /// `json` is a chunk, or its beginning.
    fn of(json: &str, OwnAt { id, created }: &OwnAt) -> Option<Self> {
        let parts = [json.get(..id.start)?, json.get(id.end..created.start)?, json.get(created.end..)?];
        Some(Self(parts.map(Into::into)))
    }

    /// What stands where the two values are, if `json` is the same but for them.
    fn own<'a>(&self, json: &'a str) -> Option<Own<'a>> {
        let Self([before, between, after]) = self;
        let rest = json.strip_prefix(&**before)?;
        let content = rest.strip_prefix('"')?;
        // No escapes, and nothing that could end a line.
        let length = content.bytes().position(|byte| !matches!(byte, b'!'..=b'~') || matches!(byte, b'"' | b'\\'))?;
        let (id, rest) = rest.split_at_checked(length + 2).filter(|(id, _)| id.ends_with('"'))?;
        let created = rest.strip_prefix(&**between)?.strip_suffix(&**after)?;
        let is_id = (3..=LONGEST_NAME).contains(&id.len());
        let has_digits = (1..=15).contains(&created.len()) && created.bytes().all(|byte| byte.is_ascii_digit());
        let is_number = has_digits && !created.starts_with('0');
        Some(Own { id, created }).filter(|_| is_id && is_number)
    }

    fn with(&self, own: Own<'_>) -> Box<str> {
        let Self([before, between, after]) = self;
        [before, own.id, between, own.created, after].concat().into()
    }
}

/// Prints none of the upstream's bytes.
impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates").field("families", &self.lock().len()).finish()
    }
}

/// Prints none of the upstream's bytes.
impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("texts", &self.texts.len()).finish_non_exhaustive()
    }
}
