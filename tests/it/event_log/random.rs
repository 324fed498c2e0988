//! Random operations on several logs, compared with a model of each.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use tokenrill::domain::{Chunk, Entry, Escaped, Event, Frame, GenerationId, Part, ProviderDialect, Sequence, Shape};
use tokenrill::event_log::{
    AppendError, CloseOutcome, CreateError, EntryBatch, Limit, MemoryLimits, ReadError, follow,
};

use super::{Backend, OwnedLog, ROOMY, TIGHT, account, begun, ended, is_known, made, read, start, terms, token};
use crate::support::{case, soon};

/// Marsaglia's xorshift: the same sequence in every run.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn up_to(&mut self, most: u64) -> u64 {
        self.next() % (most + 1)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("small")
    }

    pub fn chunk(&mut self, shapes: &[Arc<Shape>]) -> Event {
        const TEXTS: [&str; 8] =
            ["", "Hel", "lo", " 東京", "👩‍👩‍👧", "\"\\\n\r\t\u{0}", "\u{2028}\u{2029}\u{85}", "Zürich"];
        let text = TEXTS[self.below(TEXTS.len())].repeat(1 + self.below(4));
        Event::Chunk(Chunk::new(Arc::clone(&shapes[self.below(shapes.len())]), Escaped::from_text(&text)))
    }
}

/// Shapes of each kind, more than one stream uses alternately.
pub fn shapes() -> Vec<Arc<Shape>> {
    let text = |choice| Part::Text { choice, logprobs_json: (choice == 1).then(|| "{\"content\":[]}".into()) };
    let call = Part::ToolCall { choice: 0, index: 1, id: Some(Escaped::from_text("call_1")), name: None };
    let other = Part::Other { choice: 0, delta_json: "{\"audio\":{}}".into() };
    let parts = [Part::Reasoning { choice: 0 }, Part::Refusal { choice: 0 }, call, other, Part::Silent];
    let parts = (0..12).map(text).chain(parts).enumerate();
    parts
        .map(|(at, part)| {
            let before = format!("{{\"before\":{at},\"text\":\"");
            let frame = (at % 3 > 0).then(|| Frame::new(ProviderDialect::OpenAiChat, &before, "\"}"));
            let silent = if frame.is_some() && at % 4 == 1 { "{\"silent\":true}\n" } else { "" };
            Arc::new(Shape::new(frame, part).after_silent(silent))
        })
        .collect()
}

/// A log, and its expected events as a list.
struct Model {
    id: GenerationId,
    log: Arc<OwnedLog>,
    events: Vec<Event>,
    known: bool,
    followers: Vec<Follower>,
}

struct Follower {
    pages: BoxStream<'static, Result<EntryBatch, ReadError>>,
    /// The number of the last entry that it has read.
    after: u64,
}

impl Model {
    fn is_closed(&self) -> bool {
        self.events.last().is_some_and(Event::is_terminal)
    }

    fn tail(&self) -> Sequence {
        Sequence::new(self.events.len() as u64)
    }

    /// Asserts that `entries` are the events directly after a position.
    fn assert_after(&self, after: u64, entries: &[Entry]) {
        let expected = (after + 1..).zip(self.events.iter().skip(usize::try_from(after).expect("small")));
        let expected = expected.map(|(sequence, event)| Entry::new(Sequence::new(sequence), event.clone()));
        assert_eq!(entries, expected.take(entries.len()).collect::<Vec<_>>());
    }

    /// A removed log that is closed may have only its last page (contract 7).
    fn may_be_shortened(&self) -> bool {
        !self.known && self.is_closed()
    }

    /// Each follower reads a page if one is ready.
    fn advance(&mut self) {
        let mut followers = std::mem::take(&mut self.followers);
        followers.retain_mut(|Follower { pages, after }| {
            let Some(Some(page)) = pages.next().now_or_never() else { return true };
            if page == Err(ReadError::Lost) && self.may_be_shortened() {
                return false;
            }
            let page = page.expect("not lost");
            self.assert_after(*after, &page);
            *after += page.len() as u64;
            true
        });
        self.followers = followers;
    }
}

/// One run of random operations on several logs and their models.
struct Run<B> {
    logs: B,
    limits: MemoryLimits,
    random: Random,
    shapes: Vec<Arc<Shape>>,
    models: Vec<Model>,
    /// The closed logs that are still known, in the order in which they closed.
    closed: Vec<GenerationId>,
}

impl<B: Backend> Run<B> {
    fn new(seed: u64, limits: MemoryLimits) -> Self {
        let random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        Self { logs: B::start(limits), limits, random, shapes: shapes(), models: Vec::new(), closed: Vec::new() }
    }

    fn is_roomy(&self) -> bool {
        self.limits.total == ROOMY.total
    }

    async fn step(&mut self) {
        if self.models.is_empty() || self.random.below(12) == 0 {
            self.create().await;
        } else {
            let at = self.random.below(self.models.len());
            match self.random.below(16) {
                0..8 => self.append(at).await,
                8 => self.close(at).await,
                9..12 => self.read(at).await,
                12 if self.random.below(4) == 0 => self.remove(at).await,
                12 | 13 => self.add_follower(at),
                _ => self.models[at].advance(),
            }
        }
        self.compare_known_logs().await;
        self.logs.check(self.limits);
    }

