//! The list of the caller's generations.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{Caller, ListQuery};
use super::held_json::json_response;
use super::problem::Problem;
use super::snapshot::StatusBody;
use super::state::Api;
use super::wire::native::{TimingsBody, UsageBody};
use crate::domain::Metadata;
use crate::generation::Summary;

/// A page of the caller's generations, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerationList {
    pub data: Vec<SummaryBody>,
    /// The `cursor` of the next page, where there may be one. A page may be short and still have a next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A generation without what it said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GenerationSummary)]
pub struct SummaryBody {
    pub id: String,
    pub status: StatusBody,
    /// The model that answers.
    pub model: String,
    /// When it was accepted (RFC 3339, UTC).
    #[schema(format = "date-time")]
    pub created_at: String,
    /// The position of its last event.
    pub last_sequence: u64,
    /// Once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageBody>,
    /// Once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<TimingsBody>,
    /// As the request gave it.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
}

/// List your generations.
///
/// Those that run and those that are kept, newest first. Without authentication everybody is the same
/// caller, ids are what lets one see a generation, and the list is empty.
#[utoipa::path(
    get,
    path = "/v1/generations",
    operation_id = "list_generations",
    tag = "generations",
    params(
        ("status" = Option<StatusBody>, Query, description = "Only those that stand so"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 100, description = "How many at most; 20 if absent"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, description = "A page", body = GenerationList)),
)]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    ListQuery { status, cursor, limit }: ListQuery,
) -> Result<Response, Problem> {
    let wanted = |one: &_| status.is_none_or(|status| StatusBody::of(one) == status);
    let page = api.generations.list(&caller.principal, wanted, cursor, limit).await;
    let data = page.generations.iter().map(SummaryBody::from).collect();
    let list = GenerationList { data, next: page.next.map(|next| next.to_string()) };
    json_response(&api, &caller, &list, None)
}

impl From<&Summary> for SummaryBody {
    fn from(summary: &Summary) -> Self {
        let ended = summary.status.usage();
        Self {
            id: summary.start.generation.to_string(),
            status: StatusBody::of(&summary.status),
            model: summary.start.model.clone(),
            created_at: summary.start.created_at.to_string(),
            last_sequence: summary.last_sequence.get(),
            usage: ended.and_then(|(usage, _)| usage).map(UsageBody::from),
            timings: ended.map(|(_, timings)| timings.into()),
            metadata: summary.start.metadata.clone(),
        }
    }
}
