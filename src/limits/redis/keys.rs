//! The names of the limits' keys in Redis, and of their channel.

use std::sync::Arc;

use crate::domain::{Account, GenerationId};
use crate::limits::rates::{RateKey, RateKind};
use crate::redis_client::digest_of_account;

/// Names keys with one prefix and one hash tag of Redis Cluster, so that one script can use any of them. No name holds
/// the name or the address of a caller, nor a model.
#[derive(Debug, Clone)]
pub struct LimitKeys {
    /// What all names begin with.
    begin: Arc<str>,
}

impl LimitKeys {
    pub fn new(prefix: &str) -> Self {
        Self { begin: format!("{prefix}:{{{prefix}.limits}}:").into() }
    }

    /// String: the state of one rate.
    pub fn rate(&self, key: &RateKey, kind: RateKind) -> String {
        let kind = match kind {
            RateKind::Requests => "r",
            RateKind::Tokens => "t",
            RateKind::Publishes => "p",
        };
        let models: &[&str] = match &key.models {
            Some(models) => &[models],
            None => &[],
        };
        format!("{}r:{}:{kind}", self.begin, digest_of_account(&key.account, models))
    }

    /// Hash: what an account has spent in the latest day and month.
    pub fn spending(&self, account: &Account) -> String {
        format!("{}b:{}", self.begin, digest_of_account(account, &[]))
    }

    /// Hash: what is reserved for a generation.
    pub fn record(&self, generation: GenerationId) -> String {
        format!("{}g:{generation}", self.begin)
    }

    /// Sorted set: the generations that have a slot, by the end of their time.
    pub fn slots(&self) -> String {
        format!("{}s", self.begin)
    }

    /// Sorted set: those of an account with a limit.
    pub fn slots_of(&self, account: &Account) -> String {
        format!("{}s:{}", self.begin, digest_of_account(account, &[]))
    }

    /// Channel: a slot is free.
    pub fn freed(&self) -> String {
        format!("{}f", self.begin)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::Principal;

    #[test]
    fn names_share_a_hash_tag_are_distinct_and_name_no_caller() {
        let keys = LimitKeys::new("tr");
        let key = |name: &str| Account::Principal(Principal::Key(name.into()));
        let subject = |issuer: &str, subject: &str| {
            Account::Principal(Principal::Subject { issuer: issuer.into(), subject: subject.into() })
        };
        let accounts = [
            key("web"),
            key("webo"),
            subject("web", "user"),
            subject("webu", "ser"),
            Account::of_address([192, 0, 2, 1].into()),
            Account::Principal(Principal::Anonymous),
            Account::Service,
        ];
        let mut names = BTreeSet::from([keys.slots(), keys.freed()]);
        for account in &accounts {
            names.insert(keys.slots_of(account));
            names.insert(keys.spending(account));
            for models in [None, Some("gpt*"), Some("web")] {
                let key = RateKey { account: account.clone(), models: models.map(Into::into) };
                for kind in [RateKind::Requests, RateKind::Tokens, RateKind::Publishes] {
                    names.insert(keys.rate(&key, kind));
                }
            }
        }
        assert_eq!(names.len(), 2 + accounts.len() * 11);
        for name in names {
            assert!(name.starts_with("tr:{tr.limits}:"), "{name}");
            assert!(!["web", "user", "192.0", "gpt"].iter().any(|secret| name.contains(secret)), "{name}");
        }
    }
}
