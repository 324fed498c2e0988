//! The entries of one log in memory.

use std::sync::Arc;

use super::arena::Arena;
use super::{EntryBatch, Page, ReadError, Tail, TailState};
use crate::domain::{Chunk, Entry, Epoch, Escaped, Event, Restart, Sequence, Shape, Start};

/// The start, the chunks and restarts and, once the log is closed, the terminal event. The texts of the chunks are stored
/// end to end in an [`Arena`], and each shape that they share is stored once.
pub struct Entries {
    start: Arc<Start>,
    /// The number of entries before `slots` that are no longer kept.
    lost: usize,
    slots: Vec<StoredChunk>,
    /// The restarts, each with the index of its slot.
    restarts: Vec<(usize, Restart)>,
    arena: Arena,
    shapes: Vec<Arc<Shape>>,
    terminal: Option<Event>,
    /// The epochs after the first, each with the last position before it.
    later_epochs: Vec<(Sequence, Epoch)>,
}

/// A chunk: its shape, and where its text ends. Also a restart, which has no text.
#[derive(Clone, Copy)]
struct StoredChunk {
    /// The index of the shape, or [`RESTART`].
    shape: u32,
    text_end: u32,
}

/// Stands for the shape of a restart.
const RESTART: u32 = u32::MAX;
/// A page ends at the first entry with which it exceeds this many bytes.
const PAGE_BYTES: usize = 16 * 1024;
/// Initial capacity of a page, in entries: usually a page holds no more.
const PAGE_ENTRIES: usize = 64;
/// A chunk's shape is searched among this many of the latest shapes. Streams alternate between a few.
const SHAPES_LOOKED_AT: usize = 8;
/// Initial capacity in chunks: the length of a short answer.
const INITIAL_SLOTS: usize = 16;
/// Number of slots up to which a copy costs next to nothing.
const COPIED_SLOTS: usize = 2 * 1024;
/// Bytes counted for a start or a terminal event, beside the texts that callers and providers choose.
const EVENT_BYTES: usize = 512;

impl Entries {
    pub const fn new(start: Arc<Start>) -> Self {
        Self {
            start,
            lost: 0,
            slots: Vec::new(),
            restarts: Vec::new(),
            arena: Arena::new(),
            shapes: Vec::new(),
            terminal: None,
            later_epochs: Vec::new(),
        }
    }

    pub const fn terminal(&self) -> Option<&Event> {
        self.terminal.as_ref()
    }

    pub fn tail(&self) -> Tail {
        let state = if self.terminal.is_some() { TailState::Closed } else { TailState::Open };
        Tail { sequence: Sequence::new(self.len() as u64), state }
    }

    /// The entries that are pushed from now on are of this epoch.
    pub fn begin_epoch(&mut self, epoch: Epoch) {
        self.later_epochs.push((self.tail().sequence, epoch));
    }

    /// Returns the epoch of the entry with this number.
    pub fn epoch_of(&self, sequence: Sequence) -> Epoch {
        let later = self.later_epochs.iter().rfind(|(before, _)| *before < sequence);
        later.map_or(Epoch::FIRST, |(_, epoch)| *epoch)
    }

    fn len(&self) -> usize {
        1 + self.lost + self.slots.len() + usize::from(self.terminal.is_some())
    }

    /// Returns the bytes that these events will take.
    pub fn cost(&self, events: &[Event]) -> usize {
        let mut unknown: Vec<&Arc<Shape>> = Vec::new();
        let mut cost = 0;
        for event in events {
            let Event::Chunk(chunk) = event else {
                cost += event_size(event);
                continue;
            };
            cost += size_of::<StoredChunk>() + chunk.text().as_str().len();
            let shape = chunk.shape();
            if self.shape(shape).is_none() && !unknown.iter().any(|known| Arc::ptr_eq(known, shape)) {
                cost += shape.size();
                unknown.push(shape);
            }
        }
        cost
    }

