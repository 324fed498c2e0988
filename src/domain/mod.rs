//! The vocabulary of Tokenrill: ids, positions, events, requests, usage and failures.
//!
//! No I/O, no async, no HTTP. Every other module may use this one; this one uses only `json`.

mod account;
mod budget;
mod budget_period;
mod cancel_bills;
mod channel;
mod channel_event;
mod chat;
mod chat_parameter;
mod chat_turn;
mod chunk;
mod claim;
mod day;
mod decimal;
mod embedding;
mod event;
mod failure;
mod field_kind;
mod id;
pub mod json_values;
mod log_format;
mod lookup;
mod messages_form;
mod name_pattern;
mod notes;
mod on_disconnect;
mod on_upstream_failure;
mod output_limits;
mod position;
mod price;
mod principal;
mod prompt;
mod prompt_reference;
mod quota;
mod routing_policy;
mod time;
mod upstream_messages;
mod usage;
mod usd;
mod when_full;

pub use account::Account;
pub use budget::Budget;
pub use budget_period::{BudgetPeriod, Month};
pub use cancel_bills::CancelBills;
pub use channel::{ChannelEventId, ChannelName, InvalidName};
pub use channel_event::{ChannelEvent, EventName, Keeping, Presence, Published, Recipient, Subscriber};
pub use chat::{ChatRequest, OUTPUT_LIMITS, number};
pub use chat_parameter::{CHAT_PARAMETERS, ChatParameter, SetBy};
pub use chat_turn::{ChatKey, ChatTurn, TurnKey};
pub use chunk::{
    Chunk, ChunkJson, Escaped, Frame, InvalidText, Part, ProviderDialect, Raw, Shape, decode_utf8, wire_safe,
};
pub use claim::{Claim, Fingerprint, IdempotencyKey, InvalidKey};
pub use day::{Day, InvalidDay};
pub use embedding::EmbeddingRequest;
pub use event::{
    CancelReason, Cancelled, Done, Entry, Event, Failed, Finish, FinishReason, Metadata, Restart, Start, Stated,
    Trailer, UsageRequest,
};
pub use failure::{Failure, FailureCode, Remedy, UpstreamWords};
pub use field_kind::FieldKind;
pub use id::{ConnectionId, GenerationId, InvalidId, ReplicaId, RequestId};
pub use log_format::LogFormat;
pub use lookup::Lookup;
pub use messages_form::{MessagesForm, UncarriedField};
#[cfg(test)]
pub use name_pattern::tests::COMPARISONS;
pub use name_pattern::{AllowedModels, NamePattern, NamePatterns};
pub use notes::Notes;
pub use on_disconnect::OnDisconnect;
pub use on_upstream_failure::OnUpstreamFailure;
pub use output_limits::{LimitDemand, TooMuch};
pub use position::{Epoch, EventId, EventPosition, Listed, Sequence};
pub use price::{InvalidPrice, ModelPrice, TokenPrice};
pub use principal::Principal;
pub use prompt::Prompt;
pub use prompt_reference::{InvalidReference, PromptId, PromptReference, PromptVersion};
pub use quota::Quota;
pub use routing_policy::{Affinity, FallbackClass, HedgeDelay, Strategy};
pub use time::Timestamp;
pub use upstream_messages::{ErrorMessages, UpstreamMessages};
pub use usage::{Timings, TokenSource, Usage, UsageReport};
pub use usd::{InvalidUsd, Usd};
pub use when_full::WhenFull;
