//! What every handler can reach.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::body::BodyLimits;
use super::client_address::TrustedProxies;
use super::cors::Origins;
use super::ends_told::EndsTold;
use super::host::Hosts;
use crate::auth::Gate;
use crate::generation::Generations;
use crate::limits::Policy;
use crate::telemetry::Metrics;

/// The use cases and the few settings of the HTTP side.
#[derive(Clone)]
pub struct Api {
    pub generations: Generations,
    pub metrics: Arc<Metrics>,
    pub admission: watch::Receiver<Admission>,
    pub hosts: Hosts,
    pub ends_told: Arc<EndsTold>,
    /// Silence on an event stream after which a heartbeat is written (`generation.heartbeat`).
    pub heartbeat: Duration,
    /// How long a head is held back for the first token (`generation.head_wait`).
    pub head_wait: Duration,
    pub body: BodyLimits,
}

/// Who may call, and from which pages. Replaced as a whole while the service runs; a request is judged by what
/// is in effect when it begins.
#[derive(Clone)]
pub struct Admission {
    pub gate: Arc<Gate>,
    pub origins: Origins,
    /// The cookie in which a token is good.
    pub cookie: Option<Arc<str>>,
    /// How much callers may take.
    pub policy: Arc<Policy>,
    pub proxies: TrustedProxies,
}
