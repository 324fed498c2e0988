//! The list of the caller's generations.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::held_json::json_response;
use super::problem::Problem;
use super::query::{ApiQuery, PageLimit, QueryParameters, cursor};
use super::snapshot::StatusBody;
use super::state::Api;
use super::wire::measures::{TimingsBody, UsageBody};
use crate::domain::{Listed, Metadata};
use crate::generation::Summary;

/// A page of the caller's generations, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerationList {
    pub data: Vec<SummaryBody>,
    /// The `cursor` of the next page, if there may be one. A page may have fewer entries than `limit` and still have a
    /// next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A generation without its answer.
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
    /// Present once the generation has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageBody>,
    /// Present once the generation has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<TimingsBody>,
    /// The metadata of the request.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
}

/// The query of the list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only generations with this status
    status: Option<StatusBody>,
    /// The maximum number of generations; default 20
    #[serde(default)]
    #[param(inline)]
    limit: PageLimit<20, 100>,
    /// `next` of the previous page
    #[serde(default, deserialize_with = "cursor")]
    #[param(value_type = Option<String>, pattern = r"^(0|[1-9][0-9]{0,14})\.gen_[A-Za-z0-9_-]{21}[AQgw]$")]
    cursor: Option<Listed>,
}

impl QueryParameters for ListQuery {
    fn accepted() -> String {
        "status, cursor and limit".to_owned()
    }
}

/// List your generations.
///
/// Running and kept generations, newest first. Without authentication the list is empty: all clients are the same
/// caller, and only the id gives access to a generation.
#[utoipa::path(
    get,
    path = "/v1/generations",
    operation_id = "list_generations",
    tag = "generations",
    params(ListQuery),
    responses((status = 200, description = "A page", body = GenerationList)),
)]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    ApiQuery(ListQuery { status, limit, cursor }): ApiQuery<ListQuery>,
) -> Result<Response, Problem> {
    let wanted = |one: &_| status.is_none_or(|status| StatusBody::of(one) == status);
    let page = api.generations.list(&caller.principal, wanted, cursor, limit.get()).await?;
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
