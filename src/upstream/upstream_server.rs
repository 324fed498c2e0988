//! An upstream with its keys, and what all requests know of its health.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::policy::{
    AdmittedAs, AttemptHealth, Breaker, BreakerTerms, FailureVerdict, FirstTokenTimes, Rest, Resting, RetryBudget,
    RetryBudgetTerms,
};
use super::upstream_status::{KeyStatus, ModelStatus, UpstreamBreakers, UpstreamStatus};
use super::{Provider, UpstreamIdentity};
use crate::domain::CancelBills;

/// One upstream of the settings.
pub struct UpstreamServer {
    identity: Arc<UpstreamIdentity>,
    /// The adapters of the first key, and of the others.
    first: Arc<dyn Provider>,
    others: Box<[Arc<dyn Provider>]>,
    terms: RetryTerms,
    state: Mutex<ServerState>,
}

/// How attempts at an upstream are repeated, and what those cost that are not carried out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryTerms {
    /// Retries of one request at one target.
    pub max_retries: u32,
    pub budget: RetryBudgetTerms,
    pub breaker: BreakerTerms,
    /// Until the first token (`upstreams.first_token_timeout`).
    pub first_token: Duration,
    /// What an attempt costs that this service closed (`upstreams.cancel_bills`).
    pub cancel_bills: CancelBills,
}

struct ServerState {
    /// Of all models: opens if the upstream cannot be reached.
    connections: Breaker,
    budget: RetryBudget,
    /// Of each key.
    rests: Box<[Rest]>,
    models: HashMap<Arc<str>, ModelState>,
}

/// What is known of one model.
struct ModelState {
    breaker: Breaker,
    rest: Rest,
    /// Of each key.
    key_rests: Box<[Rest]>,
    times: FirstTokenTimes,
    in_flight: u32,
}

/// How the breakers let an attempt pass. It must be given back by recording a result.
#[derive(Debug, Clone, Copy)]
pub struct BreakerPass {
    pub connection: AdmittedAs,
    pub model: AdmittedAs,
}

/// Answers after which the usual time to the first token of a model is known.
const LEAST_KNOWN: usize = 20;
/// Models whose health is recorded. The names come from callers if the settings have a pattern.
const MOST_MODELS: usize = 1_000;

impl UpstreamServer {
    /// Creates an upstream with `first` and `others`: the same upstream with one key each.
    pub fn new(first: Arc<dyn Provider>, others: Vec<Arc<dyn Provider>>, terms: RetryTerms) -> Arc<Self> {
        let identity = Arc::clone(first.identity());
        let state = ServerState {
            connections: Breaker::new(terms.breaker),
            budget: RetryBudget::new(terms.budget),
            rests: std::iter::repeat_n(Rest::default(), others.len() + 1).collect(),
            models: HashMap::new(),
        };
        Arc::new(Self { identity, first, others: others.into(), terms, state: Mutex::new(state) })
    }

    /// Creates an upstream with one key that is asked once for each request.
    pub fn single(provider: Arc<dyn Provider>) -> Arc<Self> {
        Self::new(provider, Vec::new(), RetryTerms { max_retries: 0, ..RetryTerms::default() })
    }

    pub const fn identity(&self) -> &Arc<UpstreamIdentity> {
        &self.identity
    }

    pub const fn terms(&self) -> &RetryTerms {
        &self.terms
    }

    pub fn key_count(&self) -> usize {
        self.others.len() + 1
    }

    /// Returns the adapter of a key; of the first one for a number that there is not.
    pub fn provider(&self, key: usize) -> &Arc<dyn Provider> {
        key.checked_sub(1).and_then(|other| self.others.get(other)).unwrap_or(&self.first)
    }

    /// Begins an attempt. Returns `None` if the key or the model rests, or a breaker is open.
    pub fn admit(&self, model: &Arc<str>, key: usize, now: Instant) -> Option<BreakerPass> {
        let mut state = self.lock();
        if !state.rest(model, key, now).is_zero() {
            return None;
        }
        let connection = state.connections.admit(now)?;
        let Some(admitted) = state.model(model, &self.terms).map_or(Some(AdmittedAs::Normal), |model| model.admit(now))
        else {
            state.connections.returned(connection, now);
            return None;
        };
        Some(BreakerPass { connection, model: admitted })
    }