    /// Appends one entry. Must not be called after a terminal event.
    pub fn push(&mut self, event: Event) {
        match event {
            Event::Chunk(chunk) => {
                if self.slots.is_empty() {
                    self.slots.reserve(INITIAL_SLOTS);
                }
                self.arena.push(chunk.text().as_str());
                let shape = self.shape(chunk.shape()).unwrap_or_else(|| {
                    self.shapes.push(Arc::clone(chunk.shape()));
                    self.shapes.len() - 1
                });
                self.slots.push(StoredChunk { shape: index(shape), text_end: index(self.arena.len()) });
            }
            Event::Restart(restart) => {
                self.restarts.push((self.slots.len(), restart));
                self.slots.push(StoredChunk { shape: RESTART, text_end: index(self.arena.len()) });
            }
            // The log already has its start.
            Event::Start(_) => {}
            Event::Done(_) | Event::Cancelled(_) | Event::Failed(_) => {
                self.terminal = Some(event);
            }
        }
    }

    /// Frees spare capacity once the log is closed: closed logs are many and kept for long. Short lists are copied,
    /// because an allocator does not move an allocation that shrinks only a little.
    pub fn fit(&mut self) {
        self.arena.fit();
        if self.slots.len() <= COPIED_SLOTS {
            self.slots = self.slots.as_slice().to_vec();
        }
        self.slots.shrink_to_fit();
        self.shapes.shrink_to_fit();
    }

    /// Drops all but the start and the last entries, at most a page of them. Readers at these entries can read to the
    /// end; for all others the log is lost.
    pub fn keep_end(&mut self) {
        let (mut kept, mut size) = (self.slots.len(), 0);
        while let Some(before) = kept.checked_sub(1)
            && self.slots.len() - before <= PAGE_ENTRIES
        {
            size += self.slot(before).map_or(0, |(_, bytes)| bytes);
            if size > PAGE_BYTES {
                break;
            }
            kept = before;
        }
        let last: Vec<Event> =
            (kept..self.slots.len()).filter_map(|at| self.slot(at)).map(|(event, _)| event).collect();
        self.lost += kept;
        self.slots = Vec::new();
        self.restarts = Vec::new();
        self.arena = Arena::new();
        self.shapes = Vec::new();
        for event in last {
            self.push(event);
        }
        self.fit();
    }

    fn shape(&self, shape: &Arc<Shape>) -> Option<usize> {
        let recent = self.shapes.iter().enumerate().rev().take(SHAPES_LOOKED_AT);
        recent.into_iter().find(|(_, known)| Arc::ptr_eq(known, shape)).map(|(at, _)| at)
    }

    /// Returns the entries after a position, at most a page.
    pub fn page(&self, after: Sequence) -> Result<Page, ReadError> {
        let after = usize::try_from(after.get()).ok().filter(|after| *after <= self.len());
        let places = after.ok_or(ReadError::BeyondTail)?..self.len();
        let (mut entries, mut size) = (EntryBatch::with_capacity(places.len().min(PAGE_ENTRIES)), 0);
        for place in places {
            let (event, bytes) = self.event(place).ok_or(ReadError::Lost)?;
            let sequence = Sequence::new(place as u64 + 1);
            entries.push(Entry { sequence, epoch: self.epoch_of(sequence), event });
            size += bytes;
            if size > PAGE_BYTES {
                break;
            }
        }
        Ok(Page { entries, tail: self.tail() })
    }

    /// Returns the event at an index, and about how many bytes it takes on the wire.
    fn event(&self, place: usize) -> Option<(Event, usize)> {
        let Some(at) = place.checked_sub(1) else {
            return Some((Event::Start(Arc::clone(&self.start)), EVENT_BYTES));
        };
        let at = at.checked_sub(self.lost)?;
        if at == self.slots.len() {
            return Some((self.terminal.clone()?, EVENT_BYTES));
        }
        self.slot(at)
    }

    /// Returns the event of a slot, and about how many bytes it takes on the wire.
    fn slot(&self, at: usize) -> Option<(Event, usize)> {
        let slot = self.slots.get(at)?;
        if slot.shape == RESTART {
            let (_, restart) = self.restarts.iter().find(|(place, _)| *place == at)?;
            return Some((Event::Restart(*restart), EVENT_BYTES));
        }
        let text_start = at.checked_sub(1).and_then(|last| self.slots.get(last)).map_or(0, |last| last.text_end);
        let text = self.arena.get(text_start..slot.text_end)?;
        let shape = self.shapes.get(slot.shape as usize)?;
        let bytes = shape.size() + text.len();
        Some((Event::Chunk(Chunk::new(Arc::clone(shape), Escaped::from_stored(text))), bytes))
    }
}

