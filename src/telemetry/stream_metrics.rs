//! Metrics of event streams: viewers, subscribers, resumes, lost histories and gaps.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge;
use prometheus_client::registry::Registry;

use super::gauge::Gauge;

/// How a client resumed a generation.
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
    /// A chat of the AI SDK.
    Chat,
}

impl ResumedBy {
    const ALL: [Self; 5] = [Self::LastEventId, Self::After, Self::IdempotencyKey, Self::Snapshot, Self::Chat];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::LastEventId => "last_event_id",
            Self::After => "after",
            Self::IdempotencyKey => "idempotency_key",
            Self::Snapshot => "snapshot",
            Self::Chat => "chat",
        }
    }
}

/// Counts a subscriber of a channel until it is dropped, and its gaps.
#[derive(Debug)]
pub struct LiveSubscriber {
    _live: Gauge,
    gaps: Counter,
}

impl LiveSubscriber {
    pub(super) fn new(live: &gauge::Gauge, gaps: Counter) -> Self {
        Self { _live: Gauge::new(live), gaps }
    }

    /// Counts a gap that is sent to the subscriber.
    pub fn count_gap(&self) {
        self.gaps.inc();
    }
}

#[derive(Debug)]
pub(super) struct StreamMetrics {
    pub viewers: gauge::Gauge,
    pub subscribers: gauge::Gauge,
    pub published: Counter,
    pub pieces: Counter,
    pub resumes: Family<ResumeLabels, Counter>,
    pub history_lost: Counter,
    pub gaps: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResumeLabels {
    pub by: &'static str,
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
        registry.register("tokenrill_viewers_live", "Viewers that are reading a generation", metrics.viewers.clone());
        registry.register(
            "tokenrill_subscribers_live",
            "Subscribers that are reading a channel",
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
            "Generations that clients resumed, by mechanism",
            metrics.resumes.clone(),
        );
        registry.register(
            "tokenrill_history_lost",
            "Resumes of generations whose log no longer holds the position, and repeats of requests whose answer was evicted or dropped",
            metrics.history_lost.clone(),
        );
        registry.register(
            "tokenrill_channel_gaps",
            "Gaps sent to subscribers of channels: events that they requested are no longer stored",
            metrics.gaps.clone(),
        );
        metrics
    }
}