    /// Returns whether [`UpstreamServer::admit`] would begin an attempt.
    pub fn would_admit(&self, model: &Arc<str>, key: usize, now: Instant) -> bool {
        let state = self.lock();
        let of_model = state.models.get(model);
        state.rest(model, key, now).is_zero()
            && state.connections.would_admit(now)
            && of_model.is_none_or(|model| model.breaker.would_admit(now))
    }

    /// Begins an attempt whatever rests or is open, because there is nothing else to ask.
    pub fn force(&self, model: &Arc<str>, now: Instant) -> BreakerPass {
        let mut state = self.lock();
        let connection = state.connections.admit(now).unwrap_or(AdmittedAs::Forced);
        let admitted = state.model(model, &self.terms).map_or(AdmittedAs::Normal, |model| model.force(now));
        BreakerPass { connection, model: admitted }
    }

    /// Records the first call of a request, from which retries are counted.
    pub fn record_call(&self, now: Instant) {
        self.lock().budget.deposit(now);
    }

    /// Takes a retry from the budget; `None` if there is none left.
    pub fn take_retry(&self, now: Instant) -> Option<()> {
        self.lock().budget.withdraw(now)
    }

    /// Returns the expected time to the first token, longer for each answer in progress; `None` before the first answer.
    pub fn expected_first_token(&self, model: &str) -> Option<Duration> {
        let state = self.lock();
        let model = state.models.get(model)?;
        Some(model.times.expected()?.saturating_mul(model.in_flight.saturating_add(1)))
    }

    /// Returns the time within which 95 % of the model's recent answers began; `None` while too few are known.
    pub fn usual_first_token(&self, model: &str) -> Option<Duration> {
        let state = self.lock();
        let times = &state.models.get(model)?.times;
        times.percentile(95).filter(|_| times.count() >= LEAST_KNOWN)
    }

    /// Returns how long a model or its key rests from now on.
    pub fn rest(&self, model: &Arc<str>, key: usize, now: Instant) -> Duration {
        self.lock().rest(model, key, now)
    }

    /// Returns the states of the breakers and keys.
    pub fn breakers(&self, now: Instant) -> UpstreamBreakers {
        let state = self.lock();
        UpstreamBreakers {
            identity: Arc::clone(&self.identity),
            connections: state.connections.state(now),
            resting_keys: state.rests.iter().filter(|rest| rest.left(now).is_some()).count(),
            models: state.models.iter().map(|(model, state)| (Arc::clone(model), state.breaker.state(now))).collect(),
        }
    }

    pub fn status(&self, now: Instant) -> UpstreamStatus {
        let state = self.lock();
        let models = state.models.iter().map(|(model, state)| ModelStatus {
            model: Arc::clone(model),
            breaker: state.breaker.state(now),
            rest: state.rest.left(now),
            in_flight: state.in_flight,
            limited_keys: state.key_rests.iter().filter(|rest| rest.left(now).is_some()).count(),
            first_tokens: state.times.clone(),
        });
        let mut models: Vec<_> = models.collect();
        models.sort_by(|one, other| one.model.cmp(&other.model));
        UpstreamStatus {
            identity: Arc::clone(&self.identity),
            connections: state.connections.state(now),
            keys: state.rests.iter().map(|rest| KeyStatus { rest: rest.left(now) }).collect(),
            models,
        }
    }

    /// Records that an attempt ended or delivered its first token.
    pub(super) fn record(&self, model: &Arc<str>, admitted: BreakerPass, health: AttemptHealth, now: Instant) {
        let mut state = self.lock();
        let BreakerPass { connection, model: of_model } = admitted;
        match health {
            AttemptHealth::NoConnection => state.connections.failed(connection, now),
            AttemptHealth::Success | AttemptHealth::Failure | AttemptHealth::Responded => {
                state.connections.succeeded(connection, now);
            }
            AttemptHealth::Unknown => state.connections.returned(connection, now),
        }
        let Some(state) = state.model(model, &self.terms) else { return };
        match health {
            AttemptHealth::Success => state.breaker.succeeded(of_model, now),
            AttemptHealth::Failure => state.breaker.failed(of_model, now),
            AttemptHealth::NoConnection | AttemptHealth::Responded | AttemptHealth::Unknown => {
                state.breaker.returned(of_model, now);
            }
        }
        if matches!(health, AttemptHealth::Failure | AttemptHealth::NoConnection) {
            state.times.record_failure(self.terms.first_token, now);
        }
    }