/// Returns the bytes of an event that is not a chunk, with the texts that callers and providers choose.
pub(super) fn event_size(event: &Event) -> usize {
    let texts = match event {
        Event::Start(start) => {
            let metadata = start.metadata.iter().map(|(key, value)| key.len() + value.len());
            start.model.len() + metadata.sum::<usize>() + start.notes_size()
        }
        Event::Done(done) => done.trailer.size(),
        Event::Cancelled(_) | Event::Failed(_) | Event::Chunk(_) | Event::Restart(_) => 0,
    };
    EVENT_BYTES + texts
}

/// Positions inside one log fit 32 bits: `generation.max_bytes` is at most 1 GiB.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        CancelReason, Cancelled, FailureCode, GenerationId, Part, Principal, Timestamp, Timings, Usage, UsageRequest,
    };

    /// Returns a closed log with this many chunks of one shape.
    fn closed(chunks: u64) -> (Entries, Arc<Shape>) {
        let mut entries = Entries::new(Arc::new(Start {
            generation: GenerationId::random(),
            owner: Principal::Anonymous,
            model: "m".into(),
            created_at: Timestamp::now(),
            prompt: None,
            metadata: [].into(),
            usage: UsageRequest::NotAsked,
            notes: None,
            chat: None,
        }));
        let shape = Arc::new(Shape::new(None, Part::Text { choice: 0, logprobs_json: None }));
        for _ in 0..chunks {
            entries.push(Event::Chunk(Chunk::new(Arc::clone(&shape), Escaped::from_text("Zürich"))));
        }
        let (usage, timings) = (Usage::default(), Timings::default());
        entries.push(Event::Cancelled(Arc::new(Cancelled { reason: CancelReason::ClientRequest, usage, timings })));
        (entries, shape)
    }

    #[test]
    fn fit_frees_spare_capacity_and_keeps_the_entries() {
        for chunks in [0, 1, 20, 10_000] {
            let (mut entries, _) = closed(chunks);
            let last = entries.page(Sequence::new(chunks)).expect("two entries at most");
            entries.fit();
            let taken = (entries.arena.capacity(), entries.slots.capacity(), entries.shapes.capacity());
            assert_eq!(taken, (entries.arena.len(), entries.slots.len(), entries.shapes.len()));
            assert_eq!(entries.page(Sequence::new(chunks)).expect("the same"), last);
        }
    }

    #[test]
    fn restart_is_read_at_its_position_also_from_the_last_page_of_a_removed_log() {
        let (mut entries, shape) = closed(1);
        entries.terminal = None;
        let restart = Event::Restart(Restart { from: Sequence::new(1), reason: FailureCode::UpstreamTimeout });
        let chunk = Event::Chunk(Chunk::new(shape, Escaped::from_text("Basel")));
        let tail = [restart, chunk];
        for event in &tail {
            entries.push(event.clone());
        }
        let read = |entries: &Entries| entries.page(Sequence::new(2)).expect("a page").entries;
        let events = |entries: &Entries| read(entries).into_iter().map(|entry| entry.event).collect::<Vec<_>>();
        assert_eq!(events(&entries), tail);
        entries.keep_end();
        assert_eq!(events(&entries), tail);
    }

    #[test]
    fn after_keep_end_the_last_page_is_readable_and_earlier_positions_are_lost() {
        for (chunks, kept) in [(0, 0), (3, 3), (10_000, PAGE_ENTRIES as u64)] {
            let (mut entries, _) = closed(chunks);
            let positions = [chunks - kept + 1, chunks, chunks + 1, chunks + 2].map(Sequence::new);
            let read = |entries: &Entries| positions.map(|after| entries.page(after));
            let (before, tail) = (read(&entries), entries.tail());
            entries.keep_end();
            assert_eq!((read(&entries), entries.tail()), (before, tail), "{chunks}");
            assert_eq!(entries.slots.len() as u64, kept, "{chunks}");
            for after in [0, 1, chunks - kept].into_iter().filter(|_| chunks > kept) {
                assert_eq!(entries.page(Sequence::new(after)), Err(ReadError::Lost), "{after} of {chunks}");
            }
        }
        let (mut entries, shape) = closed(1);
        entries.terminal = None;
        entries.push(Event::Chunk(Chunk::new(shape, Escaped::from_text(&"x".repeat(2 * PAGE_BYTES)))));
        entries.keep_end();
        assert_eq!((entries.slots.len(), entries.arena.capacity()), (0, 0), "a chunk larger than a page");
    }
}
