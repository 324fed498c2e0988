//! Money over several replicas that share a Redis server: one budget, and the sums of all.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use redis::cmd;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};
use tokenrill::auth::NewKey;
use tokenrill::domain::{Budget, BudgetPeriod};
use tokenrill::settings::{ApiKeySettings, AuthMode, RedisRecover, Settings};
use tokio::time::sleep;

use crate::support::redis_server::{RedisServer, unique_prefix, use_redis};
use crate::support::{Answer, Service, TICKET_SECRET, soon};

/// The keys of callers.
pub struct Keys {
    pub web: NewKey,
    pub other: NewKey,
    pub ops: NewKey,
}

impl Keys {
    pub fn new() -> Self {
        let [web, other, ops] = [(); 3].map(|()| NewKey::random().expect("random bytes"));
        Self { web, other, ops }
    }
}

/// Settings in which the embedded model costs a hundredth of a dollar for each token of its answer, and `web` may spend
/// so much in a month.
pub fn settings(keys: &Keys, dollars: &str) -> Settings {
    let mut settings = Settings::default();
    settings.auth.mode = Some(AuthMode::Required);
    settings.prices.insert("demo".to_owned(), crate::budgets::price("0", Some("10000")));
    let most = dollars.parse().expect("dollars");
    let budget = Some(Budget { most, per: BudgetPeriod::Month });
    for (name, key, scopes, budget) in [
        ("web", &keys.web, vec!["generate", "follow"], budget),
        ("other", &keys.other, vec!["generate", "follow"], None),
        ("ops", &keys.ops, vec!["admin"], None),
    ] {
        settings.auth.api_keys.push(ApiKeySettings {
            name: name.to_owned(),
            hash: key.hash.to_string(),
            scopes: Some(scopes.into_iter().map(str::to_owned).collect()),
            budget,
            ..ApiKeySettings::default()
        });
    }
    settings
}

async fn replica(redis: &RedisServer, prefix: &str, settings: Settings) -> Service {
    replica_at(redis.url(), prefix, settings).await
}

pub async fn replica_at(url: String, prefix: &str, mut settings: Settings) -> Service {
    let mut environment = BTreeMap::from([("TICKETS".to_owned(), TICKET_SECRET.to_owned())]);
    settings.auth.ticket_secret_env = Some("TICKETS".to_owned());
    use_redis(url, &mut settings, &mut environment, prefix);
    let service = Service::in_environment(settings, environment).await;
    soon(async { while service.get("/readyz").await.status != 200 {} }).await;
    service
}

/// An answer of ten tokens, which costs a tenth of a dollar.
fn body() -> Value {
    json!({"input": "Hello", "model": "demo?tokens=10&rate=max", "max_completion_tokens": 10})
}

pub async fn generate(service: &Service, key: &NewKey) -> Answer {
    Answer::to(service.generation(&body()).bearer_auth(&key.key)).await
}

async fn usage(service: &Service, key: &NewKey, query: &str) -> Value {
    Answer::to(service.request(Method::GET, &format!("/v1/usage{query}")).bearer_auth(&key.key)).await.json().await
}

