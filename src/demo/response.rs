use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Response,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;
use thiserror::Error;

pub(super) type DemoBody = UnsyncBoxBody<Bytes, CutError>;

/// Makes hyper close the connection without a last chunk: the `close_at` option.
#[derive(Debug, Error)]
#[error("the answer is cut off here, as the option `close_at` requests")]
pub(super) struct CutError;

/// Returns a `200` response with this JSON.
pub(super) fn json(value: &Value) -> Response<DemoBody> {
    let body = Full::new(Bytes::from(value.to_string()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Returns a `200` response with this event stream.
pub(super) fn event_stream(body: DemoBody) -> Response<DemoBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Returns a body that is cut off before its first byte.
pub(super) fn cut() -> DemoBody {
    StreamBody::new(stream::iter([Err(CutError)])).boxed_unsync()
}
