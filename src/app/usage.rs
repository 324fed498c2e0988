//! Builds what accounts for usage and money.

use super::AppError;
use crate::settings::Settings;
use crate::usage::Prices;

/// Returns the prices of the settings and of the file that they name. Reads the file.
pub fn prices(settings: &Settings) -> Result<Prices, AppError> {
    Ok(Prices::load(settings.prices.clone(), settings.usage.prices_file.as_deref())?)
}
