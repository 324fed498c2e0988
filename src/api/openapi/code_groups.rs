//! Codes that several operations refuse requests with.

use super::super::problem::ErrorCode::{
    self, BodyTooLarge, BudgetExceeded, Cancelled, DeadlineExceeded, EventLogUnavailable, HistoryLost,
    IdempotencyConflict, InvalidJson, InvalidRequest, InvalidVariables, ModelNotFound, ModelRequired, ModelUnpriced,
    Overloaded, PromptNotFound, RateLimited, ReplicaLost, RequestTimeout, ShuttingDown, TooLarge, TooManyConnections,
    TooManyGenerations, UnsupportedMediaType, UpstreamAuth, UpstreamDisconnected, UpstreamError, UpstreamMalformed,
    UpstreamOverloaded, UpstreamRateLimited, UpstreamRejected, UpstreamTimeout, UpstreamUnreachable,
};

/// Codes of an operation that reads a JSON body.
pub const BODY: &[ErrorCode] = &[InvalidJson, InvalidRequest, RequestTimeout, BodyTooLarge, UnsupportedMediaType];
/// Codes of an operation that starts a generation.
pub const START: &[ErrorCode] = &[
    ModelRequired,
    ModelNotFound,
    ModelUnpriced,
    PromptNotFound,
    InvalidVariables,
    HistoryLost,
    IdempotencyConflict,
    RateLimited,
    TooManyGenerations,
    BudgetExceeded,
    TooManyConnections,
    Overloaded,
    EventLogUnavailable,
    ShuttingDown,
];
/// Codes of an operation that responds only when the generation has ended, or has its first token.
pub const ANSWER: &[ErrorCode] = &[
    Cancelled,
    UpstreamRejected,
    UpstreamRateLimited,
    TooLarge,
    UpstreamUnreachable,
    UpstreamAuth,
    UpstreamError,
    UpstreamDisconnected,
    UpstreamMalformed,
    UpstreamOverloaded,
    UpstreamTimeout,
    ReplicaLost,
    DeadlineExceeded,
];
/// Codes of the operation for embeddings.
pub const EMBED: &[ErrorCode] = &[
    ModelRequired,
    ModelNotFound,
    ModelUnpriced,
    RateLimited,
    TooManyGenerations,
    BudgetExceeded,
    TooManyConnections,
    Overloaded,
    EventLogUnavailable,
    ShuttingDown,
    UpstreamRejected,
    UpstreamRateLimited,
    TooLarge,
    UpstreamUnreachable,
    UpstreamAuth,
    UpstreamError,
    UpstreamDisconnected,
    UpstreamMalformed,
    UpstreamOverloaded,
    UpstreamTimeout,
    DeadlineExceeded,
];
