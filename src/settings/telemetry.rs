//! The settings of logs.

use serde::{Deserialize, Serialize};

/// The settings of logs.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct TelemetrySettings {
    /// The format of log lines. Default: `pretty`. Variable: `TOKENRILL_TELEMETRY__LOG_FORMAT`.
    pub log_format: LogFormatSetting,
    /// Whether the log line of a failed attempt includes the upstream's error message, masked and cut. Default: `log`.
    /// Variable: `TOKENRILL_TELEMETRY__UPSTREAM_MESSAGES`.
    pub upstream_messages: UpstreamMessagesSetting,
}

/// Whether the log includes the error messages of upstreams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamMessagesSetting {
    #[default]
    Log,
    Off,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormatSetting {
    /// For people.
    #[default]
    Pretty,
    /// For log collectors: one JSON object per line.
    Json,
}
