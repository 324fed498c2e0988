//! The event log: the events of a generation or a channel, in order, for every reader.
//!
//! # The contract
//!
//! Every backend keeps these rules; `tests/it/event_log.rs` tests each rule against each backend. The backend in Redis
//! evicts nothing: a log that does not fit is refused, so what rules 6 and 8 say of evictions does not apply to it.
//!
//! 1. **Dense.** Entry 1 is the event that made the log; each append adds the next numbers, with no gap.
//! 2. **Compare and append.** Only the [`Writer`] appends. Each append names the epoch and the tail that it extends, and
//!    changes nothing if the log has another epoch or tail. Either all of its events are added or none. An append whose
//!    reply is lost is sent again until it is answered, and is applied once.
//! 3. **Closed once.** A close means "append if open". It first appends the events that are still pending, in the same
//!    step: both are added or neither. The first terminal event wins; every later close returns that event. Nothing
//!    follows a terminal event.
//! 4. **Tail before wake.** A wake is a hint that the tail may have moved; it may come without a move, late or twice. A
//!    page has the tail of its own read, and a wait names the tail of the last page, so that no move is missed. A
//!    reader is woken only once the entries can be read.
//! 5. **Never trimmed.** A generation's log is kept whole or not at all: a read after position `k` returns `k + 1`
//!    onwards. A position beyond the tail is [`ReadError::BeyondTail`], never a wait. A backend that reads from a copy
//!    refreshes the copy before it reports that.
//! 6. **Bounded, and fair.** Each log has a byte limit, and all logs and tombstones together have another. An append
//!    beyond either is [`AppendError::Full`]. Every log and tombstone counts for the account that made it. To make
//!    room, closed logs are evicted, one at a time: of the accounts that have a closed log, the one that holds most
//!    bytes loses the log that closed first. The exception: an account that would hold more than its share (the limit,
//!    divided by the accounts that hold anything) evicts no log of an account within its share. It loses its own closed
//!    logs, and without any it gets `Full`. An account within its share is therefore never refused because of the
//!    closed logs of others. An open log is never evicted. A terminal event always fits: terminal events may exceed the
//!    limit by 64 KiB in all; beyond that, a terminal event's own log is evicted if no other can be. Backends may
//!    compare accounts to within 4 KiB.
//! 7. **Retained, then removed.** A closed log is readable for the retention, then unknown; a removed log is unknown at
//!    once. Readers that already hold it can read on. A backend may keep only its last page for them; the log is then
//!    [`ReadError::Lost`] to readers that are further behind.
//! 8. **Claimed once.** A claim is written in the step that makes its log. While that log is kept, a create with the
//!    same claim of the same owner makes no log and returns the id of that one; a create with the same key and another
//!    fingerprint is a [`Conflict`]. A claim whose log is evicted or discarded stays as a tombstone until the retention
//!    of that log ends: the same create is then a [`LostAnswer`] with the usage of the terminal event. A tombstone is
//!    never dropped early, except by a release. An account that has too many tombstones gets no new claim until its
//!    oldest expires ([`CreateError::TooManyTombstones`]); creates without a claim are not affected. Otherwise a claim
//!    ends with its log, or when it is released.
//! 9. **Listed.** The logs of a named owner are listed as long as they are kept, newest first, each once over all
//!    pages. Logs of an anonymous owner are not listed.
//!
//! 10. **Owned.** The writer holds a lease on its log and renews it. When the lease has expired, which dropping the
//!     writer also causes, the log is closed once with the event of [`LogTerms::if_orphaned`], at the latest when the
//!     log is next opened. From then on the old writer is fenced: its appends change nothing.
//! 11. **Asked to end.** A request to end a generation reaches its writer's process, wherever it is made and even if
//!     nothing waits for it yet. The first request counts. A request about a closed log has no effect.
//! 12. **Present.** The request that makes a log is its first viewer, in one step. [`ViewerPresence::shut_when_empty`] shuts
//!     the log to viewers in the step that finds that there was none for the grace; a later join is [`GenerationEnded`].
//!
//! 16. **Taken over.** Where the backend permits it ([`EventLog::recovers`]), a log with [`LogTerms::recovery`] whose
//!     lease has expired is not closed at once: exactly one process becomes its owner, in the next epoch, once for each
//!     log. The old writer is fenced. A request to end the generation, and the end of its grace, that the old owner
//!     would have found, reach the new one ([`Control::end_requested`]). What was stored for this is removed in that
//!     step, and when the log is closed. A log that no process takes over within a few seconds of its next read is
//!     closed as in rule 10.
//!
//! 17. **Named by its chat.** A chat of an owner has at most one generation: the last one that was named for it. Of two
//!     generations of the same turn that are named at once, the chat has the first. A chat that is closed
//!     has nothing for a client that returns to it. It may be known for longer than the log of its generation.
//!
//! A channel's log keeps rule 4 and the second half of rule 5, and:
//!
//! 13. **Monotonic.** Each append adds consecutive numbers above the tail: in memory the next ones, in Redis none below
//!     the microseconds of its clock. The first number is above every number that a log of this name ever had: it is
//!     taken from the clock, so an old position is never taken for a new one.
//! 14. **Trimmed, with gaps reported.** The last events are kept, up to a number, an age and a size. A read that
//!     reaches a position whose event is no longer kept is [`ReadError::Trimmed`], with the position after which to
//!     continue; the missing position may be in the middle of the log. A missing ephemeral event is not a gap, and
//!     neither is a number that no event has. A [`History`] states where a gap of events begins that were evicted before
//!     they expired, including those of an earlier log of the name.
//! 15. **Fair.** Each event counts against the account that appended it. A log that is full evicts its oldest event; if
//!     all logs together are full, the oldest events of the account that holds most are evicted, in whichever log they
//!     are. An append is [`AppendError::Full`] only if its events alone are too large. The terminal event of an answer
//!     that is copied into a channel always fits. If there are too many channels, the account that holds most of them
//!     loses the one that has been idle for longest.
//!
//! In Redis, a channel's log loses events only to its own number, age and size; all logs together have no limit, nor has
//! their number. If the server is full, an append is [`AppendError::Full`] and evicts nothing, and a log that expires
//! whole leaves no gap in a later [`History`].

