//! The stored prompts: `/v1/prompts`.

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::body::RequestBody;
use super::caller::Caller;
use super::connections::Arrival;
use super::extract::PromptPath;
use super::problem::Problem;
use super::prompt_call::{read_variables, render_problem, unknown_prompt};
use super::state::Api;
use crate::prompts::StoredPrompt;

/// The prompts, by id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptList {
    pub data: Vec<PromptBody>,
}

/// A prompt as callers see it: how to use it, without its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Prompt)]
pub struct PromptBody {
    #[schema(example = "summarise")]
    pub id: String,
    /// Changes with the prompt's text: `id@version` refers to exactly one text.
    #[schema(example = "0123456789ab")]
    pub version: String,
    pub description: String,
    /// The model that the prompt was written for; used for requests that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Chat parameters for requests that do not set them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// The JSON Schema (2020-12) of the variables, which are an object.
    #[schema(value_type = Object)]
    pub variables: Value,
}

/// The variables of a prompt.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PromptVariables)]
pub struct RenderBody {
    /// Values by name; empty if absent.
    #[serde(default = "no_variables")]
    #[schema(value_type = Object)]
    pub variables: Box<RawValue>,
}

fn no_variables() -> Box<RawValue> {
    to_raw_value(&Map::<String, Value>::new()).unwrap_or_default()
}

/// A prompt as it would be sent to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenderedPrompt {
    /// `id@version`.
    #[schema(example = "summarise@0123456789ab")]
    pub prompt: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    pub messages: Vec<RenderedMessage>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenderedMessage {
    #[schema(example = "system")]
    pub role: String,
    pub content: String,
}

/// List the prompts.
///
/// Lists how to use each prompt, without the texts.
#[utoipa::path(
    get,
    path = "/v1/prompts",
    operation_id = "list_prompts",
    tag = "prompts",
    responses((status = 200, description = "The prompts", body = PromptList)),
)]
pub async fn list(State(api): State<Api>, _: Caller) -> Json<PromptList> {
    let prompts = api.prompts();
    Json(PromptList { data: prompts.list().map(PromptBody::from).collect() })
}

/// Show a prompt.
///
/// With `id@version`, responds with 404 if the prompt has another version now.
#[utoipa::path(
    get,
    path = "/v1/prompts/{id}",
    operation_id = "show_prompt",
    tag = "prompts",
    params(("id" = String, Path, description = "The prompt's id, or id@version", example = "summarise")),
    responses((status = 200, description = "The prompt", body = PromptBody)),
)]
pub async fn show(
    State(api): State<Api>,
    _: Caller,
    PromptPath(reference): PromptPath,
) -> Result<Json<PromptBody>, Problem> {
    let prompts = api.prompts();
    prompts.get(&reference).map(|prompt| Json(prompt.into())).ok_or_else(|| unknown_prompt(&prompts, &reference))
}

/// Render a prompt.
///
/// Returns the rendered messages without calling a model. For authors of prompts. Only operators may call it, because
/// it reveals the texts.
#[utoipa::path(
    post,
    path = "/v1/prompts/{id}/render",
    operation_id = "render_prompt",
    tag = "prompts",
    params(("id" = String, Path, description = "The prompt's id, or id@version", example = "summarise")),
    request_body = RenderBody,
    responses((status = 200, description = "The messages", body = RenderedPrompt)),
)]
pub async fn render(
    State(api): State<Api>,
    caller: Caller,
    PromptPath(reference): PromptPath,
    request: Request,
) -> Result<Json<RenderedPrompt>, Problem> {
    let (head, body) = request.into_parts();
    let mut body = RequestBody::new(&head.headers, body, api.body);
    let read = body.json(&api, &caller, Arrival::New).await;
    body.discard(&api, &caller).await;
    let RenderBody { variables } = read?.read("may have only variables, an object")?;
    let prompts = api.prompts();
    let prompt = prompts.get(&reference).ok_or_else(|| unknown_prompt(&prompts, &reference))?;
    let variables = read_variables(Some(variables.get()), "/variables");
    let variables = variables.map_err(|error| Problem::invalid(vec![error]))?;
    let messages = prompts.render(&reference, variables).await.map_err(|error| render_problem(error, "/variables"))?;
    Ok(Json(RenderedPrompt {
        prompt: prompt.reference().to_string(),
        model: prompt.model.clone(),
        parameters: prompt.parameters.clone(),
        messages: messages
            .into_iter()
            .map(|message| RenderedMessage { role: message.role.name().to_owned(), content: message.content })
            .collect(),
    }))
}

impl From<&StoredPrompt> for PromptBody {
    fn from(prompt: &StoredPrompt) -> Self {
        Self {
            id: prompt.id.to_string(),
            version: prompt.version.to_string(),
            description: prompt.description.clone(),
            model: prompt.model.clone(),
            parameters: prompt.parameters.clone(),
            variables: prompt.variables().clone(),
        }
    }
}
