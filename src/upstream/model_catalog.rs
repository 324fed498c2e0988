//! Lists all models of all providers, from a cache.

use std::collections::HashSet;
use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::model_list_error::ModelListError;
use super::route::Route;
use super::{AttemptErrorKind, ListedModel, Phase};

/// The models that the providers list. Concurrent calls share one request to each provider.
pub struct ModelCatalog {
    lists: Arc<Lists>,
    tasks: TaskTracker,
}

struct Lists {
    routes: Arc<[Route]>,
    /// The models of the settings that stand for several targets.
    aliases: Box<[ListedModel]>,
    listed: watch::Sender<Option<CachedLists>>,
    refreshing: AtomicBool,
}

#[derive(Clone)]
struct CachedLists {
    at: Instant,
    /// The last list of each provider, in the order of the routes.
    by_route: Arc<[Vec<ListedModel>]>,
    merged: Arc<ListedModels>,
}

/// The models of all providers, each once.
#[derive(Debug, Default)]
pub struct ListedModels {
    models: Vec<ListedModel>,
    /// Indexes into `models`, sorted by id.
    by_id: Vec<usize>,
}

impl FromIterator<ListedModel> for ListedModels {
    fn from_iter<I: IntoIterator<Item = ListedModel>>(models: I) -> Self {
        let models: Vec<_> = models.into_iter().collect();
        let mut by_id: Vec<_> = (0..models.len()).collect();
        by_id.sort_unstable_by_key(|at| models.get(*at).map(|model| model.id.as_str()));
        Self { models, by_id }
    }
}

impl ListedModels {
    /// Returns the model with this id.
    pub fn find(&self, id: &str) -> Option<&ListedModel> {
        let at = self.by_id.binary_search_by_key(&Some(id), |at| self.models.get(*at).map(|model| model.id.as_str()));
        self.models.get(*self.by_id.get(at.ok()?)?)
    }
}

impl Deref for ListedModels {
    type Target = [ListedModel];

    fn deref(&self) -> &[ListedModel] {
        &self.models
    }
}

/// Age at which the lists are refreshed.
const FRESH: Duration = Duration::from_secs(30);
/// Time for a provider to list its models. After a timeout its last list is kept.
const LIST_TIMEOUT: Duration = Duration::from_secs(3);
/// Most models in the merged list; models beyond it are not listed but can be used.
const MAX_MODELS: usize = 10_000;

impl ModelCatalog {
    pub fn new(routes: Arc<[Route]>, aliases: Box<[ListedModel]>, tasks: TaskTracker) -> Self {
        let lists = Lists { routes, aliases, listed: watch::Sender::new(None), refreshing: AtomicBool::new(false) };
        Self { lists: Arc::new(lists), tasks }
    }

    /// Returns the last lists of the providers, and starts a refresh in the background if they are older than 30 s. The
    /// first call waits for the refresh, at most 3 s. A provider that fails keeps its last list, and always the names
    /// in its settings.
    pub async fn models(&self) -> Arc<ListedModels> {
        let mut listed = self.lists.listed.subscribe();
        let known = listed.borrow_and_update().clone();
        if known.as_ref().is_none_or(|known| known.at.elapsed() >= FRESH) {
            self.refresh();
        }
        if let Some(known) = known {
            return known.merged;
        }
        // Longer than the refresh can take: this timeout fires only if a bug ended the refresh.
        match timeout(LIST_TIMEOUT * 2, listed.wait_for(Option::is_some)).await {
            Ok(Ok(listed)) => listed.as_ref().map(|listed| Arc::clone(&listed.merged)).unwrap_or_default(),
            Ok(Err(_)) | Err(_) => Arc::default(),
        }
    }

    /// Starts a refresh unless one is running. It runs in its own task, so a client that disconnects does not cancel it
    /// for other clients.
    fn refresh(&self) {
        if self.lists.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let refresh = Refresh(Arc::clone(&self.lists));
        self.tasks.spawn(async move { refresh.run().await });
    }
}

/// The running refresh. Its drop, also after a panic, allows the next one.
struct Refresh(Arc<Lists>);

