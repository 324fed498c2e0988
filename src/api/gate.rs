//! Who is let in: before a body is read, and before anything is looked up.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

use super::access::Access;
use super::problem::{ErrorCode, Problem};
use super::state::Admission;
use crate::auth::{Credential, Gate, Identity, Refusal, Scope, Scopes};
use crate::domain::GenerationId;
use crate::server::Peer;

/// Finds out who calls, and refuses who may not. The identity goes on in the request's extensions.
pub async fn admit(State(admission): State<watch::Receiver<Admission>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let access = route.map_or(Access::Public, |route| Access::of(request.method(), route));
    if access == Access::Public {
        return next.run(request).await;
    }
    let gate = Arc::clone(&admission.borrow().gate);
    let (mut head, body) = request.into_parts();
    let identity = identify(&gate, &head).and_then(|identity| {
        let may = may(&gate, access, &identity, &head);
        if may { Ok(identity) } else { Err(Denied::Forbidden) }
    });
    let mut response = match identity {
        Ok(identity) => {
            head.extensions.insert(identity);
            next.run(Request::from_parts(head, body)).await
        }
        Err(denied) => {
            let peer = head.extensions.get::<Peer>().map(|peer| tracing::field::display(peer.0));
            tracing::warn!(peer, reason = %denied, "a caller was refused");
            Problem::from(denied).into_response()
        }
    };
    // A cache in between knows that an answer to Authorization is one caller's (RFC 9111, section 3.5), and
    // nothing of our other credentials.
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Why a caller is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Denied {
    #[error("credential: {0}")]
    Unauthenticated(#[from] Refusal),
    #[error("it may not do this")]
    Forbidden,
}

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The first credential present decides; where it is not good, nothing else is tried.
fn identify(gate: &Gate, head: &Parts) -> Result<Identity, Denied> {
    if gate.is_open() {
        return Ok(gate.identify(None)?);
    }
    let credential = match (sole(&head.headers, &AUTHORIZATION)?, sole(&head.headers, &X_API_KEY)?) {
        (Some(authorization), _) => Some(Credential::Bearer(bearer(authorization)?)),
        (None, Some(key)) => Some(Credential::ApiKey(key)),
        (None, None) => ticket(&head.uri).map(Credential::Ticket),
    };
    Ok(gate.identify(credential)?)
}

/// The header's one value; that there are two is no reason to take either.
fn sole<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Refusal::Malformed),
        (Some(_), Some(_)) => Err(Refusal::Malformed),
    }
}

/// `Bearer` and the credential (RFC 6750, section 2.1); the scheme in any case (RFC 9110, section 11.1).
fn bearer(authorization: &str) -> Result<&str, Refusal> {
    let (scheme, credential) = authorization.split_once(' ').ok_or(Refusal::Malformed)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(credential.trim()) } else { Err(Refusal::Malformed) }
}

/// `?ticket=`, for clients that can set no header. It holds no character that would have to be escaped.
fn ticket(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("ticket="))
}

fn may(gate: &Gate, access: Access, identity: &Identity, head: &Parts) -> bool {
    let scope = match access {
        Access::Public => return true,
        Access::Known => return identity.only.is_none() && identity.scopes != Scopes::default(),
        Access::Operator if gate.is_open() => return is_local(head),
        Access::Operator => Scope::Admin,
        Access::Scope(scope) => scope,
    };
    // A ticket is for one generation, and for nothing that names none.
    let this = |only: &GenerationId| named(&head.uri) == Some(only.to_string().as_str());
    identity.scopes.contains(scope) && identity.only.as_ref().is_none_or(this)
}

/// The generation that the path names.
fn named(uri: &Uri) -> Option<&str> {
    uri.path().strip_prefix("/v1/generations/")?.split('/').next()
}

fn is_local(head: &Parts) -> bool {
    head.extensions.get::<Peer>().is_some_and(|peer| peer.0.ip().is_loopback())
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unauthenticated(_) => Self::new(
                ErrorCode::Unauthenticated,
                "Send a key that is good here: the header Authorization with Bearer and the key.",
            ),
            Denied::Forbidden => Self::forbidden(),
        }
    }
}
