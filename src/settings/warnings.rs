//! Settings that are valid, and probably not meant.

use std::fmt;

use super::{LogBackend, Settings, UpstreamSettings};

/// A setting that is probably wrong, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingsWarning<'a> {
    /// The upstream that it is about; `None`: all settings.
    pub upstream: Option<&'a str>,
    pub text: &'static str,
}

const FORGOTTEN_BUDGET: &str =
    "a budget is kept in memory only, and is whole again after a restart: set usage.path or event_log.backend";

impl Settings {
    /// Returns what is probably wrong.
    pub fn warnings(&self) -> impl Iterator<Item = SettingsWarning<'_>> {
        let of_upstream = |upstream: &'_ UpstreamSettings| upstream.warning();
        let of_upstreams = self.upstreams.iter().filter_map(move |upstream| {
            Some(SettingsWarning { upstream: Some(&upstream.name), text: of_upstream(upstream)? })
        });
        let has_budget = self.auth.api_keys.iter().any(|key| key.budget.is_some());
        let is_forgotten = has_budget && self.usage.path.is_none() && self.event_log.backend == LogBackend::Memory;
        of_upstreams.chain(is_forgotten.then_some(SettingsWarning { upstream: None, text: FORGOTTEN_BUDGET }))
    }
}

impl fmt::Display for SettingsWarning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.upstream {
            Some(upstream) => write!(f, "upstream {upstream}: {}", self.text),
            None => f.write_str(self.text),
        }
    }
}
