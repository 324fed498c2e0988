//! Selects the targets of a request.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::Provider;
use super::model_catalog::{ListedModels, ModelCatalog};
use super::plan::{Plan, Target};
use super::route::Route;
use crate::domain::NamePattern;

/// The providers in match order: the first that has a matching pattern serves the model.
pub struct Router {
    routes: Arc<[Route]>,
    default: Option<String>,
    catalog: ModelCatalog,
}

/// No provider serves the requested model, or the request names no model and there is no default.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownModelError {
    #[error("the request names no model and there is no default")]
    Unnamed,
    #[error("no upstream serves this model")]
    Unserved,
}

/// The embedded model. Its options follow a question mark: `demo?rate=20`.
const DEMO: &str = "demo";

impl Router {
    /// `demo` serves the names `demo` and `demo?...` and takes precedence over every other provider.
    ///
    /// `default` is the model of a request that names none. If it is `None`, the default is the only model: `demo` if
    /// there is no other provider, or the only name that the only other provider is configured with. Otherwise there is
    /// no default.
    ///
    /// `tasks` tracks the task that requests the lists of models from the providers.
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

    /// Returns the plan for the requested model, or for the default. It has one target: the model under its own name, on
    /// the first upstream that serves it.
    pub fn plan(&self, model: Option<&str>) -> Result<Plan, UnknownModelError> {
        let model = model.or(self.default.as_deref()).ok_or(UnknownModelError::Unnamed)?;
        let route = self.routes.iter().find(|route| route.serves(model)).ok_or(UnknownModelError::Unserved)?;
        Ok(Plan::of_one(model, Target::new(Arc::clone(&route.provider), model)))
    }

    /// Returns all models, each once, with the entry of the provider that would serve it.
    pub async fn models(&self) -> Arc<ListedModels> {
        self.catalog.models().await
    }
}
