//! The state that all handlers share.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

use super::admission::Admission;
use super::body_limits::BodyLimits;
use super::body_memory::BodyMemory;
use super::caller::Caller;
use super::connection::Connection;
use super::connection_record::ConnectionKind;
use super::connections::{Arrival, ConnectionLimitError, Connections};
use super::delivered_ends::DeliveredEnds;
use super::host::Hosts;
use super::large_bodies::LargeBodies;
use super::other_replicas::OtherReplicas;
use super::problem::{ErrorCode, Problem};
use super::sse::{EventStream, Source};
use super::viewer_source::ViewerSource;
use super::wire::encoder::Encoder;
use crate::channel::Channels;
use crate::generation::{Following, Generations};
use crate::limits::{Limiter, WhenFull};
use crate::prompts::Catalog;
use crate::telemetry::Metrics;
use crate::usage::Ledger;

/// The use cases, and the settings of the HTTP API.
#[derive(Clone)]
pub struct Api {
    pub generations: Generations,
    pub channels: Channels,
    pub limits: Limiter,
    pub metrics: Arc<Metrics>,
    pub ledger: Ledger,
    pub admission: watch::Receiver<Admission>,
    pub hosts: Hosts,
    pub connections: Connections,
    /// `None` if this process is alone.
    pub other_replicas: Option<Arc<dyn OtherReplicas>>,
    pub delivered_ends: Arc<DeliveredEnds>,
    /// Time without a write on an event stream after which a heartbeat is sent (`generation.heartbeat`).
    pub heartbeat: Duration,
    /// How long a response head waits for the first token (`generation.head_wait`).
    pub head_wait: Duration,
    pub body: BodyLimits,
    pub body_memory: BodyMemory,
    pub large_bodies: LargeBodies,
    pub channel_terms: ChannelTerms,
}

/// Settings of channels that the HTTP API applies.
#[derive(Debug, Clone, Copy)]
pub struct ChannelTerms {
    /// The maximum number of bytes of an event's data (`channels.max_event`).
    pub max_event: usize,
    /// A subscriber's stream without an event for this long is cut (`channels.idle_timeout`).
    pub idle: Duration,
}

impl Api {
    /// Returns the prompts that are currently in effect.
    pub fn prompts(&self) -> Catalog {
        self.admission.borrow().prompts.clone()
    }

    /// Returns the event stream of a viewer. It owns the viewer's connection.
    pub fn stream<E: Encoder>(
        &self,
        following: Following,
        encoder: E,
        connection: Connection,
    ) -> EventStream<ViewerSource<E>> {
        self.event_stream(ViewerSource::new(following, encoder), connection)
    }

    pub fn event_stream<S: Source>(&self, source: S, connection: Connection) -> EventStream<S> {
        EventStream::new(source, connection, self.body_memory.clone(), self.heartbeat)
    }

    /// Opens a connection before a generation is started, or refuses the request if none is free. With `close-oldest`,
    /// returns `None`: the caller connects after the start, so that no stream is closed for a request that is refused.
    pub fn connect_before_start(&self, caller: &Caller, kind: ConnectionKind) -> Result<Option<Connection>, Problem> {
        match caller.spender.connections().when_full {
            WhenFull::Refuse => self.connect(caller, Arrival::New, kind).map(Some),
            WhenFull::CloseOldest => Ok(None),
        }
    }

    pub fn connect(&self, caller: &Caller, arrival: Arrival, kind: ConnectionKind) -> Result<Connection, Problem> {
        self.connections.open(caller, arrival, kind).map_err(|error| self.connection_problem(error))
    }

    /// Checks whether the load allows a caller to start something, before a connection is opened for it.
    pub fn check_load(&self, caller: &Caller) -> Result<(), Problem> {
        self.connections.check_load(caller).map_err(|error| self.connection_problem(error))
    }

    /// Turns a problem into a response. A request that is refused for its body counts against its caller's rate,
    /// because reading the body was the work.
    pub fn refuse(&self, caller: &Caller, problem: Problem) -> Response {
        if problem.code.concerns_body() {
            self.generations.charge_request(&caller.spender);
        }
        problem.into_response()
    }

    fn connection_problem(&self, error: ConnectionLimitError) -> Problem {
        self.metrics.refused("connections");
        match error {
            ConnectionLimitError::Caller(most) => {
                let detail = format!("You may have {most} requests in flight. Close one, or try again later.");
                Problem::new(ErrorCode::TooManyConnections, detail)
            }
            ConnectionLimitError::Total => {
                let detail = "All connections are in use, and you have your share of them. Close one, or try again in \
                              a few seconds.";
                Problem::new(ErrorCode::Overloaded, detail)
            }
        }
    }
}