impl Refresh {
    async fn run(self) {
        let lists = &self.0;
        let before = lists.listed.borrow().as_ref().map(|listed| Arc::clone(&listed.by_route));
        let asked = lists.routes.iter().enumerate().map(async |(at, route)| {
            let last = || before.as_ref().and_then(|before| before.get(at)).cloned().unwrap_or_default();
            route.list().await.unwrap_or_else(last)
        });
        let by_route: Arc<[Vec<ListedModel>]> = join_all(asked).await.into();
        let merged = merge(&lists.aliases, &lists.routes, &by_route);
        lists.listed.send_replace(Some(CachedLists { at: Instant::now(), by_route, merged }));
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        self.0.refreshing.store(false, Ordering::Release);
    }
}

/// Merges the lists: each name once, from the aliases or the first route that serves it, as in
/// [`super::Router::plan`].
fn merge(aliases: &[ListedModel], routes: &[Route], by_route: &[Vec<ListedModel>]) -> Arc<ListedModels> {
    let mut ids = HashSet::new();
    let all = routes.iter().zip(by_route).flat_map(|(route, models)| {
        let listed =
            models.iter().filter(|model| route.serves(&model.id)).map(|model| (model.id.as_str(), Some(model)));
        listed.chain(route.names().map(|name| (name, None)))
    });
    let merged = aliases
        .iter()
        .map(|alias| (alias.id.as_str(), Some(alias)))
        .chain(all)
        .filter(|(id, _)| ids.insert(*id))
        .take(MAX_MODELS)
        .map(|(id, listed)| {
            let unlisted = || ListedModel { id: id.to_owned(), owned_by: "unknown".to_owned(), created: 0 };
            listed.cloned().unwrap_or_else(unlisted)
        });
    Arc::new(merged.collect())
}

impl Route {
    /// Requests the list of one provider. Returns `None` if the provider failed, and logs the error.
    async fn list(&self) -> Option<Vec<ListedModel>> {
        let identity = self.server.identity();
        // A panic in one adapter must not affect the lists of the others.
        let asking = AssertUnwindSafe(async { self.server.provider(0).models().await }).catch_unwind();
        let error = match timeout(LIST_TIMEOUT, asking).await {
            Ok(Ok(Ok(models))) => return Some(models),
            Ok(Ok(Err(error))) => error,
            Ok(Err(_panic)) => return None,
            Err(_) => AttemptErrorKind::Timeout(Phase::Head),
        };
        let failure = ModelListError::new(identity, error);
        tracing::warn!(upstream = &*identity.name, url = failure.url(), cause = %failure, "listing models failed");
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::BoxFuture;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::domain::{COMPARISONS, ChatRequest, NamePattern};
    use crate::upstream::{Answer, AttemptTerms, Provider, Router, UpstreamIdentity, UpstreamServer};

    /// Each request for a list waits for a permit and returns one model, twice, named by the number of the request.
    struct Scripted {
        identity: Arc<UpstreamIdentity>,
        asked: AtomicUsize,
        gate: Semaphore,
        failing: AtomicBool,
    }

    impl Scripted {
        fn new() -> Arc<Self> {
            let identity = UpstreamIdentity::new("scripted", "http://localhost/v1/chat/completions");
            let (asked, gate, failing) = (AtomicUsize::new(0), Semaphore::new(0), AtomicBool::new(false));
            Arc::new(Self { identity, asked, gate, failing })
        }
    }

    impl Provider for Scripted {
        fn identity(&self) -> &Arc<UpstreamIdentity> {
            &self.identity
        }

        fn attempt(&self, _: &Arc<ChatRequest>, _: AttemptTerms) -> Answer {
            Box::pin(futures_util::stream::empty())
        }

        fn models(&self) -> BoxFuture<'_, Result<Vec<ListedModel>, AttemptErrorKind>> {
            async {
                let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
                self.gate.acquire().await.expect("the semaphore stays open").forget();
                if self.failing.load(Ordering::SeqCst) {
                    return Err(AttemptErrorKind::Unreachable { cause: "connection refused".into() });
                }
                let model = ListedModel { id: format!("list-{number}"), owned_by: "test".to_owned(), created: 0 };
                Ok(vec![model.clone(), model])
            }
            .boxed()
        }
    }

