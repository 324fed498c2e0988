//! What happens to a generation without viewers.

use serde::{Deserialize, Serialize};

/// What happens to a generation when it has had no viewer for the grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnect {
    /// It ends as `cancelled`, and the upstream connection is closed.
    #[default]
    Cancel,
    /// It runs to its end and stays readable for the retention.
    Continue,
}
