//! Reads the channel and the start position of a request.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::caller::Caller;
use super::extract::last_event_id;
use super::problem::{ErrorCode, FieldError, Problem};
use super::query::{QueryParameters, sequence, wait, whole_number};
use crate::auth::ChannelScope;
use crate::channel::PresenceMode;
use crate::domain::{ChannelEventId, ChannelName, Sequence};

/// The channel that the path names.
pub struct ChannelPath(pub ChannelName);

/// The error text for an invalid channel name.
pub const NAME_RULE: &str =
    "must be 1 to 100 characters of A-Z, a-z, 0-9, dot, hyphen, underscore and tilde, and not begin with a dot";

/// Returns the channel in the path, without percent-decoding: no valid name needs an escape. The gate and the handlers
/// both read the name with this function, so the authorized channel is the one that is used.
pub fn channel_in_path(uri: &Uri) -> Option<ChannelName> {
    uri.path().strip_prefix("/v1/channels/")?.split('/').next()?.parse().ok()
}

impl<S: Send + Sync> FromRequestParts<S> for ChannelPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let name = channel_in_path(&parts.uri);
        name.map(Self).ok_or_else(|| {
            Problem::new(ErrorCode::InvalidRequest, format!("The channel name in the path is invalid: it {NAME_RULE}."))
        })
    }
}

/// Parses the channel to which an answer is to be published, and checks that the caller may publish there.
pub fn answer_channel(name: &str, caller: &Caller) -> Result<ChannelName, Problem> {
    let channel = name.parse().map_err(|_| {
        Problem::invalid(vec![FieldError { pointer: "/channel".to_owned(), detail: NAME_RULE.to_owned() }])
    })?;
    if may_publish(&channel, caller) {
        Ok(channel)
    } else {
        Err(Problem::insufficient_scope(Some(&ChannelScope::Publish.for_channel(&channel))))
    }
}

fn may_publish(channel: &ChannelName, caller: &Caller) -> bool {
    !channel.is_built_in() && caller.scopes.allow(ChannelScope::Publish, channel)
}

/// The query of a subscription.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChannelQuery {
    /// The number of kept events to send first, at most `channels.history`; default 0. Ignored if a position is given
    #[serde(default)]
    #[param(inline)]
    pub history: HistoryLength,
    /// `true`: also send `joined` and `left` events
    #[serde(default)]
    presence: bool,
    /// The sequence number after which to start: the digits after the last dot of an event's id, or `last_sequence`
    #[serde(default, deserialize_with = "sequence")]
    #[param(value_type = Option<u64>)]
    pub after: Option<Sequence>,
    /// The longest time to wait for the page, with its unit, such as `20s`; at most `60s`. Default: no wait
    #[serde(default, deserialize_with = "wait")]
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,6}(ms|s|m)$", example = "2s")]
    pub wait: Duration,
    /// Accepted here because the gate reads it.
    #[serde(rename = "ticket")]
    #[param(ignore)]
    _ticket: Option<IgnoredAny>,
}

impl ChannelQuery {
    pub const fn attendance(&self) -> PresenceMode {
        if self.presence { PresenceMode::PresentAndTold } else { PresenceMode::Present }
    }
}

impl QueryParameters for ChannelQuery {
    fn accepted() -> String {
        "history (a whole number), presence (true or false), after and wait".to_owned()
    }
}

/// The parameter `history`.
#[derive(Debug, Clone, Copy, Default)]
pub struct HistoryLength(usize);

impl HistoryLength {
    const LONGEST: usize = 100_000;

    pub const fn get(self) -> usize {
        self.0
    }
}

impl<'de> Deserialize<'de> for HistoryLength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let history = usize::deserialize(deserializer)?;
        if history > Self::LONGEST {
            return Err(D::Error::custom(format_args!("history must be at most {}.", Self::LONGEST)));
        }
        Ok(Self(history))
    }
}

impl utoipa::PartialSchema for HistoryLength {
    fn schema() -> RefOr<Schema> {
        whole_number(0, Self::LONGEST)
    }
}

impl ToSchema for HistoryLength {}

/// Returns the position in `Last-Event-ID`. An id that is not of this channel is a client error.
pub fn last_position(headers: &HeaderMap, channel: &ChannelName) -> Result<Option<Sequence>, Problem> {
    let Some(last) = last_event_id(headers) else { return Ok(None) };
    let id = std::str::from_utf8(last).ok().and_then(|text| text.parse::<ChannelEventId>().ok());
    let id = id.filter(|id| id.channel == *channel);
    id.map(|id| Some(id.sequence)).ok_or_else(|| {
        Problem::new(
            ErrorCode::InvalidRequest,
            "Last-Event-ID is not the id of an event of this channel. Repeat the request without it.",
        )
    })
}
