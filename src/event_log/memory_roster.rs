//! The subscribers of one channel in memory.

use std::collections::BTreeMap;

use super::roster::{JoinedRoster, MOST_LISTED, PresenceMode, RosterMember};
use crate::domain::{ConnectionId, Lookup, Presence, Sequence, Subscriber};

/// The subscribers of one channel.
#[derive(Debug, Default)]
pub struct MemoryRoster {
    last: u64,
    entries: Lookup<ConnectionId, RosterEntry>,
    /// The subscribers with a stream, in the order in which they joined.
    present: BTreeMap<u64, Subscriber>,
    /// The number of them that receive presence events.
    told: usize,
}

#[derive(Debug, Clone, Copy)]
struct RosterEntry {
    number: u64,
    presence_mode: PresenceMode,
}

impl MemoryRoster {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn subscribers(&self) -> usize {
        self.present.len()
    }

    pub fn has(&self, connection: ConnectionId) -> bool {
        let entry = self.entries.get(&connection);
        entry.is_some_and(|entry| entry.presence_mode != PresenceMode::Passing)
    }

    /// Returns the first subscribers.
    pub fn list(&self) -> Vec<Subscriber> {
        self.present.values().take(MOST_LISTED).cloned().collect()
    }

    /// Adds a subscriber. Returns the presence event of its joining, if a subscriber receives it.
    pub fn add(&mut self, member: &RosterMember) -> Option<Presence> {
        let RosterMember { who, presence_mode } = member;
        self.last += 1;
        self.entries.insert(who.connection, RosterEntry { number: self.last, presence_mode: *presence_mode });
        if *presence_mode == PresenceMode::Passing {
            return None;
        }
        self.present.insert(self.last, who.clone());
        let presence = self.presence(who);
        self.told += usize::from(*presence_mode == PresenceMode::PresentAndTold);
        presence
    }

    /// Removes a subscriber. Returns the presence event of its leaving, if a subscriber receives it.
    pub fn remove(&mut self, connection: ConnectionId) -> Option<Presence> {
        let RosterEntry { number, presence_mode } = self.entries.remove(&connection)?;
        self.told -= usize::from(presence_mode == PresenceMode::PresentAndTold);
        let who = self.present.remove(&number)?;
        self.presence(&who)
    }

    /// Returns the result of a join that stands now.
    pub fn joined(&self, presence_mode: PresenceMode, tail: Sequence) -> JoinedRoster {
        let present = if presence_mode == PresenceMode::PresentAndTold { self.list() } else { Vec::new() };
        JoinedRoster { present, subscribers: self.subscribers(), tail }
    }

    fn presence(&self, who: &Subscriber) -> Option<Presence> {
        (self.told > 0).then(|| Presence { who: who.clone(), subscribers: self.present.len() })
    }
}
