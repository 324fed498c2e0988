//! Tickets for clients that cannot set headers.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::body::RequestBody;
use super::body_limits::BodySize;
use super::caller::Caller;
use super::channel_query::NAME_RULE;
use super::connections::Arrival;
use super::problem::{FieldError, Problem};
use super::state::Api;
use crate::auth::{ChannelScope, Grant, Resource, Scope, Scopes};
use crate::domain::{ChannelName, GenerationId, Timestamp};

/// A request for a ticket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTicket)]
pub struct NewTicketBody {
    pub resource: ResourceBody,
    /// The generation's id, or the channel's name.
    #[schema(example = "gen_AAAAAAAAAAAAAAAAAAAAAA")]
    pub id: String,
    /// What the ticket permits: `follow` and `stop` for a generation (default `follow`); `subscribe` and `publish` for
    /// a channel (default `subscribe`). The caller must have each of these permissions itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1)]
    pub scopes: Option<Vec<TicketScope>>,
    /// The lifetime in seconds; 60 if absent. A ticket never outlives the token with which it is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 3600)]
    pub ttl_s: Option<f64>,
}

/// The kind of resource that a ticket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TicketResource)]
pub enum ResourceBody {
    Generation,
    Channel,
}

/// A permission of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TicketScope {
    Follow,
    Stop,
    Subscribe,
    Publish,
}

/// A ticket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Ticket)]
pub struct TicketBody {
    /// The value of the query parameter `ticket`.
    pub ticket: String,
    /// The path with the ticket: that of the events, or that of `cancel` if the ticket does not permit `follow`.
    pub url: String,
    /// The end of its validity (RFC 3339, UTC). A connection that was opened before continues.
    #[schema(format = "date-time")]
    pub expires_at: String,
}

/// A request for a ticket holds only short values.
const LARGEST_BODY: BodySize = BodySize { bytes: 16 << 10, setting: None };
const DEFAULT_TTL: f64 = 60.0;
const LONGEST_TTL: f64 = 3600.0;

/// Create a ticket.
///
/// For `EventSource`, which cannot set headers: a short-lived URL for one of the caller's generations, or for a
/// channel. An `EventSource` reconnects with the same URL, so choose a lifetime that covers its reconnects.
#[utoipa::path(
    post,
    path = "/v1/tickets",
    operation_id = "create_ticket",
    tag = "generations",
    request_body = NewTicketBody,
    responses((status = 201, description = "The ticket", body = TicketBody)),
)]
pub async fn create(
    State(api): State<Api>,
    caller: Caller,
    request: Request,
) -> Result<(StatusCode, Json<TicketBody>), Problem> {
    let (head, body) = request.into_parts();
    let mut body = RequestBody::new(&head.headers, body, api.body);
    let read = body.json_at_most(LARGEST_BODY, &api, &caller, Arrival::New).await;
    body.discard(&api, &caller).await;
    let new = NewTicketBody::read(&read?.object()?)?;
    let ttl = new.ttl_s.unwrap_or(DEFAULT_TTL);
    let (resource, scopes, path) = match new.resource {
        ResourceBody::Generation => generation(&api, &caller, &new.id, new.scopes).await?,
        ResourceBody::Channel => channel(&caller, &new.id, new.scopes)?,
    };
    // A ticket must not outlive the token with which it is created.
    let asked = Timestamp::now().after(Duration::from_secs_f64(ttl));
    let expires_at = caller.until.map_or(asked, |until| until.min(asked));
    let connections = caller.spender.connections().for_account;
    let publishes_per_minute = caller.spender.publishes_per_minute();
    let owner = caller.principal;
    let grant = Grant { resource, owner, scopes, connections, publishes_per_minute, expires_at };
    let ticket = api.admission.borrow().gate.tickets().issue(&grant);
    let url = format!("{path}?ticket={ticket}");
    Ok((StatusCode::CREATED, Json(TicketBody { ticket, url, expires_at: expires_at.to_string() })))
}

