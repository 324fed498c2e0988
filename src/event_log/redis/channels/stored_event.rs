//! The stored form of a channel's events: a letter that names the kind, a head, a line feed, the body.
//!
//! | Kind | Head | Body |
//! | --- | --- | --- |
//! | `P` | published: name and recipient, as JSON | data |
//! | `G` | id of the generation | one event of its log, as a batch of the log |
//! | `J`, `L` | number of subscribers | the subscriber that joined or left, as JSON |

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::batch::{BatchDecoder, BatchEncoder};
use crate::domain::{
    ChannelEvent, Chunk, ConnectionId, Event, Keeping, Presence, Principal, Published, Raw, Recipient, Shape,
    Subscriber, Timestamp,
};

/// Decodes the events of one channel. Chunks with the same shape share it.
#[derive(Default)]
pub struct StoredEventDecoder {
    shape: Option<Arc<Shape>>,
}

#[derive(Serialize, Deserialize)]
struct StoredPublication {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    name: Option<String>,
    to: StoredRecipient,
}

#[derive(Serialize, Deserialize)]
enum StoredRecipient {
    All,
    Connection(ConnectionId),
    Principal(Principal),
}

#[derive(Serialize, Deserialize)]
struct StoredSubscriber {
    connection: ConnectionId,
    principal: Principal,
    since: Timestamp,
}

/// Returns the stored form of an event. Scripts store presence events.
pub fn encode_event(event: &ChannelEvent) -> Vec<u8> {
    match event {
        ChannelEvent::Published(published) => {
            let to = match &published.to {
                Recipient::AllSubscribers => StoredRecipient::All,
                Recipient::Connection(connection) => StoredRecipient::Connection(*connection),
                Recipient::Principal(principal) => StoredRecipient::Principal(principal.clone()),
            };
            let head = StoredPublication { name: published.name.as_ref().map(|name| name.as_str().to_owned()), to };
            join(b'P', &json(&head), published.data_json.as_bytes())
        }
        ChannelEvent::Generation(generation, event) => {
            let batch = BatchEncoder::default().encode([&without_raw(event)]);
            join(b'G', generation.to_string().as_bytes(), &batch)
        }
        ChannelEvent::Joined(presence) => encode_presence(b'J', presence),
        ChannelEvent::Left(presence) => encode_presence(b'L', presence),
    }
}

pub fn encode_subscriber(who: &Subscriber) -> Vec<u8> {
    let Subscriber { connection, principal, since } = who;
    json(&StoredSubscriber { connection: *connection, principal: principal.clone(), since: *since })
}

pub fn decode_subscriber(stored: &[u8]) -> Option<Subscriber> {
    let StoredSubscriber { connection, principal, since } = serde_json::from_slice(stored).ok()?;
    Some(Subscriber { connection, principal, since })
}

fn encode_presence(kind: u8, presence: &Presence) -> Vec<u8> {
    join(kind, presence.subscribers.to_string().as_bytes(), &encode_subscriber(&presence.who))
}

/// Subscribers are sent the parts of a chunk, never the provider's JSON.
fn without_raw(event: &Event) -> Event {
    match event {
        Event::Chunk(chunk) => {
            let shape = Shape { part: chunk.part().clone(), raw: Raw::Absent };
            Event::Chunk(Chunk::new(Arc::new(shape), chunk.text().clone()))
        }
        other => other.clone(),
    }
}

fn join(kind: u8, head: &[u8], body: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(head.len() + body.len() + 2);
    stored.push(kind);
    stored.extend_from_slice(head);
    stored.push(b'\n');
    stored.extend_from_slice(body);
    stored
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Cannot fail for these types.
    serde_json::to_vec(value).unwrap_or_default()
}

impl StoredEventDecoder {
    /// Returns the event; `None` if this version does not know its kind. Its number then stays empty, which is no gap.
    pub fn decode(&mut self, stored: &[u8], keeping: Keeping) -> Option<ChannelEvent> {
        let (kind, rest) = stored.split_first()?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (head, body) = (rest.get(..end)?, rest.get(end + 1..)?);
        match kind {
            b'P' => {
                let StoredPublication { name, to } = serde_json::from_slice(head).ok()?;
                let to = match to {
                    StoredRecipient::All => Recipient::AllSubscribers,
                    StoredRecipient::Connection(connection) => Recipient::Connection(connection),
                    StoredRecipient::Principal(principal) => Recipient::Principal(principal),
                };
                let (name, data_json) = (name.and_then(|name| name.parse().ok()), std::str::from_utf8(body).ok()?);
                Some(ChannelEvent::Published(Arc::new(Published { name, data_json: data_json.into(), to, keeping })))
            }
            b'G' => {
                let generation = std::str::from_utf8(head).ok()?.parse().ok()?;
                let event = BatchDecoder::default().decode(body).ok()?.into_iter().next()?;
                Some(ChannelEvent::Generation(generation, self.with_shared_shape(event)))
            }
            b'J' => Some(ChannelEvent::Joined(presence(head, body)?)),
            b'L' => Some(ChannelEvent::Left(presence(head, body)?)),
            _ => None,
        }
    }