    pub(super) fn record_first_token(&self, model: &Arc<str>, time: Duration, now: Instant) {
        if let Some(model) = self.lock().model(model, &self.terms) {
            model.times.record(time, now);
        }
    }

    /// Records the rest that a failure asks for.
    pub(super) fn record_rest(&self, model: &Arc<str>, key: usize, verdict: &FailureVerdict, now: Instant) {
        let Some((what, wait)) = verdict.rest else { return };
        let mut state = self.lock();
        match what {
            Resting::Key => {
                if let Some(rest) = state.rests.get_mut(key) {
                    rest.extend(now, wait);
                }
            }
            Resting::KeyForModel => {
                if let Some(rest) = state.model(model, &self.terms).and_then(|model| model.key_rests.get_mut(key)) {
                    rest.extend(now, wait);
                }
            }
            Resting::Target => {
                if let Some(model) = state.model(model, &self.terms) {
                    model.rest.extend(now, wait);
                }
            }
        }
    }

    pub(super) fn count_in_flight(&self, model: &Arc<str>) {
        if let Some(model) = self.lock().model(model, &self.terms) {
            model.in_flight = model.in_flight.saturating_add(1);
        }
    }

    pub(super) fn uncount_in_flight(&self, model: &Arc<str>) {
        if let Some(model) = self.lock().models.get_mut(model) {
            model.in_flight = model.in_flight.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, ServerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerState {
    fn rest(&self, model: &Arc<str>, key: usize, now: Instant) -> Duration {
        let of_model = self.models.get(model);
        let of_key = of_model.and_then(|model| model.key_rests.get(key));
        let rests = self.rests.get(key).into_iter().chain(of_key).chain(of_model.map(|model| &model.rest));
        rests.filter_map(|rest| rest.left(now)).max().unwrap_or_default()
    }

    /// Returns the state of a model; `None` if too many others are known.
    fn model(&mut self, model: &Arc<str>, terms: &RetryTerms) -> Option<&mut ModelState> {
        if self.models.len() >= MOST_MODELS && !self.models.contains_key(model) {
            let is_idle = |state: &ModelState| state.in_flight == 0 && state.breaker.is_closed();
            self.models.retain(|_, state| !is_idle(state));
            if self.models.len() >= MOST_MODELS {
                return None;
            }
        }
        let keys = self.rests.len();
        Some(self.models.entry(Arc::clone(model)).or_insert_with(|| ModelState::new(terms, keys)))
    }
}

impl ModelState {
    fn new(terms: &RetryTerms, keys: usize) -> Self {
        Self {
            key_rests: std::iter::repeat_n(Rest::default(), keys).collect(),
            breaker: Breaker::new(terms.breaker),
            rest: Rest::default(),
            times: FirstTokenTimes::default(),
            in_flight: 0,
        }
    }

    fn admit(&mut self, now: Instant) -> Option<AdmittedAs> {
        self.breaker.admit(now)
    }

    fn force(&mut self, now: Instant) -> AdmittedAs {
        self.breaker.admit(now).unwrap_or(AdmittedAs::Forced)
    }
}

impl Default for RetryTerms {
    fn default() -> Self {
        Self {
            max_retries: 2,
            budget: RetryBudgetTerms { ratio: 0.2, min_per_second: 1 },
            breaker: BreakerTerms { failures: 5, open: Duration::from_secs(15) },
            first_token: Duration::from_mins(2),
            cancel_bills: CancelBills::Partial,
        }
    }
}

impl fmt::Debug for UpstreamServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamServer")
            .field("name", &self.identity.name)
            .field("keys", &self.key_count())
            .finish_non_exhaustive()
    }
}
