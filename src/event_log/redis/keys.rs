//! The names of the keys and channels in Redis.

use std::sync::Arc;

use crate::domain::{Account, ChatKey, GenerationId, IdempotencyKey, Principal};
use crate::redis_client::digest_of_account;

/// Names keys with one prefix, so that several deployments can share a server.
///
/// `{xx}` is the hash tag of Redis Cluster: the keys of one generation are in one slot. No name holds a caller's name,
/// an idempotency key or any other text of a request.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: Arc<str>,
}

/// The keys of one generation, and the channel that announces its entries.
#[derive(Debug, Clone)]
pub struct LogKeys {
    /// Hash: epoch, tail, lease, owner.
    pub head: String,
    /// Stream: the entries, a batch for each append.
    pub entries: String,
    /// Sorted set: the replicas that have viewers, by the end of their time.
    pub viewers: String,
    pub wakes: String,
}

impl Keys {
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    pub fn of(&self, generation: GenerationId) -> LogKeys {
        let id = generation.to_string();
        let tag = id.get(4..6).unwrap_or_default();
        let name = |part| format!("{}:{{{tag}}}:g:{id}:{part}", self.prefix);
        LogKeys { head: name("h"), entries: name("e"), viewers: name("a"), wakes: name("w") }
    }

    /// Returns the key of a claim, by the digest of the caller and its idempotency key.
    pub fn claim(&self, owner: &Principal, key: &IdempotencyKey) -> String {
        let digest = digest(owner, &[key.as_str()]);
        let tag = digest.get(..2).unwrap_or_default();
        format!("{}:{{{tag}}}:k:{digest}", self.prefix)
    }

    /// Returns a new id whose keys have the hash tag of a claim, so that one script can use both.
    pub fn new_id(owner: &Principal, key: &IdempotencyKey) -> GenerationId {
        let (digest, random) = (digest(owner, &[key.as_str()]), GenerationId::random());
        let (tag, id) = (digest.get(..2).unwrap_or_default(), random.to_string());
        // 116 random bits remain.
        format!("gen_{tag}{}", id.get(6..).unwrap_or_default()).parse().unwrap_or(random)
    }

    /// Returns the key of a chat, by the digest of its caller and its id.
    pub fn chat(&self, owner: &Principal, chat: ChatKey) -> String {
        let parts: Vec<_> = chat.as_bytes().iter().map(u8::to_string).collect();
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        let digest = digest(owner, &parts);
        let tag = digest.get(..2).unwrap_or_default();
        format!("{}:{{{tag}}}:c:{digest}", self.prefix)
    }

    /// Returns the key of the sorted set that lists the generations of a caller; `None` for anonymous ones, which are
    /// not listed.
    pub fn list(&self, owner: &Principal) -> Option<String> {
        (*owner != Principal::Anonymous).then(|| format!("{}:{{{}}}:l", self.prefix, digest(owner, &[])))
    }

    /// Returns the keys that count the bytes of all logs, which are in one slot.
    pub fn kept_bytes(&self) -> [String; 3] {
        ["i", "x", "a"].map(|part| format!("{}:{{kept}}:{part}", self.prefix))
    }

    /// Returns the prefix of the channels of the replicas.
    pub fn replicas(&self) -> String {
        format!("{}:r:", self.prefix)
    }
}

fn digest(owner: &Principal, parts: &[&str]) -> String {
    digest_of_account(&Account::Principal(owner.clone()), parts)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_of_a_generation_share_a_hash_tag_and_name_no_caller() {
        let keys = Keys::new("tr");
        let id: GenerationId = "gen_AbAAAAAAAAAAAAAAAAAAAA".parse().expect("an id");
        let LogKeys { head, entries, viewers, wakes } = keys.of(id);
        for key in [head, entries, viewers, wakes] {
            assert!(key.starts_with("tr:{Ab}:g:gen_AbAAAAAAAAAAAAAAAAAAAA:"), "{key}");
        }
        let claim = |owner: &str, key: &str| keys.claim(&Principal::Key(owner.into()), &key.parse().expect("a key"));
        assert!(!claim("web", "order").contains("web") && !claim("web", "order").contains("order"));
        assert_ne!(claim("web", "order"), claim("webo", "rder"));
        assert_eq!(keys.list(&Principal::Anonymous), None);
    }

    #[test]
    fn new_ids_for_a_claim_share_its_hash_tag_and_differ() {
        let keys = Keys::new("tr");
        let (owner, mut tags) = (Principal::Key("web".into()), HashSet::new());
        for number in 0..100 {
            let key = format!("order-{number}").parse().expect("a key");
            let [one, other] = [Keys::new_id(&owner, &key), Keys::new_id(&owner, &key)];
            assert_ne!(one, other);
            let (claim, head) = (keys.claim(&owner, &key), keys.of(one).head);
            assert_eq!(claim.get(..7), head.get(..7));
            assert_eq!(claim.get(..7), keys.of(other).head.get(..7));
            tags.insert(claim.get(..7).map(str::to_owned));
        }
        assert!(tags.len() > 50, "{tags:?}");
    }
}
