//! Selects the targets of a request.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::alias::{ModelAlias, planned};
use super::conversation::ConversationKey;
use super::model_catalog::{ListedModels, ModelCatalog};
use super::plan::{Plan, Target};
use super::route::Route;
use super::upstream_server::UpstreamServer;
use super::upstream_status::{UpstreamBreakers, UpstreamStatus};
use super::{CacheKeys, ListedModel, Provider};
use crate::domain::{Lookup, NamePattern};

/// The models of the settings, and the upstreams in match order: the first that has a matching pattern serves a model.
pub struct Router {
    routes: Arc<[Route]>,
    aliases: Lookup<Box<str>, ModelAlias>,
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
/// The owner of models that the settings define, as the embedded model states it.
const OWNER: &str = "tokenrill";

impl Router {
    /// `demo` serves the names `demo` and `demo?...` and takes precedence over every other upstream; an alias takes
    /// precedence over the patterns of upstreams.
    ///
    /// `default` is the model of a request that names none. If it is `None`, the default is the only model: `demo` if
    /// there is no other upstream, or the only name that the only other upstream is configured with. Otherwise, and if
    /// there are aliases, there is no default.
    ///
    /// `tasks` tracks the task that requests the lists of models from the providers.
    pub fn new(
        demo: Arc<dyn Provider>,
        others: Vec<(Vec<NamePattern>, Arc<UpstreamServer>)>,
        aliases: Vec<ModelAlias>,
        default: Option<String>,
        tasks: TaskTracker,
    ) -> Self {
        let only = match others.as_slice() {
            _ if !aliases.is_empty() => None,
            [] => Some(DEMO.to_owned()),
            [(models, _)] => match models.as_slice() {
                [only] => only.name().map(str::to_owned),
                _ => None,
            },
            _ => None,
        };
        let demo = (vec![NamePattern::new(DEMO), NamePattern::new(format!("{DEMO}?*"))], UpstreamServer::single(demo));
        let routes = std::iter::once(demo)
            .chain(others)
            .map(|(models, server)| Route { models: models.into_iter().collect(), server });
        let routes: Arc<[Route]> = routes.collect();
        let names = aliases.iter().map(|alias| ListedModel {
            id: alias.name.to_string(),
            owned_by: OWNER.to_owned(),
            created: 0,
        });
        let catalog = ModelCatalog::new(Arc::clone(&routes), names.collect(), tasks);
        let aliases = aliases.into_iter().map(|alias| (alias.name.clone(), alias)).collect();
        Self { routes, aliases, default: default.or(only), catalog }
    }

    /// Returns the plan for the requested model, or for the default: the targets of an alias, or the model under its own
    /// name on the first upstream that serves it. `conversation` identifies the conversation of the request, which is only
    /// computed if there is a choice, or the upstream takes its key.
    pub fn plan(
        &self,
        model: Option<&str>,
        conversation: impl FnOnce(&str) -> ConversationKey,
    ) -> Result<Plan, UnknownModelError> {
        let model = model.or(self.default.as_deref()).ok_or(UnknownModelError::Unnamed)?;
        if let Some(alias) = self.aliases.get(model) {
            return Ok(alias.plan(Some(conversation(model))));
        }
        let route = self.routes.iter().find(|route| route.serves(model)).ok_or(UnknownModelError::Unserved)?;
        let mut plan = Plan::of(model, Target::new(Arc::clone(&route.server), model), []);
        if route.server.key_count() > 1 || route.server.provider(0).cache_keys() == CacheKeys::Sent {
            plan.first = planned(plan.first.target, Some(conversation(model)));
        }
        Ok(plan)
    }

    /// Returns the health of all upstreams, in match order.
    pub fn status(&self) -> Vec<UpstreamStatus> {
        let now = Instant::now();
        self.routes.iter().map(|route| route.server.status(now)).collect()
    }

    /// Returns a function that returns the breakers of all upstreams, and does not keep the router.
    pub fn breakers_source(&self) -> impl Fn() -> Vec<UpstreamBreakers> + Send + Sync + 'static {
        let routes = Arc::clone(&self.routes);
        move || {
            let now = Instant::now();
            routes.iter().map(|route| route.server.breakers(now)).collect()
        }
    }

    /// Returns all models, each once, with the entry of the provider that would serve it.
    pub async fn models(&self) -> Arc<ListedModels> {
        self.catalog.models().await
    }
}
