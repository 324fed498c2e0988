//! The targets of the conversations that one process has routed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::conversation::ConversationKey;

/// Remembers the target of each conversation of a model, at most `MOST_CONVERSATIONS`. The least recently used one is
/// evicted first.
#[derive(Default)]
pub struct KnownConversations(Mutex<ConversationTable>);

#[derive(Default)]
struct ConversationTable {
    known: HashMap<ConversationKey, KnownConversation>,
    /// By the number of their last use, which is unique.
    by_use: BTreeMap<u64, ConversationKey>,
    uses: u64,
}

struct KnownConversation {
    /// The place of the target in the settings.
    target: usize,
    used: u64,
}

/// About 2 MB for each model. An evicted conversation is routed as a new one.
pub const MOST_CONVERSATIONS: usize = 16_384;

/// Prints only the number of conversations.
impl fmt::Debug for KnownConversations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KnownConversations").field(&self.lock().known.len()).finish()
    }
}

impl KnownConversations {
    /// Returns the place of the target of this conversation, which is then the most recently used one.
    pub fn target_of(&self, conversation: ConversationKey) -> Option<usize> {
        let mut table = self.lock();
        let target = table.known.get(&conversation)?.target;
        table.set(conversation, target);
        Some(target)
    }

    /// Records the target of a conversation, instead of an earlier one.
    pub fn remember(&self, conversation: ConversationKey, target: usize) {
        self.lock().set(conversation, target);
    }

    fn lock(&self) -> MutexGuard<'_, ConversationTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConversationTable {
    fn set(&mut self, conversation: ConversationKey, target: usize) {
        self.uses += 1;
        let used = self.uses;
        if let Some(before) = self.known.insert(conversation, KnownConversation { target, used }) {
            self.by_use.remove(&before.used);
        }
        self.by_use.insert(used, conversation);
        if self.known.len() > MOST_CONVERSATIONS
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Principal;
    use crate::json::JsonObject;

    #[test]
    fn least_recently_used_conversation_is_evicted() {
        let known = KnownConversations::default();
        let key = |number: usize| {
            let fields =
                JsonObject::parse(format!(r#"{{"prompt_cache_key":{number}}}"#).as_bytes()).expect("an object");
            ConversationKey::of(&Principal::Anonymous, "fast", &fields)
        };
        for number in 0..MOST_CONVERSATIONS {
            known.remember(key(number), number % 3);
        }
        assert_eq!(known.target_of(key(0)), Some(0), "used again");
        known.remember(key(MOST_CONVERSATIONS), 1);
        assert_eq!(known.target_of(key(1)), None);
        assert_eq!((known.target_of(key(0)), known.target_of(key(2))), (Some(0), Some(2)));
        known.remember(key(2), 1);
        assert_eq!(known.target_of(key(2)), Some(1), "the later target replaces the earlier one");
        let table = known.lock();
        assert_eq!((table.known.len(), table.by_use.len()), (MOST_CONVERSATIONS, MOST_CONVERSATIONS));
    }
}
