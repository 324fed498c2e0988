//! A request's body.

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::IgnoredAny;
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
        self.discard_at_most(MOST_DISCARDED).await;
    }

    /// As [`discard`](Self::discard), at most so many bytes.
    pub async fn discard_at_most(self, most: usize) {
        if self.headers.contains_key(EXPECT) {
            return;
        }
        let mut unread = Limited::new(self.unread, most);
        let rest = async { while let Ok(Some(Ok(_))) = timeout(SENDING_PAUSE, unread.frame()).await {} };
        _ = timeout_at(self.deadline, rest).await;
    }

    async fn read(&mut self) -> Result<Bytes, Problem> {
        let limits = self.limits;
        let too_large = || {
            let detail = format!(
                "The request body is larger than {} (the setting server.max_body). An image in base64 is a third larger \
                 than its file.",
                readable(limits.size)
            );
            Problem::new(ErrorCode::BodyTooLarge, detail)
        };
        let length = self.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        // Before the first byte is read: a client that waits for `100 Continue` then sends none.
        if length.is_some_and(|length| length > limits.size) {
            return Err(too_large());
        }
        let body = Limited::new(&mut self.unread, limits.size).collect();
        match timeout_at(self.deadline, body).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Problem::new(ErrorCode::InvalidJson, "The request body ended early. Send it whole.")),
            Err(_) => Err(Problem::new(
                ErrorCode::RequestTimeout,
                format!(
                    "The request body took longer than {} s (the setting server.body_timeout).",
                    limits.time.as_secs()
                ),
            )),
        }
    }
}

/// Only `application/json`, so that a page of a foreign origin cannot post here without a preflight: a browser sends
/// without one only what it writes as one of three other types (WHATWG Fetch, CORS-safelisted request-header), and a
/// list of types is none of them. A fork of fetch-event-source sends the value twice, joined by a comma.
pub fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter().peekable();
    let is_json = |part: &str| {
        let essence = part.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("application/json")
    };
    let all_json = |value: &HeaderValue| value.to_str().is_ok_and(|value| members(value).all(is_json));
    values.peek().is_some() && values.all(all_json)
}

/// The members of a list. A comma in a quoted string separates none (RFC 9110, section 5.6.4).
fn members(value: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    value.split(move |character| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    })
}

/// A size in the largest binary unit that gives a whole number.
fn readable(bytes: usize) -> String {
    match bytes.trailing_zeros() {
        20.. => format!("{} MiB", bytes >> 20),
        10.. => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
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
            Category::Syntax | Category::Eof | Category::Io => not_json(&self.0, &error),
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
                InvalidObject::Syntax { .. } => syntax_error(&self.0),
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
            Err(error) => Err(not_json(&self.0, &error)),
        }
    }
}

/// The first fault of a body that is not JSON.
fn syntax_error(body: &[u8]) -> Problem {
    match serde_json::from_slice::<IgnoredAny>(body) {
        Err(error) => not_json(body, &error),
        Ok(_) => Problem::new(ErrorCode::InvalidJson, "The request body is not valid JSON in UTF-8."),
    }
}

/// Says where and what the parser stopped at. Its words name a position and a rule, never a value of the caller's.
fn not_json(body: &[u8], error: &serde_json::Error) -> Problem {
    let detail = if body.trim_ascii().is_empty() {
        "The request body is empty. Send a JSON object.".to_owned()
    } else if body.starts_with(b"[object ") {
        "The request body is the text `[object Object]`. Convert the object with JSON.stringify.".to_owned()
    } else {
        format!("The request body is not valid JSON: {}.", Rule(error))
    };
    Problem::new(ErrorCode::InvalidJson, detail)
}

/// The parser's rule and its position.
struct Rule<'a>(&'a serde_json::Error);

impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        // A fixed sentence for what is wrong as text: a Category::Data error would quote a value.
        let rule = match self.0.classify() {
            Category::Syntax if text.starts_with("recursion limit") => "it is nested more than 128 levels deep",
            Category::Syntax | Category::Eof => text.split(" at line ").next().unwrap_or_default(),
            Category::Data | Category::Io => "it has a wrong value",
        };
        write!(f, "{rule} at line {} column {}", self.0.line(), self.0.column())
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

    #[test]
    fn an_invalid_body_is_refused_with_the_rule_and_the_position() {
        let detail = |body: &'static str| {
            let problem = JsonBytes(Bytes::from_static(body.as_bytes())).object().expect_err("it is not an object");
            problem.detail().to_owned()
        };
        assert_eq!(detail(""), "The request body is empty. Send a JSON object.");
        assert_eq!(detail(" \n"), "The request body is empty. Send a JSON object.");
        assert!(detail("[object Object]").contains("JSON.stringify"));
        assert_eq!(
            detail("{\"input\":\"a\"\n \"x\":1}"),
            "The request body is not valid JSON: expected `,` or `}` at line 2 column 2."
        );
    }
}
