//! What an operator reads of the program.

use serde::{Deserialize, Serialize};

/// Logs and metrics.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Telemetry {
    /// The shape of a log line. Default: `pretty`. Variable: `TOKENRILL_TELEMETRY__LOG_FORMAT`.
    pub log_format: LogFormat,
    /// Whether the line of a failed attempt repeats what the upstream said, masked and cut. Default: `log`. Variable:
    /// `TOKENRILL_TELEMETRY__UPSTREAM_MESSAGES`.
    pub upstream_messages: UpstreamMessages,
}

/// Whether the log repeats what upstreams say in errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamMessages {
    #[default]
    Log,
    Off,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// For collectors: one JSON object a line.
    Json,
}
