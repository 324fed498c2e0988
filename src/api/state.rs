//! What every handler can reach.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::body::BodyLimits;
use super::client_address::TrustedProxies;
use super::connection::{Coming, Connection, Connections, NoRoom};
use super::cors::Origins;
use super::ends_told::EndsTold;
use super::extract::Caller;
use super::host::Hosts;
use super::problem::{ErrorCode, Problem};
use super::sse::EventStream;
use super::viewing::Viewing;
use super::wire::WireFormat;
use crate::auth::Gate;
use crate::channel::Channels;
use crate::generation::{Following, Generations};
use crate::limits::{Limits, Policy, WhenFull};
use crate::prompts::Catalog;
use crate::telemetry::Metrics;

/// The use cases and the few settings of the HTTP side.
#[derive(Clone)]
pub struct Api {
    pub generations: Generations,
    pub channels: Channels,
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    pub admission: watch::Receiver<Admission>,
    pub hosts: Hosts,
    pub connections: Connections,
    pub ends_told: Arc<EndsTold>,
    /// Silence on an event stream after which a heartbeat is written (`generation.heartbeat`).
    pub heartbeat: Duration,
    /// How long a head is held back for the first token (`generation.head_wait`).
    pub head_wait: Duration,
    pub body: BodyLimits,
    pub channel_terms: ChannelTerms,
}

/// What the HTTP side knows of channels.
#[derive(Debug, Clone, Copy)]
pub struct ChannelTerms {
    /// Bytes of one event's data (`channels.max_event`).
    pub max_event: usize,
    /// A subscriber's stream without an event for so long is broken off (`channels.idle_timeout`).
    pub idle: Duration,
}

impl Api {
    /// The prompts that are in effect now.
    pub fn prompts(&self) -> Catalog {
        self.admission.borrow().prompts.clone()
    }

    /// The event stream of a viewer, whose place among the connections it takes.
    pub fn stream<F: WireFormat>(
        &self,
        following: Following,
        format: F,
        connection: Connection,
    ) -> EventStream<Viewing<F>> {
        EventStream::new(Viewing::new(following, format), connection, self.heartbeat)
    }

    /// A place among the connections for who has begun nothing yet, and is refused if there is none. Where the oldest
    /// makes room that waits until something has begun: nobody is cut off for a request that is refused.
    pub fn connect_first(&self, caller: &Caller) -> Result<Option<Connection>, Problem> {
        match caller.spender.connections().when_full {
            WhenFull::Refuse => self.connect(caller, Coming::New).map(Some),
            WhenFull::CloseOldest => Ok(None),
        }
    }

    /// A place among the connections.
    pub fn connect(&self, caller: &Caller, coming: Coming) -> Result<Connection, Problem> {
        self.connections.open(caller, coming).map_err(|no_room| match no_room {
            NoRoom::ForCaller(most) => {
                self.metrics.refused("connections");
                let detail = format!("You may have {most} event streams open. Close one, or try again later.");
                Problem::new(ErrorCode::TooManyConnections, detail)
            }
            NoRoom::AtAll => {
                self.metrics.refused("connections");
                Problem::new(ErrorCode::Overloaded, "As many event streams are open as may be. Try again later.")
            }
        })
    }
}

/// Who may call, from which pages, how much, and with which prompts. Replaced as a whole while the service runs; a request is judged by what
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
    pub prompts: Catalog,
}
