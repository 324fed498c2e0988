//! Who is let in: before a body is read, and before anything is looked up.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use tokio::sync::watch;

use super::Door;
use super::access::Access;
use super::body::is_json;
use super::channel_query::named_channel;
use super::client_address::is_forwarded;
use super::credential;
use super::host::is_loopback;
use super::problem::{ErrorCode, Problem};
use super::state::Admission;
use crate::auth::{ChannelScope, Credential, Identity, Refusal, Resource, Scope};
use crate::domain::{Account, ChannelName, Principal};
use crate::limits::Spender;
use crate::server::Peer;

/// Who was let in, in the extensions of their request until a handler takes it.
#[derive(Clone)]
pub struct Admitted {
    pub identity: Identity,
    pub spender: Spender,
}

/// What the request's operation demands.
pub fn access(request: &Request) -> Access {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    route.map_or(Access::Public, |route| Access::of(request.method(), route))
}

/// Finds out who calls, and refuses who may not. Who was let in goes on in the request's extensions.
pub async fn admit(
    admission: &watch::Receiver<Admission>,
    door: Door,
    access: Access,
    request: Request,
) -> Result<Request, Problem> {
    if access == Access::Public {
        return Ok(request);
    }
    let admission = admission.borrow().clone();
    let (mut head, body) = request.into_parts();
    // Who is on this machine and at the operators' own door has no more to show.
    let identity = if access == Access::Operator && door == Door::Admin && is_local(&head) {
        Ok(Identity::anonymous())
    } else {
        identify(&admission, &head).await.and_then(|identity| {
            let may = may(&admission, door, access, &identity, &head);
            if may { Ok(identity) } else { Err(Denied::Forbidden) }
        })
    };
    let identity = identity.map_err(|denied| {
        let peer = head.extensions.get::<Peer>().map(|peer| tracing::field::display(peer.0));
        let client = admission.proxies.client(&head).map(tracing::field::display);
        tracing::warn!(peer, client, reason = %denied, "a caller was refused");
        Problem::from(denied)
    })?;
    let spender = spender(&admission, &identity, &head);
    head.extensions.insert(Admitted { identity, spender });
    Ok(Request::from_parts(head, body))
}

/// A cache in between knows that an answer to Authorization is one caller's (RFC 9111, section 3.5), and nothing of our
/// other credentials.
pub fn keep_out_of_caches(response: &mut Response) {
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Why a caller is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Denied {
    #[error("credential: {0}")]
    Unauthenticated(#[from] Refusal),
    #[error("it may not do this")]
    Forbidden,
    #[error("a cookie that a foreign page has sent along")]
    CrossSite,
    #[error("a cookie beside a body that any page could send")]
    NotJson,
}

/// Who sends this, where it may be taken for a wish of theirs.
async fn identify(admission: &Admission, head: &Parts) -> Result<Identity, Denied> {
    let Admission { gate, origins, cookie, .. } = admission;
    if gate.is_open() {
        return Ok(gate.identify(None).await?);
    }
    let credential = credential::shown(head, cookie.as_deref())?;
    let identity = gate.identify(credential).await?;
    if matches!(credential, Some(Credential::Session(_))) {
        if !credential::is_from_a_page_of_ours(head, origins) {
            return Err(Denied::CrossSite);
        }
        // Also where the body is not read: what is not JSON needs no preflight.
        if !head.method.is_safe() && head.headers.contains_key(CONTENT_TYPE) && !is_json(&head.headers) {
            return Err(Denied::NotJson);
        }
    }
    Ok(identity)
}

/// On whose account the request goes: of nobody who is known, the address's.
fn spender(admission: &Admission, identity: &Identity, head: &Parts) -> Spender {
    let address = match identity.principal {
        Principal::Anonymous => admission.proxies.client(head),
        Principal::Named(_) => None,
    };
    let account = address.map_or_else(|| Account::Principal(identity.principal.clone()), Account::of_address);
    Spender::new(account, identity.quota, Arc::clone(&admission.policy))
}

fn may(admission: &Admission, door: Door, access: Access, identity: &Identity, head: &Parts) -> bool {
    let scope = match access {
        Access::Public => return true,
        Access::Known => return identity.only.is_none() && !identity.scopes.is_empty(),
        // A page that was made to resolve to this machine comes from it, and not from afar.
        Access::Operator if admission.gate.is_open() => {
            return is_local(head) || (door == Door::Admin && !is_from_this_machine(head));
        }
        Access::Operator => Scope::Admin,
        Access::Channel(scope) => return may_with_channel(admission, door, scope, identity, head),
        Access::Scope(scope) => scope,
    };
    // A ticket is for one generation, and for nothing that names none.
    let this = |only: &Resource| match only {
        Resource::Generation(id) => named(&head.uri) == Some(id.to_string().as_str()),
        Resource::Channel(_) => false,
    };
    identity.scopes.contains(scope) && identity.only.as_ref().is_none_or(this)
}

fn may_with_channel(admission: &Admission, door: Door, scope: ChannelScope, identity: &Identity, head: &Parts) -> bool {
    // What is no name is told so, and leads nowhere.
    let Some(channel) = named_channel(&head.uri) else { return identity.only.is_none() };
    if identity.only.as_ref().is_some_and(|only| *only != Resource::Channel(channel.clone())) {
        return false;
    }
    if channel.is_built_in() && scope == ChannelScope::Publish {
        return false;
    }
    // The service's figures are the operators'.
    if channel == ChannelName::system_metrics() {
        return may(admission, door, Access::Operator, identity, head)
            || (!admission.gate.is_open() && identity.scopes.allow(scope, &channel));
    }
    identity.scopes.allow(scope, &channel)
}

/// The generation that the path names.
fn named(uri: &Uri) -> Option<&str> {
    uri.path().strip_prefix("/v1/generations/")?.split('/').next()
}

/// Whether a program on this machine calls for itself: not a proxy for somebody else, and not a page of a foreign
/// origin whose name was made to resolve to this machine (DNS rebinding).
fn is_local(head: &Parts) -> bool {
    is_from_this_machine(head) && !is_forwarded(&head.headers) && is_loopback(&head.uri, &head.headers)
}

fn is_from_this_machine(head: &Parts) -> bool {
    head.extensions.get::<Peer>().is_some_and(|peer| peer.0.ip().is_loopback())
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unauthenticated(Refusal::NoKeys) => Self::new(
                ErrorCode::IssuerUnavailable,
                "The keys by which your token is known cannot be fetched. Try again in a few seconds.",
            ),
            Denied::Unauthenticated(_) => Self::new(
                ErrorCode::Unauthenticated,
                "Send a key that is good here: the header Authorization with Bearer and the key.",
            ),
            Denied::Forbidden => Self::forbidden(),
            Denied::CrossSite => Self::new(
                ErrorCode::Forbidden,
                "A session cookie is good from pages of listed origins alone. Call from one of them, or send a token \
                 in the header Authorization.",
            ),
            Denied::NotJson => Self::not_json(),
        }
    }
}
