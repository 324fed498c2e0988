//! The one handler of requests that start a generation, on every wire.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::allowance;
use super::body::RequestBody;
use super::caller::Caller;
use super::connection::Connection;
use super::connection_record::ConnectionKind;
use super::connections::Arrival;
use super::large_bodies::is_large;
use super::problem::Problem;
use super::sse::{ended, name_generation};
use super::start::{self, AdmittedRequest, AttachedGeneration, insert_attached};
use super::state::Api;
use super::wire::port::{AnswerForm, AnswerWait, StreamHead, StreamPurpose, WholeAnswer, Wire, stream};
use crate::domain::{EventId, Start};
use crate::generation::{FollowError, Following, Origin};
use crate::telemetry::ResumedBy;

/// The generation of a request.
enum Attachment {
    /// Started, or joined by its `Idempotency-Key`.
    Attached(AnswerForm, AttachedGeneration),
    /// Resumed after an event. The response is complete.
    Resumed(Response),
}

/// Responds to a request that starts, joins or resumes a generation.
pub async fn serve<W: Wire>(api: &Api, caller: &Caller, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let attachment = {
        let mut body = RequestBody::new(&head.headers, body, api.body);
        let attachment = attach::<W>(api, caller, &head.headers, &mut body).await;
        body.discard(api, caller).await;
        attachment
    };
    let responded = match attachment {
        Ok(Attachment::Attached(form, attached)) => {
            let start = Arc::clone(attached.following.start());
            respond::<W>(api, caller, form, attached).await.map(|response| (response, Some(start)))
        }
        Ok(Attachment::Resumed(response)) => Ok((response, None)),
        Err(problem) => Err(problem),
    };
    let (mut response, start) = responded.unwrap_or_else(|problem| (api.refuse(caller, problem), None));
    let model = start.as_ref().map(|start: &Arc<Start>| start.model.as_str());
    allowance::insert_headers(&mut response, api, caller, model, W::RATE_LIMITS).await;
    response
}

async fn attach<W: Wire>(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    body: &mut RequestBody<'_>,
) -> Result<Attachment, Problem> {
    if let Some(last) = W::resumes_after(headers)? {
        return resume::<W>(api, caller, last).await.map(Attachment::Resumed);
    }
    let head = W::head(headers)?;
    let mut admitted = AdmittedRequest::admit(api, caller, headers).await?;
    let json = admitted.read(body, api, caller).await?;
    let fields = start::parse(api, &json).await?;
    let form = W::form(&head, &fields)?;
    let kind = match form {
        AnswerForm::Stream => Some(W::STREAM),
        AnswerForm::Whole => Some(ConnectionKind::Wait),
        AnswerForm::Reference => None,
    };
    let mut pending = admitted.with_body(W::PATH, &json, body.take_connection(), kind);
    // Frees the body's memory before the request waits for the answer.
    drop(json);
    if let Some(attached) = start::join(api, caller, &mut pending).await? {
        return Ok(Attachment::Attached(form, attached));
    }
    let head = W::resolve(api, caller, head, &fields).await?;
    let length = W::parse_len(&head, &fields);
    let parsed = if is_large(length) {
        let caller = caller.clone();
        api.large_bodies.run(length, move || W::parse(head, form, fields, &caller)).await?
    } else {
        W::parse(head, form, fields, caller)?
    };
    start::start(api, caller, parsed, pending).await.map(|attached| Attachment::Attached(form, attached))
}

async fn respond<W: Wire>(
    api: &Api,
    caller: &Caller,
    form: AnswerForm,
    AttachedGeneration { mut following, origin, connection }: AttachedGeneration,
) -> Result<Response, Problem> {
    let id = following.start().generation;
    let mut response = match (form, connection) {
        (AnswerForm::Stream, Some(connection)) => stream_answer::<W>(api, following, connection).await?,
        (_, connection) => {
            let waited = wait(&mut following, connection.as_ref()).await;
            W::whole(api, caller, WholeAnswer { following, connection, waited }).await?
        }
    };
    name_generation(&mut response, id);
    insert_attached(&mut response, origin);
    Ok(response)
}

async fn stream_answer<W: Wire>(api: &Api, following: Following, connection: Connection) -> Result<Response, Problem> {
    let first = match W::STREAM_HEAD {
        StreamHead::AtOnce => None,
        // Reasoning models think for longer than proxies wait. After `head_wait` the head is sent without a first
        // token, and heartbeats start.
        StreamHead::WithFirstToken => Some(following.wait_for_first_chunk(api.head_wait)),
    };
    // Builds the response while the upstream request is in flight.
    let response = stream::<W>(api, following, StreamPurpose::Answer, connection);
    if let Some(first) = first {
        first.await.map_err(|failed| Problem::from(&*failed))?;
    }
    Ok(response)
}

/// Waits for the end of a generation, if the request has a connection to wait on.
async fn wait(following: &mut Following, connection: Option<&Connection>) -> AnswerWait {
    let Some(connection) = connection else { return AnswerWait::Skipped };
    tokio::select! {
        biased;
        () = following.ended() => AnswerWait::Ended,
        () = connection.closed() => AnswerWait::Displaced,
    }
}

/// Resumes after an event. A client that lost its connection repeats its whole request. It is never refused for load
/// and never starts a second generation.
async fn resume<W: Wire>(api: &Api, caller: &Caller, last: EventId) -> Result<Response, Problem> {
    let mut response = match api.generations.follow(&caller.principal, last.generation, last.position).await {
        Ok(following) => {
            api.metrics.resumed(ResumedBy::LastEventId);
            let connection = api.connect(caller, Arrival::Reconnecting, W::STREAM)?;
            stream::<W>(api, following, StreamPurpose::Answer, connection)
        }
        Err(FollowError::AtEnd) if api.delivered_ends.note(last.generation) => StatusCode::NO_CONTENT.into_response(),
        Err(FollowError::AtEnd) => ended(last.generation),
        Err(error) => return Err(error.into()),
    };
    insert_attached(&mut response, Origin::Existing);
    Ok(response)
}
