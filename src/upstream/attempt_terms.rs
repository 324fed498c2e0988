//! The parameters of an attempt, and the record of what it sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::attempt_error::Sent;
use super::conversation::ConversationKey;

/// Parameters of one attempt.
#[derive(Debug, Clone, Default)]
pub struct AttemptTerms {
    /// The name of the model that is sent to the upstream.
    pub model: Arc<str>,
    pub delivery: Delivery,
    /// The conversation of the request, if the upstream takes its key as `prompt_cache_key`.
    pub conversation: Option<ConversationKey>,
    /// Set by the provider as soon as the first byte of a request may have been written.
    pub sent: SentMark,
}

/// Whether an upstream takes the key of a conversation as `prompt_cache_key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheKeys {
    Sent,
    #[default]
    Omitted,
}

/// How the upstream is requested to deliver its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    #[default]
    Stream,
    /// As one JSON object, when the answer is complete.
    Whole,
}

/// The last request that an attempt may have sent. Clones share it.
///
/// It outlives the stream of the attempt: a stream that is dropped yields no error, but the cost of a cancelled
/// generation depends on whether a request was sent, and on the delivery that it asked for.
#[derive(Debug, Clone, Default)]
pub struct SentMark {
    delivery: Delivery,
    sent: Arc<AtomicU8>,
}

const NOT_SENT: u8 = 0;
const SENT_FOR_STREAM: u8 = 1;
const SENT_FOR_WHOLE: u8 = 2;

impl AttemptTerms {
    pub fn new(model: Arc<str>, delivery: Delivery) -> Self {
        Self { model, delivery, ..Self::default() }
    }
}

impl SentMark {
    /// Returns the mark of this attempt for a request with `delivery`. This can differ from the delivery in the terms
    /// because of the settings or the refusals of the upstream.
    #[must_use]
    pub fn of_request(&self, delivery: Delivery) -> Self {
        Self { delivery, sent: Arc::clone(&self.sent) }
    }

    /// Records that the request may have been sent.
    pub fn set(&self) {
        let sent = match self.delivery {
            Delivery::Stream => SENT_FOR_STREAM,
            Delivery::Whole => SENT_FOR_WHOLE,
        };
        self.sent.store(sent, Ordering::Release);
    }

    /// Returns [`Sent::Maybe`] once a request may have been sent.
    pub fn get(&self) -> Sent {
        if self.sent.load(Ordering::Acquire) == NOT_SENT { Sent::No } else { Sent::Maybe }
    }

    /// Returns the delivery that the last request asked for; `Stream` if none was sent.
    pub fn delivery(&self) -> Delivery {
        if self.sent.load(Ordering::Acquire) == SENT_FOR_WHOLE { Delivery::Whole } else { Delivery::Stream }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_reports_the_delivery_of_the_last_request_that_was_sent() {
        let mark = SentMark::default();
        let (stream, whole) = (mark.of_request(Delivery::Stream), mark.of_request(Delivery::Whole));
        assert_eq!((mark.get(), mark.delivery()), (Sent::No, Delivery::Stream));
        stream.set();
        assert_eq!((mark.get(), mark.delivery()), (Sent::Maybe, Delivery::Stream));
        whole.set();
        assert_eq!((mark.get(), mark.delivery()), (Sent::Maybe, Delivery::Whole));
    }
}
