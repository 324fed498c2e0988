//! The settings of cross-origin requests.

use serde::{Deserialize, Serialize};
use url::Url;

use super::keys::{SettingSection, key};

/// Cross-origin requests from pages.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct CorsSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origins: Option<Vec<String>>,
}

pub(super) const SECTION: SettingSection = SettingSection {
    name: "cors",
    intro: "",
    keys: &[key(
        "cors.origins",
        "a list of origins such as [\"https://app.example\"]",
        "The origins whose pages may send requests, each as browsers write it. A port of `*` on loopback means any port. \
         Default: absent, which allows every origin on loopback without authentication, and none with it.",
    )
    .with_example("[\"https://app.example.com\", \"http://localhost:*\"]")],
};

/// Returns whether `text` is an origin as browsers serialize it (RFC 6454, section 6.2), or a loopback origin with the
/// port `*`.
pub(super) fn is_origin(text: &str) -> bool {
    let (origin, any_port) = text.strip_suffix(":*").map_or((text, false), |origin| (origin, true));
    let Ok(url) = Url::parse(origin) else { return false };
    let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) && url.port().is_none();
    let written = match url.host_str() {
        Some(_) if url.origin().is_tuple() => url.origin().ascii_serialization(),
        // For example the origin of a browser extension.
        Some(host) => format!("{}://{host}", url.scheme()),
        None => return false,
    };
    written == origin && !origin.contains('*') && (loopback || !any_port)
}
