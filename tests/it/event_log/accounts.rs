//! Logs and tombstones count for the account that made them: which log is evicted (contract 6), and what remains of a
//! claim (contract 8).

use std::sync::Arc;
use std::time::Duration;

use tokenrill::domain::{Account, Claim, Fingerprint, GenerationId, Principal, Usage};
use tokenrill::event_log::{
    AppendError, ClaimError, CloseOutcome, Conflict, CreateError, EventLog, Limit, LostAnswer, MOST_TOMBSTONES,
    MemoryLimits,
};

use super::{
    Backend, OwnedLog, RETENTION, ROOMY, TIGHT, account, append, begun, begun_by, create, create_for, ended, is_known,
    pass_minutes, read_events, terms, token,
};

pub fn owner() -> Principal {
    Principal::Key("a".into())
}

pub fn claim(key: &str, request: u8) -> Claim {
    Claim { key: key.parse().expect("a key"), request: Fingerprint::new([request; 32]) }
}

/// Returns the lost answer that a repeat receives, after a log that [`ended`] with this number.
pub fn lost(by: u64) -> LostAnswer {
    LostAnswer { usage: Some(Usage { output_tokens: Some(by), ..Usage::default() }) }
}

/// Creates a log of the account with a text of `bytes` bytes.
async fn grown(logs: &impl EventLog, number: u8, bytes: usize) -> (GenerationId, Arc<OwnedLog>) {
    let (id, log) = create_for(logs, number).await;
    append(&log, vec![token(&"x".repeat(bytes))]).await.expect("room");
    (id, log)
}

async fn closed(logs: &impl EventLog, number: u8, bytes: usize) -> GenerationId {
    let (id, log) = grown(logs, number, bytes).await;
    assert_eq!(log.close(ended(0)).await, CloseOutcome::Won);
    id
}

/// Creates a log of the account with a claim of [`owner`].
pub async fn claim_new(
    logs: &impl EventLog,
    account: &Account,
    claim: Claim,
) -> Result<(GenerationId, Arc<OwnedLog>), CreateError> {
    let id = GenerationId::random();
    Ok((id, OwnedLog::new(logs.create(begun_by(owner(), id, 0), terms(account, Some(claim))).await?)))
}

/// Appends until the limit of all logs is reached.
async fn fill(log: &Arc<OwnedLog>) {
    let full = loop {
        if let Err(full) = append(log, vec![token(&"x".repeat(512))]).await {
            break full;
        }
    };
    assert_eq!(full, AppendError::Full(Limit::Total));
}

// 6. Bounded, and fair.

pub async fn large_answers_evict_their_own_accounts_and_none_of_another<B: Backend>() {
    let logs = B::start(TIGHT);
    let small = closed(&logs, 1, 2048).await;
    let mut large = Vec::new();
    for _ in 0..50 {
        large.push(closed(&logs, 2, 6 << 10).await);
        logs.check(TIGHT);
    }
    assert!(is_known(&logs, small).await);
    assert!(!is_known(&logs, large[0]).await && is_known(&logs, large[49]).await, "the oldest is evicted first");
}

pub async fn an_account_within_its_share_evicts_from_the_one_that_holds_most<B: Backend>() {
    let logs = B::start(TIGHT);
    let modest = closed(&logs, 1, 5 << 10).await;
    let most = closed(&logs, 2, 18 << 10).await;
    grown(&logs, 3, 8 << 10).await;
    assert!(is_known(&logs, modest).await, "it closed first, and its account holds less");
    assert!(!is_known(&logs, most).await);
}

pub async fn open_logs_above_their_share_evict_nothing_of_an_account_within_its_own<B: Backend>() {
    let logs = B::start(TIGHT);
    let small = closed(&logs, 1, 2048).await;
    let own = closed(&logs, 2, 1024).await;
    let (_, open) = create_for(&logs, 2).await;
    fill(&open).await;
    assert!(is_known(&logs, small).await, "the append was refused instead");
    assert!(!is_known(&logs, own).await, "its own closed log was evicted");
    assert!(
        logs.create(begun(GenerationId::random()), terms(&account(3), None)).await.is_ok(),
        "account 3 holds nothing"
    );
}

