//! The request and response bodies of channels.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::caller::Caller;
use super::json_body::JsonBytes;
use super::problem::{ErrorCode, FieldError, Problem};
use super::wire::channel::{self, ChannelEventName, GapData, SubscriberBody};
use super::wire::frames::JsonLine;
use crate::domain::{ChannelEvent, ChannelName, Entry, EventName, Keeping, Principal, Published, Recipient, wire_safe};

/// An event to publish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewEvent)]
pub struct NewEventBody {
    /// Its name. Without one, browsers deliver the event to `onmessage`. The service's own names are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9._:-]{1,64}$", example = "said")]
    pub event: Option<String>,
    /// Any JSON, sent unchanged; with `encoding`, a string in base64 (RFC 4648, section 4).
    pub data: Value,
    /// `base64`: subscribers receive `{"encoding":"base64","data":"..."}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<EncodingBody>,
    /// The recipient; all subscribers if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<RecipientBody>,
    /// `true`: the event is sent to the current subscribers only and not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<bool>,
}

/// The encoding of `data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = EventEncoding)]
pub enum EncodingBody {
    Base64,
}

/// One stream, or all streams of one caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = EventRecipient)]
pub enum RecipientBody {
    /// The connection id in `connected` or `joined`. It must be subscribed now.
    Connection(ConnectionRecipient),
    /// The name of the caller's key, or its token's subject and issuer.
    Principal(PrincipalRecipient),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionRecipient {
    #[schema(pattern = "^conn_[A-Za-z0-9_-]{21}[AQgw]$", example = "conn_AAAAAAAAAAAAAAAAAAAAAA")]
    pub connection: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrincipalRecipient {
    #[schema(min_length = 1, max_length = 256)]
    pub principal: String,
    /// Absent: the issuer of the publisher's own token, if it has one; else `principal` is the name of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub issuer: Option<String>,
}

/// The result of publishing an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PublishedEvent)]
pub struct PublishedBody {
    /// The event's id; absent if the event is ephemeral.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "room-1.1795690000000001")]
    pub id: Option<String>,
}

/// Some events of a channel, in order.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventPage {
    /// Empty if the wait ended before an event arrived.
    pub events: Vec<WrittenEvent>,
    /// The events that are missing before these, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<GapData>,
    /// The value of `after` for the next request.
    pub last_sequence: u64,
}

/// One event, with the fields that it has in an event stream.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChannelEvent)]
pub struct WrittenEvent {
    /// Absent if the event is ephemeral.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Absent if the event has no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    #[schema(value_type = Value)]
    pub data: Box<RawValue>,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Channel)]
pub struct ChannelBody {
    pub name: String,
    pub subscribers: u64,
    /// At most 1000 of the subscribers.
    pub present: Vec<SubscriberBody>,
    /// The sequence number of the last event in the channel's log; absent if the channel has no log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sequence: Option<u64>,
    pub history: HistoryBody,
}

/// The events that are kept for later subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChannelHistory)]
pub struct HistoryBody {
    /// The number of events; a generation's answer counts as one.
    pub events: u64,
    pub bytes: u64,
    /// The sequence number before the first of them.
    pub after: u64,
}

/// The longest name of a key, a subject or an issuer, in characters.
const LONGEST_NAME: usize = 256;

/// The error text for a body that is not an event.
const WANTED: &str = "must have data; may have event, encoding, to and ephemeral";

impl NewEventBody {
    /// Reads an event that `caller` publishes, with at most `most` bytes of data.
    pub fn read(body: &JsonBytes, caller: &Caller, most: usize) -> Result<Published, Problem> {
        /// Keeps the data as it was sent, because a conversion would change numbers that exceed Rust's types.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw<'a> {
            event: Option<Value>,
            #[serde(borrow)]
            data: &'a RawValue,
            encoding: Option<Value>,
            to: Option<Value>,
            ephemeral: Option<Value>,
        }
        let Raw { event, data, encoding, to, ephemeral } = body.read(WANTED)?;
        let mut errors = Vec::new();
        let mut wrong = |pointer: &str, detail: &str| {
            errors.push(FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() });
        };
        let event = event.map(|event| event.as_str().and_then(|event| event.parse::<EventName>().ok()));
        if event == Some(None) {
            wrong(
                "/event",
                "must be 1 to 64 characters of A-Z, a-z, 0-9, . _ : -, and not one of the service's own names",
            );
        }
        if encoding.as_ref().is_some_and(|encoding| *encoding != "base64") {
            wrong("/encoding", "must be \"base64\" or absent");
        } else if encoding.is_some() && !is_base64(data) {
            wrong("/data", "must be a string in base64");
        }
        let to = to.map(|to| recipient(to, caller));
        if to == Some(None) {
            wrong("/to", "must be an object with connection, or with principal and optionally issuer");
        }
        if ephemeral.as_ref().is_some_and(|ephemeral| !ephemeral.is_boolean()) {
            wrong("/ephemeral", "must be true or false");
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        if data.get().len() > most {
            return Err(Problem::new(
                ErrorCode::BodyTooLarge,
                format!("The data of the event is larger than {most} bytes (the setting channels.max_event)."),
            ));
        }
        let safe = String::from_utf8_lossy(&wire_safe(data.get().as_bytes())).into_owned();
        let data_json = if encoding.is_some() { format!("{{\"encoding\":\"base64\",\"data\":{safe}}}") } else { safe };
        Ok(Published {
            name: event.flatten(),
            data_json: data_json.into(),
            to: to.flatten().unwrap_or(Recipient::AllSubscribers),
            keeping: if ephemeral == Some(Value::Bool(true)) { Keeping::Ephemeral } else { Keeping::Kept },
        })
    }
}

fn is_base64(data: &RawValue) -> bool {
    serde_json::from_str::<String>(data.get()).is_ok_and(|text| STANDARD.decode(text).is_ok())
}

fn recipient(to: Value, caller: &Caller) -> Option<Recipient> {
    match serde_json::from_value(to).ok()? {
        RecipientBody::Connection(ConnectionRecipient { connection }) => {
            connection.parse().ok().map(Recipient::Connection)
        }
        RecipientBody::Principal(PrincipalRecipient { principal, issuer }) => {
            let is_name = |text: &String| (1..=LONGEST_NAME).contains(&text.chars().count());
            if !is_name(&principal) || !issuer.as_ref().is_none_or(is_name) {
                return None;
            }
            let name: Arc<str> = principal.into();
            let recipient = match issuer.as_deref().or_else(|| caller.principal.issuer()) {
                Some(issuer) => Principal::Subject { issuer: issuer.into(), subject: name },
                None => Principal::Key(name),
            };
            Some(Recipient::Principal(recipient))
        }
    }
}

impl WrittenEvent {
    /// Returns the event; `None` if it has no content for subscribers.
    pub fn of(channel: &ChannelName, entry: &Entry<ChannelEvent>) -> Option<Self> {
        let event = match channel::event_name(&entry.event)? {
            ChannelEventName::Named(name) => Some(name.to_owned()),
            ChannelEventName::Unnamed => None,
        };
        let mut data = BytesMut::new();
        channel::write_data(&entry.event, &mut JsonLine::new(&mut data));
        let data = RawValue::from_string(String::from_utf8(data.into()).ok()?).ok()?;
        Some(Self { id: channel::event_id(channel, entry).map(|id| id.to_string()), event, data })
    }
}
