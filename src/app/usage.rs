//! Builds what accounts for usage and money.

use std::sync::Arc;

use super::AppError;
use crate::settings::Settings;
use crate::telemetry::Metrics;
use crate::usage::{CurrentPrices, Ledger, OpenedLedger, Prices};

/// Returns the prices of the settings and of the file that they name. Reads the file.
pub fn prices(settings: &Settings) -> Result<Prices, AppError> {
    Ok(Prices::load(settings.prices.clone(), settings.usage.prices_file.as_deref())?)
}

/// Returns the ledger, in the folder that the settings name or in memory. Reads the folder.
pub(super) fn ledger(
    settings: &Settings,
    prices: CurrentPrices,
    metrics: &Arc<Metrics>,
) -> Result<OpenedLedger, AppError> {
    let metrics = Arc::clone(metrics);
    match &settings.usage.path {
        Some(path) => Ok(Ledger::in_folder(prices, metrics, path)?),
        None => Ok(OpenedLedger::in_memory(prices, metrics)),
    }
}
