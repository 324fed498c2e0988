//! Channels: `/v1/channels`.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use tokio::time::{Instant, timeout_at};

use super::accept::{Accept, ResponseForm};
use super::allowance;
use super::body::RequestBody;
use super::body_limits::BodySize;
use super::caller::Caller;
use super::channel_body::{ChannelBody, EventPage, HistoryBody, NewEventBody, PublishedBody, WrittenEvent};
use super::channel_query::{ChannelPath, ChannelQuery, last_position};
use super::connection::Connection;
use super::connection_record::ConnectionKind;
use super::connections::Arrival;
use super::held_json::json_response;
use super::json_body::JsonBytes;
use super::problem::{ErrorCode, Problem};
use super::query::ApiQuery;
use super::sse::event_stream;
use super::state::Api;
use super::subscriber_source::SubscriberSource;
use super::wire::channel::{self, ConnectedData, GapData, SubscriberBody};
use crate::channel::{
    Beginning, ChannelsUnavailable, Heard, PresenceMode, PublishError, Reserve, SubscribeError, Subscribed,
    Subscription,
};
use crate::domain::{ChannelEventId, ChannelName, Keeping, Subscriber};
use crate::limits::{Allowance, LimitError};

/// Publish an event.
///
/// The event is sent to every subscriber, or only to the recipient in `to`. It is kept for later subscribers, unless it
/// is `ephemeral`: then only current subscribers receive it.
#[utoipa::path(
    post,
    path = "/v1/channels/{name}/events",
    operation_id = "publish_event",
    tag = "channels",
    params(("name" = String, Path, description = "The channel's name; the channel is created on first use", example = "room-1")),
    request_body = NewEventBody,
    responses((status = 200, description = "The event was published", body = PublishedBody)),
)]
pub async fn publish(
    State(api): State<Api>,
    caller: Caller,
    ChannelPath(channel): ChannelPath,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let mut body = RequestBody::new(&head.headers, body, api.body);
    // The rest of the body is a name, a recipient and JSON syntax.
    let size = BodySize { bytes: api.channel_terms.max_event + EVENT_HEAD, setting: Some("channels.max_event") };
    // Must precede reading the body, so that a refused event uses no memory.
    let admitted = match api.check_load(&caller) {
        Ok(()) => take_publish(&api, &caller).await,
        Err(refused) => Err(refused),
    };
    let (read, left) = match admitted {
        Ok(left) => (body.json_at_most(size, &api, &caller, Arrival::New).await, left),
        Err(refused) => (Err(refused), Allowance::default()),
    };
    body.discard(&api, &caller).await;
    let published = match read {
        Ok(read) => publish_body(&api, &caller, channel, &read).await,
        Err(refused) => Err(refused),
    };
    let mut response = published.into_response();
    allowance::insert_publish_headers(&mut response, left);
    response
}

/// Takes one event from the caller's publish rate and returns the remaining allowance.
async fn take_publish(api: &Api, caller: &Caller) -> Result<Allowance, Problem> {
    api.limits.publish(&caller.spender).await.map_err(|(error, left)| match error {
        LimitError::Exceeded(exceeded) => {
            api.metrics.refused(exceeded.limit.name());
            Problem::exceeded(exceeded, left)
        }
        LimitError::Unavailable => Problem::limits_unavailable(),
    })
}

async fn publish_body(
    api: &Api,
    caller: &Caller,
    channel: ChannelName,
    read: &JsonBytes,
) -> Result<Json<PublishedBody>, Problem> {
    let published = NewEventBody::read(read, caller, api.channel_terms.max_event)?;
    let is_kept = published.keeping == Keeping::Kept;
    let sequence = api.channels.publish(&channel, &caller.spender.account, published).await?;
    api.metrics.published();
    let id = is_kept.then(|| ChannelEventId { channel, sequence }.to_string());
    Ok(Json(PublishedBody { id }))
}

/// Most bytes of a published event without its data; a recipient of 2 x 256 characters, all escaped, needs most of
/// them.
const EVENT_HEAD: usize = 16 << 10;

/// Subscribe to a channel.
///
/// The first event is `connected`. It is followed by the events after `Last-Event-ID` (or `after`), or the last
/// `history` events, and then by every new event. The stream has no end: after `channels.idle_timeout` without an event
/// the service closes it, and browsers reconnect by themselves. Events have the names that their publishers gave them.
/// The events of a generation that is published to the channel have their usual form, with `generation` in the data. A
/// `gap` replaces history events that were evicted, and the first events of an answer if they are no longer kept.
///
/// If `Accept` names `application/json` and not `text/event-stream`, the response is one page of events as JSON, sent
/// as soon as there is an event, after at most `wait`: for clients without event streams.
#[utoipa::path(
    get,
    path = "/v1/channels/{name}/events",
    operation_id = "subscribe",
    tag = "channels",
    params(
        ("name" = String, Path, description = "The channel's name", example = "room-1"),
        ChannelQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client received; takes precedence over `after`"),
    ),
    responses((status = 200, description = "The events", content(("text/event-stream"), (EventPage = "application/json")))),
)]
pub async fn subscribe(
    State(api): State<Api>,
    caller: Caller,
    ChannelPath(channel): ChannelPath,
    ApiQuery(query): ApiQuery<ChannelQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let form = Accept::of(&headers).form()?;
    let position = last_position(&headers, &channel)?.or(query.after);
    let beginning = position.map_or(Beginning::History(query.history.get()), Beginning::After);
    // Only a client that was subscribed before knows an existing position; any other number may be made up.
    let arrival = match position {
        Some(position) if api.channels.knows(&channel, position).await => Arrival::Reconnecting,
        _ => Arrival::New,
    };
    if arrival == Arrival::New {
        api.check_load(&caller)?;
    }
    let reserve = Reserve::from(arrival);
    api.channels.has_room(&channel, reserve).await?;
    let kind = if form == ResponseForm::Events { ConnectionKind::ResumableStream } else { ConnectionKind::Wait };
    let connection = api.connect(&caller, arrival, kind)?;
    let account = &caller.spender.account;
    let new_subscriber =
        Subscriber { connection: connection.id(), principal: caller.principal.clone(), since: connection.since() };
    match form {
        ResponseForm::Events => {
            let subscribed = api
                .channels
                .subscribe(&channel, account, new_subscriber, beginning, query.attendance(), reserve)
                .await?;
            Ok(stream(&api, subscribed, connection, query.attendance()))
        }
        ResponseForm::Snapshot => {
            let subscribed = api
                .channels
                .subscribe(&channel, account, new_subscriber, beginning, PresenceMode::Passing, reserve)
                .await?;
            let page = next_page(&api, subscribed.subscription, &connection, query.wait).await?;
            json_response(&api, &caller, &page, Some(connection))
        }
    }
}

