//! What an upstream bills for a call that was closed.

use serde::{Deserialize, Serialize};

/// What an upstream bills for a call whose connection was closed before its answer was complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CancelBills {
    /// What was produced until then.
    #[default]
    Partial,
    /// The whole answer, which it goes on to produce.
    All,
}
