//! The adapters of the upstreams that the settings name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio_util::task::TaskTracker;

use super::AppError;
use super::model_aliases::{Servers, aliases};
use super::upstream_connections::connection_terms;
use crate::demo::Demo;
use crate::domain::NamePattern;
use crate::settings::{DEFAULT_ANTHROPIC_VERSION, Secret, Settings, UpstreamDialect, UpstreamSettings};
use crate::upstream::{
    Anthropic, ApiVersion, BreakerTerms, CacheKeys, ChatTerms, ConnectionTerms, Endpoint, ErrorMessages, KeyHeader,
    Masker, MessageTerms, OpenAi, Provider, ReportTerms, RetryBudgetTerms, RetryTerms, Router, Timeouts,
    TransportBuilder, UpstreamServer, WholeAnswers,
};

/// Bytes. The demo's events have a few hundred.
const DEMO_MAX_EVENT: usize = 1 << 20;
/// Timeout of each step of the embedded model. Generous, because a request may ask the model to be slow;
/// `generation.max_duration` still limits the generation.
const DEMO_TIMEOUT: Duration = Duration::from_hours(1);
/// How long an idle connection to the embedded model stays in the pool.
const DEMO_KEEPALIVE: Duration = Duration::from_secs(90);

/// Returns the router over the upstreams of the settings and the embedded model.
pub fn router(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    demo: &Demo,
    transports: &TransportBuilder,
    tasks: TaskTracker,
) -> Result<Router, AppError> {
    let masker = masker(settings, environment, Some(demo))?;
    let mut servers = Servers::new();
    let mut others = Vec::new();
    for upstream in &settings.upstreams {
        let mut keys = upstream.api_keys(environment)?.into_iter();
        let connections = connection_terms(upstream, environment)?;
        if let Some(proxy) = &connections.proxy {
            tracing::info!(upstream = upstream.name, %proxy, "connections go through a proxy");
        }
        let adapter = |key: Option<Secret>| provider(settings, upstream, key, &masker, connections.clone(), transports);
        let first = adapter(keys.next())?;
        let other_keys = keys.map(|key| adapter(Some(key))).collect::<Result<_, _>>()?;
        let server = UpstreamServer::new(first, other_keys, retry_terms(upstream));
        servers.insert(upstream.name.clone(), Arc::clone(&server));
        others.push((upstream.models.iter().map(NamePattern::new).collect(), server));
    }

    let endpoint =
        Endpoint::new(&demo.base_url(), Some(demo.key.as_str().into()), &KeyHeader::Bearer, HeaderMap::new());
    let failed = |reason: String| AppError::Upstream { name: "demo".to_owned(), reason };
    let timeouts = Timeouts { head: DEMO_TIMEOUT, first_token: DEMO_TIMEOUT, idle: DEMO_TIMEOUT };
    let endpoint = endpoint.map_err(|error| failed(error.to_string()))?;
    let whole = WholeAnswers::Allowed { max_bytes: settings.generation.max_bytes.bytes() };
    let reports = ReportTerms { masker, messages: ErrorMessages::Pass };
    let terms = ChatTerms { max_event: DEMO_MAX_EVENT, whole, cache_keys: CacheKeys::Omitted };
    let connections = ConnectionTerms::direct(DEMO_TIMEOUT, DEMO_KEEPALIVE);
    let demo = OpenAi::new("demo", endpoint, timeouts, reports, terms, connections, transports);
    let demo = Arc::new(demo.map_err(|error| failed(error.to_string()))?);
    Ok(Router::new(demo, others, aliases(settings, &servers), settings.models.default.clone(), tasks))
}