pub async fn open_logs_above_their_share_evict_of_an_account_above_its_own<B: Backend>() {
    let logs = B::start(TIGHT);
    let (first, second) = (closed(&logs, 1, 9 << 10).await, closed(&logs, 1, 9 << 10).await);
    let (_, open) = create_for(&logs, 2).await;
    fill(&open).await;
    assert!(!is_known(&logs, first).await);
    assert!(is_known(&logs, second).await, "without the first its account is within its share");
}

pub async fn a_terminal_event_evicts_nothing_of_an_account_within_its_share<B: Backend>() {
    let logs = B::start(TIGHT);
    let small = closed(&logs, 1, 2048).await;
    let mut open = Vec::new();
    for _ in 0..6 {
        open.push(grown(&logs, 2, 2048).await);
    }
    fill(&open[0].1).await;
    for (_, log) in &open {
        assert_eq!(log.close(ended(0)).await, CloseOutcome::Won);
        assert!(read_events(log).await.last().is_some_and(|event| *event == ended(0)));
        logs.check(TIGHT);
    }
    assert!(is_known(&logs, small).await);
}

// 8. Claimed once.

/// Fills the store with an open log of account 1, which evicts account 1's only closed log.
async fn evict_all(logs: &impl EventLog) {
    let (_, open) = create_for(logs, 1).await;
    fill(&open).await;
}

pub async fn an_evicted_claim_is_lost_with_its_usage_until_its_retention_ends<B: Backend>() {
    let logs = B::start(TIGHT);
    let (id, log) = claim_new(&logs, &account(1), claim("k", 1)).await.expect("room");
    log.close(ended(7)).await;
    pass_minutes(1).await;
    evict_all(&logs).await;
    assert!(!is_known(&logs, id).await && logs.list(&owner(), None, 9).await.expect("the log answers").is_empty());
    for _ in 0..2 {
        assert_eq!(logs.claimed(&owner(), &claim("k", 1)).await, Err(ClaimError::Lost(lost(7))));
        assert_eq!(logs.claimed(&owner(), &claim("k", 2)).await, Err(ClaimError::Conflict(Conflict)));
        let repeated = claim_new(&logs, &account(1), claim("k", 1)).await.err();
        assert_eq!(repeated, Some(CreateError::Lost(lost(7))));
        pass_minutes(8).await;
    }
    // The retention starts when the log closes, not when it is evicted.
    pass_minutes(2).await;
    assert_eq!(logs.claimed(&owner(), &claim("k", 1)).await, Ok(None));
}

pub async fn a_discarded_claim_is_lost_with_its_usage_until_its_retention_ends<B: Backend>() {
    let logs = B::start(ROOMY);
    let (id, log) = claim_new(&logs, &account(1), claim("k", 1)).await.expect("room");
    logs.discard(id).await.expect("the log answers");
    assert!(is_known(&logs, id).await, "it is open");
    log.close(ended(7)).await;
    assert!(!is_known(&logs, id).await);
    let (second, log) = claim_new(&logs, &account(1), claim("l", 1)).await.expect("room");
    log.close(ended(8)).await;
    logs.discard(second).await.expect("the log answers");
    logs.discard(second).await.expect("the log answers");
    logs.discard(GenerationId::random()).await.expect("the log answers");
    for (key, by) in [("k", 7), ("l", 8)] {
        assert_eq!(logs.claimed(&owner(), &claim(key, 1)).await, Err(ClaimError::Lost(lost(by))));
    }
    // The id is unknown, so a remove does not free the key: only the retention does.
    logs.remove(second).await.expect("the log answers");
    assert_eq!(logs.claimed(&owner(), &claim("l", 1)).await, Err(ClaimError::Lost(lost(8))));
    pass_minutes(11).await;
    for key in ["k", "l"] {
        assert_eq!(logs.claimed(&owner(), &claim(key, 1)).await, Ok(None));
    }
}