/// The resource of a ticket, its permissions, and the path for its URL.
type Granted = (Resource, Scopes, String);

async fn generation(
    api: &Api,
    caller: &Caller,
    id: &str,
    scopes: Option<Vec<TicketScope>>,
) -> Result<Granted, Problem> {
    let scopes = scopes.unwrap_or_else(|| vec![TicketScope::Follow]).into_iter().map(TicketScope::of_generation);
    let scopes: Option<Vec<Scope>> = scopes.collect();
    let Some(scopes) = scopes.filter(|scopes| !scopes.is_empty()) else {
        return Err(Problem::invalid(vec![wrong("/scopes", "must contain follow or stop, or be absent")]));
    };
    if let Some(lacking) = scopes.iter().find(|scope| !caller.scopes.contains(**scope)) {
        return Err(Problem::insufficient_scope(Some(lacking.name())));
    }
    let id: GenerationId = id.parse().map_err(|_| Problem::generation_not_found())?;
    api.generations.exists(&caller.principal, id).await?;
    let action = if scopes.contains(&Scope::Follow) { "events" } else { "cancel" };
    Ok((Resource::Generation(id), scopes.into_iter().collect(), format!("/v1/generations/{id}/{action}")))
}

fn channel(caller: &Caller, name: &str, scopes: Option<Vec<TicketScope>>) -> Result<Granted, Problem> {
    let scopes = scopes.unwrap_or_else(|| vec![TicketScope::Subscribe]).into_iter().map(TicketScope::of_channel);
    let scopes: Option<Vec<ChannelScope>> = scopes.collect();
    let Some(scopes) = scopes.filter(|scopes| !scopes.is_empty()) else {
        return Err(Problem::invalid(vec![wrong("/scopes", "must contain subscribe or publish, or be absent")]));
    };
    let name: ChannelName = name.parse().map_err(|_| Problem::invalid(vec![wrong("/id", NAME_RULE)]))?;
    let may = |scope: &ChannelScope| {
        let is_metrics = name == ChannelName::system_metrics() && *scope == ChannelScope::Subscribe;
        caller.scopes.allow(*scope, &name) || (is_metrics && caller.scopes.contains(Scope::Admin))
    };
    if let Some(lacking) = scopes.iter().find(|scope| !may(scope)) {
        return Err(Problem::insufficient_scope(Some(&lacking.for_channel(&name))));
    }
    let path = format!("/v1/channels/{name}/events");
    Ok((Resource::Channel(name.clone()), Scopes::of_channel(scopes, &name), path))
}

impl NewTicketBody {
    /// Parses a body. The error names each invalid field.
    fn read(body: &Map<String, Value>) -> Result<Self, Problem> {
        let mut errors = Vec::new();
        let mut unknown = 0;
        for name in body.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
            match MISTAKEN.iter().find(|(mistaken, _)| mistaken == name) {
                Some((mistaken, meant)) => {
                    errors.push(wrong(&format!("/{mistaken}"), &format!("is unknown: did you mean {meant}?")));
                }
                None => unknown += 1,
            }
        }
        if unknown > 0 {
            // The error does not echo the unknown name.
            errors.push(wrong("", "has an unknown field: the fields are resource, id, scopes and ttl_s"));
        }
        let is_set = |name: &str| body.get(name).filter(|value| !value.is_null());
        let mut field = |name: &str, wanted: &str| {
            let value = is_set(name).cloned();
            if value.is_none() {
                errors.push(wrong(&format!("/{name}"), &format!("is missing: it {wanted}")));
            }
            value
        };
        let (resource, id) = (field("resource", RESOURCE), field("id", ID));
        let resource = resource.map(serde_json::from_value::<ResourceBody>);
        if matches!(resource, Some(Err(_))) {
            errors.push(wrong("/resource", RESOURCE));
        }
        let id = id.map(serde_json::from_value::<String>);
        if matches!(id, Some(Err(_))) {
            errors.push(wrong("/id", ID));
        }
        let scopes = is_set("scopes").cloned().map(serde_json::from_value::<Vec<TicketScope>>).transpose();
        if scopes.is_err() {
            errors.push(wrong("/scopes", "must be a list of follow and stop, or of subscribe and publish"));
        }
        let ttl = is_set("ttl_s").map(|ttl| ttl.as_f64().filter(|ttl| is_ttl(*ttl)));
        if ttl == Some(None) {
            errors.push(wrong("/ttl_s", "must be a whole number from 1 to 3600"));
        }
        match (resource, id, scopes) {
            (Some(Ok(resource)), Some(Ok(id)), Ok(scopes)) if errors.is_empty() => {
                Ok(Self { resource, id, scopes, ttl_s: ttl.flatten() })
            }
            _ => Err(Problem::invalid(errors)),
        }
    }
}

