//! The logs of a caller: those that its idempotency keys name (contract 8), and the list of all (contract 9).

use std::cell::RefCell;
use std::sync::Arc;

use tokenrill::domain::{Claim, Fingerprint, GenerationId, Listed, Principal, Sequence};
use tokenrill::event_log::{Conflict, CreateError, Created, LogSummary};
use tokio::sync::Barrier;
use tokio_util::task::TaskTracker;

use super::{
    Backend, OwnedLog, ROOMY, TIGHT, account, append, begun, begun_by, create, ended, is_known, made, orphaned,
    read_events, terms, token,
};
use crate::support::soon;

fn claim(key: &str, request: u8) -> Claim {
    Claim { key: key.parse().expect("a key"), request: Fingerprint::new([request; 32]) }
}

fn named(name: &str) -> Principal {
    Principal::Key(name.into())
}

/// Creates generations with claims, and keeps them open.
struct Claimant<B> {
    logs: B,
    open: RefCell<Vec<Arc<OwnedLog>>>,
}

impl<B: Backend> Claimant<B> {
    fn of(logs: &B) -> Self {
        Self { logs: logs.clone(), open: RefCell::default() }
    }

    /// Creates a generation of `owner` with this claim; returns the generation that the claim names.
    async fn claim(&self, owner: Principal, claim: impl Into<Option<Claim>>) -> Result<GenerationId, CreateError> {
        let id = GenerationId::random();
        Ok(match self.logs.create(begun_by(owner, id, 0), terms(&account(0), claim.into())).await? {
            Created::Known(known) => known,
            new @ Created::New { .. } => {
                let log = OwnedLog::new(new);
                self.open.borrow_mut().push(Arc::clone(&log));
                log.start().generation
            }
        })
    }

    /// Returns the first log that it has created.
    fn first(&self) -> Arc<OwnedLog> {
        Arc::clone(&self.open.borrow()[0])
    }
}

pub async fn a_claim_names_one_log_as_long_as_it_is_kept<B: Backend>() {
    let logs = B::start(ROOMY);
    let claimant = Claimant::of(&logs);
    let owner = named("a");
    let first = claimant.claim(owner.clone(), claim("k", 1)).await.expect("room");
    assert_eq!(claimant.claim(owner.clone(), claim("k", 1)).await, Ok(first), "while it runs");
    assert_eq!(logs.claimed(&owner, &claim("k", 1)).await, Ok(Some(first)));
    let log = claimant.first();
    log.close(ended(0)).await;
    assert_eq!(claimant.claim(owner.clone(), claim("k", 1)).await, Ok(first), "when it has ended");
    assert_ne!(claimant.claim(owner.clone(), claim("l", 1)).await, Ok(first), "another key");
    assert_ne!(claimant.claim(owner.clone(), None).await, Ok(first), "no key");

    logs.remove(first).await.expect("the log answers");
    assert_eq!(logs.claimed(&owner, &claim("k", 2)).await, Ok(None));
    let second = claimant.claim(owner.clone(), claim("k", 2)).await.expect("the key is free");
    assert_ne!(second, first);
    logs.remove(first).await.expect("the log answers");
    assert_eq!(
        claimant.claim(owner, claim("k", 2)).await,
        Ok(second),
        "the old log is removed with its own claim only"
    );
}

pub async fn a_claim_that_is_released_is_free_and_its_log_stays<B: Backend>() {
    let logs = B::start(ROOMY);
    let claimant = Claimant::of(&logs);
    let first = claimant.claim(named("a"), claim("k", 1)).await.expect("room");
    logs.release(first).await.expect("the log answers");
    logs.release(first).await.expect("the log answers");
    logs.release(GenerationId::random()).await.expect("the log answers");
    assert!(is_known(&logs, first).await);
    let second = claimant.claim(named("a"), claim("k", 2)).await.expect("the key is free");
    assert_ne!(second, first);
    logs.release(first).await.expect("the log answers");
    logs.remove(first).await.expect("the log answers");
    assert_eq!(
        claimant.claim(named("a"), claim("k", 2)).await,
        Ok(second),
        "a released log is removed without the claim"
    );
}

pub async fn a_claim_belongs_to_its_owner<B: Backend>() {
    let logs = B::start(ROOMY);
    let claimant = Claimant::of(&logs);
    let owners = [Principal::Anonymous, named("a"), named("b")];
    let mut ids = Vec::new();
    for owner in &owners {
        ids.push(claimant.claim(owner.clone(), claim("k", 1)).await.expect("no conflict with another's"));
    }
    for (owner, id) in owners.into_iter().zip(ids) {
        assert_eq!(claimant.claim(owner, claim("k", 1)).await, Ok(id));
    }
}

