//! The whole completion: the fold of its chunks.

use std::sync::Arc;

use super::gathered::{Gathered, Members, changes_nothing};
use super::usage_json;
use crate::domain::{Chunk, Entry, Event, Part, Shape, Skim, Unreadable, range_in};

/// A chat completion under construction. Fields that nobody knows are gathered as the known ones are.
#[derive(Default)]
pub struct Completion {
    said: Said,
    /// The last shape that was folded, if its chunks only lengthen the content, and of which choice, by its place.
    lengthening: Option<(Arc<Shape>, usize)>,
}

/// As long as a short answer is.
const USUAL: usize = 1024;

/// What all chunks together have said.
#[derive(Default)]
struct Said {
    members: Members,
    choices: Vec<Members>,
    /// What stands around the choices of the last line that was read as a whole. Chunks differ in nothing else, as a rule.
    around: Option<(Box<str>, Box<str>)>,
}

impl Completion {
    /// Takes one entry more.
    pub fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Chunk(chunk) => self.chunk(chunk),
            Event::Done(done) => {
                self.said.chunks(&done.trailer.chunks_json);
                self.said.head(&done.trailer.head_json);
                // It is the provider's, and was read on its way here; nothing is said after it.
                self.said.members.insert("usage", Gathered::Other(usage_json(done).into()));
            }
            Event::Start(_) | Event::Cancelled(_) | Event::Failed(_) => {}
        }
    }

    /// The completion as OpenAI's clients read it.
    pub fn into_json(self) -> String {
        let mut json = String::with_capacity(USUAL);
        Gathered::Members(self.said.into_completion()).write(&mut json);
        json
    }

    /// Parses a chunk of another shape than the last; of the same shape the text alone is new, as a rule.
    fn chunk(&mut self, chunk: &Chunk) {
        if let Some((shape, place)) = self.lengthening.as_mut().filter(|(shape, _)| is_alike(shape, chunk.shape()))
            && let Some(content) = self.said.content(*place)
        {
            content.push_str(chunk.text().as_str());
            shape.clone_from(chunk.shape());
            return;
        }
        let lengthened = self.said.chunks(&chunk.json().map(|parts| parts.concat()).unwrap_or_default());
        let is_text = matches!(chunk.part(), Part::Text { logprobs_json: None, .. });
        self.lengthening = lengthened.filter(|_| is_text).map(|place| (Arc::clone(chunk.shape()), place));
        if let Some(content) = lengthened.and_then(|place| self.said.content(place)) {
            content.reserve(USUAL);
        }
    }
}

/// Whether a chunk of the next shape is the last line of one of the known, but for its text: the first that says
/// something has those before it that did not.
fn is_alike(known: &Arc<Shape>, next: &Arc<Shape>) -> bool {
    Arc::ptr_eq(known, next)
        || (next.silent.is_empty() && next.frame.is_some() && known.frame == next.frame && known.part == next.part)
}

impl Said {
    /// The content of a choice, escaped.
    fn content(&mut self, place: usize) -> Option<&mut String> {
        let Gathered::Members(delta) = self.choices.get_mut(place)?.get_mut("delta")? else { return None };
        match delta.get_mut("content")? {
            Gathered::Text(content) => Some(content),
            _ => None,
        }
    }

    fn into_completion(mut self) -> Members {
        self.choices.sort_by_key(index);
        self.members.insert("object", Gathered::text("chat.completion"));
        let choices = self.choices.into_iter().map(|mut choice| {
            let mut message = Members::default();
            message.insert("role", Gathered::text("assistant"));
            message.insert("content", Gathered::NULL);
            message.insert("refusal", Gathered::NULL);
            if let Some(Gathered::Members(delta)) = choice.remove("delta") {
                message.extend(delta);
            }
            if let Some(Gathered::Items(calls)) = message.get_mut("tool_calls") {
                calls.iter_mut().for_each(as_whole_call);
            }
            choice.insert("message", Gathered::Members(message));
            if choice.get("logprobs").is_none() {
                choice.insert("logprobs", Gathered::NULL);
            }
            Gathered::Members(choice)
        });
        let choices = choices.collect();
        self.members.insert("choices", Gathered::Items(choices));
        self.members
    }