/// Waits until a replica reports this number of attempts.
pub async fn has_attempts(service: &Service, key: &NewKey, attempts: u64) -> Value {
    soon(async {
        loop {
            let sums = usage(service, key, "").await;
            if sums["data"][0]["attempts"] == attempts {
                return sums;
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn two_replicas_keep_one_budget_exactly_and_each_reports_the_sums_of_both() {
    let (redis, prefix, keys) = (RedisServer::shared(), unique_prefix(), Keys::new());
    let replicas =
        [replica(redis, &prefix, settings(&keys, "0.7")).await, replica(redis, &prefix, settings(&keys, "0.7")).await];
    // Forty requests at once, of which the budget allows seven.
    let requests =
        replicas.iter().flat_map(|service| (0..20).map(move |_| service)).map(|service| generate(service, &keys.web));
    let (admitted, refused): (Vec<_>, Vec<_>) =
        soon(join_all(requests)).await.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((admitted.len(), refused.len()), (7, 33));
    for answer in refused {
        assert_eq!((answer.status, answer.json().await["code"].clone()), (429, json!("budget_exceeded")));
    }
    for answer in admitted {
        let events = answer.events().await;
        assert_eq!(events.last().map(|event| event.data["cost"].to_string()).as_deref(), Some("0.1"));
    }
    for service in &replicas {
        generate(service, &keys.other).await.events().await;
    }
    for service in &replicas {
        let own = has_attempts(service, &keys.web, 7).await;
        assert_eq!((own["data"][0]["cost"].to_string().as_str(), own.get("replica")), ("0.7", None), "{own}");
        has_attempts(service, &keys.ops, 9).await;
        let all = usage(service, &keys.ops, "?by=principal").await;
        let rows: Vec<_> =
            all["data"].as_array().expect("rows").iter().map(|row| (&row["principal"], &row["done"])).collect();
        assert_eq!(rows, [(&json!("other"), &json!(2)), (&json!("web"), &json!(7))]);
        let own = usage(service, &keys.other, "?by=principal,model,upstream,day").await;
        assert_eq!(own["data"].as_array().map(Vec::len), Some(1), "its own row: {own}");
    }
    // A higher budget on a third replica applies to what all have spent.
    let third = replica(redis, &prefix, settings(&keys, "0.8")).await;
    assert_eq!(generate(&third, &keys.web).await.status, 200);
    assert_eq!(generate(&third, &keys.web).await.status, 429);
}

#[tokio::test]
async fn budget_in_redis_is_whole_again_in_the_next_period_and_its_keys_expire() {
    let (redis, prefix, keys) = (RedisServer::shared(), unique_prefix(), Keys::new());
    let service = replica(redis, &prefix, settings(&keys, "0.1")).await;
    generate(&service, &keys.web).await.events().await;
    assert_eq!(generate(&service, &keys.web).await.status, 429);
    has_attempts(&service, &keys.web, 1).await;
    let named: Vec<String> = redis.command(cmd("KEYS").arg(format!("{prefix}:{{{prefix}.limits}}:b:*")));
    let [spending] = named.as_slice() else { panic!("one caller has a budget: {named:?}") };
    let field = |name: &str| redis.command::<u64>(cmd("HGET").arg(spending).arg(name));
    assert_eq!((field("in_day"), field("in_month")), (100_000_000, 100_000_000));
    // The number of the month that the script computed is that of the calendar, from March of the year 0.
    let today = tokenrill::domain::Timestamp::now().to_string();
    let [year, month] = [&today[..4], &today[5..7]].map(|part| part.parse::<u64>().expect("a number"));
    assert_eq!(field("month"), year * 12 + month - 3);
    for period in ["day", "month"] {
        redis.command::<i64>(cmd("HINCRBY").arg(spending).arg(period).arg(-1));
    }
    assert_eq!(generate(&service, &keys.web).await.status, 200, "a new month");
    let all: Vec<String> = redis.command(cmd("KEYS").arg(format!("{prefix}:*")));
    for key in all {
        assert!(redis.command::<i64>(cmd("PTTL").arg(&key)) > 0, "{key} expires");
        assert!(!key.contains("web"), "{key} names no caller");
    }
}

#[tokio::test]
async fn sums_wait_while_redis_is_away_and_are_added_once() {
    let (redis, keys) = (RedisServer::start(), Keys::new());
    let services =
        [replica(&redis, "tr", settings(&keys, "100")).await, replica(&redis, "tr", settings(&keys, "100")).await];
    generate(&services[0], &keys.other).await.events().await;
    has_attempts(&services[1], &keys.ops, 1).await;
    let mut running = Vec::new();
    for service in &services {
        let mut answer = generate(service, &keys.other).await;
        answer.expect("start").await;
        running.push(answer);
    }
    redis.pause();
    let refused = services[0].request(Method::GET, "/v1/usage").bearer_auth(&keys.ops.key);
    let refused = Answer::to(refused).await;
    assert_eq!((refused.status, refused.json().await["code"].clone()), (503, json!("event_log_unavailable")));
    redis.resume();
    for answer in running {
        answer.events().await;
    }
    for service in &services {
        has_attempts(service, &keys.ops, 3).await;
    }
    // Batches that were sent twice count once: nothing is added later.
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!(usage(&services[0], &keys.ops, "").await["data"][0]["attempts"], 3);
}

#[tokio::test]
async fn rows_beyond_the_bound_are_merged_and_old_days_are_removed() {
    let (redis, prefix, keys) = (RedisServer::shared(), unique_prefix(), Keys::new());
    let rows = format!("{prefix}:{{{prefix}.usage}}:s");
    let figures = "1 0 0 0 0 5 0 0 0 7 0 0 9";
    let today = tokenrill::domain::Day::of(tokenrill::domain::Timestamp::now());
    let yesterday = today.earlier(1);
    let row = |day: tokenrill::domain::Day, caller: &str| format!("{day} [\"key\",\"{caller}\",null,\"m\",\"u\"]");
    let mut fill = cmd("HSET");
    fill.arg(&rows).arg(row(today.earlier(70), "old")).arg(figures);
    for number in 0..20_000 {
        fill.arg(row(if number < 10 { yesterday } else { today }, &format!("c{number}"))).arg(figures);
    }
    redis.command::<i64>(&fill);
    let service = replica(redis, &prefix, settings(&keys, "100")).await;
    generate(&service, &keys.other).await.events().await;
    has_attempts(&service, &keys.other, 1).await;
    let by_day = usage(&service, &keys.ops, "?by=day").await;
    let days = by_day["data"].as_array().expect("rows");
    let sums: Vec<_> = days.iter().map(|row| (row["attempts"].as_u64(), row["output_tokens"].as_u64())).collect();
    assert_eq!(sums.len(), 2, "{by_day}");
    assert_eq!(sums[0], (Some(10), Some(70)), "yesterday, in one row");
    assert_eq!(sums[1].0, Some(19_990 + 1), "today");
    let count: u64 = redis.command(cmd("HLEN").arg(&rows));
    // The row of yesterday's callers, those of today, the new one, and the field of the oldest day.
    assert_eq!(count, 1 + 19_990 + 1 + 1);
}

#[tokio::test]
async fn calls_of_a_generation_that_was_taken_over_count_in_the_budget_beside_those_of_the_lost_replica() {
    let (redis, prefix, keys) = (RedisServer::shared(), unique_prefix(), Keys::new());
    let recovering = || {
        let mut settings = settings(&keys, "5");
        settings.event_log.redis.recover = RedisRecover::Restart;
        settings
    };
    let replicas = [replica(redis, &prefix, recovering()).await, replica(redis, &prefix, recovering()).await];
    let [lost, other] = &replicas;
    let body = json!({"input": "Hello", "model": "demo?tokens=10&rate=2", "max_completion_tokens": 10,
        "on_upstream_failure": "restart"});
    let mut first = Answer::to(lost.generation(&body).bearer_auth(&keys.web.key)).await;
    let id = first.expect("start").await.generation().to_owned();
    first.expect("delta").await;
    let head = format!("{prefix}:{{{}}}:g:{id}:h", &id[4..6]);
    redis.command::<i64>(cmd("HSET").arg(head).arg("ls").arg(0));
    let events = other.request(Method::GET, &format!("/v1/generations/{id}/events"));
    let events = Answer::to(events.bearer_auth(&keys.web.key).header(ACCEPT, "text/event-stream")).await.events().await;
    assert!(events.iter().any(|event| event.name == "restart"), "{events:?}");
    assert_eq!(events.last().map(|event| event.name.as_str()), Some("done"));
    let named: Vec<String> = redis.command(cmd("KEYS").arg(format!("{prefix}:{{{prefix}.limits}}:b:*")));
    let [spending] = named.as_slice() else { panic!("one caller has a budget: {named:?}") };
    assert_eq!(redis.command::<u64>(cmd("HGET").arg(spending).arg("in_month")), 200_000_000);
}