/// Returns the adapter of an upstream for one of its keys.
pub fn provider(
    settings: &Settings,
    upstream: &UpstreamSettings,
    key: Option<Secret>,
    masker: &Masker,
    connections: ConnectionTerms,
    transports: &TransportBuilder,
) -> Result<Arc<dyn Provider>, AppError> {
    let key = key.map(|key| key.expose().into());
    let failed = |reason: String| AppError::Upstream { name: upstream.name.clone(), reason };
    let key_header = match upstream.key_header().as_str() {
        "authorization" => KeyHeader::Bearer,
        name => KeyHeader::Named(name.parse().map_err(|_| failed("auth_header is not a header name".to_owned()))?),
    };
    let endpoint = Endpoint::new(upstream.base_url.as_str(), key, &key_header, headers(upstream)?);
    let endpoint = endpoint.map_err(|error| failed(error.to_string()))?;
    let timeouts = Timeouts {
        head: upstream.head_timeout,
        first_token: upstream.first_token_timeout,
        idle: upstream.idle_timeout,
    };
    let reports = ReportTerms { masker: masker.clone(), messages: upstream.errors };
    let max_event = upstream.max_event.bytes().min(settings.generation.max_bytes.bytes());
    let name = &upstream.name;
    let provider: Arc<dyn Provider> = match upstream.dialect {
        UpstreamDialect::OpenAi => {
            let whole = if upstream.always_stream {
                WholeAnswers::Never
            } else {
                WholeAnswers::Allowed { max_bytes: settings.generation.max_bytes.bytes() }
            };
            let cache_keys = if upstream.sends_prompt_cache_key() { CacheKeys::Sent } else { CacheKeys::Omitted };
            let terms = ChatTerms { max_event, whole, cache_keys };
            let openai = OpenAi::new(name, endpoint, timeouts, reports, terms, connections, transports);
            Arc::new(openai.map_err(|error| failed(error.to_string()))?)
        }
        UpstreamDialect::Anthropic => {
            let version = upstream.anthropic_version.as_deref().unwrap_or(DEFAULT_ANTHROPIC_VERSION);
            let version = ApiVersion::new(version).map_err(|error| failed(error.to_string()))?;
            let terms = MessageTerms { version, max_event };
            let anthropic = Anthropic::new(name, endpoint, timeouts, reports, terms, connections, transports);
            Arc::new(anthropic.map_err(|error| failed(error.to_string()))?)
        }
    };
    Ok(provider)
}

/// Masks every secret that an upstream's error message could repeat.
pub fn masker(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    demo: Option<&Demo>,
) -> Result<Masker, AppError> {
    let mut secrets: Vec<_> = demo.iter().map(|demo| demo.key.as_str().into()).collect();
    for upstream in &settings.upstreams {
        secrets.extend(upstream.api_keys(environment)?.iter().map(|key| key.expose().into()));
        secrets.extend(upstream.headers.values().map(|value| value.expose().into()));
        secrets.extend(upstream.base_url.query_secrets().into_iter().map(Into::into));
    }
    let hosts = settings.upstreams.iter().filter_map(|upstream| upstream.base_url.host());
    Ok(Masker::new(secrets, hosts))
}

fn headers(upstream: &UpstreamSettings) -> Result<HeaderMap, AppError> {
    let pairs = upstream.headers.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        name.zip(HeaderValue::from_str(value.expose()).ok())
    });
    pairs.collect::<Option<HeaderMap>>().ok_or_else(|| AppError::Upstream {
        name: upstream.name.clone(),
        reason: "its headers contain characters that are not valid in HTTP headers".to_owned(),
    })
}

/// Returns how attempts at an upstream are repeated.
const fn retry_terms(upstream: &UpstreamSettings) -> RetryTerms {
    let UpstreamSettings { max_retries, retry_budget, breaker, first_token_timeout, cancel_bills, .. } = upstream;
    RetryTerms {
        max_retries: *max_retries,
        budget: RetryBudgetTerms { ratio: retry_budget.ratio, min_per_second: retry_budget.min_per_second },
        breaker: BreakerTerms { failures: breaker.failures, open: breaker.open },
        first_token: *first_token_timeout,
        cancel_bills: *cancel_bills,
    }
}
