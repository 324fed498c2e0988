//! The models there are.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::Caller;
use super::problem::{ErrorCode, Problem};
use super::state::Api;
use crate::generation;

/// A list of models, in OpenAI's shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelList {
    #[schema(example = "list")]
    pub object: String,
    pub data: Vec<Model>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Model {
    #[schema(example = "demo")]
    pub id: String,
    #[schema(example = "model")]
    pub object: String,
    /// Seconds since 1970; 0 where the upstream does not say.
    pub created: u64,
    #[schema(example = "tokenrill")]
    pub owned_by: String,
}

/// List the models.
///
/// Those of every upstream, and `demo`, that the caller may ask. Upstreams are asked again in the background when the list
/// is older than 30 s; one that fails keeps its last list.
#[utoipa::path(
    get,
    path = "/v1/models",
    operation_id = "list_models",
    tag = "openai",
    responses((status = 200, description = "The models", body = ModelList)),
)]
pub async fn list(State(api): State<Api>, caller: Caller) -> Json<ModelList> {
    let models = api.generations.models().await;
    let allowed = models.iter().filter(|model| caller.models.allow(&model.id));
    Json(ModelList { object: "list".to_owned(), data: allowed.map(Model::from).collect() })
}

/// Show a model.
///
/// One of the list. A model that no upstream lists may answer all the same.
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    operation_id = "show_model",
    tag = "openai",
    params(("id" = String, Path, description = "The model's name", example = "demo")),
    responses((status = 200, description = "The model", body = Model)),
)]
pub async fn show(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Result<Json<Model>, Problem> {
    let models = api.generations.models().await;
    let model = models.iter().find(|model| model.id == id && caller.models.allow(&id));
    let unknown = || {
        Problem::new(ErrorCode::ModelNotFound, "No upstream lists this model. GET /v1/models lists those there are.")
    };
    model.map(|model| Json(model.into())).ok_or_else(unknown)
}

impl From<&generation::Model> for Model {
    fn from(model: &generation::Model) -> Self {
        let generation::Model { id, owned_by, created } = model.clone();
        Self { id, object: "model".to_owned(), created, owned_by }
    }
}
