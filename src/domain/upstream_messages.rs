//! Who may read the error messages of an upstream.

use serde::{Deserialize, Serialize};

/// Whether an upstream's own error messages are logged (`telemetry.upstream_messages`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamMessages {
    #[default]
    Log,
    Off,
}

/// Whether callers may read an upstream's messages (`upstreams.errors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorMessages {
    #[default]
    Pass,
    Hide,
}
