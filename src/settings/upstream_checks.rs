//! Checks the settings of one upstream.

use super::upstream::is_token;
use super::{SettingsError, UpstreamDialect, UpstreamSettings};

const MOST_RETRIES: u32 = 10;

impl UpstreamSettings {
    pub(super) fn validate(&self) -> Result<(), SettingsError> {
        let upstream = || self.name.clone();
        if self.name.is_empty() {
            return Err(SettingsError::Empty { setting: "`upstreams.name`".into() });
        }
        if self.models.is_empty() || self.models.iter().any(String::is_empty) {
            return Err(SettingsError::Empty { setting: format!("`upstreams.models` of `{}`", self.name) });
        }
        let sources = [self.api_key_env.is_some(), !self.api_key_envs.is_empty(), self.api_key_file.is_some()];
        if sources.into_iter().filter(|is_set| *is_set).count() > 1 {
            return Err(SettingsError::KeySources { upstream: upstream() });
        }
        if self.max_retries > MOST_RETRIES {
            return Err(SettingsError::TooLarge { setting: "upstreams.max_retries", most: "10" });
        }
        if !self.weight.is_finite() || self.weight < 0.0 {
            return Err(SettingsError::UpstreamWeight { upstream: upstream() });
        }
        self.retry_budget.validate()?;
        self.breaker.validate()?;
        if let Some(header) = self.auth_header.as_ref().filter(|header| !is_token(header)) {
            return Err(SettingsError::HeaderName { upstream: upstream(), header: header.clone() });
        }
        match (&self.anthropic_version, self.dialect) {
            (Some(_), UpstreamDialect::OpenAi) => {
                return Err(SettingsError::UnusedVersion { upstream: upstream() });
            }
            (Some(version), UpstreamDialect::Anthropic) if !is_date(version) => {
                return Err(SettingsError::Version { upstream: upstream() });
            }
            _ => {}
        }
        for (header, value) in &self.headers {
            if !is_token(header) {
                return Err(SettingsError::HeaderName { upstream: upstream(), header: header.clone() });
            }
            if !value.expose().bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
                return Err(SettingsError::HeaderValue { upstream: upstream(), header: header.clone() });
            }
        }
        Ok(())
    }
}

/// Returns whether this is a date such as 2023-06-01.
fn is_date(text: &str) -> bool {
    let is_expected = |(at, byte): (usize, u8)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
    text.len() == 10 && text.bytes().enumerate().all(is_expected)
}
