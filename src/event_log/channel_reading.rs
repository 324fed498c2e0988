//! Reads of one channel's log: pages, and the beginning of a history.

use std::collections::{HashSet, VecDeque};

use tokio::time::Instant;

use super::channel_limits::ChannelLimits;
use super::channel_slot::ChannelSlot;
use super::channel_state::ChannelState;
use super::{EntryBatch, History, Page, ReadError, Tail, TailState};
use crate::domain::{ChannelEvent, Entry, Sequence};

/// A page ends at the first entry with which it exceeds this many bytes.
const PAGE_BYTES: usize = 16 * 1024;

impl ChannelState {
    pub fn history(&self, most: usize, limits: &ChannelLimits, now: Instant) -> History {
        let wanted = most.min(limits.history);
        let events = self.counted.max(usize::from(!self.kept.is_empty())).min(wanted);
        let counting = self.kept.iter().rev().filter(|slot| slot.event.counts());
        let first = if wanted == 0 { None } else { counting.take(wanted).last().or(self.kept.front()) };
        let is_evicted = self.counted < wanted && self.lost > self.expired;
        let is_young = now.saturating_duration_since(self.lost_at) <= limits.retention;
        let evicted = (is_evicted && is_young).then(|| self.expired.plus(1));
        let Some(first) = first else {
            return History { after: self.tail, gap_from: evicted, events, bytes: self.bytes };
        };
        let from = self.kept.partition_point(|slot| slot.sequence < first.sequence);
        let go_on: HashSet<_> = self.kept.range(from..).filter_map(ChannelSlot::generation).collect();
        let is_of_one = |slot: &&ChannelSlot| slot.generation().is_some_and(|generation| go_on.contains(&generation));
        // A reader needs an answer's first event, so replay an answer that continues here from its first kept event.
        let first = self.kept.range(..from).find(is_of_one).unwrap_or(first);
        let after = first.sequence.before();
        let mut begun = HashSet::new();
        // The first kept event of each answer.
        let mut beginnings = self.kept.iter().filter(is_of_one).filter(|slot| begun.insert(slot.generation()));
        let cut = beginnings.any(|slot| !slot.event.counts()).then(|| self.lost_counted.min(after));
        History { after, gap_from: cut.into_iter().chain(evicted).min(), events, bytes: self.bytes }
    }

    pub fn page(&self, after: Sequence) -> Result<Page<ChannelEvent>, ReadError> {
        if after > self.tail {
            return Err(ReadError::BeyondTail);
        }
        if after < self.lost {
            return Err(ReadError::Trimmed(self.lost));
        }
        let from = |slots: &VecDeque<ChannelSlot>| slots.partition_point(|slot| slot.sequence <= after);
        let mut kept = self.kept.range(from(&self.kept)..).peekable();
        let mut ephemeral = self.ephemeral.range(from(&self.ephemeral)..).peekable();
        // A page ends before the next hole, so that the next read begins there and reports it.
        let hole = self.holes.range(after.plus(1)..).next().map(|(hole, _)| *hole);
        let tail = Tail { sequence: self.tail, state: TailState::Open };
        let (mut entries, mut bytes) = (EntryBatch::new(), 0);
        while bytes <= PAGE_BYTES {
            if let Some(hole) = hole
                && kept.peek().is_none_or(|next| hole < next.sequence)
            {
                return if entries.is_empty() { Err(ReadError::Trimmed(hole)) } else { Ok(Page { entries, tail }) };
            }
            let next = match (kept.peek(), ephemeral.peek()) {
                (Some(one), Some(other)) if other.sequence < one.sequence => ephemeral.next(),
                (Some(_), _) => kept.next(),
                (None, _) => ephemeral.next(),
            };
            let Some(slot) = next else { break };
            bytes += slot.bytes;
            entries.push(Entry::new(slot.sequence, slot.event.clone()));
        }
        Ok(Page { entries, tail })
    }
}
