//! Checks that each configured upstream lists its models.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::AppError;
use super::upstream_connections::connection_terms;
use super::upstreams::{masker, provider};
use crate::domain::{NamePattern, NamePatterns};
use crate::settings::{Secret, Settings, UpstreamSettings};
use crate::upstream::{AttemptErrorKind, ModelListError, Phase, Provider, TransportBuilder, list_url};

/// The result for one upstream. Its `Display` is one line.
#[derive(Debug)]
pub struct UpstreamCheck {
    name: String,
    url: String,
    result: Result<ModelCounts, ModelListError>,
}

#[derive(Debug)]
struct ModelCounts {
    models: usize,
    /// The number of models that match a pattern of the upstream's `models`.
    served: usize,
}

/// For each upstream.
const TIMEOUT: Duration = Duration::from_secs(10);

impl UpstreamCheck {
    pub fn is_ok(&self) -> bool {
        self.result.is_ok()
    }
}

/// Requests the list of models from all upstreams concurrently, with each of their keys, with a timeout of 10 s for each.
pub async fn check_upstreams(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<UpstreamCheck>, AppError> {
    let masker = masker(settings, environment, None)?;
    let stop = CancellationToken::new();
    let _stop_on_return = stop.clone().drop_guard();
    let transports = TransportBuilder::new(TaskTracker::new(), stop);
    let mut checks = Vec::new();
    for upstream in &settings.upstreams {
        let keys = upstream.api_keys(environment)?;
        let connections = connection_terms(upstream, environment)?;
        let adapter =
            |key: Option<Secret>| provider(settings, upstream, key, &masker, connections.clone(), &transports);
        if keys.is_empty() {
            checks.push((upstream, None, adapter(None)?));
        }
        let has_several = keys.len() > 1;
        for (number, key) in (1..).zip(keys) {
            let number = has_several.then_some(number);
            checks.push((upstream, number, adapter(Some(key))?));
        }
    }
    Ok(join_all(checks.iter().map(|(upstream, key, provider)| check(upstream, *key, &**provider))).await)
}

async fn check(upstream: &UpstreamSettings, key: Option<usize>, provider: &dyn Provider) -> UpstreamCheck {
    let identity = provider.identity();
    let models = timeout(TIMEOUT, provider.models()).await.unwrap_or(Err(AttemptErrorKind::Timeout(Phase::Head)));
    let patterns: NamePatterns = upstream.models.iter().map(NamePattern::new).collect();
    let result = match models {
        Ok(models) => Ok(ModelCounts {
            models: models.len(),
            served: models.iter().filter(|model| patterns.match_any(&model.id)).count(),
        }),
        Err(error) => Err(ModelListError::new(identity, error)),
    };
    let name = match key {
        Some(number) => format!("{} (key {number})", upstream.name),
        None => upstream.name.clone(),
    };
    UpstreamCheck { name, url: list_url(identity), result }
}

impl fmt::Display for UpstreamCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upstream {} {}: ", self.name, self.url)?;
        match &self.result {
            Ok(ModelCounts { models, served }) if models == served => write!(f, "ok, {models} models"),
            Ok(ModelCounts { models, served }) => write!(f, "ok, {models} models, {served} of them match its `models`"),
            Err(failure) => write!(f, "failed: {failure}"),
        }
    }
}
