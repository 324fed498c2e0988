//! The subscribers of this process, whose leases it extends.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{ChannelName, ConnectionId, Lookup};
use crate::event_log::RosterMember;

/// The subscribers of this process.
#[derive(Default)]
pub struct MembersHere(Mutex<HashMap<ChannelName, Lookup<ConnectionId, RosterMember>>>);

/// Subscribers of one call.
const MOST_REFRESHED: usize = 1000;

impl MembersHere {
    pub fn add(&self, channel: &ChannelName, member: &RosterMember) {
        self.lock().entry(channel.clone()).or_default().insert(member.who.connection, member.clone());
    }

    pub fn remove(&self, channel: &ChannelName, connection: ConnectionId) {
        let mut all = self.lock();
        if let Some(members) = all.get_mut(channel) {
            members.remove(&connection);
            if members.is_empty() {
                all.remove(channel);
            }
        }
    }

    pub fn get(&self, channel: &ChannelName, connection: ConnectionId) -> Option<RosterMember> {
        self.lock().get(channel)?.get(&connection).cloned()
    }

    /// Returns the subscribers of each channel, in parts.
    pub fn parts(&self) -> Vec<(ChannelName, Vec<ConnectionId>)> {
        let all = self.lock();
        let of_channel = |(name, members): (&ChannelName, &Lookup<ConnectionId, RosterMember>)| {
            let connections: Vec<_> = members.keys().copied().collect();
            connections.chunks(MOST_REFRESHED).map(|part| (name.clone(), part.to_vec())).collect::<Vec<_>>()
        };
        all.iter().flat_map(of_channel).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelName, Lookup<ConnectionId, RosterMember>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
