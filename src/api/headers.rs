//! The names of response headers that pages of other origins may read, apart from standard ones of the `http` crate.

use axum::http::HeaderName;

/// The id of the request.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Anthropic's SDKs read it in place of `X-Request-Id`.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// The id of the generation whose events or state are in the response.
pub const TOKENRILL_GENERATION: HeaderName = HeaderName::from_static("tokenrill-generation");
/// `Tokenrill-Attached: existing` in the response to a request that joined an existing generation.
pub const TOKENRILL_ATTACHED: HeaderName = HeaderName::from_static("tokenrill-attached");
/// The preferences that were applied (RFC 7240, section 3).
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// OpenAI's SDKs read it in addition to `Retry-After`.
pub const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// OpenAI's SDKs read it to decide on a retry. Without it, they retry by themselves after certain statuses.
pub const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// The remaining quota of each limit, and the seconds until it is full again (draft-ietf-httpapi-ratelimit-headers-10).
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The limits themselves, per minute (the same draft).
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The headers of OpenAI's API for requests and for tokens: limit, remaining, reset.
pub const X_RATE_LIMIT: [[HeaderName; 3]; 2] = [
    [
        HeaderName::from_static("x-ratelimit-limit-requests"),
        HeaderName::from_static("x-ratelimit-remaining-requests"),
        HeaderName::from_static("x-ratelimit-reset-requests"),
    ],
    [
        HeaderName::from_static("x-ratelimit-limit-tokens"),
        HeaderName::from_static("x-ratelimit-remaining-tokens"),
        HeaderName::from_static("x-ratelimit-reset-tokens"),
    ],
];