mod arena;
mod channel;
mod channel_account;
mod channel_directory;
mod channel_limits;
mod channel_logs;
mod channel_reading;
mod channel_roster;
mod channel_slot;
mod channel_state;
mod chat_index;
mod chats;
mod control;
mod copied_channel;
mod entries;
mod follow;
mod generation_logs;
mod holdings;
mod kept;
mod log_budget;
mod log_summary;
mod memory;
mod memory_log;
mod memory_roster;
mod memory_writer;
mod presence;
mod readable;
mod redis;
mod roster;
mod sync;
mod tail;
mod viewers;
mod writer;

pub use self::redis::{RecoveryMode, RedisChannelTerms, RedisChannels, RedisLogs, RedisTerms, ReplicaChannels};
pub use channel::MemoryChannels;
pub use channel_limits::ChannelLimits;
pub use channel_logs::{ChannelLog, ChannelLogs, ChannelsFull, History};
pub use chats::{ChatGeneration, ChatState, Chats, NamedChat};
pub use control::Control;
pub use follow::{Follow, follow};
pub use generation_logs::{
    ClaimError, Conflict, CreateError, Created, EventLog, GenerationLog, LogTerms, LogUnavailable, LostAnswer,
    Recovery, TakenLog,
};
pub use holdings::MOST_TOMBSTONES;
pub use log_summary::LogSummary;
pub use memory::{Memory, MemoryLimits};
pub use presence::{GenerationEnded, ViewerLease, ViewerPresence};
pub use readable::{Ends, EntryBatch, Page, ReadError, Readable, Tail, TailState, Wake, read_page, wait_until};
pub use roster::{JoinError, JoinedRoster, PresenceMode, RosterMember, RosterMembers, Rosters};
pub use writer::{AppendError, CloseOutcome, Events, Limit, Writer};
