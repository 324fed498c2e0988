//! An upstream's list of models.

use serde::Deserialize;

use super::super::Model;

/// A list of models. Not async-openai's type: that refuses the whole list for one member that a server
/// leaves out.
#[derive(Deserialize)]
pub struct ModelList {
    pub data: Vec<ListedModel>,
}

#[derive(Deserialize)]
pub struct ListedModel {
    id: String,
    #[serde(default)]
    created: Option<u64>,
    #[serde(default)]
    owned_by: Option<String>,
}

impl From<ListedModel> for Model {
    fn from(model: ListedModel) -> Self {
        let owned_by = model.owned_by.unwrap_or_else(|| "unknown".to_owned());
        Self { id: model.id, owned_by, created: model.created.unwrap_or_default() }
    }
}
