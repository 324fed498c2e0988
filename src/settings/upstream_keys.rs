//! Reads and checks the keys of upstreams.

use std::fs;
use std::path::Path;

use super::{Secret, SettingsError};

/// Returns the key of a variable.
pub(super) fn checked(upstream: &str, variable: &str, key: &str) -> Result<Secret, SettingsError> {
    let (upstream, variable, key) = (upstream.to_owned(), variable.to_owned(), key.trim());
    if key.is_empty() {
        return Err(SettingsError::NoKey { upstream, variable });
    }
    if !is_header_value(key) {
        return Err(SettingsError::InvalidKey { upstream, variable });
    }
    Ok(Secret::from(key))
}

/// Returns the key in a file.
pub(super) fn of_file(upstream: &str, path: &Path) -> Result<Secret, SettingsError> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let key = text.trim();
    if key.is_empty() || !is_header_value(key) {
        return Err(SettingsError::KeyFile { upstream: upstream.to_owned(), path: path.display().to_string() });
    }
    Ok(Secret::from(key))
}

fn is_header_value(key: &str) -> bool {
    key.bytes().all(|byte| byte.is_ascii_graphic())
}