    /// Answers the choice whose content is all that would be changed if another text were said in the last line's place.
    fn chunks(&mut self, lines: &str) -> Option<usize> {
        let mut lengthened = None;
        for line in lines.lines() {
            // What is in the log was read on its way there.
            let Ok(choices) = self.known(line).map_or_else(|| self.line(line), Ok) else { continue };
            let alone = choices.len() == 1;
            lengthened = None;
            for choice in choices {
                lengthened = self.choice(choice).filter(|_| alone);
            }
        }
        lengthened
    }

    /// The choices of a line that says nothing else that is new.
    fn known(&self, line: &str) -> Option<Vec<Gathered>> {
        let (before, after) = self.around.as_ref()?;
        let choices = line.strip_prefix(&**before)?.strip_suffix(&**after)?;
        match Gathered::parse(choices) {
            Ok(Gathered::Items(choices)) => Some(choices),
            _ => None,
        }
    }

    /// Takes over what a line says beside its choices, which it answers.
    fn line(&mut self, line: &str) -> Result<Vec<Gathered>, Unreadable> {
        let (mut skim, mut members, mut choices) = (Skim::new(line), Members::default(), "");
        skim.object(|skim, name| {
            match &*name {
                "choices" => choices = skim.value()?,
                _ => members.insert(name, Gathered::read(skim)?),
            }
            Ok(())
        })?;
        skim.end()?;
        let around = range_in(line, choices).and_then(|at| line.get(..at.start).zip(line.get(at.end..)));
        self.around = around.map(|(before, after)| (before.into(), after.into()));
        self.members.extend(members);
        match Gathered::parse(choices) {
            Ok(Gathered::Items(choices)) => Ok(choices),
            _ => Ok(Vec::new()),
        }
    }

    /// What every chunk has, unless it is all there.
    fn head(&mut self, head: &str) {
        let before = self.around.as_ref().and_then(|(before, _)| before.strip_prefix('{')?.strip_prefix(head));
        if before.is_none_or(|rest| !rest.starts_with(',')) {
            self.chunks(&format!("{{{head}}}"));
        }
    }

    fn choice(&mut self, choice: Gathered) -> Option<usize> {
        let Gathered::Members(choice) = choice else { return None };
        let only_text = choice.iter().all(|(name, value)| match (name, value) {
            ("delta", Gathered::Members(delta)) => {
                let aside = |(name, value): (&str, &Gathered)| name == "content" || changes_nothing(name, value);
                matches!(delta.get("content"), Some(Gathered::Text(_))) && delta.iter().all(aside)
            }
            (name, value) => changes_nothing(name, value),
        });
        let place = self.choices.iter().position(|known| known.get("index") == choice.get("index"));
        match place.and_then(|place| self.choices.get_mut(place)) {
            Some(known) => known.merge(choice),
            None => self.choices.push(choice),
        }
        place.or_else(|| self.choices.len().checked_sub(1)).filter(|_| only_text)
    }
}

fn index(choice: &Members) -> Option<u64> {
    match choice.get("index")? {
        Gathered::Other(json) => json.parse().ok(),
        _ => None,
    }
}

