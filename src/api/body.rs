//! Reads a request's body.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, HeaderValue};
use futures_util::poll;
use http_body_util::{BodyExt, Limited};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};

use super::body_limits::{BodyLimits, BodySize};
use super::body_memory::{BodyMemoryError, UnfinishedBody};
use super::caller::Caller;
use super::connection::Connection;
use super::connection_record::ConnectionKind;
use super::connections::Arrival;
use super::json_body::JsonBytes;
use super::problem::{ErrorCode, Problem};
use super::state::Api;

/// A body that may be read in part, and whose remaining bytes are then discarded.
pub struct RequestBody<'a> {
    headers: &'a HeaderMap,
    unread: Body,
    limits: BodyLimits,
    deadline: Instant,
    /// Set once the service has waited for the client to send more.
    connection: Option<Connection>,
}

/// A client that has sent no bytes for this long is assumed to wait for the response.
const SENDING_PAUSE: Duration = Duration::from_secs(5);

/// The most bytes that are discarded so that the client reads a refusal.
const MOST_DISCARDED: usize = 32 << 20;

/// Bytes of a body after which its task yields to the other requests of its runtime thread.
const YIELD_AFTER: usize = 64 << 10;

/// Capacity of the first buffer, unless the body is known to be shorter or its first frame is larger.
const FIRST_BUFFER: usize = 16 << 10;

impl<'a> RequestBody<'a> {
    pub fn new(headers: &'a HeaderMap, body: Body, limits: BodyLimits) -> Self {
        Self { headers, unread: body, limits, deadline: Instant::now() + limits.time, connection: None }
    }

    /// Reads the whole body, at most `server.max_body` bytes. Its content type must be JSON.
    pub async fn json(&mut self, api: &Api, caller: &Caller, arrival: Arrival) -> Result<JsonBytes, Problem> {
        let size = BodySize { bytes: self.limits.size, setting: Some("server.max_body") };
        self.json_at_most(size, api, caller, arrival).await
    }

    /// Reads the whole body like [`json`](Self::json), but at most `size` bytes.
    pub async fn json_at_most(
        &mut self,
        size: BodySize,
        api: &Api,
        caller: &Caller,
        arrival: Arrival,
    ) -> Result<JsonBytes, Problem> {
        if !is_json(self.headers) {
            return Err(Problem::not_json());
        }
        let size = if size.bytes < self.limits.size {
            size
        } else {
            BodySize { bytes: self.limits.size, setting: Some("server.max_body") }
        };
        self.read(size, api, caller, arrival).await.map_err(|error| match error {
            BodyError::TooLarge => too_large(size),
            BodyError::Refused(problem) => problem,
            BodyError::Ended => {
                Problem::new(ErrorCode::InvalidJson, "The request body is incomplete. Send the whole body.")
            }
            BodyError::TooLate => Problem::new(
                ErrorCode::RequestTimeout,
                format!(
                    "The request body took longer than {} s (the setting server.body_timeout).",
                    self.limits.time.as_secs()
                ),
            ),
            BodyError::Memory(error) => {
                api.metrics.refused("body_memory");
                error.into()
            }
        })
    }

    /// Takes the connection under which the body was counted, so that the next step of the request reuses it.
    pub fn take_connection(&mut self) -> Option<Connection> {
        self.connection.take()
    }

    /// Reads and discards the remaining bytes, so that the client reads the response.
    ///
    /// Browsers read the response only after they have sent the whole body, and closing a connection with unread bytes
    /// resets it and loses the response. At most 32 MiB are read, and none from a client that waits for `100 Continue`,
    /// because reading would make it start to send. If the service has to wait for the client, the wait counts as a
    /// connection of the account, and happens only if the account may have another connection.
    pub async fn discard(mut self, api: &Api, caller: &Caller) {
        let held = self.connection.take();
        let mut discarding = pin!(self.discard_at_most(MOST_DISCARDED));
        if poll!(discarding.as_mut()).is_ready() {
            return;
        }
        let connection = held.filter(|connection| connection.set_kind(ConnectionKind::Body));
        let connection = connection.or_else(|| api.connections.open_if_free(caller, ConnectionKind::Body));
        let Some(connection) = connection else { return };
        tokio::select! {
            biased;
            () = discarding => {}
            () = connection.closed() => {}
        }
    }

    /// Discards like [`discard`](Self::discard), but at most `most` bytes, for a request without a caller.
    pub async fn discard_at_most(self, most: usize) {
        if self.headers.contains_key(EXPECT) {
            return;
        }
        let mut unread = Limited::new(self.unread, most);
        let rest = async { while let Ok(Some(Ok(_))) = timeout(SENDING_PAUSE, unread.frame()).await {} };
        _ = timeout_at(self.deadline, rest).await;
    }

    async fn read(
        &mut self,
        size: BodySize,
        api: &Api,
        caller: &Caller,
        arrival: Arrival,
    ) -> Result<JsonBytes, BodyError> {
        let length = self.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        // Must precede the first read, so that a client that waits for `100 Continue` sends no bytes.
        if length.is_some_and(|length| length > size.bytes) {
            return Err(BodyError::TooLarge);
        }
        let memory = api.body_memory.begin(caller.spender.account.clone());
        let mut bytes = Vec::new();
        self.fill(&mut bytes, length.unwrap_or(size.bytes), size, &memory, (api, caller, arrival)).await?;
        bytes.shrink_to_fit();
        let memory = memory.finish(bytes.len())?;
        JsonBytes::new(bytes, memory).map_err(BodyError::Refused)
    }

