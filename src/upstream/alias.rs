//! A model of the settings that stands for several targets.

use std::cmp::Ordering;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::conversation::ConversationKey;
use super::known_conversations::KnownConversations;
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
    /// The targets that `fastest` has chosen for conversations.
    pub conversations: KnownConversations,
}

#[derive(Debug, Clone)]
pub struct AliasTarget {
    pub target: Target,
    /// Its share of the requests; not negative.
    pub weight: f64,
}

/// The share of new conversations that explore, so that a target that has become faster is found.
const EXPLORATION: f64 = 0.02;

impl ModelAlias {
    /// Returns the targets in the order of the strategy.
    pub fn plan(&self, conversation: Option<ConversationKey>) -> Plan {
        let conversation = conversation.filter(|_| self.affinity == Affinity::On);
        let targets = match self.strategy {
            Strategy::Fallback => self.targets().collect(),
            Strategy::Weighted => {
                let mut targets: Vec<_> = self.targets().collect();
                sort_by_draw(&mut targets, |target| (target.draw(conversation), target.weight));
                targets
            }
            Strategy::Fastest => self.by_speed(conversation, Instant::now()),
        };
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

impl ModelAlias {
    fn targets(&self) -> impl Iterator<Item = &AliasTarget> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Returns the targets with that of a known conversation first, as long as it is healthy. For a new conversation, and
    /// for one whose target is not, the faster of two healthy targets that are drawn is first: not the fastest of all,
    /// because all requests would choose it at the same moment.
    ///
    /// A conversation that explores is not remembered: its next turn draws again.
    fn by_speed(&self, conversation: Option<ConversationKey>, now: Instant) -> Vec<&AliasTarget> {
        let mut targets: Vec<_> =
            self.targets().enumerate().map(|(place, target)| (place, target.health(now), target)).collect();
        fastrand::shuffle(&mut targets);
        targets.sort_by_key(|(_, health, _)| *health);
        let known = conversation.and_then(|conversation| self.conversations.target_of(conversation));
        let is_known = |(place, health, _): &(usize, TargetHealth, &AliasTarget)| {
            Some(*place) == known && *health == TargetHealth::Healthy
        };
        if let Some(at) = targets.iter().position(is_known) {
            let known = targets.remove(at);
            targets.insert(0, known);
        } else {
            let draw = put_faster_first(&mut targets);
            if let (Some(conversation), Draw::BySpeed, Some((place, TargetHealth::Healthy, _))) =
                (conversation, draw, targets.first())
            {
                self.conversations.remember(conversation, *place);
            }
        }
        targets.into_iter().map(|(_, _, target)| target).collect()
    }
}

/// Whether a target would be asked now. Healthy ones sort first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum TargetHealth {
    Healthy,
    /// It or all of its keys rest, or a breaker is open.
    Unhealthy,
}

/// How the first of two drawn targets was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Draw {
    BySpeed,
    Exploring,
}

/// Puts the faster of the first two targets first if both are healthy, except in the share of draws that explore.
fn put_faster_first(targets: &mut [(usize, TargetHealth, &AliasTarget)]) -> Draw {
    let expected = |(_, health, target): &(usize, TargetHealth, &AliasTarget)| {
        let expected = target.target.server().expected_first_token(target.target.model());
        (*health == TargetHealth::Healthy).then_some(expected)
    };
    let [first, second, ..] = targets else { return Draw::BySpeed };
    let (Some(mine), Some(theirs)) = (expected(first), expected(second)) else { return Draw::BySpeed };
    if fastrand::f64() < EXPLORATION {
        return Draw::Exploring;
    }
    // A target without measurements is tried first.
    let is_faster = mine.is_some_and(|mine| theirs.is_none_or(|theirs| theirs < mine));
    if is_faster {
        std::mem::swap(first, second);
    }
    Draw::BySpeed
}

impl AliasTarget {
    fn health(&self, now: Instant) -> TargetHealth {
        let (server, model) = (self.target.server(), self.target.model());
        let is_healthy = (0..server.key_count()).any(|key| server.would_admit(model, key, now));
        if is_healthy { TargetHealth::Healthy } else { TargetHealth::Unhealthy }
    }

    fn draw(&self, conversation: Option<ConversationKey>) -> f64 {
        let identity = (&self.target.upstream().name, self.target.model());
        drawn(conversation, &identity)
    }
}

/// Returns a target with its keys in the order of a conversation, or in a random one.
pub fn planned(target: Target, conversation: Option<ConversationKey>) -> PlannedTarget {
    let mut planned = planned_in_order(target.in_conversation(conversation));
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
    use std::collections::BTreeMap;

    use tokio::time::{advance, sleep};

    use super::super::Delivery;
    use super::super::attempt_lease::AttemptLease;
    use super::super::policy::AttemptHealth;
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
            conversations: KnownConversations::default(),
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
    }

    /// Fails attempts until the breaker opens.
    fn kill(target: &Target) {
        let now = Instant::now();
        while target.server().would_admit(target.model(), 0, now) {
            let pass = target.server().force(target.model(), now);
            target.server().record(target.model(), pass, AttemptHealth::NoConnection, now);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn conversations_stay_with_their_target_until_it_fails_and_new_ones_prefer_the_faster() {
        fastrand::seed(7);
        let alias = alias(Strategy::Fastest, vec![target("a", 1.0), target("b", 1.0)]);
        let (a, b) = (&alias.first.target, &alias.others[0].target);
        let firsts = |conversations: std::ops::Range<usize>| {
            let plan = |number| (number, order(&alias.plan(Some(conversation(number))))[0].to_owned());
            conversations.map(plan).collect::<BTreeMap<_, _>>()
        };
        let count =
            |firsts: &BTreeMap<usize, String>, name: &str| firsts.values().filter(|first| *first == name).count();
        answer(a, Duration::from_millis(100)).await;
        answer(b, Duration::from_millis(200)).await;
        let begun = firsts(0..20);
        assert_eq!(count(&begun, "a"), 20);

        // Now the other one is faster by far: known conversations stay, new ones begin there.
        answer(a, Duration::from_secs(4)).await;
        assert_eq!(firsts(0..20), begun);
        assert_eq!(count(&firsts(20..40), "b"), 20);

        kill(a);
        let moved = firsts(0..20);
        assert_eq!(count(&moved, "b"), 20);
        // The first target has recovered and answers at once. Conversations stay where their prompt cache is now.
        advance(Duration::from_mins(3)).await;
        let pass = a.server().admit(a.model(), 0, Instant::now()).expect("a probe");
        a.server().record(a.model(), pass, AttemptHealth::Success, Instant::now());
        answer(a, Duration::from_millis(1)).await;
        advance(Duration::from_mins(3)).await;
        answer(a, Duration::from_millis(1)).await;
        assert_eq!(firsts(0..20), moved);
        assert_eq!(count(&firsts(40..60), "a"), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn conversation_keeps_its_target_if_no_other_one_is_healthy_either() {
        fastrand::seed(7);
        let alias = alias(Strategy::Fastest, vec![target("a", 1.0), target("b", 1.0)]);
        let first = order(&alias.plan(Some(conversation(1))))[0].to_owned();
        kill(&alias.first.target);
        kill(&alias.others[0].target);
        for _ in 0..20 {
            alias.plan(Some(conversation(1)));
        }
        advance(Duration::from_mins(3)).await;
        assert_eq!(order(&alias.plan(Some(conversation(1))))[0], first);
    }
}
