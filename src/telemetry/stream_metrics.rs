//! Metrics of what clients read: viewers, subscribers, resumes and what was lost to them.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge;
use prometheus_client::registry::Registry;

use super::metrics::{Gauge, Metrics};

/// What let a client go on with a generation that had begun before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumedBy {
    /// The header `Last-Event-ID`.
    LastEventId,
    /// The query parameter `after`.
    After,
    /// A repeated `Idempotency-Key`.
    IdempotencyKey,
    /// `?replay=snapshot`.
    Snapshot,
}

impl ResumedBy {
    const ALL: [Self; 4] = [Self::LastEventId, Self::After, Self::IdempotencyKey, Self::Snapshot];

    const fn name(self) -> &'static str {
        match self {
            Self::LastEventId => "last_event_id",
            Self::After => "after",
            Self::IdempotencyKey => "idempotency_key",
            Self::Snapshot => "snapshot",
        }
    }
}

/// Counts one subscriber of a channel until it is dropped, and its gaps.
#[derive(Debug)]
pub struct LiveSubscriber {
    _live: Gauge,
    gaps: Counter,
}

impl LiveSubscriber {
    /// Counts a gap that is sent to the subscriber.
    pub fn count_gap(&self) {
        self.gaps.inc();
    }
}

#[derive(Debug)]
pub(super) struct StreamMetrics {
    pub viewers: gauge::Gauge,
    pub subscribers: gauge::Gauge,
    published: Counter,
    pub pieces: Counter,
    resumes: Family<ResumeLabels, Counter>,
    history_lost: Counter,
    gaps: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResumeLabels {
    by: &'static str,
}

impl StreamMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            viewers: gauge::Gauge::default(),
            subscribers: gauge::Gauge::default(),
            published: Counter::default(),
            pieces: Counter::default(),
            resumes: Family::default(),
            history_lost: Counter::default(),
            gaps: Counter::default(),
        };
        for by in ResumedBy::ALL {
            drop(metrics.resumes.get_or_create(&ResumeLabels { by: by.name() }));
        }
        registry.register("tokenrill_viewers_live", "Viewers that follow a generation now", metrics.viewers.clone());
        registry.register(
            "tokenrill_subscribers_live",
            "Subscribers that follow a channel now",
            metrics.subscribers.clone(),
        );
        registry.register("tokenrill_channel_events", "Events that callers published", metrics.published.clone());
        registry.register(
            "tokenrill_pieces",
            "Pieces of answers, usually one token each, as upstreams sent them",
            metrics.pieces.clone(),
        );
        registry.register(
            "tokenrill_resumes",
            "Clients that went on with a generation that had begun before, by what resumed it",
            metrics.resumes.clone(),
        );
        registry.register(
            "tokenrill_history_lost",
            "Resumes of generations whose log no longer holds the position, and repeats of requests whose answer was evicted or dropped",
            metrics.history_lost.clone(),
        );
        registry.register(
            "tokenrill_channel_gaps",
            "Gaps that subscribers of channels were sent: events that they asked for are no longer kept",
            metrics.gaps.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// Counts a viewer until the gauge is dropped.
    pub fn viewer(&self) -> Gauge {
        Gauge::new(&self.streams.viewers)
    }

    /// Counts a subscriber until what this returns is dropped.
    pub fn subscriber(&self) -> LiveSubscriber {
        LiveSubscriber { _live: Gauge::new(&self.streams.subscribers), gaps: self.streams.gaps.clone() }
    }

    pub fn published(&self) {
        self.streams.published.inc();
    }

    /// An upstream sent a piece of an answer.
    pub fn piece(&self) {
        self.streams.pieces.inc();
    }

    pub fn resumed(&self, by: ResumedBy) {
        self.streams.resumes.get_or_create(&ResumeLabels { by: by.name() }).inc();
    }

    /// A resume or a repeat was refused with `history_lost`.
    pub fn history_lost(&self) {
        self.streams.history_lost.inc();
    }
}
