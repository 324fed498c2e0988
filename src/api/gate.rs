//! Authenticates and authorizes requests, before their bodies are read and before any resource is looked up.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use tokio::sync::watch;

use super::access::Access;
use super::admission::Admission;
use super::body::is_json;
use super::caller::AdmittedCaller;
use super::channel_query::channel_in_path;
use super::client_address::is_forwarded;
use super::credential;
use super::credential_fault::CredentialFault;
use super::host::{Hosts, is_loopback};
use super::listener_role::ListenerRole;
use super::problem::{ErrorCode, Problem};
use crate::auth::{ChannelScope, Credential, CredentialError, Identity, Resource, Scope};
use crate::domain::{Account, ChannelName, Principal};
use crate::limits::Spender;
use crate::server::Peer;

/// Returns the access that the request's operation requires.
pub fn access(request: &Request) -> Access {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    route.map_or(Access::Public, |route| Access::of(request.method(), route))
}

/// Authenticates and authorizes a request by its head, and stores the caller in the head's extensions.
pub async fn admit(
    admission: &watch::Receiver<Admission>,
    (role, hosts): (ListenerRole, Hosts),
    access: Access,
    head: &mut Parts,
) -> Result<(), Problem> {
    if access == Access::Public {
        return Ok(());
    }
    let admission = admission.borrow().clone();
    // A local program needs no credential on the admin listener.
    let is_for_operators = matches!(access, Access::Operator | Access::Account);
    let identity = if is_for_operators && role == ListenerRole::Admin && is_local(head) {
        Ok(Identity::anonymous())
    } else {
        identify(&admission, head).await.and_then(|identity| {
            authorize(&admission, role, access, &identity, head)?;
            Ok(identity)
        })
    };
    let identity = identity.map_err(|denied| {
        let peer = head.extensions.get::<Peer>().map(|peer| tracing::field::display(peer.0));
        let client = admission.proxies.client(head).map(tracing::field::display);
        tracing::warn!(peer, client, reason = %denied, "a caller was refused");
        Problem::from(denied)
    })?;
    let spender = spender(&admission, &identity, head);
    head.extensions.insert(AdmittedCaller { identity, spender, hosts });
    Ok(())
}

/// Sets `Cache-Control: no-store`, unless the header is present. Shared caches do not reuse responses to requests with
/// `Authorization` (RFC 9111, section 3.5), but they do not know this service's other credentials.
pub fn forbid_caching(response: &mut Response) {
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// The reasons for which a caller is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum AdmissionError {
    #[error("{0}")]
    Unauthenticated(CredentialFault),
    #[error("{}", CredentialError::NoKeys)]
    NoIssuerKeys,
    #[error("the credential lacks the scope {0}")]
    NoScope(String),
    #[error("the credential has no scopes")]
    NoScopes,
    #[error("the ticket is for another resource or operation")]
    OtherTicket,
    #[error("only this service may publish to a built-in channel")]
    BuiltIn,
    #[error("authentication is off, and the client is not a program on this machine")]
    NotLocal,
    #[error("a page of a foreign origin sent the session cookie")]
    CrossSite,
    #[error("the request has a session cookie and a body that is not JSON")]
    NotJson,
}

/// Authenticates a request. Refuses a session cookie that a page of a foreign origin may have sent (CSRF).
async fn identify(admission: &Admission, head: &Parts) -> Result<Identity, AdmissionError> {
    let Admission { gate, origins, cookie, .. } = admission;
    if gate.is_open() {
        return Ok(Identity::anonymous());
    }
    let cookie = cookie.as_deref();
    let credential = credential::find(head, cookie).map_err(AdmissionError::Unauthenticated)?;
    let identity = gate.identify(credential).await.map_err(|refusal| {
        let fault = credential::fault(refusal, credential, head, gate, cookie);
        fault.map_or(AdmissionError::NoIssuerKeys, AdmissionError::Unauthenticated)
    })?;
    if matches!(credential, Some(Credential::Session(_))) {
        if !credential::is_from_allowed_page(head, origins) {
            return Err(AdmissionError::CrossSite);
        }
        // Also for operations that do not read the body: a body that is not JSON needs no preflight.
        if !head.method.is_safe() && head.headers.contains_key(CONTENT_TYPE) && !is_json(&head.headers) {
            return Err(AdmissionError::NotJson);
        }
    }
    Ok(identity)
}

/// Returns the account that the request is charged to: of an anonymous caller, the account of its address.
fn spender(admission: &Admission, identity: &Identity, head: &Parts) -> Spender {
    let address = match identity.principal {
        Principal::Anonymous => admission.proxies.client(head),
        Principal::Key(_) | Principal::Subject { .. } => None,
    };
    let account = address.map_or_else(|| Account::Principal(identity.principal.clone()), Account::of_address);
    Spender::new(account, identity.quota, Arc::clone(&admission.policy)).with_budget(identity.budget)
}

