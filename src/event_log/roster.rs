//! The port for the subscribers of channels.
//!
//! # The contract
//!
//! Every adapter keeps these rules; `tests/it/rosters.rs` tests each rule against each adapter. The adapter is also the
//! one that keeps the channels' logs, because a step changes both.
//!
//! 1. **One step.** Joining and its `joined` event are one step, and so are leaving and its `left` event. The events are
//!    in the order of the steps, the same for all readers. The list, the number and the tail that a join returns are
//!    those of its step: later joins and departures are appended after that tail, and none of them is before it.
//! 2. **Repeatable.** A subscriber is known by its connection. A join whose reply is lost may be repeated: it finds its
//!    entry, adds no other and appends no second event, and returns the list and the tail as they are now. A second
//!    leave, or one of a connection that is not in the roster, changes nothing.
//! 3. **Bounded.** A join of a roster that has the maximum of entries is refused and leaves nothing behind.
//! 4. **Presence events are for those that receive them.** None is appended while no subscriber receives presence
//!    events. If the log has no room for one, it is dropped: later subscribers still get the list.
//! 5. **Entries have an owner.** An entry belongs to the process in which the subscriber joined. An adapter that several
//!    processes share keeps an entry only for some seconds after the last [`Rosters::refresh`] of its process, and then
//!    removes it with its `left` event.
//! 6. **A log with subscribers is kept.**
//! 7. **In order, and slow.** Any call may take time. The calls for one connection are made one after the other, and
//!    one that has begun is completed before the next, also if its caller is gone.

use futures_util::future::BoxFuture;

use super::ChannelsFull;
use crate::domain::{Account, ChannelName, ConnectionId, Sequence, Subscriber};

/// The subscribers of all channels of one deployment.
pub trait Rosters: Send + Sync + 'static {
    /// Adds a subscriber, if the roster has fewer than `most` entries (contract 1 to 4). A channel that is created for
    /// it, and its presence events, count against the account.
    fn join<'a>(
        &'a self,
        channel: &'a ChannelName,
        account: &'a Account,
        member: &'a RosterMember,
        most: usize,
    ) -> BoxFuture<'a, Result<JoinedRoster, JoinError>>;

    /// Removes a subscriber (contract 1, 2).
    fn leave<'a>(&'a self, channel: &'a ChannelName, connection: ConnectionId) -> BoxFuture<'a, ()>;

    /// Keeps the entries of this process (contract 5). Called every other second.
    fn refresh(&self) -> BoxFuture<'_, ()>;

    /// Returns the number of entries, which the maximum limits.
    fn entries<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, usize>;

    /// Returns whether this connection subscribes with a stream.
    fn has<'a>(&'a self, channel: &'a ChannelName, connection: ConnectionId) -> BoxFuture<'a, bool>;

    /// Returns the subscribers with a stream.
    fn members<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, RosterMembers>;
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

/// A subscriber that joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterMember {
    pub who: Subscriber,
    pub presence_mode: PresenceMode,
}

/// The result of joining.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedRoster {
    /// The first subscribers, including this one; empty if this one does not receive presence events.
    pub present: Vec<Subscriber>,
    pub subscribers: usize,
    /// The tail of the channel's log before the join.
    pub tail: Sequence,
}

/// The subscribers of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RosterMembers {
    pub subscribers: usize,
    /// The first of them, at most 1,000.
    pub first: Vec<Subscriber>,
}

/// The maximum number of subscribers that are listed.
pub const MOST_LISTED: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error("the number of subscribers is at its limit")]
    RosterFull,
    #[error(transparent)]
    ChannelsFull(#[from] ChannelsFull),
}
