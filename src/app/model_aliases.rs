//! The models that stand for several targets.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::settings::{AliasSettings, HedgeSettings, Settings, TargetSettings};
use crate::upstream::{AliasTarget, HedgeBudget, HedgePolicy, ModelAlias, Target, UpstreamServer};

/// The upstreams by name.
pub type Servers = BTreeMap<String, Arc<UpstreamServer>>;

/// Returns the aliases of the settings, whose targets have been checked.
pub fn aliases(settings: &Settings, servers: &Servers) -> Vec<ModelAlias> {
    settings.models.aliases.iter().filter_map(|(name, alias)| model_alias(name, alias, servers)).collect()
}

fn model_alias(name: &str, alias: &AliasSettings, servers: &Servers) -> Option<ModelAlias> {
    let mut targets = alias.targets.iter().filter_map(|target| alias_target(target, servers));
    Some(ModelAlias {
        name: name.into(),
        first: targets.next()?,
        others: targets.collect(),
        strategy: alias.strategy,
        affinity: alias.affinity,
        fallback_on: alias.fallback_on.clone().into(),
        first_token: alias.first_token_timeout,
        hedge: alias.hedge.map(hedge_policy),
    })
}

fn hedge_policy(HedgeSettings { after, budget }: HedgeSettings) -> HedgePolicy {
    HedgePolicy { delay: after, budget: Arc::new(HedgeBudget::new(budget)) }
}

fn alias_target(settings: &TargetSettings, servers: &Servers) -> Option<AliasTarget> {
    let (upstream, model) = settings.split()?;
    let target = Target::new(Arc::clone(servers.get(upstream)?), model).with_parameters(settings.parameters.clone());
    Some(AliasTarget { target, weight: settings.weight })
}
