//! The native wire: named events with ids.

mod data;
pub mod encoder;

pub use super::measures::{TimingsBody, UsageBody};
pub use data::{
    CancelledData, CancelledReason, DeltaData, DoneData, FailedData, FinishedChoice, PartData, QueuedData, StartData,
    TextData, ToolCallData,
};

/// The names of all events.
pub const EVENTS: [&str; 11] = [
    "start",
    "queued",
    "delta",
    "reasoning",
    "tool_call",
    "refusal",
    "part",
    "snapshot",
    "done",
    "cancelled",
    "failed",
];
