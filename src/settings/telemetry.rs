//! The settings of logs.

use serde::{Deserialize, Serialize};

use super::keys::{SettingSection, key};
use crate::domain::{LogFormat, UpstreamMessages};

/// The settings of logs.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct TelemetrySettings {
    pub log_format: LogFormat,
    pub upstream_messages: UpstreamMessages,
}

pub(super) const SECTION: SettingSection = SettingSection {
    name: "telemetry",
    intro: "",
    keys: &[
        key(
            "telemetry.log_format",
            "\"pretty\" or \"json\"",
            "The format of log lines on standard error: \"pretty\" for people, \"json\" for log collectors (the greeting \
             on standard output is then a log line too). The log level is not a setting: the environment variable \
             RUST_LOG filters log lines, as in RUST_LOG=debug, RUST_LOG=warn or RUST_LOG=info,tokenrill=debug. \
             Without it, the level is info. Requests to /healthz, /readyz and /metrics, and CORS preflights, are logged \
             at debug.",
        ),
        key(
            "telemetry.upstream_messages",
            "\"log\" or \"off\"",
            "Whether the log line of a failed attempt includes the upstream's error message, with secrets masked and cut \
             to 500 bytes: \"log\" or \"off\".",
        ),
    ],
};
