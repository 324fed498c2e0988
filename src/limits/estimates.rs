//! Expected output tokens per account and model.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::Account;

/// The mean output tokens of each account's recent answers of each model. A decaying mean: from `MEAN_WINDOW` answers
/// on, the newest answer has a weight of one tenth.
///
/// An account's reservations depend only on its own answers. With a mean over several accounts, one account could raise
/// the reservations of the others until they get 429 for requests that fit their limits.
#[derive(Debug, Default)]
pub struct Estimates {
    known: Mutex<KnownAccounts>,
    /// Hashes model names, which clients choose: the result has a fixed size, and the random key prevents chosen
    /// collisions.
    hasher: RandomState,
}

/// The estimate of one account for one model.
#[derive(Debug)]
pub struct OutputEstimate {
    estimates: Arc<Estimates>,
    account: Account,
    model: ModelHash,
}

#[derive(Debug, Default)]
struct KnownAccounts {
    accounts: HashMap<Account, AccountAnswers>,
    /// The accounts by their last use, least recent first.
    by_use: BTreeMap<u64, Account>,
    last_use: u64,
}

#[derive(Debug, Default)]
struct AccountAnswers {
    last_use: u64,
    /// The most recently used model is last.
    models: Vec<(ModelHash, MeanOutput)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ModelHash(u64);

#[derive(Debug, Clone, Copy, Default)]
struct MeanOutput {
    answers: u32,
    tokens: f64,
}

/// Estimate for an account without an answer of the model. It is fixed, so no other account changes it. The reservation
/// is settled with the actual usage, so a longer answer is still counted in full.
const DEFAULT_ESTIMATE: u64 = 256;
/// From this number of answers on, the newest answer has a weight of `1 / MEAN_WINDOW`.
const MEAN_WINDOW: u32 = 10;
/// Maximum accounts, and models of each account: about 6 MB in total. Above them, the least recently used are evicted.
/// An account with many models evicts only its own.
const MAX_ACCOUNTS: usize = 10_000;
const MAX_MODELS: usize = 16;

impl OutputEstimate {
    pub(super) fn new(estimates: Arc<Estimates>, account: Account, model: &str) -> Self {
        // The part after `?` holds options of the embedded model.
        let name = model.split_once('?').map_or(model, |(name, _)| name);
        let model = ModelHash(estimates.hasher.hash_one(name));
        Self { estimates, account, model }
    }

    /// Returns the output tokens to reserve for one choice.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of counts")]
    pub fn tokens(&self) -> u64 {
        let mut known = self.estimates.lock();
        let mean = known.answers(&self.account).and_then(|answers| answers.mean(self.model));
        mean.map_or(DEFAULT_ESTIMATE, |mean| mean.tokens.round() as u64)
    }

    /// Records a complete answer with `tokens` for one choice.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn learn(&self, tokens: u64) {
        let mut known = self.estimates.lock();
        if known.answers(&self.account).is_none() {
            known.add(self.account.clone());
        }
        let Some(answers) = known.answers(&self.account) else { return };
        let mut mean = answers.mean(self.model).copied().unwrap_or_default();
        mean.answers = (mean.answers + 1).min(MEAN_WINDOW);
        mean.tokens += (tokens as f64 - mean.tokens) / f64::from(mean.answers);
        answers.set(self.model, mean);
    }
}

impl Estimates {
    fn lock(&self) -> MutexGuard<'_, KnownAccounts> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownAccounts {
    /// Returns the answers of an account and marks the account as most recently used.
    fn answers(&mut self, account: &Account) -> Option<&mut AccountAnswers> {
        let answers = self.accounts.get_mut(account)?;
        self.last_use += 1;
        if let Some(account) = self.by_use.remove(&answers.last_use) {
            self.by_use.insert(self.last_use, account);
        }
        answers.last_use = self.last_use;
        Some(answers)
    }

