//! Reads the channel and the start position of a request.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::caller::Caller;
use super::extract::{invalid_query, last_event_id, longest_wait, query, sequence};
use super::problem::{ErrorCode, FieldError, Problem};
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
#[derive(Debug)]
pub struct ChannelQuery {
    pub after: Option<Sequence>,
    pub history: usize,
    pub attendance: PresenceMode,
    pub wait: Duration,
}

const LONGEST_HISTORY: usize = 100_000;

impl<S: Send + Sync> FromRequestParts<S> for ChannelQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            after: Option<String>,
            history: Option<usize>,
            presence: Option<bool>,
            wait: Option<String>,
            /// Accepted here because the gate reads it.
            #[serde(rename = "ticket")]
            _ticket: Option<IgnoredAny>,
        }
        let takes = "history (a whole number), presence (true or false), after and wait";
        let Raw { after, history, presence, wait, .. } = query(parts, state, takes).await?;
        let history = history.unwrap_or_default();
        if history > LONGEST_HISTORY {
            return Err(invalid_query(&format!("history must be at most {LONGEST_HISTORY}.")));
        }
        let attendance = if presence == Some(true) { PresenceMode::PresentAndTold } else { PresenceMode::Present };
        let after = after.as_deref().map(sequence).transpose()?;
        Ok(Self { after, history, attendance, wait: longest_wait(wait.as_deref())? })
    }
}

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