    /// Reads to the end. While the service waits for the client, the body counts as a connection.
    async fn fill(
        &mut self,
        bytes: &mut Vec<u8>,
        length: usize,
        size: BodySize,
        memory: &UnfinishedBody,
        (api, caller, arrival): (&Api, &Caller, Arrival),
    ) -> Result<(), BodyError> {
        let mut buffer = BodyBuffer { bytes, length, memory };
        let mut reading = pin!(timeout_at(self.deadline, buffer.fill(&mut self.unread, size.bytes)));
        // A body that arrived with its head is complete after one poll. For any other the client decides how long it
        // takes.
        let read = match poll!(reading.as_mut()) {
            Poll::Ready(read) => read,
            Poll::Pending => {
                let connection = api.connect(caller, arrival, ConnectionKind::Body).map_err(BodyError::Refused)?;
                let displaced = || Ok(Err(BodyError::Memory(BodyMemoryError::Displaced)));
                let read = tokio::select! {
                    biased;
                    read = reading => read,
                    () = memory.displaced() => displaced(),
                    () = connection.closed() => displaced(),
                };
                self.connection = Some(connection);
                read
            }
        };
        read.map_err(|_| BodyError::TooLate)?
    }
}

/// A buffer that grows while the body arrives. Frames are copied and dropped: each keeps the connection's whole read
/// buffer alive, and a client may send frames of one byte.
struct BodyBuffer<'a> {
    bytes: &'a mut Vec<u8>,
    /// The `Content-Length`, else the largest permitted size.
    length: usize,
    memory: &'a UnfinishedBody,
}

impl BodyBuffer<'_> {
    async fn fill(&mut self, unread: &mut Body, most: usize) -> Result<(), BodyError> {
        let mut read = 0;
        while let Some(frame) = unread.frame().await {
            let Ok(data) = frame.map_err(|_| BodyError::Ended)?.into_data() else { continue };
            let needed = self.bytes.len() + data.len();
            if needed > most {
                return Err(BodyError::TooLarge);
            }
            let capacity = self.bytes.capacity();
            if needed > capacity {
                let capacity = FIRST_BUFFER.max(capacity * 2).min(self.length).max(needed);
                self.memory.grow_to(capacity)?;
                self.bytes.reserve_exact(capacity - self.bytes.len());
            }
            self.bytes.extend_from_slice(&data);
            read += data.len();
            if read >= YIELD_AFTER {
                read = 0;
                yield_now().await;
            }
        }
        Ok(())
    }
}

/// The reasons for which a body was not read.
enum BodyError {
    TooLarge,
    Ended,
    TooLate,
    Memory(BodyMemoryError),
    Refused(Problem),
}

impl From<BodyMemoryError> for BodyError {
    fn from(error: BodyMemoryError) -> Self {
        Self::Memory(error)
    }
}

fn too_large(BodySize { bytes, setting }: BodySize) -> Problem {
    let size = readable(bytes);
    let detail = match setting {
        Some(setting) => format!(
            "The request body is larger than {size} (the setting {setting}). An image in base64 is a third larger than \
             its file."
        ),
        None => format!("The request body is larger than {size}."),
    };
    Problem::new(ErrorCode::BodyTooLarge, detail)
}

/// Whether every `Content-Type` is `application/json`.
///
/// Any other type is refused, so that a page of a foreign origin cannot post here without a preflight: browsers omit
/// the preflight only for three other types (WHATWG Fetch, CORS-safelisted request-header), and a list of types is not
/// one of them. Lists are accepted because a fork of fetch-event-source sends the value twice, joined by a comma.
pub fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter().peekable();
    let is_json = |part: &str| {
        let essence = part.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("application/json")
    };
    let all_json = |value: &HeaderValue| value.to_str().is_ok_and(|value| members(value).all(is_json));
    values.peek().is_some() && values.all(all_json)
}

/// Splits a list into its members. A comma within a quoted string is no separator (RFC 9110, section 5.6.4).
fn members(value: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    value.split(move |character| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    })
}

/// Formats a size in the largest binary unit that gives a whole number.
fn readable(bytes: usize) -> String {
    match bytes.trailing_zeros() {
        20.. => format!("{} MiB", bytes >> 20),
        10.. => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_json_type_is_json_and_a_mixed_one_is_not() {
        for (values, expected) in [
            (&["application/json"][..], true),
            (&["application/json, application/json"], true),
            (&["application/json; charset=utf-8, Application/JSON;charset=\"a,b\""], true),
            (&["application/json", "application/json"], true),
            (&["application/json,application/json,application/json"], true),
            (&[], false),
            (&[""], false),
            (&["application/json,"], false),
            (&[", application/json"], false),
            (&["text/plain, application/json"], false),
            (&["application/json, text/plain"], false),
            (&["application/json", "text/plain"], false),
            (&["text/plain; a=\", application/json\""], false),
            (&["multipart/form-data; boundary=application/json"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, value.parse().expect("a header value"));
            }
            assert_eq!(is_json(&headers), expected, "{values:?}");
        }
    }
}
