//! The logs that are kept in memory, the claims on them, and the tombstones of evicted ones.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map};
use std::sync::{Arc, Weak};

use tokio::time::Instant;

use super::chat_index::ChatIndex;
use super::holdings::{AccountNumber, ClosingNumber, Holdings};
use super::{ClaimError, Conflict, CreateError, GenerationLog, LostAnswer, NamedChat};
use crate::domain::{
    Account, ChatKey, ChatTurn, Claim, Fingerprint, GenerationId, IdempotencyKey, Listed, Lookup, Principal, Usage,
};

/// All logs and tombstones of one backend. Every operation is O(log n) for each log that it evicts or removes.
pub struct KeptLogs<L> {
    by_id: Lookup<GenerationId, KeptLog<L>>,
    /// By generation.
    tombstones: Lookup<GenerationId, Tombstone>,
    /// The log or tombstone that each caller's key names (contract 8).
    claims: HashMap<(Principal, IdempotencyKey), (GenerationId, Fingerprint)>,
    /// Each named caller's logs, oldest first (contract 9).
    by_owner: Lookup<Principal, BTreeSet<Listed>>,
    /// Closed logs and tombstones by expiry.
    expiries: BTreeMap<(Instant, ClosingNumber), GenerationId>,
    chats: ChatIndex,
    holdings: Holdings,
    /// Bytes counted for an open log beside its entries.
    running: usize,
    evicted: u64,
    /// Logs that are no longer kept but still have other holders.
    released: Vec<Weak<L>>,
    /// Those of them that were open when they were taken.
    released_open: Vec<Weak<L>>,
}

struct KeptLog<L> {
    log: Arc<L>,
    account: AccountNumber,
    key: Option<IdempotencyKey>,
    /// The chat that it was named for.
    chat: Option<ChatKey>,
    bytes: usize,
    /// Set when the log closes.
    ended: Option<LogEnd>,
    at_end: AtEnd,
}

/// A claim whose log was evicted or discarded.
struct Tombstone {
    owner: Principal,
    key: IdempotencyKey,
    account: AccountNumber,
    ended: LogEnd,
}

#[derive(Clone, Copy)]
struct LogEnd {
    number: ClosingNumber,
    expiry: Instant,
    usage: Option<Usage>,
}

/// What happens to a log when it closes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    Keep,
    Discard,
}

/// Bytes counted for a claim beside its log: the longest key, which is stored once, and its index entry.
const CLAIM_BYTES: usize = 512;
/// Bytes counted for the entry of a chat.
const CHAT_BYTES: usize = 256;
/// Bytes by which all terminal events together may exceed the limit.
const MOST_ABOVE: usize = 64 * 1024;

impl<L: GenerationLog> KeptLogs<L> {
    pub fn new(limit: usize, running: usize) -> Self {
        Self {
            by_id: Lookup::default(),
            tombstones: Lookup::default(),
            claims: HashMap::new(),
            by_owner: Lookup::default(),
            expiries: BTreeMap::new(),
            chats: ChatIndex::default(),
            holdings: Holdings::new(limit),
            running,
            evicted: 0,
            released: Vec::new(),
            released_open: Vec::new(),
        }
    }

    pub const fn bytes(&self) -> usize {
        self.holdings.bytes()
    }

    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    pub const fn tombstones(&self) -> usize {
        self.holdings.tombstones()
    }

    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Returns whether [`take_released`](Self::take_released) would return any log.
    pub const fn has_released(&self) -> bool {
        !self.released.is_empty()
    }

    /// Returns the logs that still had other holders when they were removed. Their bytes are no longer counted.
    pub fn take_released(&mut self) -> Vec<Weak<L>> {
        std::mem::take(&mut self.released)
    }

    /// Stores a released log that is still open. [`take_released`](Self::take_released) returns it again after the next
    /// close of a log that is no longer kept.
    pub fn put_back_open(&mut self, log: Weak<L>) {
        self.released_open.push(log);
    }

    pub fn get(&self, generation: GenerationId) -> Option<&Arc<L>> {
        self.by_id.get(&generation).map(|kept| &kept.log)
    }

    pub fn list(&self, owner: &Principal, before: Option<Listed>, most: usize) -> Vec<Listed> {
        let Some(all) = self.by_owner.get(owner) else { return Vec::new() };
        let older = match before {
            Some(before) => all.range(..before),
            None => all.range(..),
        };
        older.rev().take(most).copied().collect()
    }

