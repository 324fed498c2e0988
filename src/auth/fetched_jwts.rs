//! The tokens of an issuer whose keys are fetched, and kept fresh.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::{Identity, InvalidJwks, Jwts, Refusal, Trust};

/// The keys of an issuer, from where it publishes them; fetched by one task, which ends with this.
///
/// They are fetched anew every ten minutes, and when a token is of a key that is not among them: an issuer that
/// changes its keys is followed at once, and one who makes up names causes one fetch in ten seconds. While the
/// issuer is out of reach its last keys are good, for a day.
pub struct FetchedJwts {
    latest: watch::Receiver<Latest>,
    wanted: Arc<Wanted>,
    _task: DropGuard,
}

/// Why keys are fetched before they are ten minutes old.
#[derive(Default)]
struct Wanted {
    /// A caller's token is of another key.
    by_caller: Notify,
    by_operator: Notify,
}

/// Gets the text of the key set.
pub type Fetch = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<String, FetchError>> + Send>> + Send + Sync>;

/// Why the keys could not be had: for the operator's log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("it is out of reach")]
    Unreachable,
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("its answer breaks off")]
    Broken,
    #[error("its answer is longer than 256 KiB")]
    TooLong,
    #[error("it takes longer than 10 s")]
    TooSlow,
    #[error(transparent)]
    Invalid(#[from] InvalidJwks),
}

/// What the last fetch has brought, or one before it.
#[derive(Clone, Default)]
struct Latest {
    jwts: Option<Arc<Jwts>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
    error: Option<FetchError>,
}

const FRESH: Duration = Duration::from_mins(10);
/// Between one fetch and the next, at least.
const FLOOR: Duration = Duration::from_secs(10);
const KEPT: Duration = Duration::from_hours(24);
/// How long a caller waits for a fetch.
const PATIENCE: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(10);

impl FetchedJwts {
    pub fn start(fetch: Fetch, trust: Trust) -> Self {
        let (publish, latest) = watch::channel(Latest::default());
        let (wanted, stop) = (Arc::<Wanted>::default(), CancellationToken::new());
        let keep_fresh = keep_fresh(fetch, trust, publish, Arc::clone(&wanted));
        // The guard ends it, and nobody has to wait for that: it holds a request at most.
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(keep_fresh));
        Self { latest, wanted, _task: stop.drop_guard() }
    }

    /// Waits for the first fetch, which must bring keys.
    pub async fn first(&self) -> Result<(), FetchError> {
        let mut latest = self.latest.clone();
        match latest.wait_for(|latest| latest.tried.is_some()).await {
            Ok(latest) => latest.error.clone().map_or(Ok(()), Err),
            Err(_) => Err(FetchError::Unreachable),
        }
    }

    /// Whether there were keys at any time.
    pub fn has_been_fetched(&self) -> bool {
        self.latest.borrow().fetched.is_some()
    }

    /// Fetches them again, at once.
    pub fn refresh(&self) {
        self.wanted.by_operator.notify_one();
    }

    pub async fn identify(&self, token: &str) -> Result<Identity, Refusal> {
        let mut latest = self.latest.clone();
        // What is published from here on is seen as a change.
        let before = latest.borrow_and_update().clone();
        let looked = before.identify(token);
        if !before.may_lack_its_key(&looked) {
            return looked;
        }
        if before.tried.is_none_or(|tried| tried.elapsed() >= FLOOR) {
            self.wanted.by_caller.notify_one();
            if timeout(PATIENCE, latest.changed()).await.is_err() {
                return Err(Refusal::NoKeys);
            }
        }
        let after = latest.borrow().clone();
        let looked = after.identify(token);
        // Nothing is known against it where the keys of today could not be had.
        if after.error.is_some() && after.may_lack_its_key(&looked) { Err(Refusal::NoKeys) } else { looked }
    }
}

impl Latest {
    /// Whether a token may be of a key that is not among these.
    fn may_lack_its_key(&self, looked: &Result<Identity, Refusal>) -> bool {
        match looked {
            Err(Refusal::UnknownKey | Refusal::NoKeys) => true,
            Err(Refusal::Invalid) => self.jwts.as_ref().is_some_and(|jwts| jwts.is_sole()),
            _ => false,
        }
    }

