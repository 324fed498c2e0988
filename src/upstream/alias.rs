//! A model of the settings that stands for several targets.

use std::cmp::Ordering;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::conversation::ConversationKey;
use super::plan::{HedgePolicy, Plan, PlannedTarget, Target};
use crate::domain::{Affinity, FallbackClass, Strategy};

/// A name for one or more targets (`models.*`).
#[derive(Debug)]
pub struct ModelAlias {
    pub name: Box<str>,
    pub first: AliasTarget,
    pub others: Vec<AliasTarget>,
    pub strategy: Strategy,
    pub affinity: Affinity,
    pub fallback_on: Arc<[FallbackClass]>,
    /// How long an attempt may take until its first token, unless it is the last one.
    pub first_token: Option<Duration>,
    pub hedge: Option<HedgePolicy>,
}

#[derive(Debug, Clone)]
pub struct AliasTarget {
    pub target: Target,
    /// Its share of the requests; not negative.
    pub weight: f64,
}

/// The share of requests without a conversation that explore, so that a target that has recovered is found.
const EXPLORATION: f64 = 0.02;

impl ModelAlias {
    /// Returns the targets in the order of the strategy.
    pub fn plan(&self, conversation: Option<ConversationKey>) -> Plan {
        let conversation = conversation.filter(|_| self.affinity == Affinity::On);
        let mut targets: Vec<_> = std::iter::once(&self.first).chain(&self.others).collect();
        match self.strategy {
            Strategy::Fallback => {}
            Strategy::Weighted => sort_by_draw(&mut targets, |target| (target.draw(conversation), target.weight)),
            Strategy::Fastest => sort_by_speed(&mut targets, conversation),
        }
        let mut planned = targets.into_iter().map(|target| planned(target.target.clone(), conversation));
        let first = planned.next().unwrap_or_else(|| planned_in_order(self.first.target.clone()));
        Plan {
            model: self.name.clone(),
            first,
            others: planned.collect(),
            first_token: self.first_token,
            fallback_on: Arc::clone(&self.fallback_on),
            hedge: self.hedge.clone(),
        }
    }
}

/// Puts the faster of two drawn targets first: each request would choose the fastest one at the same moment. A known
/// conversation draws the same two, and changes only if the other one is twice as fast.
fn sort_by_speed(targets: &mut [&AliasTarget], conversation: Option<ConversationKey>) {
    sort_by_draw(targets, |target| (target.draw(conversation), 1.0));
    let expected = |target: &AliasTarget| target.target.server().expected_first_token(target.target.model());
    if let [one, other, ..] = targets {
        let is_faster = match (expected(one), expected(other)) {
            // A target without measurements is tried first.
            (Some(_), None) => conversation.is_none(),
            (None, _) => false,
            (Some(mine), Some(theirs)) => {
                let factor = if conversation.is_some() { 2 } else { 1 };
                theirs.saturating_mul(factor) < mine
            }
        };
        let explores = conversation.is_none() && fastrand::f64() < EXPLORATION;
        if is_faster && !explores {
            std::mem::swap(one, other);
        }
    }
}

impl AliasTarget {
    fn draw(&self, conversation: Option<ConversationKey>) -> f64 {
        let identity = (&self.target.upstream().name, self.target.model());
        drawn(conversation, &identity)
    }
}

/// Returns a target with its keys in the order of a conversation, or in a random one.
pub fn planned(target: Target, conversation: Option<ConversationKey>) -> PlannedTarget {
    let mut planned = planned_in_order(target);
    if planned.keys.len() > 1 {
        let name = Arc::clone(planned.target.upstream());
        sort_by_draw(&mut planned.keys, |key| (drawn(conversation, &(&name.name, *key)), 1.0));
    }
    planned
}

fn planned_in_order(target: Target) -> PlannedTarget {
    PlannedTarget::with_all_keys(target)
}

fn drawn(conversation: Option<ConversationKey>, choice: &impl Hash) -> f64 {
    conversation.map_or_else(|| 1.0 - fastrand::f64(), |conversation| conversation.draw(choice))
}

/// Sorts by weighted draws (weighted rendezvous hashing): each comes first in the share that its weight has, and the order
/// of the others does not change if one is removed.
fn sort_by_draw<T>(items: &mut [T], draw: impl Fn(&T) -> (f64, f64)) {
    // An exponential draw with the weight as its rate; without a weight it comes last.
    items.sort_by_cached_key(|item| {
        let (draw, weight) = draw(item);
        OrderedDraw(if weight > 0.0 { -draw.ln() / weight } else { f64::INFINITY })
    });
}