fn authorize(
    admission: &Admission,
    role: ListenerRole,
    access: Access,
    identity: &Identity,
    head: &Parts,
) -> Result<(), AdmissionError> {
    let scope = match access {
        // Without authentication, operations for operators are not on the public listener.
        Access::Account if admission.gate.is_open() && role == ListenerRole::Public => {
            return Err(AdmissionError::NotLocal);
        }
        Access::Account if admission.gate.is_open() => {
            return authorize(admission, role, Access::Operator, identity, head);
        }
        Access::Authenticated | Access::Account if identity.only.is_some() => return Err(AdmissionError::OtherTicket),
        Access::Authenticated | Access::Account if identity.scopes.is_empty() => return Err(AdmissionError::NoScopes),
        Access::Public | Access::Authenticated | Access::Account => return Ok(()),
        // Calls from this machine must pass `is_local` also on the admin listener: after DNS rebinding, the requests of
        // a foreign page come from this machine.
        Access::Operator if admission.gate.is_open() => {
            let may = is_local(head) || (role == ListenerRole::Admin && !is_from_this_machine(head));
            return if may { Ok(()) } else { Err(AdmissionError::NotLocal) };
        }
        Access::Operator => Scope::Admin,
        Access::Channel(scope) => return authorize_channel(admission, role, scope, identity, head),
        Access::Scope(scope) => scope,
    };
    // A ticket permits operations on one generation only.
    let names_path = |only: &Resource| match only {
        Resource::Generation(id) => generation_in_path(&head.uri) == Some(id.to_string().as_str()),
        Resource::Channel(_) => false,
    };
    if !identity.only.as_ref().is_none_or(names_path) {
        return Err(AdmissionError::OtherTicket);
    }
    if identity.scopes.contains(scope) { Ok(()) } else { Err(AdmissionError::NoScope(scope.name().to_owned())) }
}

fn authorize_channel(
    admission: &Admission,
    role: ListenerRole,
    scope: ChannelScope,
    identity: &Identity,
    head: &Parts,
) -> Result<(), AdmissionError> {
    let Some(channel) = channel_in_path(&head.uri) else {
        // The handler refuses the invalid name.
        return if identity.only.is_none() { Ok(()) } else { Err(AdmissionError::OtherTicket) };
    };
    if identity.only.as_ref().is_some_and(|only| *only != Resource::Channel(channel.clone())) {
        return Err(AdmissionError::OtherTicket);
    }
    if channel.is_built_in() && scope == ChannelScope::Publish {
        return Err(AdmissionError::BuiltIn);
    }
    // `system.metrics` requires an explicit scope or operator access.
    if channel == ChannelName::system_metrics() {
        let may_subscribe = !admission.gate.is_open() && identity.scopes.allow(scope, &channel);
        return if may_subscribe { Ok(()) } else { authorize(admission, role, Access::Operator, identity, head) };
    }
    if identity.scopes.allow(scope, &channel) {
        Ok(())
    } else {
        Err(AdmissionError::NoScope(scope.for_channel(&channel)))
    }
}

/// Returns the generation id in the path.
fn generation_in_path(uri: &Uri) -> Option<&str> {
    uri.path().strip_prefix("/v1/generations/")?.split('/').next()
}

/// Whether a program on this machine sent the request itself: not a proxy that forwards it, and not a page of a foreign
/// origin whose name resolves to this machine (DNS rebinding).
fn is_local(head: &Parts) -> bool {
    is_from_this_machine(head) && !is_forwarded(&head.headers) && is_loopback(&head.uri, &head.headers)
}

fn is_from_this_machine(head: &Parts) -> bool {
    head.extensions.get::<Peer>().is_some_and(|peer| peer.0.ip().is_loopback())
}

impl From<AdmissionError> for Problem {
    fn from(denied: AdmissionError) -> Self {
        let detail = match denied {
            AdmissionError::Unauthenticated(fault) => return fault.into(),
            AdmissionError::NoIssuerKeys => {
                let detail = "The identity provider's keys cannot be fetched. Try again in a few seconds.";
                return Self::new(ErrorCode::IssuerUnavailable, detail);
            }
            AdmissionError::NotJson => return Self::not_json(),
            AdmissionError::NoScope(scope) => return Self::insufficient_scope(Some(&scope)),
            AdmissionError::NoScopes => return Self::insufficient_scope(None),
            AdmissionError::OtherTicket => {
                "A ticket permits only the operations that it was created for, on one generation or one channel."
            }
            AdmissionError::BuiltIn => "Only this service publishes into channels whose names begin with `system.`.",
            AdmissionError::NotLocal => {
                "While authentication is off, only programs on this service's machine may do this. The operator can set \
                 server.admin_listen, or auth.mode and a key with the scope `admin`."
            }
            AdmissionError::CrossSite => {
                "The session cookie is accepted only from pages whose origin is in cors.origins. Call from such a page, \
                 or send a token as `Authorization: Bearer TOKEN`."
            }
        };
        Self::new(ErrorCode::Forbidden, detail)
    }
}