fn stream(api: &Api, subscribed: Subscribed, connection: Connection, attendance: PresenceMode) -> Response {
    let Subscribed { subscription, present, subscribers } = subscribed;
    let channel = subscription.channel.clone();
    let connected = ConnectedData {
        channel: channel.to_string(),
        connection: connection.id().to_string(),
        subscribers: subscribers as u64,
        present: (attendance == PresenceMode::PresentAndTold)
            .then(|| present.iter().map(SubscriberBody::from).collect()),
    };
    let id = ChannelEventId { channel, sequence: subscription.position() };
    let source = SubscriberSource::new(subscription, api.channel_terms.idle);
    let stream = api.event_stream(source, connection);
    event_stream(stream.beginning_with(|frames| channel::encode_connected(&connected, id, frames)))
}

/// Returns the events after the position, or waits up to `patience` for the first one.
async fn next_page(
    api: &Api,
    mut subscription: Subscription,
    connection: &Connection,
    patience: Duration,
) -> Result<EventPage, Problem> {
    let deadline = Instant::now() + patience;
    let (mut events, mut gap) = (Vec::new(), None);
    while events.is_empty() {
        let heard = tokio::select! {
            biased;
            heard = timeout_at(deadline, subscription.heard()) => heard,
            () = connection.closed() => break,
            () = api.channels.closed() => break,
        };
        match heard {
            Ok(Some(Heard::Events(entries))) => {
                let name = &subscription.channel;
                events.extend(entries.iter().filter_map(|entry| WrittenEvent::of(name, entry)));
            }
            Ok(Some(Heard::Gap { from, to })) => {
                let from = gap.map_or(from.get(), |before: GapData| before.from);
                gap = Some(GapData { from, to: to.get() });
            }
            Ok(None) => return Err(Problem::history_lost()),
            Err(_) => break,
        }
    }
    Ok(EventPage { events, gap, last_sequence: subscription.position().get() })
}

/// Inspect a channel.
///
/// Its subscribers, the end of its log and the kept history. A channel that was never used is empty.
#[utoipa::path(
    get,
    path = "/v1/channels/{name}",
    operation_id = "inspect_channel",
    tag = "channels",
    params(("name" = String, Path, description = "The channel's name", example = "room-1")),
    responses((status = 200, description = "The channel", body = ChannelBody)),
)]
pub async fn show(
    State(api): State<Api>,
    caller: Caller,
    ChannelPath(channel): ChannelPath,
) -> Result<Response, Problem> {
    let inspection = api.channels.inspect(&channel).await?;
    let history = inspection.as_ref().map(|inspection| HistoryBody {
        events: inspection.history.events as u64,
        bytes: inspection.history.bytes as u64,
        after: inspection.history.after.get(),
    });
    let channel = ChannelBody {
        name: channel.to_string(),
        subscribers: inspection.as_ref().map_or(0, |inspection| inspection.subscribers as u64),
        present: inspection.iter().flat_map(|inspection| &inspection.present).map(SubscriberBody::from).collect(),
        last_sequence: inspection.as_ref().map(|inspection| inspection.tail.get()),
        history: history.unwrap_or_default(),
    };
    json_response(&api, &caller, &channel, None)
}

impl From<Arrival> for Reserve {
    fn from(arrival: Arrival) -> Self {
        match arrival {
            Arrival::New => Self::Kept,
            Arrival::Reconnecting => Self::Open,
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::ConnectionNotFound => Self::connection_not_found(),
            PublishError::TooLarge => Self::new(
                ErrorCode::BodyTooLarge,
                "The event is larger than a channel may hold (the setting channels.max_bytes).",
            ),
            PublishError::Full => Self::new(
                ErrorCode::Overloaded,
                "This service is out of memory for channels. Try again in a few seconds.",
            ),
            PublishError::Unavailable => Self::channels_unavailable(),
            PublishError::Closing => Self::shutting_down(),
        }
    }
}

impl From<ChannelsUnavailable> for Problem {
    fn from(_: ChannelsUnavailable) -> Self {
        Self::channels_unavailable()
    }
}

impl From<SubscribeError> for Problem {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::RosterFull => {
                Self::new(ErrorCode::ChannelFull, "This channel has the maximum of subscribers. Try again later.")
            }
            SubscribeError::ChannelsFull(_) => {
                Self::new(ErrorCode::Overloaded, "This service has the maximum of channels. Try again later.")
            }
            SubscribeError::Unavailable => Self::channels_unavailable(),
            SubscribeError::Closing => Self::shutting_down(),
        }
    }
}