    /// Returns whether a claim of the owner has this key.
    pub fn knows(&self, owner: &Principal, key: &IdempotencyKey) -> bool {
        self.claims.contains_key(&(owner.clone(), key.clone()))
    }

    pub fn claimed(&self, owner: &Principal, claim: &Claim) -> Result<Option<GenerationId>, ClaimError> {
        let Some((generation, request)) = self.claims.get(&(owner.clone(), claim.key.clone())) else { return Ok(None) };
        if *request != claim.request {
            return Err(Conflict.into());
        }
        match self.tombstones.get(generation) {
            Some(tombstone) => Err(LostAnswer { usage: tombstone.ended.usage }.into()),
            None => Ok(Some(*generation)),
        }
    }

    /// Adds a new log that holds `bytes`. Its claim must not be in use.
    pub fn keep(
        &mut self,
        log: Arc<L>,
        account: &Account,
        claim: Option<Claim>,
        bytes: usize,
    ) -> Result<(), CreateError> {
        if claim.is_some()
            && let Some(oldest) = self.holdings.refuses_key(account)
        {
            return Err(CreateError::TooManyTombstones(oldest.saturating_duration_since(Instant::now())));
        }
        let bytes = bytes + self.running + claim.as_ref().map_or(0, |_| CLAIM_BYTES);
        let account = self.holdings.enter(account);
        if !self.make_room(account, bytes) {
            self.holdings.leave(account);
            return Err(CreateError::Full);
        }
        self.holdings.charge(account, bytes);
        let (owner, generation) = (log.start().owner.clone(), log.start().generation);
        let key = claim.map(|Claim { key, request }| {
            self.claims.insert((owner.clone(), key.clone()), (generation, request));
            key
        });
        if owner != Principal::Anonymous {
            self.by_owner.entry(owner).or_default().insert(Listed::from(&**log.start()));
        }
        self.by_id
            .insert(generation, KeptLog { log, account, key, chat: None, bytes, ended: None, at_end: AtEnd::Keep });
        Ok(())
    }

    /// Charges `bytes` more for a log, if they fit. A log that is no longer kept is not charged.
    pub fn charge(&mut self, id: GenerationId, bytes: usize) -> bool {
        let Some(kept) = self.by_id.get_mut(&id) else { return true };
        let account = kept.account;
        if self.holdings.has_room(bytes) {
            kept.bytes += bytes;
            self.holdings.charge(account, bytes);
            return true;
        }
        let fits = self.make_room(account, bytes);
        // The log is open, so `make_room` has not evicted it.
        if fits && let Some(kept) = self.by_id.get_mut(&id) {
            kept.bytes += bytes;
            self.holdings.charge(account, bytes);
        }
        fits
    }

    /// Charges `bytes` for the terminal event, which always fits. If no log can be evicted for it, all logs together
    /// may exceed their limit by [`MOST_ABOVE`], so that an answer that filled the log can still be read. Beyond that
    /// the log itself may be evicted.
    pub fn close(&mut self, id: GenerationId, bytes: usize, expiry: Instant, usage: Option<Usage>) {
        let Some(kept) = self.by_id.get_mut(&id) else {
            self.released.append(&mut self.released_open);
            return;
        };
        let (account, at_end) = (kept.account, kept.at_end);
        kept.bytes = kept.bytes + bytes - self.running;
        self.holdings.charge(account, bytes);
        self.holdings.refund(account, self.running);
        self.make_room(account, 0);
        let Some(kept) = self.by_id.get_mut(&id) else { return };
        let number = self.holdings.close(account, id);
        kept.ended = Some(LogEnd { number, expiry, usage });
        self.expiries.insert((expiry, number), id);
        if at_end == AtEnd::Discard {
            self.replace_with_tombstone(id);
        }
        while self.holdings.bytes_above_limit() > MOST_ABOVE && self.evict_one(account, 0) {}
    }

