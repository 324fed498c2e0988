//! The subscribers of each channel.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;

use crate::domain::{ChannelEvent, ChannelName, ConnectionId, Presence, Sequence, Subscriber};
use crate::event_log::ChannelLog;

/// The subscribers of this process, by channel.
#[derive(Default)]
pub struct Rosters(Mutex<HashMap<ChannelName, Roster>>);

#[derive(Default)]
struct Roster {
    last: u64,
    /// In the order in which they joined.
    present: BTreeMap<u64, Subscriber>,
    /// The number of them that receive presence events.
    with_presence: usize,
    /// The number of subscribers that are there for one response only.
    passing: usize,
}

/// How a subscriber takes part in presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresenceMode {
    /// With a stream: others receive its presence events.
    Present,
    /// With a stream, and it receives the presence events of others.
    PresentAndTold,
    /// For one response: without presence events.
    Passing,
}

/// A subscriber's entry in the roster. Dropping it removes the subscriber.
pub struct RosterEntry {
    rosters: Arc<Rosters>,
    channel: ChannelName,
    log: Arc<dyn ChannelLog>,
    /// `None` for [`PresenceMode::Passing`].
    number: Option<u64>,
    pub who: Subscriber,
    pub presence_mode: PresenceMode,
}

/// The result of joining.
pub struct JoinedRoster {
    pub roster_entry: RosterEntry,
    /// The subscribers, including this one; empty if this one does not receive presence events.
    pub present: Vec<Subscriber>,
    pub subscribers: usize,
    /// The tail at that moment. Later joins and departures are appended after it.
    pub tail: Sequence,
}

/// The number of subscribers is at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the number of subscribers is at its limit")]
pub struct RosterFull;

/// The maximum number of subscribers that are listed.
const MOST_LISTED: usize = 1000;

impl Rosters {
    /// Adds the subscriber and appends the presence event under one lock, so that the events and the returned list agree.
    pub fn join(
        self: &Arc<Self>,
        channel: &ChannelName,
        log: &Arc<dyn ChannelLog>,
        who: Subscriber,
        presence_mode: PresenceMode,
        most: usize,
    ) -> Result<JoinedRoster, RosterFull> {
        let mut all = self.lock();
        if all.get(channel).is_some_and(|roster| roster.size() >= most) {
            return Err(RosterFull);
        }
        let roster = all.entry(channel.clone()).or_default();
        let tail = log.tail().now_or_never().and_then(Result::ok).map_or(Sequence::START, |tail| tail.sequence);
        let number = (presence_mode != PresenceMode::Passing).then(|| {
            roster.last += 1;
            roster.present.insert(roster.last, who.clone());
            roster.append_presence(log.as_ref(), &who, ChannelEvent::Joined);
            roster.last
        });
        let present = match presence_mode {
            PresenceMode::PresentAndTold => {
                roster.with_presence += 1;
                roster.list()
            }
            PresenceMode::Present => Vec::new(),
            PresenceMode::Passing => {
                roster.passing += 1;
                Vec::new()
            }
        };
        let subscribers = roster.present.len();
        let (rosters, channel, log) = (Arc::clone(self), channel.clone(), Arc::clone(log));
        Ok(JoinedRoster {
            roster_entry: RosterEntry { rosters, channel, log, number, who, presence_mode },
            present,
            subscribers,
            tail,
        })
    }

    pub fn has_room(&self, channel: &ChannelName, most: usize) -> bool {
        self.lock().get(channel).is_none_or(|roster| roster.size() < most)
    }

    /// Returns the number of subscribers, and the first of them.
    pub fn present(&self, channel: &ChannelName) -> (usize, Vec<Subscriber>) {
        let all = self.lock();
        all.get(channel).map_or((0, Vec::new()), |roster| (roster.present.len(), roster.list()))
    }

    pub fn has(&self, channel: &ChannelName, connection: ConnectionId) -> bool {
        let all = self.lock();
        all.get(channel).is_some_and(|roster| roster.present.values().any(|who| who.connection == connection))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelName, Roster>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Roster {
    fn size(&self) -> usize {
        self.present.len() + self.passing
    }

    fn list(&self) -> Vec<Subscriber> {
        self.present.values().take(MOST_LISTED).cloned().collect()
    }

    /// Appends a presence event, if a subscriber receives them. A log in memory has it when the call returns, so the
    /// events are in the order of the roster. If the log has no room the event is dropped: later subscribers still get
    /// the list.
    fn append_presence(&self, log: &dyn ChannelLog, who: &Subscriber, event: fn(Arc<Presence>) -> ChannelEvent) {
        if self.with_presence > 0 {
            let presence = Presence { who: who.clone(), subscribers: self.present.len() };
            _ = log.append(vec![event(Arc::new(presence))]).now_or_never();
        }
    }
}

impl Drop for RosterEntry {
    fn drop(&mut self) {
        let mut all = self.rosters.lock();
        let Some(roster) = all.get_mut(&self.channel) else { return };
        roster.with_presence -= usize::from(self.presence_mode == PresenceMode::PresentAndTold);
        match self.number {
            Some(number) => {
                roster.present.remove(&number);
                roster.append_presence(self.log.as_ref(), &self.who, ChannelEvent::Left);
            }
            None => roster.passing -= 1,
        }
        if roster.size() == 0 {
            all.remove(&self.channel);
        }
    }
}