/// No fragment of a list any more.
fn as_whole_call(call: &mut Gathered) {
    let Gathered::Members(call) = call else { return };
    call.remove("index");
    if call.get("type").is_none() {
        call.insert("type", Gathered::text("function"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{Escaped, Frame};

    fn fold(chunks: &[Value]) -> Value {
        let mut completion = Completion::default();
        for chunk in chunks {
            completion.said.chunks(&chunk.to_string());
        }
        serde_json::from_str(&completion.into_json()).expect("JSON")
    }

    #[test]
    fn fragments_become_a_message() {
        let completion = fold(&[
            json!({"id": "c", "object": "chat.completion.chunk", "x": 1, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}, "finish_reason": null}]}),
            json!({"id": "c", "choices": [{"index": 0, "delta": {"content": "lo", "reasoning_content": "h"}, "logprobs": {"content": [{"token": "lo"}]}}]}),
            json!({"id": "c", "choices": [{"index": 0, "delta": {"reasoning_content": "m"}, "logprobs": {"content": [{"token": "!"}]}, "finish_reason": "stop"}]}),
        ]);
        assert_eq!(
            completion,
            json!({"id": "c", "object": "chat.completion", "x": 1, "choices": [{
                "index": 0, "finish_reason": "stop", "logprobs": {"content": [{"token": "lo"}, {"token": "!"}]},
                "message": {"role": "assistant", "content": "Hello", "reasoning_content": "hm", "refusal": null},
            }]})
        );
    }

    #[test]
    fn chunks_of_which_only_the_text_is_new_come_to_what_each_of_them_says() {
        let frame = |before: &str, after: &str| {
            let part = Part::Text { choice: 0, logprobs_json: None };
            Arc::new(Shape::new(Some(Frame::new(before, after)), part))
        };
        for shape in [
            frame(r#"{"id":"c","x":[],"choices":[{"index":0,"delta":{"content":""#, r#""}}]}"#),
            // A member that is gathered too, a list that grows, and one that no chunk says alike.
            frame(r#"{"id":"c","choices":[{"index":0,"delta":{"content":""#, r#"","aside":"a"}}]}"#),
            frame(r#"{"id":"c","choices":[{"index":0,"delta":{"list":[1],"content":""#, r#""}}]}"#),
        ] {
            let (mut completion, mut each) = (Completion::default(), Said::default());
            let silent = "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n";
            let first = Arc::new(Shape { silent: silent.into(), ..Shape::clone(&shape) });
            for (shape, text) in [(&first, "Hel"), (&shape, "lo\n\""), (&shape, "\u{e9}"), (&first, ""), (&shape, "!")]
            {
                let chunk = Chunk::new(Arc::clone(shape), Escaped::from_text(text));
                completion.chunk(&chunk);
                each.chunks(&chunk.json().expect("a frame").concat());
            }
            assert_eq!(completion.said.members, each.members);
            assert_eq!(completion.said.choices, each.choices);
        }
    }

    #[test]
    fn what_stands_around_the_choices_counts_as_often_as_it_is_said() {
        let choice = |text: &str| format!(r#"[{{"index":0,"delta":{{"content":"{text}"}}}}]"#);
        let lines = [
            format!(r#"{{"id":"c","model":"m","choices":{},"x":1}}"#, choice("a")),
            format!(r#"{{"id":"c","model":"m","choices":{},"x":1}}"#, choice("b")),
            format!(r#"{{"id":"c","model":"m","choices":{},"x":2}}"#, choice("c")),
            // As the last but for what is no list, or no JSON.
            r#"{"id":"c","model":"m","choices":null,"x":2}"#.to_owned(),
            r#"{"id":"c","model":"m","choices":[],"y":[],"x":2}"#.to_owned(),
            r#"{"id":"c","model":"m","choices":[,"x":2}"#.to_owned(),
            format!(r#"{{"id":"c","model":"m","choices":{},"x":1}}"#, choice("d")),
            r#"{"model":"n"}"#.to_owned(),
            format!(r#"{{"id":"c","model":"m","choices":{}}}"#, choice("e")),
        ];
        for head in
            [r#""id":"c""#, r#""id":"c","model":"m""#, r#""id":"c","model":"m","z":1"#, r#""id":"c","model":"m"#]
        {
            let (mut said, mut each) = (Said::default(), Said::default());
            for line in &lines {
                let lengthened = said.chunks(line);
                each.around = None;
                assert_eq!(lengthened, each.chunks(line), "{line}");
            }
            said.head(head);
            each.around = None;
            each.head(head);
            assert_eq!((said.members, said.choices), (each.members, each.choices), "{head}");
        }
    }

    #[test]
    fn tool_calls_are_gathered_by_their_index() {
        let call = |index, name: Value, arguments| json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, "id": name, "function": {"name": name, "arguments": arguments}}]}}]});
        let completion = fold(&[
            call(0, json!("a"), "{"),
            call(1, json!("b"), "["),
            call(0, Value::Null, "}"),
            call(1, Value::Null, "]"),
        ]);
        assert_eq!(
            completion["choices"][0]["message"]["tool_calls"],
            json!([
                {"id": "a", "type": "function", "function": {"name": "a", "arguments": "{}"}},
                {"id": "b", "type": "function", "function": {"name": "b", "arguments": "[]"}},
            ])
        );
    }
}