    /// Returns when the next log or tombstone expires.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first_key_value().map(|((expiry, _), _)| *expiry)
    }

    pub fn remove_expired(&mut self, now: Instant) {
        while let Some(entry) = self.expiries.first_entry()
            && entry.key().0 <= now
        {
            let id = entry.remove();
            self.remove_tombstone(id);
            self.remove(id);
        }
    }

    /// Frees the claim on a log, or removes its tombstone.
    pub fn release(&mut self, id: GenerationId) {
        self.remove_tombstone(id);
        let Some(kept) = self.by_id.get_mut(&id) else { return };
        let Some(key) = kept.key.take() else { return };
        self.claims.remove(&(kept.log.start().owner.clone(), key));
        kept.bytes -= CLAIM_BYTES;
        self.holdings.refund(kept.account, CLAIM_BYTES);
    }

    /// Removes a log with its claim. A tombstone is not removed.
    pub fn remove(&mut self, id: GenerationId) {
        let Some(mut kept) = self.by_id.remove(&id) else { return };
        if let Some(key) = kept.key.take() {
            self.claims.remove(&(kept.log.start().owner.clone(), key));
        }
        self.remove_expiry(&kept);
        self.uncount(&kept);
    }

    /// Removes a log now if it is closed, else when it closes. Its claim stays as a tombstone.
    pub fn discard(&mut self, id: GenerationId) {
        match self.by_id.get_mut(&id) {
            Some(kept) if kept.ended.is_none() => kept.at_end = AtEnd::Discard,
            Some(_) => self.replace_with_tombstone(id),
            None => {}
        }
    }

    pub const fn chats(&self) -> &ChatIndex {
        &self.chats
    }

    /// Makes a log the one of a chat of its owner. The bytes of the entry count as those of a terminal event do.
    pub fn name_chat(
        &mut self,
        owner: &Principal,
        turn: ChatTurn,
        id: GenerationId,
        ended: Option<GenerationId>,
    ) -> NamedChat {
        let Some(kept) = self.by_id.get_mut(&id) else { return NamedChat::New { earlier: None } };
        let named = self.chats.name(owner, turn, id, ended);
        if matches!(named, NamedChat::New { .. }) && kept.chat.replace(turn.chat).is_none() {
            kept.bytes += CHAT_BYTES;
            self.holdings.charge(kept.account, CHAT_BYTES);
        }
        named
    }

    pub fn close_chat(&mut self, owner: &Principal, chat: ChatKey, id: GenerationId) {
        self.chats.close(owner, chat, id);
    }

    /// Evicts closed logs until `bytes` fit.
    fn make_room(&mut self, account: AccountNumber, bytes: usize) -> bool {
        while !self.holdings.has_room(bytes) {
            if !self.evict_one(account, bytes) {
                return false;
            }
        }
        true
    }

    fn evict_one(&mut self, account: AccountNumber, wanted: usize) -> bool {
        let Some(id) = self.holdings.next_to_evict(account, wanted) else { return false };
        self.replace_with_tombstone(id);
        self.evicted += 1;
        true
    }

    /// Removes a closed log. Its claim stays as a tombstone.
    fn replace_with_tombstone(&mut self, id: GenerationId) {
        let Some(mut kept) = self.by_id.remove(&id) else { return };
        match (kept.key.take(), kept.ended) {
            (Some(key), Some(ended)) => {
                let (owner, account) = (kept.log.start().owner.clone(), kept.account);
                self.holdings.add_tombstone(account, ended.number, ended.expiry);
                self.tombstones.insert(id, Tombstone { owner, key, account, ended });
            }
            _ => self.remove_expiry(&kept),
        }
        self.uncount(&kept);
    }

    /// Removes a tombstone and frees its key.
    fn remove_tombstone(&mut self, id: GenerationId) {
        let Some(Tombstone { owner, key, account, ended }) = self.tombstones.remove(&id) else { return };
        self.claims.remove(&(owner, key));
        self.expiries.remove(&(ended.expiry, ended.number));
        self.holdings.remove_tombstone(account, ended.number);
    }

    fn remove_expiry(&mut self, kept: &KeptLog<L>) {
        if let Some(ended) = kept.ended {
            self.expiries.remove(&(ended.expiry, ended.number));
        }
    }

    /// Refunds a removed log to its account and removes it from its owner's list.
    fn uncount(&mut self, kept: &KeptLog<L>) {
        if let Some(ended) = kept.ended {
            self.holdings.uncount_closed(kept.account, ended.number);
        }
        self.holdings.refund(kept.account, kept.bytes);
        // This count is exact: a new holder is cloned from an existing one, or under the lock of all logs.
        if Arc::strong_count(&kept.log) > 1 {
            self.released.push(Arc::downgrade(&kept.log));
        }
        let start = kept.log.start();
        if let Some(chat) = kept.chat {
            self.chats.remove(&start.owner, chat, start.generation);
        }
        if let hash_map::Entry::Occupied(mut owned) = self.by_owner.entry(start.owner.clone()) {
            owned.get_mut().remove(&Listed::from(&**start));
            if owned.get().is_empty() {
                owned.remove();
            }
        }
    }
}
