//! The composition root: builds everything out of the settings and serves it until a shutdown. The
//! only room that names concrete adapters.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{
    self, Admission, Api, BodyLimits, ChannelTerms, Connections, Door, EndsTold, Hosts, Origins, TrustedProxies,
};
use crate::auth::{
    ApiKey, FetchError, FetchedJwts, Gate, Identity, Issuer, Jwts, LONGEST_JWKS, SCOPES, Scopes, Tickets, Trust,
    fetch_from,
};
use crate::channel::Channels;
use crate::domain::{AllowedModels, NamePattern, Principal, Quota};
use crate::event_log::{ChannelLimits, ChannelLogs, Memory, MemoryChannels, MemoryLimits};
use crate::generation::{Generations, OnDisconnect, Terms};
use crate::limits::{Limits, Policy, WhenFull};
use crate::server;
use crate::settings::{self, Settings, SettingsError, Upstream};
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;
use crate::upstream::{Endpoint, OpenAi, Provider, Router, Timeouts, demo};

/// Why the service could not begin.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("upstream {name}: {reason}")]
    Upstream { name: String, reason: String },
    #[error("the embedded model needs a loopback port: {0}")]
    Demo(#[from] std::io::Error),
    #[error(
        "auth.mode is \"required\" and there is no key, so nobody could call: run `tokenrill key new` and write \
         what it prints to the settings file"
    )]
    NoApiKeys,
    #[error("the key `{name}` of auth.api_keys is not good, for its {what}")]
    ApiKey { name: String, what: String },
    #[error(
        "auth.ticket_secret_env names no environment variable of at least 32 bytes: set that variable, or remove the setting"
    )]
    TicketSecret,
    #[error(
        "auth.jwt.secret_env names no environment variable of at least 32 bytes: set that variable, or remove the setting"
    )]
    JwtSecret,
    #[error("the file that auth.jwt.jwks_file names cannot be used: {0}")]
    Jwks(String),
    #[error("the keys that auth.jwt.jwks_url names cannot be used: {0}")]
    JwksUrl(#[from] FetchError),
    #[error("the system has no random bytes: {0}")]
    Random(String),
}

/// The shortest secret that tickets are signed under, in bytes.
const LEAST_SECRET: usize = 32;
/// The longest name of a key, in bytes: it is part of each ticket that is made with the key.
const LONGEST_NAME: usize = 256;
/// Connections of operators, who must not take the descriptors of everybody.
const ADMIN_CONNECTIONS: usize = 100;
/// How long the embedded model may take for each step: it may be asked to be slow, and
/// `generation.max_duration` ends it all the same.
const DEMO_PATIENCE: Duration = Duration::from_hours(1);
/// How long ended generations get to close their upstream connections, once the service stops.
const TASKS_END: Duration = Duration::from_secs(2);

/// What the settings say of the listener.
pub fn limits(settings: &Settings) -> server::Limits {
    let settings::Server { max_connections, head_timeout, ping_interval, ping_timeout, max_streams, max_head, .. } =
        &settings.server;
    server::Limits {
        first_request: *head_timeout,
        header: *head_timeout,
        write_timeout: settings.generation.write_timeout,
        ping_interval: *ping_interval,
        ping_timeout: *ping_timeout,
        buffer: max_head.bytes(),
        header_list: u32::try_from(max_head.bytes()).unwrap_or(u32::MAX),
        concurrent_streams: max_streams.get(),
        connections: max_connections.get() as usize,
        ..server::Limits::default()
    }
}

/// Where the service listens.
pub struct Listeners {
    pub public: TcpListener,
    /// For operators alone (`server.admin_listen`).
    pub admin: Option<TcpListener>,
}

