//! The metrics of the Redis server that replicas share.

use std::collections::BTreeMap;

use tokio::task::yield_now;

use crate::replicas::ready;
use crate::support::redis_server::{RedisServer, unique_prefix};
use crate::support::{Service, soon};

/// Waits until the metrics have these lines.
async fn become_lines(service: &Service, lines: &[&str]) -> String {
    soon(async {
        loop {
            let metrics = service.get("/metrics").await.text().await;
            if lines.iter().all(|wanted| metrics.lines().any(|line| line == *wanted)) {
                return metrics;
            }
            yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn metrics_tell_whether_redis_answers_and_for_how_long_it_has_not() {
    let redis = RedisServer::start();
    let (mut settings, mut environment) = (Service::settings("http://127.0.0.1:1/v1"), BTreeMap::new());
    redis.serve(&mut settings, &mut environment, &unique_prefix());
    let service = ready(Service::in_environment(settings, environment).await).await;
    let (commands, messages) =
        ("tokenrill_redis_up{connection=\"commands\"}", "tokenrill_redis_up{connection=\"messages\"}");
    let up = [&format!("{commands} 1")[..], &format!("{messages} 1"), "tokenrill_redis_outage_seconds 0.0"];
    let metrics = become_lines(&service, &up).await;
    assert!(service.metric("tokenrill_redis_calls_total{result=\"answered\"}").await >= 1.0, "{metrics}");
    let failed = "tokenrill_redis_calls_total{result=\"failed\"}";
    let failed_before = service.metric(failed).await;
    redis.pause();
    assert_eq!(service.get("/readyz").await.status, 503);
    become_lines(&service, &[&format!("{commands} 0"), &format!("{messages} 0")]).await;
    assert!(service.metric("tokenrill_redis_outage_seconds").await > 0.0);
    assert!(service.metric(failed).await > failed_before);
    redis.resume();
    let service = ready(service).await;
    become_lines(&service, &up).await;
}

#[tokio::test]
async fn service_without_redis_has_no_metrics_of_it() {
    // Settings of the log in memory, so that it stays there in every run.
    let mut settings = Service::settings("http://127.0.0.1:1/v1");
    settings.event_log.memory.max_bytes = "100MiB".parse().expect("a size");
    let service = Service::with(settings).await;
    assert!(!service.get("/metrics").await.text().await.contains("tokenrill_redis"));
}