    fn with_shared_shape(&mut self, event: Event) -> Event {
        let Event::Chunk(chunk) = event else { return event };
        if let Some(shape) = self.shape.as_ref().filter(|shape| shape == &chunk.shape()) {
            return Event::Chunk(Chunk::new(Arc::clone(shape), chunk.text().clone()));
        }
        self.shape = Some(Arc::clone(chunk.shape()));
        Event::Chunk(chunk)
    }
}

fn presence(head: &[u8], body: &[u8]) -> Option<Arc<Presence>> {
    let subscribers = std::str::from_utf8(head).ok()?.parse().ok()?;
    Some(Arc::new(Presence { who: decode_subscriber(body)?, subscribers }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Escaped, Frame, Part, ProviderDialect};

    fn who() -> Subscriber {
        let principal = Principal::Subject { issuer: "https://id".into(), subject: "ann".into() };
        let connection = "conn_AAAAAAAAAAAAAAAAAAAAAA".parse().expect("an id");
        Subscriber { connection, principal, since: Timestamp::from_millis(7) }
    }

    fn events() -> Vec<ChannelEvent> {
        let published = |name: Option<&str>, to, keeping| {
            let name = name.map(|name| name.parse().expect("a name"));
            ChannelEvent::Published(Arc::new(Published { name, data_json: r#"{"a":"Zürich"}"#.into(), to, keeping }))
        };
        let generation = "gen_AAAAAAAAAAAAAAAAAAAAAA".parse().expect("an id");
        let shape = Arc::new(Shape::new(None, Part::Text { choice: 0, logprobs_json: None }));
        let chunk = Event::Chunk(Chunk::new(shape, Escaped::from_text("Hello\n")));
        let presence = Arc::new(Presence { who: who(), subscribers: 3 });
        vec![
            published(None, Recipient::AllSubscribers, Keeping::Kept),
            published(Some("said"), Recipient::Connection(who().connection), Keeping::Ephemeral),
            published(Some("said"), Recipient::Principal(who().principal), Keeping::Kept),
            ChannelEvent::Generation(generation, chunk),
            ChannelEvent::Joined(Arc::clone(&presence)),
            ChannelEvent::Left(presence),
        ]
    }

    #[test]
    fn events_read_back_as_they_were_stored() {
        let mut decoder = StoredEventDecoder::default();
        for event in events() {
            assert_eq!(decoder.decode(&encode_event(&event), event.keeping()), Some(event));
        }
        assert_eq!(decode_subscriber(&encode_subscriber(&who())), Some(who()));
    }

    #[test]
    fn chunks_are_stored_without_the_json_of_the_provider_and_share_their_shape() {
        let generation = "gen_AAAAAAAAAAAAAAAAAAAAAA".parse().expect("an id");
        let frame = Frame::new(ProviderDialect::OpenAiChat, "secret{", "}");
        let shape = Arc::new(Shape::new(Some(frame), Part::Reasoning { choice: 1 }));
        let stored = ["a", "b"].map(|text| {
            let chunk = Event::Chunk(Chunk::new(Arc::clone(&shape), Escaped::from_text(text)));
            encode_event(&ChannelEvent::Generation(generation, chunk))
        });
        assert!(!String::from_utf8_lossy(&stored[0]).contains("secret"));
        let mut decoder = StoredEventDecoder::default();
        let [one, other] = stored.map(|stored| match decoder.decode(&stored, Keeping::Kept) {
            Some(ChannelEvent::Generation(_, Event::Chunk(chunk))) => chunk,
            other => panic!("{other:?}"),
        });
        assert_eq!((one.part(), one.text().as_str(), other.text().as_str()), (&shape.part, "a", "b"));
        assert!(Arc::ptr_eq(one.shape(), other.shape()));
    }

    #[test]
    fn event_of_a_later_version_and_a_broken_one_are_skipped() {
        let mut decoder = StoredEventDecoder::default();
        for stored in [&b"Z1\nlater"[..], b"", b"P", b"P{}", b"G\n", b"Jx\n{}"] {
            assert_eq!(decoder.decode(stored, Keeping::Kept), None);
        }
    }

    /// Replicas of two versions run side by side: a change of these texts needs a reader of both forms.
    #[test]
    fn stored_form_is_that_of_this_version() {
        let text = |event| String::from_utf8_lossy(&encode_event(event)).into_owned();
        let stored: Vec<_> = events().iter().map(text).collect();
        assert_eq!(stored[0], "P{\"to\":\"All\"}\n{\"a\":\"Zürich\"}");
        assert_eq!(
            stored[2],
            "P{\"name\":\"said\",\"to\":{\"Principal\":{\"Subject\":{\"issuer\":\"https://id\",\"subject\":\"ann\"}}}}\n\
             {\"a\":\"Zürich\"}"
        );
        assert_eq!(
            stored[4],
            "J3\n{\"connection\":\"conn_AAAAAAAAAAAAAAAAAAAAAA\",\
             \"principal\":{\"Subject\":{\"issuer\":\"https://id\",\"subject\":\"ann\"}},\"since\":7}"
        );
    }
}