pub async fn a_release_frees_a_lost_claim_and_a_removal_leaves_none<B: Backend>() {
    let logs = B::start(ROOMY);
    let (id, log) = claim_new(&logs, &account(1), claim("k", 1)).await.expect("room");
    log.close(ended(0)).await;
    logs.discard(id).await.expect("the log answers");
    logs.release(id).await.expect("the log answers");
    assert_eq!(logs.claimed(&owner(), &claim("k", 2)).await, Ok(None));
    let (id, log) = claim_new(&logs, &account(1), claim("k", 2)).await.expect("room");
    log.close(ended(0)).await;
    logs.remove(id).await.expect("the log answers");
    logs.discard(id).await.expect("the log answers");
    assert_eq!(logs.claimed(&owner(), &claim("k", 3)).await, Ok(None));
    let (id, log) = create(&logs).await;
    log.close(ended(0)).await;
    logs.discard(id).await.expect("the log answers");
    assert!(!is_known(&logs, id).await, "also without a claim");
}

pub async fn an_account_with_too_many_lost_claims_gets_no_new_one_until_the_oldest_expires<B: Backend>() {
    let logs = B::start(ROOMY);
    let lose = async |number: u8, key: String| {
        let (id, log) = claim_new(&logs, &account(number), claim(&key, 1)).await?;
        log.close(ended(7)).await;
        logs.discard(id).await.expect("the log answers");
        Ok(())
    };
    lose(1, "oldest".to_owned()).await.expect("the first");
    pass_minutes(1).await;
    for number in 1..MOST_TOMBSTONES {
        lose(1, format!("k{number}")).await.expect("one less than the limit");
    }
    let Err(CreateError::TooManyTombstones(wait)) = lose(1, "new".to_owned()).await else { panic!("one too many") };
    assert_eq!(wait + Duration::from_mins(1), RETENTION, "until the oldest expires");
    assert!(logs.create(begun(GenerationId::random()), terms(&account(1), None)).await.is_ok(), "without a key");
    assert_eq!(logs.claimed(&owner(), &claim("k1", 1)).await, Err(ClaimError::Lost(lost(7))), "a repeat of the claim");
    assert_eq!(lose(2, "other".to_owned()).await, Ok(()), "the estimate of another account");

    tokio::time::sleep(wait + Duration::from_millis(1)).await;
    assert_eq!(lose(1, "new".to_owned()).await, Ok(()));
    assert!(matches!(lose(1, "newer".to_owned()).await, Err(CreateError::TooManyTombstones(_))));
}

/// Tombstones are not evicted: without this, a few accounts could fill the log with them.
pub async fn lost_claims_of_many_accounts_leave_room_for_answers_and_for_keys_of_others<B: Backend>() {
    let limits = MemoryLimits { total: 256 << 10, generation: 256 << 10, running: 0, retention: RETENTION };
    let logs = B::start(limits);
    let lose_until_refused = async |number: u8| {
        let mut count = 0;
        let refused = loop {
            match claim_new(&logs, &account(number), claim(&format!("{number}-{count}"), 1)).await {
                Ok((id, log)) => {
                    log.close(ended(0)).await;
                    logs.discard(id).await.expect("the log answers");
                    count += 1;
                }
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, CreateError::TooManyTombstones(_)), "{refused}");
        count
    };
    let mut counts = Vec::new();
    for number in 1..=20 {
        counts.push(lose_until_refused(number).await);
        logs.check(limits);
    }
    assert!(counts[0] > 60, "one account alone: {counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "an account that holds none gets a key: {counts:?}");
    let (_, open) = create_for(&logs, 99).await;
    append(&open, vec![token(&"x".repeat(100 << 10))]).await.expect("there is room for answers");
}