#[derive(PartialEq)]
struct OrderedDraw(f64);

impl Eq for OrderedDraw {}

impl PartialOrd for OrderedDraw {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderedDraw {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::super::Delivery;
    use super::super::attempt_lease::AttemptLease;
    use super::super::scripted_provider::ScriptedProvider;
    use super::*;
    use crate::domain::Principal;
    use crate::json::JsonObject;

    fn target(upstream: &str, weight: f64) -> AliasTarget {
        AliasTarget { target: Target::single(ScriptedProvider::new(upstream, []), "m"), weight }
    }

    fn alias(strategy: Strategy, targets: Vec<AliasTarget>) -> ModelAlias {
        let mut targets = targets.into_iter();
        ModelAlias {
            name: "fast".into(),
            first: targets.next().expect("a target"),
            others: targets.collect(),
            strategy,
            affinity: Affinity::On,
            fallback_on: Arc::default(),
            first_token: None,
            hedge: None,
        }
    }

    fn conversation(number: usize) -> ConversationKey {
        let fields = format!(r#"{{"prompt_cache_key":"{number}"}}"#);
        let fields = JsonObject::parse(fields.as_bytes()).expect("an object");
        ConversationKey::of(&Principal::Anonymous, "fast", &fields)
    }

    fn order(plan: &Plan) -> Vec<&str> {
        let targets = std::iter::once(&plan.first).chain(&plan.others);
        targets.map(|planned| &*planned.target.upstream().name).collect()
    }

    #[test]
    fn fallback_keeps_the_order_of_the_settings() {
        let alias = alias(Strategy::Fallback, vec![target("c", 1.0), target("a", 9.0), target("b", 1.0)]);
        for conversation in [None, Some(conversation(1))] {
            assert_eq!(order(&alias.plan(conversation)), ["c", "a", "b"]);
        }
    }

    #[test]
    fn weighted_target_is_first_in_its_share_with_and_without_a_conversation() {
        fastrand::seed(7);
        let alias = alias(Strategy::Weighted, vec![target("a", 3.0), target("b", 1.0), target("c", 0.0)]);
        for has_conversation in [true, false] {
            let plans = (0..2_000).map(|number| alias.plan(has_conversation.then(|| conversation(number))));
            let firsts: Vec<_> = plans.map(|plan| order(&plan)[0].to_owned()).collect();
            let share = |name: &str| firsts.iter().filter(|first| *first == name).count();
            assert!((1_400..1_600).contains(&share("a")), "{}", share("a"));
            assert_eq!(share("c"), 0, "without a weight it is only a fallback");
        }
    }

    #[test]
    fn conversation_keeps_its_order_and_changes_only_if_its_first_target_is_removed() {
        let targets = || vec![target("a", 1.0), target("b", 1.0), target("c", 1.0)];
        let whole = alias(Strategy::Weighted, targets());
        let without_c = alias(Strategy::Weighted, targets().into_iter().take(2).collect());
        for number in 0..200 {
            let before = whole.plan(Some(conversation(number)));
            assert_eq!(order(&before), order(&whole.plan(Some(conversation(number)))));
            let kept: Vec<_> = order(&before).into_iter().filter(|name| *name != "c").collect();
            assert_eq!(order(&without_c.plan(Some(conversation(number)))), kept);
        }
    }

    /// Records an answer whose first token took this time.
    async fn answer(target: &Target, time: Duration) {
        let pass = target.server().force(target.model(), Instant::now());
        let mut lease = AttemptLease::new(Arc::clone(target.server()), Arc::clone(target.model()), 0, pass);
        sleep(time).await;
        lease.record_first_token(Delivery::Stream);
    }

    #[tokio::test(start_paused = true)]
    async fn faster_of_two_targets_is_first_except_for_some_exploration() {
        fastrand::seed(7);
        let alias = alias(Strategy::Fastest, vec![target("slow", 1.0), target("quick", 1.0)]);
        answer(&alias.first.target, Duration::from_secs(2)).await;
        answer(&alias.others[0].target, Duration::from_millis(100)).await;
        let firsts: Vec<_> = (0..1_000).map(|_| order(&alias.plan(None))[0].to_owned()).collect();
        let slow = firsts.iter().filter(|first| *first == "slow").count();
        assert!((1..40).contains(&slow), "{slow}");
        let known = conversation(1);
        let first = order(&alias.plan(Some(known)))[0].to_owned();
        assert_eq!(first, "quick", "it is more than twice as fast");
    }
}