/// Accepts a whole number with a zero fraction, such as `5.0`, as well (JSON Schema Validation, section 6.1.1).
fn is_ttl(seconds: f64) -> bool {
    seconds.fract() == 0.0 && (1.0..=LONGEST_TTL).contains(&seconds)
}

const FIELDS: [&str; 4] = ["resource", "id", "scopes", "ttl_s"];
const RESOURCE: &str = "must be generation or channel";
const ID: &str = "must be the id of a generation or the name of a channel, as text";
/// Wrong field names that callers may try, and the correct ones.
const MISTAKEN: [(&str, &str); 7] = [
    ("generation", "resource, which is generation, and id"),
    ("channel", "resource, which is channel, and id"),
    ("name", "id"),
    ("scope", "scopes"),
    ("ttl", "ttl_s"),
    ("ttl_ms", "ttl_s"),
    ("expires_in", "ttl_s"),
];

fn wrong(pointer: &str, detail: &str) -> FieldError {
    FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() }
}

impl TicketScope {
    const fn of_generation(self) -> Option<Scope> {
        match self {
            Self::Follow => Some(Scope::Follow),
            Self::Stop => Some(Scope::Stop),
            Self::Subscribe | Self::Publish => None,
        }
    }

    const fn of_channel(self) -> Option<ChannelScope> {
        match self {
            Self::Subscribe => Some(ChannelScope::Subscribe),
            Self::Publish => Some(ChannelScope::Publish),
            Self::Follow | Self::Stop => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_invalid_field_is_named() {
        let detail = |body: Value| {
            let body = body.as_object().expect("an object").clone();
            NewTicketBody::read(&body).map(|new| new.ttl_s).map_err(|problem| problem.detail().to_owned())
        };
        assert_eq!(detail(json!({"resource": "generation", "id": "gen_x", "ttl_s": 5.0})), Ok(Some(5.0)));
        assert_eq!(detail(json!({"resource": "channel", "id": "a", "scopes": null, "ttl_s": null})), Ok(None));
        for (body, expected) in [
            (json!({"id": "a"}), "/resource is missing: it must be generation or channel"),
            (json!({"resource": "room", "id": "a"}), "/resource must be generation or channel"),
            (json!({"resource": "channel"}), "/id is missing"),
            (json!({"resource": "channel", "id": 5}), "/id must be"),
            (
                json!({"generation": "gen_x"}),
                "/generation is unknown: did you mean resource, which is generation, and id?",
            ),
            (json!({"resource": "channel", "id": "a", "ttl": 5}), "/ttl is unknown: did you mean ttl_s?"),
            (json!({"resource": "channel", "id": "a", "ttl_s": 0}), "/ttl_s must be a whole number from 1 to 3600"),
            (json!({"resource": "channel", "id": "a", "ttl_s": "60"}), "/ttl_s must be"),
            (json!({"resource": "channel", "id": "a", "scopes": "follow"}), "/scopes must be a list"),
            (json!({"resource": "channel", "id": "a", "hunter2": 1}), "the body has an unknown field"),
        ] {
            let detail = detail(body.clone()).expect_err("it is refused");
            assert!(detail.contains(expected) && !detail.contains("hunter2"), "{body}: {detail}");
        }
    }
}
