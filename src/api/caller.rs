//! The caller of a request.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::host::Hosts;
use super::problem::{ErrorCode, Problem};
use crate::auth::{Identity, Scopes};
use crate::domain::{AllowedModels, Principal, RequestId, Timestamp};
use crate::limits::Spender;
use crate::server::Load;

/// The caller of a request, with its permissions and limits.
#[derive(Debug, Clone)]
pub struct Caller {
    pub principal: Principal,
    pub spender: Spender,
    pub scopes: Scopes,
    pub models: AllowedModels,
    /// When the caller's credential expires, if it does.
    pub until: Option<Timestamp>,
    /// The load of the service when the connection was accepted.
    pub load: Load,
    pub request_id: RequestId,
    /// The names under which the service accepts requests.
    pub hosts: Hosts,
}

impl Caller {
    /// Whether this caller is everyone in the network: there is no authentication, and the service can be reached from
    /// other machines. What it names itself, others can guess.
    pub fn is_anyone(&self) -> bool {
        self.principal == Principal::Anonymous && self.hosts == Hosts::Any
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    /// Returns the caller that [`admit`](super::gate::admit) stored in the extensions. If `admit` did not run for this
    /// route, that is a defect of the router, and the request is refused.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(AdmittedCaller { identity, spender, hosts }) = parts.extensions.get().cloned() else {
            return Err(Problem::new(
                ErrorCode::Internal,
                "This operation lacks its access check. Report the request id.",
            ));
        };
        let Identity { principal, scopes, models, until, .. } = identity;
        let request_id = parts.extensions.get().copied().unwrap_or_else(RequestId::random);
        let load = parts.extensions.get().copied().unwrap_or(Load::Normal);
        Ok(Self { principal, spender, scopes, models, until, load, request_id, hosts })
    }
}

/// What the gate stores in the extensions of an admitted request. Handlers extract a [`Caller`] from it.
#[derive(Clone)]
pub struct AdmittedCaller {
    pub identity: Identity,
    pub spender: Spender,
    pub hosts: Hosts,
}