pub async fn a_claim_that_conflicts_or_finds_no_room_changes_nothing<B: Backend>() {
    let logs = B::start(TIGHT);
    let claimant = Claimant::of(&logs);
    let owner = named("a");
    let first = claimant.claim(owner.clone(), claim("k", 1)).await.expect("room");
    let log = claimant.first();
    append(&log, vec![token("x")]).await.expect("room");
    log.close(ended(0)).await;
    let before = read_events(&log).await;
    let conflict = claimant.claim(owner.clone(), claim("k", 2)).await;
    assert_eq!(conflict, Err(CreateError::Conflict(Conflict)));
    assert_eq!(logs.claimed(&owner, &claim("k", 2)).await, Err(Conflict.into()));
    assert!(is_known(&logs, first).await, "a refused creation evicts nothing");
    assert_eq!(read_events(&log).await, before);

    // Fill the store with open logs, which are never evicted.
    while claimant.claim(Principal::Anonymous, None).await.is_ok() {}
    let full = claimant.claim(owner.clone(), claim("l", 1)).await;
    assert_eq!(full, Err(CreateError::Full));
    assert_eq!(logs.claimed(&owner, &claim("l", 9)).await, Ok(None), "the key is still free");
}

pub async fn racing_claims_make_one_log<B: Backend>() {
    const TWINS: usize = 16;
    let logs = B::start(ROOMY);
    for round in 0..200 {
        let together = Arc::new(Barrier::new(TWINS));
        let tracker = TaskTracker::new();
        let twins: Vec<_> = (0..TWINS)
            .map(|_| {
                let (logs, together) = (logs.clone(), Arc::clone(&together));
                tracker.spawn(async move {
                    together.wait().await;
                    let created = logs
                        .create(begun(GenerationId::random()), terms(&account(0), Some(claim(&format!("k{round}"), 1))))
                        .await;
                    match created.expect("room") {
                        Created::New { writer, .. } => (writer.log().start().generation, true),
                        Created::Known(id) => (id, false),
                    }
                })
            })
            .collect();
        let (mut ids, mut made) = (Vec::new(), 0);
        for twin in twins {
            let (id, new) = soon(twin).await.expect("no panic");
            assert!(is_known(&logs, id).await, "a log that is returned can be opened");
            ids.push(id);
            made += usize::from(new);
        }
        assert_eq!(made, 1);
        assert!(ids.iter().all(|id| *id == ids[0]));
    }
}

pub async fn each_owner_lists_its_own_newest_first_each_once<B: Backend>() {
    let logs = B::start(ROOMY);
    let mut own: Vec<(u64, GenerationId)> = Vec::new();
    for at in 0..25 {
        // Some have the same millisecond.
        let (id, moment) = (GenerationId::random(), at / 3);
        made(logs.create(begun_by(named("a"), id, moment), terms(&account(0), None)).await).expect("room");
        own.push((moment, id));
        made(logs.create(begun_by(named("b"), GenerationId::random(), moment), terms(&account(0), None)).await)
            .expect("room");
        create(&logs).await;
    }
    own.sort_unstable_by(|a, b| b.cmp(a));
    let list = async |most| {
        let (mut all, mut before): (Vec<Listed>, _) = (Vec::new(), None);
        loop {
            let page = logs.list(&named("a"), before, most).await.expect("the log answers");
            assert!(page.len() <= most);
            before = page.last().copied();
            if page.is_empty() {
                break all.into_iter().map(|one| (one.created_at.millis(), one.generation)).collect::<Vec<_>>();
            }
            all.extend(page);
        }
    };
    for most in [1, 2, 7, 25, 100] {
        assert_eq!(list(most).await, own, "in pages of {most}");
    }
    assert!(logs.list(&Principal::Anonymous, None, 100).await.expect("the log answers").is_empty());
    assert!(logs.list(&named("nobody"), None, 100).await.expect("the log answers").is_empty());

    // A removed log does not disturb the pages, even if a page ended with it.
    let before = logs.list(&named("a"), None, 5).await.expect("the log answers").last().copied();
    let (_, gone) = own.remove(4);
    logs.remove(gone).await.expect("the log answers");
    assert_eq!(list(100).await, own);
    let rest: Vec<_> = logs
        .list(&named("a"), before, 100)
        .await
        .expect("the log answers")
        .into_iter()
        .map(|one| one.generation)
        .collect();
    assert_eq!(rest, own[4..].iter().map(|(_, id)| *id).collect::<Vec<_>>());
}

// 7, 10. Retained; owned.

pub async fn a_summary_has_the_start_and_the_end_of_a_kept_log<B: Backend>() {
    let logs = B::start(ROOMY);
    let (id, log) = create(&logs).await;
    append(&log, vec![token("a"), token("b")]).await.expect("room");
    let summary = async |replica: &B, id| replica.summary(id).await.expect("the log answers");
    let replica = logs.replica();
    let open = LogSummary { start: Arc::clone(log.start()), last: Sequence::new(3), end: None };
    for view in [&logs, &replica] {
        assert_eq!(summary(view, id).await, Some(open.clone()));
    }
    log.close(ended(1)).await;
    let closed = LogSummary { last: Sequence::new(4), end: Some(ended(1)), ..open };
    for view in [&logs, &replica] {
        assert_eq!(summary(view, id).await, Some(closed.clone()));
        assert_eq!(summary(view, GenerationId::random()).await, None);
    }
    logs.remove(id).await.expect("the log answers");
    let (lost, log) = create(&logs).await;
    let _writer = logs.expire_lease(log);
    assert_eq!(summary(&replica, id).await, None, "it was removed");
    assert_eq!(summary(&replica, lost).await.expect("it is kept").end, Some(orphaned()));
}