/// Serves on `listeners` until `shutdown` has come to its end.
///
/// Draining: new generations are refused, live ones end within `server.shutdown_grace`. Then, or when
/// `shutdown` is closed, what is left ends as `failed`, and connections close.
pub async fn serve(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    admission: watch::Receiver<Admission>,
    listeners: Listeners,
    bounds: server::Limits,
    shutdown: Shutdown,
) -> Result<(), AppError> {
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    let _stop_on_return = stop.clone().drop_guard();

    let demo = demo::start(&tasks, stop.clone()).await?;
    let router = router(settings, environment, &demo)?;
    let metrics = Metrics::new();
    let log = Memory::new(MemoryLimits {
        total: settings.event_log.memory.max_bytes.bytes(),
        generation: settings.generation.max_bytes.bytes(),
        retention: settings.generation.retention,
    });
    tasks.spawn({
        let (log, stop) = (log.clone(), stop.clone());
        async move { _ = stop.run_until_cancelled(log.expire()).await }
    });
    let channel_logs = Arc::new(MemoryChannels::new(ChannelLimits {
        history: settings.channels.history as usize,
        retention: settings.channels.retention,
        bytes: settings.channels.max_bytes.bytes(),
        total: settings.channels.max_bytes_total.bytes(),
        channels: settings.channels.max_channels.get() as usize,
    }));
    let limits = Limits::default();
    tasks.spawn({
        let (limits, stop) = (limits.clone(), stop.clone());
        async move { _ = stop.run_until_cancelled(limits.sweep()).await }
    });
    let running = TaskTracker::new();
    let generations = Generations::new(
        Arc::new(log.clone()),
        router,
        Terms {
            max_duration: settings.generation.max_duration,
            on_disconnect: on_disconnect(settings),
            grace: settings.generation.grace,
        },
        limits,
        Arc::clone(&metrics),
        running.clone(),
    );
    let channels = Channels::new(
        Arc::clone(&channel_logs) as Arc<dyn ChannelLogs>,
        settings.channels.max_subscribers.get() as usize,
        Arc::clone(&metrics),
    );
    tasks.spawn({
        let (channels, metrics, log, stop) = (channels.clone(), Arc::clone(&metrics), log.clone(), stop.clone());
        let logged = move || log.bytes() + channel_logs.bytes();
        async move { _ = stop.run_until_cancelled(channels.run(&metrics, logged)).await }
    });
    let connections = Connections::default();
    let api = Api {
        generations: generations.clone(),
        channels: channels.clone(),
        metrics,
        admission,
        connections: connections.clone(),
        // Without a word on authentication the listener is on loopback, and loopback is all it trusts.
        hosts: if settings.auth.mode.is_none() { Hosts::Loopback } else { Hosts::Any },
        ends_told: Arc::new(EndsTold::default()),
        heartbeat: settings.generation.heartbeat,
        head_wait: settings.generation.head_wait,
        body: BodyLimits { size: settings.server.max_body.bytes(), time: settings.server.body_timeout },
        channel_terms: ChannelTerms {
            max_event: settings.channels.max_event.bytes(),
            idle: settings.channels.idle_timeout,
        },
    };
    let Listeners { public, admin } = listeners;
    let door = if admin.is_some() { Door::Public } else { Door::Sole };
    let serving = server::serve(public, api::router(api.clone(), door), bounds.clone(), shutdown.closing_token());
    let serving_operators = async {
        let Some(listener) = admin else { return };
        // Who may call without a key is asked for a name of this machine by the gate.
        let api = api::router(Api { hosts: Hosts::Any, ..api }, Door::Admin);
        let bounds = server::Limits { connections: ADMIN_CONNECTIONS, ..bounds };
        server::serve(listener, api, bounds, shutdown.closing_token()).await;
    };
    let drained = async {
        shutdown.draining().await;
        connections.drain();
        drain(&generations, &running, settings.server.shutdown_grace, &shutdown).await;
        channels.close().await;
        connections.end();
        shutdown.close();
    };
    tokio::join!(serving, serving_operators, drained);
    Ok(())
}

async fn drain(generations: &Generations, running: &TaskTracker, grace: Duration, shutdown: &Shutdown) {
    generations.drain();
    tracing::info!(live = generations.count(), "draining");
    running.close();
    tokio::select! {
        _ = timeout(grace, running.wait()) => {}
        () = shutdown.closing() => {}
    }
    generations.end_all();
    if timeout(TASKS_END, running.wait()).await.is_err() {
        tracing::warn!(live = generations.count(), "generations did not end in time: they are cut off");
        generations.abort_all();
    }
}

