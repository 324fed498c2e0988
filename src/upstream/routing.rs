//! Which provider serves which model.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::Provider;
use super::model_catalog::{ListedModels, ModelCatalog};
use crate::domain::{NamePattern, NamePatterns};

/// The providers in the order in which they are asked whether a model is theirs.
pub struct Router {
    routes: Arc<[Route]>,
    default: Option<String>,
    catalog: ModelCatalog,
}

/// A provider and the names of the models that it serves.
pub struct Route {
    pub models: NamePatterns,
    pub provider: Arc<dyn Provider>,
}

/// Nobody serves the model that the request names, or it names none and there is no default.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownModel {
    #[error("the request names no model and there is no default")]
    Unnamed,
    #[error("no upstream serves this model")]
    Unserved,
}

/// The embedded model. Its options follow a question mark: `demo?rate=20`.
const DEMO: &str = "demo";

impl Router {
    /// `demo` serves the names `demo` and `demo?...`, before every other provider.
    ///
    /// `default` is the model of a request that names none. Without it, that is the only model there
    /// is: `demo` while no other provider is there, else the one name that the others' patterns hold.
    ///
    /// `tasks` holds the task that asks the providers for their models.
    pub fn new(
        demo: Arc<dyn Provider>,
        others: Vec<(Vec<NamePattern>, Arc<dyn Provider>)>,
        default: Option<String>,
        tasks: TaskTracker,
    ) -> Self {
        let only = match others.as_slice() {
            [] => Some(DEMO.to_owned()),
            [(models, _)] => match models.as_slice() {
                [only] => only.name().map(str::to_owned),
                _ => None,
            },
            _ => None,
        };
        let demo = (vec![NamePattern::new(DEMO), NamePattern::new(format!("{DEMO}?*"))], demo);
        let routes = std::iter::once(demo)
            .chain(others)
            .map(|(models, provider)| Route { models: models.into_iter().collect(), provider });
        let routes: Arc<[Route]> = routes.collect();
        Self { catalog: ModelCatalog::new(Arc::clone(&routes), tasks), routes, default: default.or(only) }
    }

    /// The model that a request means, and who serves it.
    pub fn route(&self, model: Option<&str>) -> Result<(String, &dyn Provider), UnknownModel> {
        let model = model.or(self.default.as_deref()).ok_or(UnknownModel::Unnamed)?;
        let route = self.routes.iter().find(|route| route.serves(model)).ok_or(UnknownModel::Unserved)?;
        Ok((model.to_owned(), route.provider.as_ref()))
    }

    /// Returns all models, each once, by the provider that would serve it.
    pub async fn models(&self) -> Arc<ListedModels> {
        self.catalog.models().await
    }
}

impl Route {
    pub fn serves(&self, model: &str) -> bool {
        self.models.match_any(model)
    }

    /// The names that the settings spell out.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.models.names()
    }
}
