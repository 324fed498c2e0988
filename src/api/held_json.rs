//! Responses, usually JSON, that stay in memory until their clients have read them.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Serialize;

use super::caller::Caller;
use super::connection::Connection;
use super::connection_record::ConnectionKind;
use super::problem::Problem;
use super::state::Api;

const JSON: &str = "application/json";

/// Responses up to this size are not counted. Also the size of the slices in which a response is written.
const SMALL: usize = 16 << 10;

/// Responds with a value that was only read. A large response counts as memory of its caller and as `connection`.
/// Without one, it opens a connection of its own if one is free.
///
/// Errors: the caller already holds its share of the memory for bodies.
pub fn json_response(
    api: &Api,
    caller: &Caller,
    value: &impl Serialize,
    connection: Option<Connection>,
) -> Result<Response, Problem> {
    held_response(api, caller, JSON, serde_json::to_vec(value).unwrap_or_default(), connection)
}

/// As [`json_response`], with a body of another content type.
pub fn held_response(
    api: &Api,
    caller: &Caller,
    content_type: &'static str,
    body: impl Into<Bytes>,
    connection: Option<Connection>,
) -> Result<Response, Problem> {
    let body = body.into();
    if body.len() <= SMALL {
        return Ok(held_pieces(content_type, vec![body], ()));
    }
    let memory = api.body_memory.hold(&caller.spender.account, body.len());
    let memory = memory.inspect_err(|_| api.metrics.refused("body_memory"))?;
    let connection = connection.or_else(|| api.connections.open_if_free(caller, ConnectionKind::Wait));
    Ok(held_pieces(content_type, vec![body], (memory, connection)))
}

/// Responds with these pieces of JSON. `held` is dropped when the client has read all but the last 16 KiB.
pub fn held_json(pieces: Vec<Bytes>, held: impl Send + 'static) -> Response {
    held_pieces(JSON, pieces, held)
}

fn held_pieces(content_type: &'static str, pieces: Vec<Bytes>, held: impl Send + 'static) -> Response {
    let length: usize = pieces.iter().map(Bytes::len).sum();
    let slices = stream::iter(pieces).flat_map(|piece| stream::iter(slices(piece))).map(move |slice| {
        _ = &held;
        Ok::<_, Infallible>(slice)
    });
    let headers = [(CONTENT_TYPE, HeaderValue::from_static(content_type)), (CONTENT_LENGTH, length.into())];
    (headers, Body::from_stream(slices)).into_response()
}

/// Splits a piece. The HTTP server polls for the next slice when the client has read the one before.
fn slices(mut piece: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!piece.is_empty()).then(|| piece.split_to(piece.len().min(SMALL))))
}
