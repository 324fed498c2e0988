//! Responses with the state of a generation, which are sent in pieces.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::caller::Caller;
use super::connection::{Connection, ConnectionClosing};
use super::connection_record::ConnectionKind;
use super::output_pieces::OutputPieces;
use super::problem::Problem;
use super::state::Api;
use super::state_json::state_json;
use crate::generation::GenerationState;

/// JSON up to this size is sent whole, with its length.
const SMALL: usize = 16 << 10;

/// Responds with a state, as [`respond_in_pieces`] does.
pub async fn respond(
    api: &Api,
    caller: &Caller,
    state: GenerationState,
    connection: Option<Connection>,
) -> Result<Response, Problem> {
    let outline = state.outline().await.map_err(|_| Problem::history_lost())?;
    respond_in_pieces(api, caller, state_json(&state, &outline), connection).await
}

/// Responds with JSON whose texts are in a log. If it is large, it is sent in pieces, as its client reads them, and
/// counts as `connection`. Without one, it opens a connection of its own if one is free. It is sent in any case: it
/// holds only a page of the log in memory, and its events have already happened.
pub async fn respond_in_pieces(
    api: &Api,
    caller: &Caller,
    mut json: OutputPieces,
    connection: Option<Connection>,
) -> Result<Response, Problem> {
    let mut head = Vec::new();
    let is_whole = loop {
        match json.next().await {
            Some(Ok(piece)) => head.extend_from_slice(&piece),
            Some(Err(_)) => return Err(Problem::history_lost()),
            None => break true,
        }
        if head.len() > SMALL {
            break false;
        }
    };
    let body = if is_whole {
        Body::from(head)
    } else {
        let connection = connection.or_else(|| api.connections.open_if_free(caller, ConnectionKind::Wait));
        // If the connection was displaced, the state is sent nevertheless.
        let connection = connection.filter(|connection| connection.closing() == ConnectionClosing::No);
        Body::from_stream(StateBody { head: Some(head), json, connection })
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// JSON that is sent in pieces. The body ends with an error if its connection is displaced.
struct StateBody {
    head: Option<Vec<u8>>,
    json: OutputPieces,
    connection: Option<Connection>,
}

impl Stream for StateBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(connection) = &self.connection {
            connection.watch(context);
            if !matches!(connection.closing(), ConnectionClosing::No | ConnectionClosing::AtEndOfService) {
                return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
            }
        }
        let piece = match self.head.take() {
            Some(head) => Some(Ok(head.into())),
            None => std::task::ready!(self.json.poll_next_unpin(context)),
        };
        Poll::Ready(piece.map(|piece| piece.map_err(io::Error::other)))
    }
}
