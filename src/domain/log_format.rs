//! The format of log lines.

use serde::{Deserialize, Serialize};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// For log collectors: one JSON object per line.
    Json,
}
