//! Verification of tokens with keys that are fetched from the issuer and refreshed.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::{CredentialError, Identity, InvalidJwks, Jwts, Trust};

/// The published keys of an issuer. One task fetches them; it ends when this is dropped.
///
/// The task fetches the keys every ten minutes, and when a token names an unknown key, so that a key rotation takes
/// effect at once. Tokens cause at most one fetch in ten seconds, so that a caller that invents key ids cannot flood
/// the issuer. While the issuer is unreachable, its last keys stay valid for a day.
pub struct FetchedJwts {
    latest: watch::Receiver<Latest>,
    wanted: Arc<Wanted>,
    _task: DropGuard,
}

/// Requests to fetch the keys before they are ten minutes old.
#[derive(Default)]
struct Wanted {
    /// A token may be signed with a key that is not among the fetched ones.
    by_caller: Notify,
    by_operator: Notify,
}

/// Fetches the text of the key set.
pub type Fetch = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<String, FetchError>> + Send>> + Send + Sync>;

/// Why the keys could not be fetched, for the operator's log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("the server cannot be reached")]
    Unreachable,
    #[error("the server responds with status {0}")]
    Status(u16),
    #[error("the response is incomplete or not UTF-8")]
    Broken,
    #[error("the response is longer than 256 KiB")]
    TooLong,
    #[error("the response takes longer than 10 s")]
    TooSlow,
    #[error(transparent)]
    Invalid(#[from] InvalidJwks),
}

/// The keys of the last successful fetch, and the result of the last fetch.
#[derive(Clone, Default)]
struct Latest {
    jwts: Option<Arc<Jwts>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
    error: Option<FetchError>,
}

const REFRESH_INTERVAL: Duration = Duration::from_mins(10);
/// The minimum time between two fetches that callers cause, and the delay before a retry.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(10);
const MAX_KEY_AGE: Duration = Duration::from_hours(24);
/// How long a request waits for a fetch.
const CALLER_TIMEOUT: Duration = Duration::from_secs(5);
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

impl FetchedJwts {
    pub fn start(fetch: Fetch, trust: Trust) -> Self {
        let (publish, latest) = watch::channel(Latest::default());
        let (wanted, stop) = (Arc::<Wanted>::default(), CancellationToken::new());
        let keep_fresh = keep_fresh(fetch, trust, publish, Arc::clone(&wanted));
        // The drop guard ends the task. A shutdown need not wait for it: it holds one HTTP request at most.
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(keep_fresh));
        Self { latest, wanted, _task: stop.drop_guard() }
    }

    /// Waits for the first fetch and returns its error.
    pub async fn wait_for_first_fetch(&self) -> Result<(), FetchError> {
        let mut latest = self.latest.clone();
        match latest.wait_for(|latest| latest.tried.is_some()).await {
            Ok(latest) => latest.error.clone().map_or(Ok(()), Err),
            Err(_) => Err(FetchError::Unreachable),
        }
    }

    /// Returns whether a fetch has ever succeeded.
    pub fn has_been_fetched(&self) -> bool {
        self.latest.borrow().fetched.is_some()
    }

    /// Starts a fetch now, for an operator's reload.
    pub fn refresh(&self) {
        self.wanted.by_operator.notify_one();
    }

    pub async fn identify(&self, token: &str) -> Result<Identity, CredentialError> {
        let mut latest = self.latest.clone();
        // Marks the current value as seen, so that `changed` below resolves for a fetch that ends from now on.
        let before = latest.borrow_and_update().clone();
        let result = before.identify(token);
        if !before.may_lack_key(&result) {
            return result;
        }
        if before.tried.is_none_or(|tried| tried.elapsed() >= MIN_FETCH_INTERVAL) {
            self.wanted.by_caller.notify_one();
            if timeout(CALLER_TIMEOUT, latest.changed()).await.is_err() {
                return Err(CredentialError::NoKeys);
            }
        }
        let after = latest.borrow().clone();
        let result = after.identify(token);
        // If the last fetch failed, the token may be signed with a key that the service does not have yet.
        if after.error.is_some() && after.may_lack_key(&result) { Err(CredentialError::NoKeys) } else { result }
    }
}

