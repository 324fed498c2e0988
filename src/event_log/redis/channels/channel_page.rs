//! What one read of a channel's log in Redis returns.

use std::time::Duration;

use tokio::time::Instant;

use super::stored_event::StoredEventDecoder;
use crate::domain::{Keeping, Sequence};
use crate::event_log::channel_state::ChannelState;
use crate::event_log::copied_channel::{CopiedEvent, CopiedHead};
use crate::redis_client::Reply;

/// The reply of `read_channel.lua`: the head, then six values for each event.
pub struct ChannelPage {
    reply: Reply,
    head: CopiedHead,
    now: Instant,
}

/// Values before the events.
const HEAD: usize = 7;
/// Values of one event: number, age, cost, kind, stream, event.
const VALUES: usize = 6;
const GAP: &[u8] = b"2";
const PASSING: u64 = 3;

impl ChannelPage {
    /// Returns `None` if the channel has no log.
    pub fn of(reply: Reply) -> Option<Self> {
        if reply.code() != "ok" {
            return None;
        }
        let now = Instant::now();
        let position = |at| Sequence::new(reply.number(at));
        let head = CopiedHead {
            tail: position(1),
            lost: position(3),
            lost_counted: position(4),
            expired: position(5),
            lost_at: before(now, reply.number(6)),
        };
        Some(Self { reply, head, now })
    }

    /// Returns whether no event follows those of the page.
    pub fn is_last(&self) -> bool {
        self.head.tail.get() >= self.reply.number(2)
    }

    /// Adds the events to a copy, except those that it has.
    pub fn copy_into(&self, state: &mut ChannelState, decoder: &mut StoredEventDecoder, live: Duration) {
        let tail = state.tail().sequence;
        for at in (HEAD..self.reply.len()).step_by(VALUES) {
            let sequence = Sequence::new(self.reply.number(at));
            if sequence <= tail {
                continue;
            }
            let appended_at = before(self.now, self.reply.number(at + 1));
            if self.reply.bytes(at + 3) == GAP {
                state.copy_gap(sequence, appended_at);
                continue;
            }
            let keeping = if self.reply.number(at + 4) == PASSING { Keeping::Ephemeral } else { Keeping::Kept };
            if let Some(event) = decoder.decode(self.reply.bytes(at + 5), keeping) {
                let bytes = usize::try_from(self.reply.number(at + 2)).unwrap_or_default();
                state.copy_event(CopiedEvent { sequence, at: appended_at, bytes, event });
            }
        }
        state.follow_head(&self.head, live, self.now);
    }
}

fn before(now: Instant, millis: u64) -> Instant {
    now.checked_sub(Duration::from_millis(millis)).unwrap_or(now)
}