fn router(settings: &Settings, environment: &BTreeMap<String, String>, demo: &demo::Demo) -> Result<Router, AppError> {
    let others = settings.upstreams.iter().map(|upstream| {
        let key = upstream.api_key(environment)?;
        let failed = |reason: String| AppError::Upstream { name: upstream.name.clone(), reason };
        let endpoint =
            Endpoint::new(upstream.base_url.as_str(), key.map(|key| key.expose().into()), headers(upstream)?);
        let timeouts = Timeouts {
            connect: upstream.connect_timeout,
            head: upstream.head_timeout,
            first_token: upstream.first_token_timeout,
            idle: upstream.idle_timeout,
        };
        let endpoint = endpoint.map_err(|error| failed(error.to_string()))?;
        let provider = OpenAi::new(endpoint, timeouts).map_err(|error| failed(error.to_string()))?;
        let models = upstream.models.iter().map(NamePattern::new).collect();
        Ok((models, Arc::new(provider) as Arc<dyn Provider>))
    });
    let others = others.collect::<Result<Vec<_>, AppError>>()?;

    let endpoint = Endpoint::new(&demo.base_url(), Some(demo.key.as_str().into()), HeaderMap::new());
    let failed = |reason: String| AppError::Upstream { name: "demo".to_owned(), reason };
    let timeouts =
        Timeouts { connect: DEMO_PATIENCE, head: DEMO_PATIENCE, first_token: DEMO_PATIENCE, idle: DEMO_PATIENCE };
    let demo = OpenAi::new(endpoint.map_err(|error| failed(error.to_string()))?, timeouts);
    let demo = Arc::new(demo.map_err(|error| failed(error.to_string()))?);
    Ok(Router::new(demo, others, settings.models.default.clone()))
}

/// What goes on when the settings are read again.
#[derive(Clone)]
pub struct Kept {
    /// Of the process: what they have signed stays good.
    pub tickets: Tickets,
    /// The issuer's keys, where the settings trust the same issuer as before: its being out of reach must not keep
    /// other changes out.
    pub issuer: Option<Arc<FetchedJwts>>,
}

/// Who is let in, by the settings.
pub fn admission(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    kept: Kept,
) -> Result<Admission, AppError> {
    let Kept { tickets, issuer: kept } = kept;
    let keys = settings.auth.api_keys.iter().map(api_key).collect::<Result<_, _>>()?;
    let gate = match settings.auth.mode {
        Some(settings::AuthMode::Required) => {
            Gate::Required { keys, issuer: issuer(&settings.auth.jwt, environment, kept)?, tickets }
        }
        None | Some(settings::AuthMode::None) => Gate::Open { tickets },
    };
    let cookie = settings.auth.cookie.as_deref().map(Into::into);
    let proxies = settings.server.trusted_proxies.iter().map(|network| network.0).collect();
    Ok(Admission {
        gate: Arc::new(gate),
        origins: origins(settings),
        cookie,
        policy: Arc::new(policy(&settings.limits)),
        proxies: TrustedProxies(proxies),
    })
}

/// What tickets are signed with.
pub fn tickets(settings: &Settings, environment: &BTreeMap<String, String>) -> Result<Tickets, AppError> {
    let Some(variable) = &settings.auth.ticket_secret_env else {
        return Tickets::random().map_err(|error| AppError::Random(error.to_string()));
    };
    match environment.get(variable).map(|secret| secret.trim()) {
        Some(secret) if secret.len() >= LEAST_SECRET => Ok(Tickets::new(secret.as_bytes())),
        _ => Err(AppError::TicketSecret),
    }
}

/// Whose tokens the settings trust. A file is read now, an address from now on.
fn issuer(
    jwt: &settings::Jwt,
    environment: &BTreeMap<String, String>,
    kept: Option<Arc<FetchedJwts>>,
) -> Result<Option<Issuer>, AppError> {
    if let Some(kept) = kept {
        kept.refresh();
        return Ok(Some(Issuer::Fetched(kept)));
    }
    let (Some(issuer), Some(audience)) = (&jwt.issuer, &jwt.audience) else { return Ok(None) };
    let trust = Trust { limits_claim: jwt.limits_claim.clone(), ..Trust::of(issuer, audience) };
    if let Some(url) = &jwt.jwks_url {
        return Ok(Some(Issuer::Fetched(Arc::new(FetchedJwts::start(fetch_from(url.as_str())?, trust)))));
    }
    if let Some(variable) = &jwt.secret_env {
        return match environment.get(variable).map(|secret| secret.trim()) {
            Some(secret) if secret.len() >= LEAST_SECRET => {
                Ok(Some(Issuer::Fixed(Jwts::of_secret(secret.as_bytes(), trust))))
            }
            _ => Err(AppError::JwtSecret),
        };
    }
    let Some(path) = &jwt.jwks_file else { return Ok(None) };
    let mut text = String::new();
    let file = File::open(path).and_then(|file| file.take(LONGEST_JWKS as u64 + 1).read_to_string(&mut text));
    file.map_err(|error| AppError::Jwks(error.to_string()))?;
    if text.len() > LONGEST_JWKS {
        return Err(AppError::Jwks("it is longer than 256 KiB".to_owned()));
    }
    let jwts = Jwts::of_jwks(&text, trust).map_err(|error| AppError::Jwks(error.to_string()))?;
    Ok(Some(Issuer::Fixed(jwts)))
}