    fn router(scripted: &Arc<Scripted>) -> Router {
        let demo = Scripted::new();
        demo.gate.add_permits(1_000);
        let patterns = vec![NamePattern::new("*"), NamePattern::new("named")];
        Router::new(
            demo,
            vec![(patterns, UpstreamServer::single(Arc::clone(scripted) as _))],
            Vec::new(),
            None,
            TaskTracker::new(),
        )
    }

    fn server() -> Arc<UpstreamServer> {
        UpstreamServer::single(Scripted::new())
    }

    #[test]
    fn long_list_is_merged_with_one_lookup_for_each_name_and_truncated() {
        const MANY: usize = 60_000;
        let model = |number| ListedModel { id: format!("model-{number}"), owned_by: "test".to_owned(), created: 0 };
        let listed: Vec<_> = (0..MANY).map(model).collect();
        let named = listed.iter().rev().map(|model| NamePattern::new(&*model.id));
        let named = Route { models: named.collect(), server: server() };
        let few = [NamePattern::new("x*"), NamePattern::new("y")];
        let few = Route { models: few.into_iter().collect(), server: server() };
        let every = Route { models: [NamePattern::new("*")].into_iter().collect(), server: server() };
        for (route, most_compared, found) in [(named, 0, MAX_MODELS), (every, MANY, MAX_MODELS), (few, MANY, 1)] {
            let before = COMPARISONS.get();
            let merged = merge(&[], &[route], std::slice::from_ref(&listed));
            assert_eq!(merged.len(), found);
            assert!(COMPARISONS.get() - before <= most_compared, "{}", COMPARISONS.get() - before);
            for model in merged.iter() {
                assert_eq!(merged.find(&model.id), Some(model));
            }
            assert_eq!(merged.find("model-none"), None);
        }
    }

    fn names(models: &[ListedModel]) -> Vec<&str> {
        models.iter().map(|model| model.id.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_calls_share_one_request_to_each_upstream() {
        let scripted = Scripted::new();
        let router = router(&scripted);
        let calls = join_all((0..20).map(|_| router.models()));
        let opened = async {
            tokio::task::yield_now().await;
            scripted.gate.add_permits(1);
        };
        let (lists, ()) = tokio::join!(calls, opened);
        assert!(lists.iter().all(|list| names(list) == ["demo", "list-1", "named"]), "{lists:?}");
        assert_eq!(scripted.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn stale_list_is_served_during_one_refresh() {
        let scripted = Scripted::new();
        let router = router(&scripted);
        scripted.gate.add_permits(1);
        router.models().await;
        tokio::time::advance(FRESH).await;
        for _ in 0..20 {
            assert_eq!(names(&router.models().await), ["demo", "list-1", "named"]);
            tokio::task::yield_now().await;
        }
        assert_eq!(scripted.asked.load(Ordering::SeqCst), 2, "one refresh for twenty calls");
        scripted.gate.add_permits(1);
        while names(&router.models().await) != ["demo", "list-2", "named"] {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failed_refresh_keeps_the_last_list() {
        let scripted = Scripted::new();
        let router = router(&scripted);
        scripted.gate.add_permits(2);
        router.models().await;
        scripted.failing.store(true, Ordering::SeqCst);
        tokio::time::advance(FRESH).await;
        router.models().await;
        while scripted.gate.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(FRESH / 2).await;
        assert_eq!(names(&router.models().await), ["demo", "list-1", "named"]);
        assert_eq!(scripted.asked.load(Ordering::SeqCst), 2, "a failure is a refresh too");
    }

    #[tokio::test(start_paused = true)]
    async fn first_call_waits_three_seconds_for_a_silent_upstream() {
        let router = router(&Scripted::new());
        let began = Instant::now();
        assert_eq!(names(&router.models().await), ["demo", "named"]);
        assert_eq!(began.elapsed(), LIST_TIMEOUT);
    }
}
