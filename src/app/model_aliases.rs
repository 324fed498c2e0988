//! The models that stand for several targets.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::settings::{AliasSettings, HedgeSettings, Settings, TargetSettings};
use crate::upstream::{AliasTarget, HedgeBudget, HedgePolicy, KnownConversations, ModelAlias, Target, UpstreamServer};

/// The upstreams by name.
pub type Servers = BTreeMap<String, Arc<UpstreamServer>>;

/// Returns the aliases of the settings, whose targets have been checked.
pub fn aliases(settings: &Settings, servers: &Servers) -> Vec<ModelAlias> {
    settings.models.aliases.iter().filter_map(|(name, alias)| model_alias(name, alias, settings, servers)).collect()
}

fn model_alias(name: &str, alias: &AliasSettings, settings: &Settings, servers: &Servers) -> Option<ModelAlias> {
    let mut targets = alias.targets.iter().filter_map(|target| alias_target(target, settings, servers));
    Some(ModelAlias {
        name: name.into(),
        first: targets.next()?,
        others: targets.collect(),
        strategy: alias.strategy,
        affinity: alias.affinity,
        fallback_on: alias.fallback_on.clone().into(),
        first_token: alias.first_token_timeout,
        hedge: alias.hedge.map(hedge_policy),
        conversations: KnownConversations::default(),
    })
}

fn hedge_policy(HedgeSettings { after, budget }: HedgeSettings) -> HedgePolicy {
    HedgePolicy { delay: after, budget: Arc::new(HedgeBudget::new(budget)) }
}

fn alias_target(target: &TargetSettings, settings: &Settings, servers: &Servers) -> Option<AliasTarget> {
    let (upstream, model) = target.split()?;
    let of_upstream = settings.upstreams.iter().find(|known| known.name == upstream)?.weight;
    let weight = target.weight.unwrap_or(of_upstream);
    let target = Target::new(Arc::clone(servers.get(upstream)?), model).with_parameters(target.parameters.clone());
    Some(AliasTarget { target, weight })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::UpstreamSettings;
    use crate::upstream::ScriptedProvider;

    #[test]
    fn target_without_a_weight_has_that_of_its_upstream() {
        let mut settings = Settings::default();
        let upstream = UpstreamSettings::new("local", "http://localhost/v1".parse().unwrap());
        settings.upstreams.push(UpstreamSettings { weight: 3.0, ..upstream });
        let fields = serde_json::json!({"targets": ["local/m", {"target": "local/n", "weight": 2}]});
        settings.models.aliases.insert("fast".to_owned(), serde_json::from_value(fields).unwrap());
        let server = UpstreamServer::single(ScriptedProvider::new("local", []));
        let aliases = aliases(&settings, &[("local".to_owned(), server)].into());
        let [ModelAlias { first, others, .. }] = aliases.as_slice() else { panic!("one alias") };
        assert_eq!((first.weight, others[0].weight), (3.0, 2.0));
    }
}
