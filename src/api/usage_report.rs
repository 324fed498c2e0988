//! Sums of usage and cost: `/v1/usage`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::accept::Accept;
use super::caller::Caller;
use super::csv::CsvTable;
use super::held_json::{held_response, json_response};
use super::problem::Problem;
use super::query::{ApiQuery, QueryParameters};
use super::state::Api;
use super::wire::measures::CostBody;
use crate::auth::Scope;
use crate::domain::{Day, Principal};
use crate::usage::{ANONYMOUS, OTHER, SumsUnavailable, UsageCaller, UsageDimension, UsageQuery, UsageRow};

/// Usage and cost of attempts at upstreams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageRows {
    /// One row for each combination of what `by` names that has attempts, in this order: day, principal, model, upstream.
    pub data: Vec<UsageRowBody>,
    /// The replica that responds, whose attempts these are; absent if they are those of all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "rep_AAAAAAAAAAAAAAAAAAAAAA")]
    pub replica: Option<String>,
}

/// The sums over attempts that have ended. Totals of tokens include their parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UsageRow)]
pub struct UsageRowBody {
    /// The day (UTC) on which the attempts ended; only if `by` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = "date", example = "2026-12-01")]
    pub day: Option<String>,
    /// The caller: the name of a key, a token's subject, or `anonymous`; only if `by` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The token's issuer, if `principal` is a token's subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The requested model; only if `by` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The name of the upstream in the settings; only if `by` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    pub attempts: u64,
    /// Attempts by outcome.
    pub done: u64,
    pub cancelled: u64,
    pub failed: u64,
    pub input_tokens: u64,
    pub cache_read_tokens: u64,
    pub cache_write_tokens: u64,
    pub input_audio_tokens: u64,
    pub output_tokens: u64,
    pub reasoning_tokens: u64,
    pub output_audio_tokens: u64,
    /// Attempts whose tokens are, at least in part, estimates.
    pub estimated: u64,
    /// What the attempts cost in US dollars, except the unpriced ones; absent if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, example = 0.0022)]
    pub cost: Option<CostBody>,
    /// Attempts whose cost is unknown.
    pub unpriced: u64,
}

/// The query of the report.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageReportQuery {
    /// What the rows are grouped by: `principal`, `model`, `upstream` and `day`, separated by commas. Default: one row
    /// with the sum of everything
    #[serde(default, deserialize_with = "dimensions")]
    #[param(value_type = Option<String>, example = "principal,day", pattern = "^(principal|model|upstream|day)(,(principal|model|upstream|day))*$")]
    by: Vec<UsageDimension>,
    /// The first day, in UTC; default: the first of the 62 days that are kept
    #[serde(default, deserialize_with = "first_day")]
    #[param(value_type = Option<String>, format = "date", example = "2026-12-01")]
    from: Option<Day>,
    /// The last day, in UTC; default: today
    #[serde(default, deserialize_with = "last_day")]
    #[param(value_type = Option<String>, format = "date", example = "2026-12-31")]
    to: Option<Day>,
}

impl QueryParameters for UsageReportQuery {
    fn accepted() -> String {
        "by, from and to".to_owned()
    }

    fn check(&self) -> Result<(), &'static str> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from > to => Err("from must not be after to."),
            _ => Ok(()),
        }
    }
}

fn dimensions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<UsageDimension>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let named = |name: &str| UsageDimension::ALL.into_iter().find(|dimension| dimension.name() == name);
    let dimensions = text.split(',').map(named).collect::<Option<Vec<_>>>();
    dimensions.ok_or_else(|| D::Error::custom("by must name principal, model, upstream or day, separated by commas."))
}

fn first_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Day>, D::Error> {
    day(deserializer, "from must be a day such as 2026-12-01.")
}

fn last_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Day>, D::Error> {
    day(deserializer, "to must be a day such as 2026-12-31.")
}

fn day<'de, D: Deserializer<'de>>(deserializer: D, detail: &'static str) -> Result<Option<Day>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(|_| D::Error::custom(detail))
}