    async fn create(&mut self) {
        let id = GenerationId::random();
        match made(self.logs.create(begun(id), terms(&account(0), None)).await) {
            Ok(log) => {
                self.models.push(Model { id, log, events: vec![start(id)], known: true, followers: Vec::new() });
            }
            Err(CreateError::Full) => self.assert_full().await,
            Err(error) => panic!("{error}, and nothing is claimed"),
        }
    }

    async fn append(&mut self, at: usize) {
        let (many, large) = (self.random.below(4), self.random.below(8) == 0);
        let mut events: Vec<_> = (0..many).map(|_| self.random.chunk(&self.shapes)).collect();
        if large {
            events.push(token(&"x".repeat(self.random.below(8000))));
        }
        let model = &mut self.models[at];
        let appended = model.log.append(events.clone().into()).await;
        match appended {
            Ok(tail) => {
                assert!(!model.is_closed() || events.is_empty());
                model.events.extend(events);
                assert!(tail == model.tail() || model.is_closed());
            }
            Err(AppendError::Closed) => assert!(model.is_closed()),
            Err(AppendError::Full(Limit::Total)) => self.assert_full().await,
            Err(AppendError::Full(Limit::Own)) => assert!(!self.is_roomy()),
            Err(error @ (AppendError::Fenced | AppendError::Lost)) => panic!("{error}"),
        }
    }

    async fn close(&mut self, at: usize) {
        let event = ended(self.random.next());
        let model = &mut self.models[at];
        match model.log.close(event.clone()).await {
            CloseOutcome::Won => {
                assert!(!model.is_closed());
                model.events.push(event);
                if model.known {
                    self.closed.push(model.id);
                }
            }
            CloseOutcome::Lost(winner) => assert_eq!((model.is_closed(), Some(&winner)), (true, model.events.last())),
        }
    }

    async fn read(&mut self, at: usize) {
        let model = &self.models[at];
        let tail = model.tail().get();
        let after = self.random.up_to(tail + 1);
        match model.log.read(Sequence::new(after)).await {
            Ok(page) => {
                assert!(after <= tail);
                assert_eq!(page.entries.is_empty(), after == tail);
                model.assert_after(after, &page.entries);
            }
            Err(ReadError::Lost) => assert!(model.may_be_shortened()),
            Err(error) => assert_eq!((error, after), (ReadError::BeyondTail, tail + 1)),
        }
    }

    async fn remove(&mut self, at: usize) {
        let model = &mut self.models[at];
        self.logs.remove(model.id).await.expect("the log answers");
        model.known = false;
        self.closed.retain(|id| *id != model.id);
    }

    fn add_follower(&mut self, at: usize) {
        let model = &mut self.models[at];
        let after = self.random.up_to(model.tail().get());
        let pages = Box::pin(follow(Arc::clone(&model.log.log), Sequence::new(after)));
        model.followers.push(Follower { pages, after });
    }

    /// Asserts that all open logs are kept, and of the closed ones the last; how many of these depends on the room.
    async fn compare_known_logs(&mut self) {
        let mut known = HashSet::new();
        for model in &self.models {
            if is_known(&self.logs, model.id).await {
                known.insert(model.id);
            }
        }
        let gone = self.closed.iter().take_while(|id| !known.contains(*id)).count();
        assert!(gone == 0 || !self.is_roomy(), "there was room");
        for id in self.closed.drain(..gone) {
            for model in self.models.iter_mut().filter(|model| model.id == id) {
                model.known = false;
            }
        }
        for model in &self.models {
            assert_eq!(known.contains(&model.id), model.known);
        }
    }

    async fn assert_full(&mut self) {
        assert!(!self.is_roomy(), "there was room");
        self.compare_known_logs().await;
        assert_eq!(self.closed, [], "no append is refused while a closed log can be evicted");
    }

    async fn end(mut self) {
        for at in 0..self.models.len() {
            self.close(at).await;
            let model = &mut self.models[at];
            for Follower { pages, after } in std::mem::take(&mut model.followers) {
                let pages: Vec<_> = soon(pages.collect()).await;
                let lost = pages.contains(&Err(ReadError::Lost));
                assert!(!lost || model.may_be_shortened());
                let rest: Vec<_> = pages.into_iter().filter_map(Result::ok).flatten().collect();
                model.assert_after(after, &rest);
                assert!(lost || after + rest.len() as u64 == model.tail().get(), "a follower reads to the end");
            }
            if !model.may_be_shortened() {
                let entries = read(&model.log, Sequence::START).await;
                model.assert_after(0, &entries);
                assert_eq!(entries.len(), model.events.len());
            }
        }
    }
}

async fn run_at_random<B: Backend>(limits: MemoryLimits) {
    for seed in 1..=2000 {
        let run = async {
            let mut run = Run::<B>::new(seed, limits);
            for _ in 0..60 {
                run.step().await;
            }
            run.end().await;
        };
        case(&format!("seed {seed}"), run).await;
    }
}

pub async fn random_operations_match_a_list<B: Backend>() {
    run_at_random::<B>(ROOMY).await;
}

pub async fn with_little_room_open_logs_stay_and_closed_ones_are_evicted_in_order<B: Backend>() {
    run_at_random::<B>(TIGHT).await;
}
