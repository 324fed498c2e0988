//! Which provider serves which model.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::{Model, Provider};
use crate::domain::NamePattern;

/// The providers in the order in which they are asked whether a model is theirs.
pub struct Router {
    routes: Vec<Route>,
    default: Option<String>,
    listed: Mutex<Option<(Instant, Vec<Model>)>>,
}

struct Route {
    models: Vec<NamePattern>,
    provider: Arc<dyn Provider>,
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
/// A list of models is asked for again after this long.
const LIST_KEPT: Duration = Duration::from_secs(30);
/// An upstream that has not listed its models by then is left out.
const LIST_PATIENCE: Duration = Duration::from_secs(3);

impl Router {
    /// `demo` serves the names `demo` and `demo?...`, before every other provider.
    ///
    /// `default` is the model of a request that names none. Without it, that is the only model there
    /// is: `demo` while no other provider is there, else the one name that the others' patterns hold.
    pub fn new(
        demo: Arc<dyn Provider>,
        others: Vec<(Vec<NamePattern>, Arc<dyn Provider>)>,
        default: Option<String>,
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
        let routes = std::iter::once(demo).chain(others).map(|(models, provider)| Route { models, provider });
        Self { routes: routes.collect(), default: default.or(only), listed: Mutex::default() }
    }

    /// The model that a request means, and who serves it.
    pub fn route(&self, model: Option<&str>) -> Result<(String, &dyn Provider), UnknownModel> {
        let model = model.or(self.default.as_deref()).ok_or(UnknownModel::Unnamed)?;
        let route = self.routes.iter().find(|route| route.serves(model)).ok_or(UnknownModel::Unserved)?;
        Ok((model.to_owned(), route.provider.as_ref()))
    }

    /// All models, each once, by the provider that would serve it; at most 30 s old. A provider that
    /// does not answer within 3 s is left out, but for the names that its settings spell out.
    pub async fn models(&self) -> Vec<Model> {
        if let Some((asked, models)) = self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone()
            && asked.elapsed() < LIST_KEPT
        {
            return models;
        }
        let lists = join_all(self.routes.iter().map(Route::list)).await;
        let mut models: Vec<Model> = Vec::new();
        for model in lists.into_iter().flatten() {
            if !models.iter().any(|known| known.id == model.id) {
                models.push(model);
            }
        }
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), models.clone()));
        models
    }
}

impl Route {
    fn serves(&self, model: &str) -> bool {
        self.models.iter().any(|pattern| pattern.matches(model))
    }

    async fn list(&self) -> Vec<Model> {
        let mut models = match timeout(LIST_PATIENCE, self.provider.models()).await {
            Ok(Ok(models)) => models,
            Ok(Err(error)) => {
                tracing::warn!(%error, "an upstream did not list its models");
                Vec::new()
            }
            Err(_) => {
                tracing::warn!("an upstream did not list its models in time");
                Vec::new()
            }
        };
        models.retain(|model| self.serves(&model.id));
        for name in self.models.iter().filter_map(NamePattern::name) {
            if !models.iter().any(|model| model.id == name) {
                models.push(Model { id: name.to_owned(), owned_by: "unknown".to_owned(), created: 0 });
            }
        }
        models
    }
}
