//! Positions in a log.

use std::fmt;
use std::str::FromStr;

use super::{GenerationId, InvalidId, Start, Timestamp};

/// A position in one log, counted in entries from 1. [`Sequence::START`] is before the first entry, so "after `START`"
/// is the whole log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Sequence(u64);

impl Sequence {
    pub const START: Self = Self(0);

    pub const fn new(position: u64) -> Self {
        Self(position)
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the position of the entry before; [`Sequence::START`] for itself.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Returns the position after `entries` more entries.
    #[must_use]
    pub const fn plus(self, entries: u64) -> Self {
        Self(self.0.saturating_add(entries))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(itoa::Buffer::new().format(self.0))
    }
}

impl FromStr for Sequence {
    type Err = InvalidId;

    /// Accepts decimal digits without a sign or leading zeros, so that a position has one text form.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        if !canonical {
            return Err(InvalidId);
        }
        text.parse().map(Self).map_err(|_| InvalidId)
    }
}

/// How many owners a log has had. An append of an earlier epoch is refused, so that an owner that was taken for dead
/// cannot write (fencing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(u32);

impl Epoch {
    pub const FIRST: Self = Self(1);

    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the epoch of the next owner.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// `<sequence>`, or `<epoch>.<sequence>` after the first epoch: the position of one entry, which no other entry has.
///
/// An owner that is lost may have shown an entry that its log does not have. The next owner gives the same number to
/// another entry, in another epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventPosition {
    pub epoch: Epoch,
    pub sequence: Sequence,
}

impl EventPosition {
    /// Before the first entry.
    pub const START: Self = Self::first(Sequence::START);

    /// A position in the first epoch.
    pub const fn first(sequence: Sequence) -> Self {
        Self { epoch: Epoch::FIRST, sequence }
    }
}

impl fmt::Display for EventPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.epoch > Epoch::FIRST {
            write!(f, "{}.", self.epoch.get())?;
        }
        self.sequence.fmt(f)
    }
}

impl FromStr for EventPosition {
    type Err = InvalidId;

    /// Accepts no epoch 0 or 1, so that a position has one text form.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let Some((epoch, sequence)) = text.split_once('.') else { return text.parse().map(Self::first) };
        let epoch = u32::try_from(epoch.parse::<Sequence>()?.get()).map_err(|_| InvalidId)?;
        let position = Self { epoch: Epoch::new(epoch), sequence: sequence.parse()? };
        if position.epoch > Epoch::FIRST { Ok(position) } else { Err(InvalidId) }
    }
}

/// `<generation>.<position>`: the `id` of an event, which a client sends as `Last-Event-ID` to resume (WHATWG HTML,
/// section 9.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId {
    pub generation: GenerationId,
    pub position: EventPosition,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation, self.position)
    }
}

impl FromStr for EventId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (generation, position) = text.split_once('.').ok_or(InvalidId)?;
        Ok(Self { generation: generation.parse()?, position: position.parse()? })
    }
}

/// A position in a list of generations, which is in the order of their creation. Its text is the cursor of the next
/// page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    pub created_at: Timestamp,
    pub generation: GenerationId,
}

impl From<&Start> for Listed {
    fn from(start: &Start) -> Self {
        Self { created_at: start.created_at, generation: start.generation }
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.created_at.millis(), self.generation)
    }
}

impl FromStr for Listed {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (millis, generation) = text.split_once('.').ok_or(InvalidId)?;
        let millis: Sequence = millis.parse()?;
        Ok(Self { created_at: Timestamp::from_millis(millis.get()), generation: generation.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_cursor_reads_back_as_itself() {
        let listed =
            Listed { created_at: Timestamp::from_millis(1_795_245_962_001), generation: GenerationId::random() };
        assert_eq!(listed.to_string().parse(), Ok(listed));
        for text in ["", "1", "x.gen_AAAAAAAAAAAAAAAAAAAAAA", "1.gen_", "-1.gen_AAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(text.parse::<Listed>(), Err(InvalidId), "{text}");
        }
    }

    #[test]
    fn an_event_id_reads_back_as_itself() {
        let generation = GenerationId::random();
        for (epoch, text) in [(1, "42"), (2, "2.42"), (u32::MAX, "4294967295.42")] {
            let position = EventPosition { epoch: Epoch::new(epoch), sequence: Sequence::new(42) };
            let id = EventId { generation, position };
            assert_eq!(id.to_string(), format!("{generation}.{text}"));
            assert_eq!(id.to_string().parse(), Ok(id));
            assert!(id.to_string().len() <= 128);
        }
    }

    #[test]
    fn a_position_has_one_text_form() {
        for text in ["", "01", "+1", "-1", "1 ", "1.0", "99999999999999999999999", "١"] {
            assert_eq!(text.parse::<Sequence>(), Err(InvalidId), "{text}");
            assert_eq!(text.parse::<EventPosition>(), Err(InvalidId), "{text}");
        }
        for text in ["0.1", "1.1", "02.1", "2.", ".2", "2.01", "4294967296.1", "2.1.1"] {
            assert_eq!(text.parse::<EventPosition>(), Err(InvalidId), "{text}");
        }
        assert_eq!("0".parse(), Ok(Sequence::START));
    }
}