/// Sum usage and cost.
///
/// The attempts at upstreams that ended in the last 62 days, those of failed and cancelled generations included: yours,
/// or with the scope `admin` those of all callers. As CSV if `Accept` names `text/csv`. Without authentication this is
/// for operators only, as `/metrics`. With several replicas that share a server: the attempts of all of them, about a second
/// after they ended.
#[utoipa::path(
    get,
    path = "/v1/usage",
    operation_id = "sum_usage",
    tag = "operations",
    params(UsageReportQuery),
    responses((status = 200, description = "The sums", content((UsageRows = "application/json"), (String = "text/csv")))),
)]
pub async fn sum(
    State(api): State<Api>,
    caller: Caller,
    ApiQuery(UsageReportQuery { by, from, to }): ApiQuery<UsageReportQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = (!caller.scopes.contains(Scope::Admin)).then(|| caller.principal.clone());
    let query = UsageQuery { principal, from, to, by };
    let rows = api.ledger.report(&query).await.map_err(|SumsUnavailable| Problem::usage_unavailable())?;
    let rows: Vec<_> = rows.into_iter().map(UsageRowBody::from).collect();
    if Accept::of(&headers).names_csv() {
        return held_response(&api, &caller, CsvTable::CONTENT_TYPE, csv(&query.by, &rows), None);
    }
    let replica = (!api.ledger.is_shared()).then(|| api.metrics.replica().to_string());
    json_response(&api, &caller, &UsageRows { data: rows, replica }, None)
}

/// The names that the rows are grouped by, then the figures.
fn csv(by: &[UsageDimension], rows: &[UsageRowBody]) -> String {
    let has = |dimension| by.contains(&dimension);
    let mut columns: Vec<CsvColumn> = Vec::new();
    if has(UsageDimension::Day) {
        columns.push(("day", |row| row.day.clone().unwrap_or_default()));
    }
    if has(UsageDimension::Principal) {
        columns.push(("principal", |row| row.principal.clone().unwrap_or_default()));
        columns.push(("issuer", |row| row.issuer.clone().unwrap_or_default()));
    }
    if has(UsageDimension::Model) {
        columns.push(("model", |row| row.model.clone().unwrap_or_default()));
    }
    if has(UsageDimension::Upstream) {
        columns.push(("upstream", |row| row.upstream.clone().unwrap_or_default()));
    }
    columns.extend(FIGURES);
    let mut table = CsvTable::new(columns.iter().map(|(name, _)| *name));
    for row in rows {
        table.row(columns.iter().map(|(_, value)| value(row)));
    }
    table.into_text()
}

/// The name of a column, and its value in a row.
type CsvColumn = (&'static str, fn(&UsageRowBody) -> String);

/// The columns of figures.
const FIGURES: [CsvColumn; 14] = [
    ("attempts", |row| row.attempts.to_string()),
    ("done", |row| row.done.to_string()),
    ("cancelled", |row| row.cancelled.to_string()),
    ("failed", |row| row.failed.to_string()),
    ("input_tokens", |row| row.input_tokens.to_string()),
    ("cache_read_tokens", |row| row.cache_read_tokens.to_string()),
    ("cache_write_tokens", |row| row.cache_write_tokens.to_string()),
    ("input_audio_tokens", |row| row.input_audio_tokens.to_string()),
    ("output_tokens", |row| row.output_tokens.to_string()),
    ("reasoning_tokens", |row| row.reasoning_tokens.to_string()),
    ("output_audio_tokens", |row| row.output_audio_tokens.to_string()),
    ("estimated", |row| row.estimated.to_string()),
    ("cost", |row| row.cost.map(|cost| cost.0.to_string()).unwrap_or_default()),
    ("unpriced", |row| row.unpriced.to_string()),
];

impl From<UsageRow> for UsageRowBody {
    fn from(row: UsageRow) -> Self {
        let UsageRow { day, caller, model, upstream, totals } = row;
        let (principal, issuer) = match caller {
            None => (None, None),
            Some(UsageCaller::Others) => (Some(OTHER.to_owned()), None),
            Some(UsageCaller::Principal(Principal::Anonymous)) => (Some(ANONYMOUS.to_owned()), None),
            Some(UsageCaller::Principal(principal)) => {
                (principal.name().map(str::to_owned), principal.issuer().map(str::to_owned))
            }
        };
        Self {
            day: day.map(|day| day.to_string()),
            principal,
            issuer,
            model: model.map(|model| model.to_string()),
            upstream: upstream.map(|upstream| upstream.to_string()),
            attempts: totals.attempts(),
            done: totals.done,
            cancelled: totals.cancelled,
            failed: totals.failed,
            input_tokens: totals.input_tokens,
            cache_read_tokens: totals.cache_read_tokens,
            cache_write_tokens: totals.cache_write_tokens,
            input_audio_tokens: totals.input_audio_tokens,
            output_tokens: totals.output_tokens,
            reasoning_tokens: totals.reasoning_tokens,
            output_audio_tokens: totals.output_audio_tokens,
            estimated: totals.estimated,
            cost: totals.cost().map(CostBody),
            unpriced: totals.unpriced,
        }
    }
}
