//! The names of a channel's keys in Redis.

use crate::domain::ChannelName;
use crate::redis_client::digest;

/// The keys of one channel, and the channel of Redis that announces its events.
///
/// `{...}` is the hash tag of Redis Cluster: a digest of the channel's name, which is text of a request.
#[derive(Debug, Clone)]
pub struct ChannelKeys {
    /// Hash: tail, what is no longer kept, bytes.
    pub head: String,
    /// Stream: the kept events.
    pub kept: String,
    /// Stream: the ephemeral events.
    pub passing: String,
    /// Sorted set: the latest appends, so that a repeat is found.
    pub nonces: String,
    /// Hash: the subscribers.
    pub members: String,
    /// Sorted set: the subscribers by the end of their time.
    pub leases: String,
    /// Sorted set: the subscribers with a stream, in the order in which they joined.
    pub order: String,
    pub wakes: String,
}

/// Characters of the digest: 132 bits.
const TAG: usize = 22;

impl ChannelKeys {
    pub fn of(prefix: &str, channel: &ChannelName) -> Self {
        let digest = digest(&[channel.as_str()]);
        let tag = digest.get(..TAG).unwrap_or(&digest);
        let name = |part| format!("{prefix}:{{{tag}}}:c:{part}");
        Self {
            head: name("h"),
            kept: name("e"),
            passing: name("p"),
            nonces: name("n"),
            members: name("m"),
            leases: name("x"),
            order: name("o"),
            wakes: name("w"),
        }
    }

    pub const fn of_log(&self) -> [&String; 3] {
        [&self.head, &self.kept, &self.passing]
    }

    pub const fn of_appends(&self) -> [&String; 4] {
        [&self.head, &self.kept, &self.passing, &self.nonces]
    }

    pub const fn of_roster(&self) -> [&String; 6] {
        [&self.head, &self.kept, &self.passing, &self.members, &self.leases, &self.order]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_channel_share_a_hash_tag_and_do_not_hold_its_name() {
        let keys = ChannelKeys::of("tr", &"secret-room".parse().expect("a name"));
        let tag = keys.head.split_once('}').expect("a tag").0.to_owned();
        assert!(tag.starts_with("tr:{") && tag.len() == "tr:{".len() + TAG, "{tag}");
        for key in keys.of_appends().into_iter().chain(keys.of_roster()).chain([&keys.wakes]) {
            assert!(key.starts_with(&format!("{tag}}}:c:")) && !key.contains("room"), "{key}");
        }
        assert_ne!(ChannelKeys::of("tr", &"a".parse().expect("a name")).head, keys.head);
    }
}