    fn identify(&self, token: &str) -> Result<Identity, Refusal> {
        self.jwts.as_ref().ok_or(Refusal::NoKeys)?.identify(token)
    }
}

async fn keep_fresh(fetch: Fetch, trust: Trust, publish: watch::Sender<Latest>, wanted: Arc<Wanted>) {
    loop {
        let fetched = timeout(DEADLINE, fetch()).await.unwrap_or(Err(FetchError::TooSlow));
        let read = fetched.and_then(|text| Ok(Jwts::published(&text, trust.clone())?));
        let now = Instant::now();
        let next = match read {
            Ok(jwts) => {
                let (jwts, now) = (Some(Arc::new(jwts)), Some(now));
                publish.send_replace(Latest { jwts, fetched: now, tried: now, error: None });
                FRESH
            }
            Err(error) => {
                tracing::error!(%error, "the keys that auth.jwt.jwks_url names cannot be used, will try again");
                publish.send_modify(|latest| {
                    latest.tried = Some(now);
                    latest.error = Some(error);
                    if latest.fetched.is_some_and(|fetched| now - fetched > KEPT) {
                        latest.jwts = None;
                    }
                });
                FLOOR
            }
        };
        let by_caller = async {
            sleep(FLOOR).await;
            wanted.by_caller.notified().await;
        };
        tokio::select! {
            () = sleep_until(now + next) => {}
            () = by_caller => {}
            () = wanted.by_operator.notified() => {}
        }
    }
}

