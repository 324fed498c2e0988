//! A subscriber's entry in the roster of its channel, as long as it subscribes.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::detached::Detached;
use crate::domain::ChannelName;
use crate::event_log::{RosterMember, Rosters};

/// A subscriber's entry in the roster. Dropping it removes the subscriber, in a tracked task if that takes time.
pub struct RosterHandle {
    rosters: Arc<dyn Rosters>,
    tasks: TaskTracker,
    channel: ChannelName,
    pub member: RosterMember,
}

impl RosterHandle {
    pub fn new(rosters: Arc<dyn Rosters>, tasks: TaskTracker, channel: ChannelName, member: RosterMember) -> Self {
        Self { rosters, tasks, channel, member }
    }
}

impl Drop for RosterHandle {
    fn drop(&mut self) {
        let (rosters, channel, connection) =
            (Arc::clone(&self.rosters), self.channel.clone(), self.member.who.connection);
        drop(Detached::new(&self.tasks, async move { rosters.leave(&channel, connection).await }));
    }
}
