//! The models there are.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::state::Api;

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
/// Those of every upstream, and `demo`; at most 30 s old. An upstream that does not answer within 3 s
/// is left out.
#[utoipa::path(
    get,
    path = "/v1/models",
    operation_id = "list_models",
    tag = "models",
    responses((status = 200, description = "The models", body = ModelList)),
)]
pub async fn list(State(api): State<Api>) -> Json<ModelList> {
    let models = api.generations.models().await.into_iter().map(|model| Model {
        id: model.id,
        object: "model".to_owned(),
        created: model.created,
        owned_by: model.owned_by,
    });
    Json(ModelList { object: "list".to_owned(), data: models.collect() })
}
