//! Recognizes the turns of one conversation, which should stay with one target and key: input that is read
//! from a prompt cache costs about a tenth.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::domain::Principal;
use crate::json::JsonObject;

/// Identifies a conversation of a caller with a model: its `prompt_cache_key`, or its messages up to the first of the user. All
/// replicas compute the same.
///
/// The first half of a SHA-256 digest. The caller is part of it, so that conversations of two callers do not get the same
/// key: upstreams receive it too ([`ConversationKey::prompt_cache_key`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConversationKey(u128);

/// The name of the field of a request.
pub const PROMPT_CACHE_KEY: &str = "prompt_cache_key";

/// Each part is preceded by its length, so that no two lists of parts have the same input.
struct ConversationDigest(Sha256);

#[derive(Deserialize)]
struct MessageRole<'a> {
    #[serde(borrow)]
    role: Option<&'a RawValue>,
}

impl ConversationKey {
    pub fn of(principal: &Principal, model: &str, fields: &JsonObject) -> Self {
        let mut digest = ConversationDigest(Sha256::new());
        match principal {
            Principal::Anonymous => digest.add(&["anonymous"]),
            Principal::Key(name) => digest.add(&["key", name]),
            Principal::Subject { issuer, subject } => digest.add(&["subject", issuer, subject]),
        }
        digest.add(&[model]);
        if let Some(key) = fields.present(PROMPT_CACHE_KEY) {
            digest.add(&[PROMPT_CACHE_KEY, key]);
            return digest.finish();
        }
        let messages: Vec<&RawValue> = fields.read("messages").unwrap_or_default();
        for message in messages {
            digest.add(&[message.get()]);
            let role = serde_json::from_str::<MessageRole<'_>>(message.get()).ok().and_then(|message| message.role);
            if role.is_some_and(|role| role.get() == "\"user\"") {
                break;
            }
        }
        digest.finish()
    }

    /// Returns the value of `prompt_cache_key` for upstreams: 32 hexadecimal digits.
    pub fn prompt_cache_key(self) -> String {
        format!("{:032x}", self.0)
    }

    /// Returns a number above 0 and up to 1 that depends only on the conversation and on `choice`.
    pub fn draw(self, choice: &impl Hash) -> f64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        choice.hash(&mut hasher);
        let bits = u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX);
        (f64::from(bits) + 1.0) / (f64::from(u32::MAX) + 1.0)
    }
}

impl ConversationDigest {
    fn add(&mut self, parts: &[&str]) {
        for part in parts {
            self.0.update((part.len() as u64).to_be_bytes());
            self.0.update(part);
        }
    }

    fn finish(self) -> ConversationKey {
        let digest = self.0.finalize();
        ConversationKey(digest.iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn conversation(principal: &Principal, fields: &str) -> ConversationKey {
        let fields = JsonObject::parse(fields.as_bytes()).expect("an object");
        ConversationKey::of(principal, "m", &fields)
    }

    #[test]
    fn turns_of_a_conversation_have_its_beginning_in_common() {
        let first = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"}]}"#;
        let later = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}"#;
        let other = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"b"}]}"#;
        let caller = Principal::Key(Arc::from("web"));
        assert_eq!(conversation(&caller, first), conversation(&caller, later));
        assert_ne!(conversation(&caller, first), conversation(&caller, other));
        assert_ne!(conversation(&caller, first), conversation(&Principal::Anonymous, first), "another caller");
        let keyed = |key: &str, text: &str| {
            conversation(
                &caller,
                &format!(r#"{{"prompt_cache_key":"{key}","messages":[{{"role":"user","content":"{text}"}}]}}"#),
            )
        };
        assert_eq!(keyed("k", "a"), keyed("k", "b"));
        assert_ne!(keyed("k", "a"), keyed("l", "a"));
        let key = conversation(&caller, first).prompt_cache_key();
        assert_eq!(key, "13044bf124c92414f1fa63c10a333bd6", "the same in every build");
    }

    #[test]
    fn draws_are_spread_evenly_and_repeatable() {
        let draw = |number: u128| ConversationKey(number).draw(&"a");
        let mean = (0..1_000).map(draw).sum::<f64>() / 1_000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
        assert_eq!(draw(7).to_bits(), draw(7).to_bits());
    }
}