    fn add(&mut self, account: Account) {
        if self.accounts.len() >= MAX_ACCOUNTS
            && let Some((_, least)) = self.by_use.pop_first()
        {
            self.accounts.remove(&least);
        }
        self.last_use += 1;
        self.by_use.insert(self.last_use, account.clone());
        self.accounts.insert(account, AccountAnswers { last_use: self.last_use, models: Vec::new() });
    }
}

impl AccountAnswers {
    /// Returns the mean of a model and marks the model as most recently used.
    fn mean(&mut self, model: ModelHash) -> Option<&mut MeanOutput> {
        let at = self.models.iter().position(|(known, _)| *known == model)?;
        let used = self.models.remove(at);
        self.models.push(used);
        self.models.last_mut().map(|(_, mean)| mean)
    }

    fn set(&mut self, model: ModelHash, mean: MeanOutput) {
        self.models.retain(|(known, _)| *known != model);
        if self.models.len() >= MAX_MODELS {
            self.models.remove(0);
        }
        self.models.push((model, mean));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u32) -> Account {
        Account::of_address(std::net::Ipv4Addr::from(number).into())
    }

    /// The estimate of an account for a model.
    fn of(estimates: &Arc<Estimates>, number: u32, model: &str) -> OutputEstimate {
        OutputEstimate::new(Arc::clone(estimates), account(number), model)
    }

    #[test]
    fn the_estimate_follows_the_recent_answers_of_the_model() {
        let estimates = Arc::default();
        assert_eq!(of(&estimates, 1, "short").tokens(), DEFAULT_ESTIMATE);
        for tokens in [80, 120] {
            of(&estimates, 1, "short").learn(tokens);
        }
        of(&estimates, 1, "long").learn(10_000);
        assert_eq!([of(&estimates, 1, "short").tokens(), of(&estimates, 1, "long").tokens()], [100, 10_000]);
        for _ in 0..100 {
            of(&estimates, 1, "long?rate=20").learn(10);
        }
        assert_eq!(of(&estimates, 1, "long").tokens(), 10);
    }

    #[test]
    fn answers_of_another_account_do_not_change_the_estimate() {
        let estimates = Arc::default();
        for _ in 0..50 {
            of(&estimates, 1, "m").learn(100_000);
        }
        assert_eq!(of(&estimates, 2, "m").tokens(), DEFAULT_ESTIMATE);
        of(&estimates, 2, "m").learn(5);
        assert_eq!(of(&estimates, 2, "m").tokens(), 5);
    }

    #[test]
    fn least_recently_used_account_is_evicted() {
        let estimates = Arc::default();
        let accounts = u32::try_from(MAX_ACCOUNTS).expect("small");
        for number in 0..accounts {
            of(&estimates, number, "m").learn(7);
        }
        assert_eq!(of(&estimates, 0, "m").tokens(), 7, "used again");
        of(&estimates, accounts, "m").learn(7);
        assert_eq!([0, 1, 2, accounts].map(|number| of(&estimates, number, "m").tokens()), [7, DEFAULT_ESTIMATE, 7, 7]);
        let known = estimates.lock();
        assert_eq!((known.accounts.len(), known.by_use.len()), (MAX_ACCOUNTS, MAX_ACCOUNTS));
    }

    #[test]
    fn account_with_many_models_evicts_its_own_least_recently_used() {
        let estimates = Arc::default();
        of(&estimates, 2, "m0").learn(7);
        for number in 0..MAX_MODELS {
            of(&estimates, 1, &format!("m{number}")).learn(7);
        }
        assert_eq!(of(&estimates, 1, "m0").tokens(), 7, "used again");
        of(&estimates, 1, "new").learn(7);
        assert_eq!(["m0", "m1", "new"].map(|model| of(&estimates, 1, model).tokens()), [7, DEFAULT_ESTIMATE, 7]);
        assert_eq!(of(&estimates, 2, "m0").tokens(), 7, "the estimate of another account");
    }
}
