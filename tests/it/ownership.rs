//! Another caller's generation is indistinguishable from one that never existed.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokenrill::domain::Timestamp;

use crate::support::{Answer, Call, Service, Upstream, text};

struct Tenants {
    service: Service,
    upstream: Upstream,
    keys: BTreeMap<String, String>,
}

const ALL: &[&str] = &["generate", "follow", "stop"];

impl Tenants {
    async fn start() -> Self {
        let upstream = Upstream::start().await;
        let tenants = [("a", ALL), ("b", ALL), ("nobody", ALL)];
        let (service, keys) = Service::guarded(Service::settings(&upstream.base_url()), &tenants).await;
        Self { service, upstream, keys }
    }

    fn request(&self, tenant: &str, method: Method, path: &str) -> RequestBuilder {
        self.service.request(method, path).bearer_auth(&self.keys[tenant])
    }

    /// A running generation of `tenant`: its viewer, its id, its upstream call.
    async fn running(&self, tenant: &str) -> (Answer, String, Call) {
        let request = self.service.generation(&json!({"input": "Hello"})).header("x-api-key", &self.keys[tenant]);
        let mut viewer = Answer::to(request).await;
        let id = viewer.expect("start").await.generation().to_owned();
        (viewer, id, self.upstream.call().await)
    }

    async fn list(&self, tenant: &str, query: &str) -> Value {
        Answer::to(self.request(tenant, Method::GET, &format!("/v1/generations{query}"))).await.json().await
    }
}

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().expect("data").iter().map(|one| one["id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn another_caller_cannot_see_follow_or_stop_a_generation() {
    let tenants = Tenants::start().await;
    let (mut viewer, id, mut call) = tenants.running("a").await;
    let path = format!("/v1/generations/{id}");
    let nowhere = path.replace(&id, "gen_AAAAAAAAAAAAAAAAAAAAAA");
    for (method, suffix) in [
        (Method::GET, ""),
        (Method::GET, "?after=1&wait=1s"),
        (Method::GET, "/events"),
        (Method::GET, "/events?replay=snapshot"),
        (Method::GET, "/events?after=99"),
        (Method::POST, "/cancel"),
        (Method::DELETE, ""),
    ] {
        let what = format!("{method} {suffix}");
        let mut refusals = Vec::new();
        for (tenant, path) in [("b", &path), ("b", &nowhere), ("a", &nowhere)] {
            let answer = Answer::to(tenants.request(tenant, method.clone(), &format!("{path}{suffix}"))).await;
            assert_eq!(answer.status, 404, "{what}");
            let mut problem = answer.json().await;
            problem["request_id"] = Value::Null;
            refusals.push(problem);
        }
        let anonymous = Answer::to(tenants.service.request(method, &format!("{path}{suffix}"))).await;
        assert_eq!(anonymous.status, 401, "{what}");
        assert!(refusals.iter().all(|one| *one == refusals[0]), "{what}: {refusals:?}");
    }
    let again = tenants.service.generation(&json!({"input": "Hello"})).header("last-event-id", format!("{id}.1"));
    assert_eq!(Answer::to(again.try_clone().expect("a body").bearer_auth(&tenants.keys["b"])).await.status, 404);
    let attached = Answer::to(again.bearer_auth(&tenants.keys["a"])).await;
    assert_eq!((attached.status, attached.header("tokenrill-attached")), (200, "existing"));

    call.answer(&["Hel", "lo"]).await;
    assert_eq!(text(&viewer.events().await), "Hello", "the generation was not changed");
    assert!(!tenants.upstream.was_called());
    viewer = Answer::to(tenants.request("a", Method::GET, &path)).await;
    assert_eq!(viewer.json().await["text"], "Hello");
}

#[tokio::test]
async fn idempotency_keys_are_scoped_to_their_caller() {
    let tenants = Tenants::start().await;
    let body = json!({"input": "Hello"});
    let ask = |tenant: &str| {
        tenants.service.generation(&body).header("idempotency-key", "1").bearer_auth(&tenants.keys[tenant])
    };
    let answers = join_all(["a", "b", "a", "b"].map(|tenant| Answer::to(ask(tenant)))).await;
    let generation = |at: usize| answers[at].header("tokenrill-generation");
    assert_eq!((generation(0), generation(1)), (generation(2), generation(3)));
    assert_ne!(generation(0), generation(1));
}

#[tokio::test]
async fn list_contains_only_the_callers_generations_newest_first() {
    let tenants = Tenants::start().await;
    let mut of_a = Vec::new();
    let mut kept = Vec::new();
    for at in 0..5 {
        let (viewer, id, mut call) = tenants.running("a").await;
        if at % 2 == 0 {
            call.answer(&["x"]).await;
            viewer.events().await;
            // Otherwise the next request would use the same connection.
            call.fin().await;
            assert!(call.next().await.is_none());
        } else {
            kept.push((viewer, call));
        }
        of_a.insert(0, (id, at % 2 == 0));
        let (viewer, _, call) = tenants.running("b").await;
        kept.push((viewer, call));
        // Generations of the same millisecond are ordered by id.
        let then = Timestamp::now();
        while Timestamp::now() == then {
            tokio::task::yield_now().await;
        }
    }
    let all: Vec<_> = of_a.iter().map(|(id, _)| id.as_str()).collect();
    let list = tenants.list("a", "").await;
    assert_eq!((ids(&list), list.get("next")), (all.clone(), None));
    let newest = &list["data"][0];
    assert_eq!(
        (&newest["status"], &newest["model"], &newest["last_sequence"]),
        (&json!("done"), &json!("m"), &json!(3))
    );
    assert!(newest["usage"]["output_tokens"].is_u64() && newest["created_at"].is_string(), "{newest}");
    for (status, done) in [("done", true), ("running", false)] {
        let list = tenants.list("a", &format!("?status={status}")).await;
        let expected: Vec<_> = of_a.iter().filter(|(_, ended)| *ended == done).map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids(&list), expected, "{status}");
        assert!(list["data"].as_array().expect("data").iter().all(|one| one["status"] == status));
    }
    assert!(ids(&tenants.list("a", "?status=failed").await).is_empty());

    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = tenants.list("a", &format!("?limit=2{cursor}")).await;
        assert!(ids(&page).len() <= 2);
        paged.extend(ids(&page).into_iter().map(str::to_owned));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, all);
    assert!(ids(&tenants.list("nobody", "").await).is_empty());
    assert_eq!(tenants.service.get("/v1/generations").await.status, 401);

    let open = Service::start().await;
    let mut viewer = Answer::to(open.generation(&json!({"input": "Hello", "model": "demo"}))).await;
    viewer.expect("start").await;
    assert!(ids(&open.get("/v1/generations").await.json().await).is_empty(), "an anonymous caller owns no list");
}
