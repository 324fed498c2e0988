//! What SIGHUP replaces, all of it or nothing.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::{AppError, Kept, admission, prices, tickets};
use crate::api::Admission;
use crate::auth::Tickets;
use crate::settings::{AuthSettings, JwtSettings, Settings};
use crate::usage::{CurrentPrices, Prices};

/// The parts of the service that a reload replaces while it runs.
pub struct Reloadable {
    admission: watch::Sender<Admission>,
    prices: CurrentPrices,
}

/// The parts that settings define which were read again.
pub struct Replacement {
    admission: Admission,
    prices: Prices,
}

impl Reloadable {
    /// Reads the list of prices that the settings name.
    pub fn new(settings: &Settings, admission: Admission) -> Result<Self, AppError> {
        Ok(Self { admission: watch::Sender::new(admission), prices: prices(settings)?.into() })
    }

    /// Returns what survives a reload.
    pub fn kept(&self, tickets: &Tickets) -> Kept {
        let in_use = self.admission.borrow();
        let prompts = in_use.prompts.directory().map(Into::into);
        Kept { tickets: tickets.clone(), issuer: in_use.gate.fetched_issuer(), prompts }
    }

    /// Puts everything into effect: the admission for requests that begin from now on, the prices for attempts that end.
    pub fn replace(&self, Replacement { admission, prices }: Replacement) {
        self.prices.replace(prices);
        self.admission.send_replace(admission);
    }

    pub(super) fn admission(&self) -> watch::Receiver<Admission> {
        self.admission.subscribe()
    }

    pub(super) fn prices(&self) -> CurrentPrices {
        self.prices.clone()
    }
}

impl Replacement {
    /// Reads prompts, keys and prices. `before` are the settings of authentication in effect.
    ///
    /// # Errors
    ///
    /// If one of the settings cannot be used, or cannot be changed by a reload.
    pub fn read(
        settings: &Settings,
        environment: &BTreeMap<String, String>,
        before: &AuthSettings,
        kept: Kept,
    ) -> Result<Self, AppError> {
        if settings.auth.mode != before.mode {
            // The `Host` names that the listener accepts depend on it.
            return Err(AppError::AuthMode);
        }
        tickets(settings, environment)?;
        let issuer = kept.issuer.filter(|_| settings.auth.jwt == before.jwt);
        let admission = admission(settings, environment, Kept { issuer, ..kept })?;
        Ok(Self { admission, prices: prices(settings)? })
    }

    /// Waits for the first fetch of an issuer's keys. Returns at once if no keys are fetched.
    pub async fn wait_for_keys(&self) -> Result<(), AppError> {
        Ok(self.admission.gate.wait_for_keys().await?)
    }

    /// Returns whether it was read from more files than that of the settings.
    pub fn is_of_files(&self, settings: &Settings) -> bool {
        self.admission.prompts.directory().is_some()
            || settings.auth.jwt != JwtSettings::default()
            || settings.usage.prices_file.is_some()
    }
}