impl Latest {
    /// Returns whether the token may be signed with a key that is not among these. `result` is the token's
    /// verification.
    fn may_lack_key(&self, result: &Result<Identity, CredentialError>) -> bool {
        match result {
            Err(CredentialError::UnknownKey | CredentialError::NoKeys) => true,
            Err(CredentialError::Invalid) => self.jwts.as_ref().is_some_and(|jwts| jwts.has_single_key()),
            _ => false,
        }
    }

    fn identify(&self, token: &str) -> Result<Identity, CredentialError> {
        self.jwts.as_ref().ok_or(CredentialError::NoKeys)?.identify(token)
    }
}

async fn keep_fresh(fetch: Fetch, trust: Trust, publish: watch::Sender<Latest>, wanted: Arc<Wanted>) {
    loop {
        let fetched = timeout(FETCH_TIMEOUT, fetch()).await.unwrap_or(Err(FetchError::TooSlow));
        let read = fetched.and_then(|text| Ok(Jwts::published(&text, trust.clone())?));
        let now = Instant::now();
        let next = match read {
            Ok(jwts) => {
                let (jwts, now) = (Some(Arc::new(jwts)), Some(now));
                publish.send_replace(Latest { jwts, fetched: now, tried: now, error: None });
                REFRESH_INTERVAL
            }
            Err(error) => {
                tracing::error!(%error, "the key set at auth.jwt.jwks_url cannot be used, will retry");
                publish.send_modify(|latest| {
                    latest.tried = Some(now);
                    latest.error = Some(error);
                    if latest.fetched.is_some_and(|fetched| now - fetched > MAX_KEY_AGE) {
                        latest.jwts = None;
                    }
                });
                MIN_FETCH_INTERVAL
            }
        };
        let by_caller = async {
            sleep(MIN_FETCH_INTERVAL).await;
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

    /// An issuer that publishes a key with this `kid` and one named `other`, or responds with status 500.
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
                    // Tokens without a `kid` are verified with a sole key.
                    let keys = if kid == "alone" { vec![key] } else { vec![key, other] };
                    json!({"keys": keys}).to_string()
                });
                let fetched = text.ok_or(FetchError::Status(500));
                Box::pin(async move {
                    sleep(Duration::from_millis(1)).await;
                    fetched
                }) as Pin<Box<dyn Future<Output = _> + Send>>
            };
            FetchedJwts::start(Box::new(fetch), Trust::new("i", "a"))
        }
    }

    /// A token with this `kid` and an invalid signature: if the key is known, the refusal is `Invalid`.
    fn token(kid: &str) -> String {
        let header = json!({"alg": "EdDSA", "kid": kid}).to_string();
        format!("{}.{}.{}", base64(header), base64("{}"), base64([9; 64]))
    }

    fn base64(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn identify_waits_for_the_first_fetch() {
        let issuer = Issuer::default();
        issuer.publish(Some("old"));
        let jwts = issuer.fetched();
        assert_eq!(jwts.identify(&token("old")).await, Err(CredentialError::Invalid), "the key is known");
        assert_eq!((jwts.wait_for_first_fetch().await, issuer.times_asked()), (Ok(()), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn unknown_key_triggers_one_fetch_for_concurrent_callers() {
        let issuer = Issuer::default();
        issuer.publish(Some("old"));
        let jwts = issuer.fetched();
        jwts.wait_for_first_fetch().await.expect("keys");
        issuer.publish(Some("new"));
        assert_eq!(jwts.identify(&token("new")).await, Err(CredentialError::UnknownKey), "too soon");
        advance(MIN_FETCH_INTERVAL).await;
        let (new, old) = (token("new"), token("old"));
        let all = join_all((0..100).map(|_| jwts.identify(&new))).await;
        assert!(all.iter().all(|known| *known == Err(CredentialError::Invalid)));
        assert_eq!(jwts.identify(&old).await, Err(CredentialError::UnknownKey), "withdrawn");
        assert_eq!(issuer.times_asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn invalid_signature_with_a_sole_key_triggers_a_fetch() {
        let issuer = Issuer::default();
        issuer.publish(Some("alone"));
        let jwts = issuer.fetched();
        jwts.wait_for_first_fetch().await.expect("keys");
        advance(MIN_FETCH_INTERVAL).await;
        assert_eq!(jwts.identify(&token("alone")).await, Err(CredentialError::Invalid));
        assert_eq!(issuer.times_asked(), 2, "the key may have been rotated");
        issuer.publish(None);
        advance(MIN_FETCH_INTERVAL).await;
        assert_eq!(jwts.identify(&token("alone")).await, Err(CredentialError::NoKeys));
    }

    #[tokio::test(start_paused = true)]
    async fn invented_key_ids_cause_at_most_one_fetch_in_ten_seconds() {
        let issuer = Issuer::default();
        issuer.publish(Some("old"));
        let jwts = issuer.fetched();
        jwts.wait_for_first_fetch().await.expect("keys");
        for at in 0..600 {
            assert_eq!(jwts.identify(&token(&at.to_string())).await, Err(CredentialError::UnknownKey));
            advance(Duration::from_millis(100)).await;
        }
        assert!((4..=7).contains(&issuer.times_asked()), "{} in a minute", issuer.times_asked());
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_refreshed_periodically() {
        let issuer = Issuer::default();
        issuer.publish(Some("old"));
        let jwts = issuer.fetched();
        jwts.wait_for_first_fetch().await.expect("keys");
        issuer.publish(Some("new"));
        sleep(REFRESH_INTERVAL + MIN_FETCH_INTERVAL).await;
        assert_eq!(jwts.identify(&token("old")).await, Err(CredentialError::UnknownKey));
    }

    #[tokio::test(start_paused = true)]
    async fn last_keys_stay_valid_for_a_day_while_the_issuer_is_unreachable() {
        let issuer = Issuer::default();
        issuer.publish(Some("old"));
        let jwts = issuer.fetched();
        jwts.wait_for_first_fetch().await.expect("keys");
        issuer.publish(None);
        sleep(MAX_KEY_AGE.saturating_sub(REFRESH_INTERVAL)).await;
        assert_eq!(jwts.identify(&token("old")).await, Err(CredentialError::Invalid));
        assert_eq!(jwts.identify(&token("new")).await, Err(CredentialError::NoKeys), "the key may be a new one");
        sleep(REFRESH_INTERVAL + MIN_FETCH_INTERVAL * 2).await;
        assert_eq!(jwts.identify(&token("old")).await, Err(CredentialError::NoKeys));
        issuer.publish(Some("old"));
        sleep(MIN_FETCH_INTERVAL * 2).await;
        assert_eq!(jwts.identify(&token("old")).await, Err(CredentialError::Invalid));
    }

    #[tokio::test(start_paused = true)]
    async fn failed_first_fetch_returns_its_error_and_no_keys() {
        let issuer = Issuer::default();
        let jwts = issuer.fetched();
        assert_eq!(jwts.wait_for_first_fetch().await, Err(FetchError::Status(500)));
        assert_eq!(jwts.identify(&token("old")).await, Err(CredentialError::NoKeys));
    }

    #[tokio::test(start_paused = true)]
    async fn refresh_fetches_without_delay() {
        let issuer = Issuer::default();
        issuer.publish(Some("old"));
        let jwts = issuer.fetched();
        jwts.wait_for_first_fetch().await.expect("keys");
        issuer.publish(Some("new"));
        jwts.refresh();
        sleep(Duration::from_millis(2)).await;
        assert_eq!(jwts.identify(&token("new")).await, Err(CredentialError::Invalid));
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_owner_ends_the_task() {
        let issuer = Issuer::default();
        let jwts = issuer.fetched();
        _ = jwts.wait_for_first_fetch().await;
        let (asked, mut latest) = (issuer.times_asked(), jwts.latest.clone());
        drop(jwts);
        latest.borrow_and_update();
        assert!(latest.changed().await.is_err(), "the task has ended");
        assert_eq!(issuer.times_asked(), asked);
    }
}
