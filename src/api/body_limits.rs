//! The limits of request bodies.

use std::time::Duration;

/// The limits of a request's body.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Bytes (`server.max_body`).
    pub size: usize,
    /// Time from the head to the last byte (`server.body_timeout`).
    pub time: Duration,
}

/// The largest body of one operation, and the setting that defines it, if there is one.
#[derive(Debug, Clone, Copy)]
pub struct BodySize {
    pub bytes: usize,
    pub setting: Option<&'static str>,
}
