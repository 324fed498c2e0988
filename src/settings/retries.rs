//! The settings of retries and breakers of an upstream.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{SettingsError, units};

/// The most retries of all requests to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryBudgetSettings {
    pub ratio: f64,
    pub min_per_second: u32,
}

/// When requests to an upstream that fails go elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSettings {
    pub failures: u32,
    #[serde(with = "units::duration")]
    pub open: Duration,
}

impl RetryBudgetSettings {
    pub(super) const EXPECTED: &str = "a table such as { ratio = 0.2, min_per_second = 1 }";

    pub(super) fn validate(&self) -> Result<(), SettingsError> {
        if (0.0..=10.0).contains(&self.ratio) && self.min_per_second <= 1_000 {
            return Ok(());
        }
        Err(SettingsError::RetryBudget)
    }
}

impl BreakerSettings {
    pub(super) const EXPECTED: &str = "a table such as { failures = 5, open = \"15s\" }";

    pub(super) const fn validate(&self) -> Result<(), SettingsError> {
        if self.failures == 0 { Err(SettingsError::BreakerFailures) } else { Ok(()) }
    }
}

impl Default for RetryBudgetSettings {
    fn default() -> Self {
        Self { ratio: 0.2, min_per_second: 1 }
    }
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 5, open: Duration::from_secs(15) }
    }
}