fn api_key(key: &settings::ApiKey) -> Result<ApiKey, AppError> {
    let wrong = |what: String| AppError::ApiKey { name: key.name.clone(), what };
    let scopes = key.scopes.as_ref().map(|scopes| Scopes::read(scopes.iter().map(String::as_str)));
    let models = key.models.as_ref().map(|models| models.iter().map(NamePattern::new).collect());
    if !(1..=LONGEST_NAME).contains(&key.name.len()) || key.name.chars().any(char::is_control) {
        return Err(wrong("name: from 1 to 256 bytes, without control characters".to_owned()));
    }
    Ok(ApiKey {
        hash: key.hash.parse().map_err(|_| wrong("hash: write it as `tokenrill key new` printed it".to_owned()))?,
        identity: Identity {
            principal: Principal::Named(key.name.as_str().into()),
            scopes: scopes.unwrap_or_else(|| Ok(Scopes::usual())).map_err(|_| wrong(format!("scopes: {SCOPES}")))?,
            models: models.map_or(AllowedModels::All, AllowedModels::These),
            quota: key.limits.as_ref().map_or(Quota::NONE, quota),
            ..Identity::anonymous()
        },
    })
}

fn policy(limits: &settings::Limits) -> Policy {
    let models = limits.models.iter().map(|limits| {
        let settings::ModelLimits { model, requests_per_minute, tokens_per_minute, max_output_tokens, max_choices } =
            limits;
        let quota = Quota {
            requests_per_minute: *requests_per_minute,
            tokens_per_minute: *tokens_per_minute,
            concurrent_generations: None,
            connections: None,
            max_output_tokens: *max_output_tokens,
            max_choices: *max_choices,
        };
        (NamePattern::new(model), quota)
    });
    Policy {
        each: quota(&limits.each),
        models: models.collect(),
        generations: limits.concurrent_generations_total,
        connections: limits.connections_total,
        when_full: match limits.connections_full {
            settings::ConnectionsFull::Refuse => WhenFull::Refuse,
            settings::ConnectionsFull::CloseOldest => WhenFull::CloseOldest,
        },
        waiting: limits.queue.max_waiting as usize,
        wait: limits.queue.max_wait,
    }
}

const fn quota(quota: &settings::Quota) -> Quota {
    Quota {
        requests_per_minute: quota.requests_per_minute,
        tokens_per_minute: quota.tokens_per_minute,
        concurrent_generations: quota.concurrent_generations,
        connections: quota.connections,
        max_output_tokens: quota.max_output_tokens,
        max_choices: quota.max_choices,
    }
}

fn origins(settings: &Settings) -> Origins {
    match (&settings.cors.origins, settings.auth.mode) {
        (Some(origins), _) => Origins::These(origins.as_slice().into()),
        (None, Some(settings::AuthMode::Required)) => Origins::These([].into()),
        (None, None | Some(settings::AuthMode::None)) => Origins::Loopback,
    }
}

fn on_disconnect(settings: &Settings) -> OnDisconnect {
    match settings.generation.on_disconnect {
        settings::OnDisconnect::Cancel => OnDisconnect::Cancel,
        settings::OnDisconnect::Continue => OnDisconnect::Continue,
    }
}

fn headers(upstream: &Upstream) -> Result<HeaderMap, AppError> {
    let pairs = upstream.headers.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        name.zip(HeaderValue::from_str(value.expose()).ok())
    });
    pairs.collect::<Option<HeaderMap>>().ok_or_else(|| AppError::Upstream {
        name: upstream.name.clone(),
        reason: "its headers hold characters that cannot be sent".to_owned(),
    })
}
