//! The list of models: `/v1/models`.

use std::convert::Infallible;
use std::iter;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::problem::{ErrorCode, Problem};
use super::state::Api;
use crate::domain::AllowedModels;
use crate::generation::{self, ListedModels};

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
    /// Unix time in seconds; 0 if the upstream does not report it.
    pub created: u64,
    #[schema(example = "tokenrill")]
    pub owned_by: String,
}

/// List the models.
///
/// Lists the models of every upstream, and `demo`, as far as the caller may use them. A list that is older than 30 s is
/// refreshed in the background; if an upstream fails, its last list is kept.
#[utoipa::path(
    get,
    path = "/v1/models",
    operation_id = "list_models",
    tag = "openai",
    responses((status = 200, description = "The models", body = ModelList)),
)]
pub async fn list(State(api): State<Api>, caller: Caller) -> Response {
    let pages = pages(api.generations.models().await, caller.models);
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], Body::from_stream(stream::iter(pages.map(Ok::<_, Infallible>)))).into_response()
}

/// Bytes that are rendered at once: a list may have megabytes, and a client that does not read must not hold them all.
const PAGE: usize = 16 * 1024;

/// Renders a [`ModelList`] page by page, on demand.
fn pages(models: Arc<ListedModels>, allowed: AllowedModels) -> impl Iterator<Item = Bytes> {
    let (mut next, mut separator) = (0, &b""[..]);
    let members = iter::from_fn(move || {
        let mut page = Vec::new();
        while page.len() < PAGE {
            let Some(model) = models.get(next) else { break };
            next += 1;
            if allowed.allow(&model.id) {
                page.extend_from_slice(std::mem::replace(&mut separator, b","));
                page.extend(serde_json::to_vec(&Model::from(model)).unwrap_or_default());
            }
        }
        (!page.is_empty()).then(|| page.into())
    });
    let [start, end] = [&br#"{"object":"list","data":["#[..], b"]}"].map(Bytes::from_static);
    iter::once(start).chain(members).chain([end])
}

/// Show a model.
///
/// Shows one model of the list. A model that no upstream lists may be usable nevertheless.
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
    let model = models.find(&id).filter(|_| caller.models.allow(&id));
    let unknown =
        || Problem::new(ErrorCode::ModelNotFound, "No upstream lists this model. GET /v1/models lists the models.");
    model.map(|model| Json(model.into())).ok_or_else(unknown)
}

impl From<&generation::ListedModel> for Model {
    fn from(model: &generation::ListedModel) -> Self {
        let generation::ListedModel { id, owned_by, created } = model.clone();
        Self { id, object: "model".to_owned(), created, owned_by }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::NamePattern;

    fn rendered(count: u64, allowed: &[&str]) -> (Vec<usize>, ModelList) {
        let model =
            |number| generation::ListedModel { id: format!("m{number}"), owned_by: "o".repeat(200), created: number };
        let models = Arc::new((0..count).map(model).collect());
        let allowed = AllowedModels::These(Arc::new(allowed.iter().copied().map(NamePattern::new).collect()));
        let pages: Vec<_> = pages(models, allowed).collect();
        let list = serde_json::from_slice(&pages.concat()).expect("a list");
        (pages.iter().map(Bytes::len).collect(), list)
    }

    #[test]
    fn list_is_rendered_in_pages_without_the_models_that_the_caller_may_not_use() {
        let ids = |list: &ModelList| list.data.iter().map(|model| model.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&rendered(3, &["*"]).1), ["m0", "m1", "m2"]);
        assert_eq!(ids(&rendered(3, &["m0", "m2"]).1), ["m0", "m2"]);
        assert_eq!(ids(&rendered(3, &["m1"]).1), ["m1"]);
        assert_eq!(ids(&rendered(3, &["x"]).1), Vec::<String>::new());
        let (sizes, list) = rendered(10_000, &["*"]);
        assert_eq!((list.object.as_str(), list.data.len()), ("list", 10_000));
        assert!(sizes.iter().all(|size| *size < PAGE + 1_000) && sizes.len() > 100, "{sizes:?}");
    }
}
