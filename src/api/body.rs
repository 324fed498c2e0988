//! A request's body.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde_json::error::Category;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout, timeout_at};

use super::chat::DUPLICATE;
use super::problem::{ErrorCode, FieldError, Problem};
use crate::domain::Fingerprint;
use crate::json::{InvalidObject, JsonObject, MOST_MEMBERS};

/// The limits of a request's body.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Bytes (`server.max_body`).
    pub size: usize,
    /// From the head to the last byte.
    pub time: Duration,
}

/// A body, read as far as it was wanted.
pub struct RequestBody<'a> {
    headers: &'a HeaderMap,
    unread: Body,
    limits: BodyLimits,
    deadline: Instant,
}

/// A client that has sent nothing for this long is waiting for the answer.
const SENDING_PAUSE: Duration = Duration::from_secs(5);

/// A refusal is not worth more than this to be heard.
const MOST_DISCARDED: usize = 32 << 20;

impl<'a> RequestBody<'a> {
    pub fn new(headers: &'a HeaderMap, body: Body, limits: BodyLimits) -> Self {
        Self { headers, unread: body, limits, deadline: Instant::now() + limits.time }
    }

    /// Reads all of it, which must say that it is JSON.
    pub async fn json(&mut self) -> Result<JsonBytes, Problem> {
        if !is_json(self.headers) {
            return Err(Problem::not_json());
        }
        self.read().await.map(JsonBytes)
    }

    /// Reads and drops what is left, so that the client hears the answer.
    ///
    /// Browsers look at an answer only when all is sent, and a connection that closes over unread bytes
    /// is reset, the answer with it. At most 32 MiB are read for that, and nothing from a client
    /// that waits for `100 Continue`: it would begin to send.
    pub async fn discard(self) {
        if self.headers.contains_key(EXPECT) {
            return;
        }
        let mut unread = Limited::new(self.unread, MOST_DISCARDED);
        let rest = async { while let Ok(Some(Ok(_))) = timeout(SENDING_PAUSE, unread.frame()).await {} };
        _ = timeout_at(self.deadline, rest).await;
    }

    async fn read(&mut self) -> Result<Bytes, Problem> {
        let limits = self.limits;
        let too_large = || Problem::new(ErrorCode::BodyTooLarge, format!("Send at most {} bytes.", limits.size));
        let length = self.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        // Before the first byte is read: a client that waits for `100 Continue` then sends none.
        if length.is_some_and(|length| length > limits.size) {
            return Err(too_large());
        }
        let body = Limited::new(&mut self.unread, limits.size).collect();
        match timeout_at(self.deadline, body).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Problem::new(ErrorCode::InvalidJson, "Send the whole body: it broke off.")),
            Err(_) => Err(Problem::new(
                ErrorCode::RequestTimeout,
                format!("Send the whole body within {} s.", limits.time.as_secs()),
            )),
        }
    }
}

/// Only `application/json`, so that a page of a foreign origin cannot post here without a preflight.
pub fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// A whole body that says that it is JSON.
pub struct JsonBytes(Bytes);

impl JsonBytes {
    /// What a repeat of this request has in common with it, and no other request of this path.
    pub fn fingerprint(&self, path: &str) -> Fingerprint {
        let digest = Sha256::new().chain_update(path).chain_update([0]).chain_update(&self.0);
        Fingerprint::new(digest.finalize().into())
    }

    /// Reads what has one form, which `wanted` describes.
    pub fn read<'a, T: Deserialize<'a>>(&'a self, wanted: &str) -> Result<T, Problem> {
        serde_json::from_slice(&self.0).map_err(|error| match error.classify() {
            Category::Data => {
                // serde would quote a wrong value.
                Problem::invalid(vec![FieldError { pointer: String::new(), detail: wanted.to_owned() }])
            }
            Category::Syntax | Category::Eof | Category::Io => not_json(&error),
        })
    }

    /// Reads a request whose members go on as they were written.
    ///
    /// Errors: not JSON, no object, two members of one name, half of a surrogate pair, a number beyond
    /// the range of a double, nested more deeply than 127 levels.
    pub fn request(&self) -> Result<JsonObject, Problem> {
        JsonObject::parse(&self.0).map_err(|error| {
            let invalid = |pointer: String, detail: &str| {
                Problem::invalid(vec![FieldError { pointer, detail: detail.to_owned() }])
            };
            let not_json = |name: &str, detail: &str| {
                Problem::new(ErrorCode::InvalidJson, format!("The request body is not valid JSON: `{name}` {detail}."))
            };
            match error {
                InvalidObject::Syntax { line, column } => not_json_at(line, column),
                InvalidObject::NotAnObject => invalid(String::new(), "must be a JSON object"),
                InvalidObject::Duplicate(name) => invalid(format!("/{name}"), DUPLICATE),
                InvalidObject::TooMany => invalid(String::new(), &format!("must have at most {MOST_MEMBERS} members")),
                InvalidObject::Surrogate(name) => not_json(&name, "holds half of a surrogate pair"),
                InvalidObject::Number(name) => not_json(&name, "holds a number beyond the range of a double"),
                InvalidObject::TooDeep(name) => not_json(&name, "is nested more deeply than 127 levels"),
            }
        })
    }

    /// Reads a JSON object. Deeper than 128 levels is refused, as `serde_json` does.
    pub fn object(&self) -> Result<Map<String, Value>, Problem> {
        match serde_json::from_slice(&self.0) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Problem::invalid(vec![FieldError {
                pointer: String::new(),
                detail: "must be a JSON object".into(),
            }])),
            Err(error) => Err(not_json(&error)),
        }
    }
}

/// The parser's words name a position and a rule, never a value of the caller's.
fn not_json(error: &serde_json::Error) -> Problem {
    not_json_at(error.line(), error.column())
}

fn not_json_at(line: usize, column: usize) -> Problem {
    let detail = format!("Send valid JSON, as UTF-8: it breaks off or errs at line {line}, column {column}.");
    Problem::new(ErrorCode::InvalidJson, detail)
}
