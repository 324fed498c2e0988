//! What happens at a limit of requests in flight.

use serde::{Deserialize, Serialize};

/// How an event stream above the connection limit is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// The new stream is refused.
    #[default]
    Refuse,
    /// The oldest stream is closed, and the new one takes its slot.
    CloseOldest,
}