impl fmt::Debug for FetchedJwts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FetchedJwts")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, PoisonError};

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use futures_util::future::join_all;
    use serde_json::json;
    use tokio::time::advance;

    use super::*;

    /// An issuer that publishes a key of this name and another, or nothing.
    #[derive(Clone, Default)]
    struct Issuer {
        publishes: Arc<Mutex<Option<&'static str>>>,
        asked: Arc<AtomicUsize>,
    }

    impl Issuer {
        fn publish(&self, kid: Option<&'static str>) {
            *self.publishes.lock().unwrap_or_else(PoisonError::into_inner) = kid;
        }

        fn times_asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }

        fn fetched(&self) -> FetchedJwts {
            let issuer = self.clone();
            let fetch = move || {
                issuer.asked.fetch_add(1, Ordering::Relaxed);
                let kid = *issuer.publishes.lock().unwrap_or_else(PoisonError::into_inner);
                let text = kid.map(|kid| {
                    let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64([9; 32])});
                    let other = json!({"kty": "OKP", "crv": "Ed25519", "kid": "other", "x": base64([9; 32])});
                    // One that is alone is every token's that names none.
                    let keys = if kid == "alone" { vec![key] } else { vec![key, other] };
                    json!({"keys": keys}).to_string()
                });
                let fetched = text.ok_or(FetchError::Status(500));
                Box::pin(async move {
                    sleep(Duration::from_millis(1)).await;
                    fetched
                }) as Pin<Box<dyn Future<Output = _> + Send>>
            };
            FetchedJwts::start(Box::new(fetch), Trust::of("i", "a"))
        }
    }

    /// A token of that key: nobody has signed it, so that where the key is known the refusal says so.
    fn token(kid: &str) -> String {
        let header = json!({"alg": "EdDSA", "kid": kid}).to_string();
        format!("{}.{}.{}", base64(header), base64("{}"), base64([9; 64]))
    }

    fn base64(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_token_waits_for_the_first_keys() {
        let issuer = Issuer::default();
        issuer.publish(Some("old"));
        let jwts = issuer.fetched();
        assert_eq!(jwts.identify(&token("old")).await, Err(Refusal::Invalid), "it is known");
        assert_eq!((jwts.first().await, issuer.times_asked()), (Ok(()), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_new_is_fetched_for_the_first_who_shows_it() {
        let issuer = Issuer::default();
        issuer.publish(Some("old"));
        let jwts = issuer.fetched();
        jwts.first().await.expect("keys");
        issuer.publish(Some("new"));
        assert_eq!(jwts.identify(&token("new")).await, Err(Refusal::UnknownKey), "too soon");
        advance(FLOOR).await;
        let (new, old) = (token("new"), token("old"));
        let all = join_all((0..100).map(|_| jwts.identify(&new))).await;
        assert!(all.iter().all(|known| *known == Err(Refusal::Invalid)));
        assert_eq!(jwts.identify(&old).await, Err(Refusal::UnknownKey), "withdrawn");
        assert_eq!(issuer.times_asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_alone_may_have_been_replaced() {
        let issuer = Issuer::default();
        issuer.publish(Some("alone"));
        let jwts = issuer.fetched();
        jwts.first().await.expect("keys");
        advance(FLOOR).await;
        assert_eq!(jwts.identify(&token("alone")).await, Err(Refusal::Invalid));
        assert_eq!(issuer.times_asked(), 2, "it might have been of the next");
        issuer.publish(None);
        advance(FLOOR).await;
        assert_eq!(jwts.identify(&token("alone")).await, Err(Refusal::NoKeys));
    }

    #[tokio::test(start_paused = true)]
    async fn who_makes_up_names_causes_one_fetch_in_ten_seconds() {
        let issuer = Issuer::default();
        issuer.publish(Some("old"));
        let jwts = issuer.fetched();
        jwts.first().await.expect("keys");
        for at in 0..600 {
            assert_eq!(jwts.identify(&token(&at.to_string())).await, Err(Refusal::UnknownKey));
            advance(Duration::from_millis(100)).await;
        }
        assert!((4..=7).contains(&issuer.times_asked()), "{} in a minute", issuer.times_asked());
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_fetched_anew_by_themselves() {
        let issuer = Issuer::default();
        issuer.publish(Some("old"));
        let jwts = issuer.fetched();
        jwts.first().await.expect("keys");
        issuer.publish(Some("new"));
        sleep(FRESH + FLOOR).await;
        assert_eq!(jwts.identify(&token("old")).await, Err(Refusal::UnknownKey));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_keys_are_good_for_a_day_while_the_issuer_is_out_of_reach() {
        let issuer = Issuer::default();
        issuer.publish(Some("old"));
        let jwts = issuer.fetched();
        jwts.first().await.expect("keys");
        issuer.publish(None);
        sleep(KEPT.saturating_sub(FRESH)).await;
        assert_eq!(jwts.identify(&token("old")).await, Err(Refusal::Invalid));
        assert_eq!(jwts.identify(&token("new")).await, Err(Refusal::NoKeys), "nobody knows whether it is one");
        sleep(FRESH + FLOOR * 2).await;
        assert_eq!(jwts.identify(&token("old")).await, Err(Refusal::NoKeys));
        issuer.publish(Some("old"));
        sleep(FLOOR * 2).await;
        assert_eq!(jwts.identify(&token("old")).await, Err(Refusal::Invalid));
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_was_never_reached_is_said_to_be() {
        let issuer = Issuer::default();
        let jwts = issuer.fetched();
        assert_eq!(jwts.first().await, Err(FetchError::Status(500)));
        assert_eq!(jwts.identify(&token("old")).await, Err(Refusal::NoKeys));
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_does_not_wait() {
        let issuer = Issuer::default();
        issuer.publish(Some("old"));
        let jwts = issuer.fetched();
        jwts.first().await.expect("keys");
        issuer.publish(Some("new"));
        jwts.refresh();
        sleep(Duration::from_millis(2)).await;
        assert_eq!(jwts.identify(&token("new")).await, Err(Refusal::Invalid));
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_ends_with_its_owner() {
        let issuer = Issuer::default();
        let jwts = issuer.fetched();
        _ = jwts.first().await;
        let (asked, mut latest) = (issuer.times_asked(), jwts.latest.clone());
        drop(jwts);
        latest.borrow_and_update();
        assert!(latest.changed().await.is_err(), "nobody is left to publish");
        assert_eq!(issuer.times_asked(), asked);
    }
}
