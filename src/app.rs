//! The composition root: builds the service from the settings and serves until a shutdown. The only module that names
//! concrete adapters.

mod admission;
mod counted_limits;
mod measures;
mod model_aliases;
mod reloadable;
mod replica_connections;
mod shared_redis;
mod stored_channels;
mod stored_logs;
mod upstream_check;
mod upstream_connections;
mod upstreams;
mod usage;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{
    self, Api, BodyLimits, BodyMemory, ChannelTerms, Connections, DeliveredEnds, Hosts, LargeBodies, ListenerRole,
    OtherReplicas,
};
use crate::auth::FetchError;
use crate::demo;
use crate::domain::Account;
use crate::event_log::Memory;
use crate::generation::{Generations, RequestMemory, Terms};
use crate::limits::Limiter;
use crate::prompts::CatalogError;
use crate::server::{self, OpenConnections, Threads};
use crate::settings::{self, Settings, SettingsError, UpstreamSettings};
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;
use crate::upstream::TransportBuilder;
use crate::usage::{LedgerError, OpenedLedger, PriceFileError, SharedSums};

pub use admission::{Kept, admission, tickets};
pub use reloadable::{Reloadable, Replacement};
pub use upstream_check::{UpstreamCheck, check_upstreams};
pub use upstream_connections::check_connections;
pub use usage::prices;

use measures::{capacities, evictions, redis_figures, retry_counts, upstream_figures};
use replica_connections::ReplicaConnections;
use stored_channels::StoredChannels;
use stored_logs::StoredLogs;

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("upstream {name}: {reason}")]
    Upstream { name: String, reason: String },
    #[error("the embedded model could not start: {0}")]
    Demo(#[from] std::io::Error),
    #[error(
        "auth.mode is \"required\" and there is no key, so every request would be refused: run `tokenrill key new` \
         and add its output to the settings file"
    )]
    NoApiKeys,
    #[error("the key `{name}` of auth.api_keys is not valid: {what}")]
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
    #[error("the key set at auth.jwt.jwks_url cannot be used: {0}")]
    JwksUrl(#[from] FetchError),
    #[error(transparent)]
    Prompts(#[from] CatalogError),
    #[error(
        "event_log.redis.url_env or url_file does not lead to the address of a server: write an address such as \
         redis://127.0.0.1:6379 there"
    )]
    RedisUrl,
    #[error("the file that usage.prices_file names cannot be used: {0}")]
    PriceFile(#[from] PriceFileError),
    #[error("the folder that usage.path names cannot be used: {0}")]
    Ledger(#[from] LedgerError),
    #[error("auth.mode cannot be changed by a reload: restart to apply it")]
    AuthMode,
    #[error("the operating system returned no random bytes: {0}")]
    Random(String),
}

/// Limit of the operators' listener, so that its connections cannot use up the descriptors of the public listener.
const ADMIN_CONNECTIONS: usize = 100;
/// How long a load balancer takes to notice that this replica is not ready.
const READINESS_TIME: Duration = Duration::from_secs(5);
/// How long the tasks of ended generations may take to close their upstream connections when the service stops.
const TASK_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the limits of the listener that the settings define.
pub fn limits(settings: &Settings) -> server::ListenerLimits {
    let settings::ServerSettings {
        max_connections,
        head_timeout,
        ping_interval,
        ping_timeout,
        max_streams,
        max_head,
        ..
    } = &settings.server;
    server::ListenerLimits {
        first_request: *head_timeout,
        header: *head_timeout,
        write_timeout: settings.generation.write_timeout,
        ping_interval: *ping_interval,
        ping_timeout: *ping_timeout,
        buffer: max_head.bytes(),
        header_list: u32::try_from(max_head.bytes()).unwrap_or(u32::MAX),
        concurrent_streams: max_streams.get(),
        connections: max_connections.get() as usize,
        ..server::ListenerLimits::default()
    }
}

/// The sockets that the service accepts connections on.
pub struct Listeners {
    pub public: TcpListener,
    /// For operators only (`server.admin_listen`).
    pub admin: Option<TcpListener>,
}

/// Lets the generations of lost replicas begin anew here until `stop`.
fn recover(
    generations: &Generations,
    reloadable: &Reloadable,
    bodies: BodyMemory,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let (generations, stop, policy) = (generations.clone(), stop.clone(), reloadable.admission());
    let hold =
        move |account: &Account, bytes| bodies.hold(account, bytes).ok().map(|held| Box::new(held) as RequestMemory);
    let recovering = async move { generations.recover(move || Arc::clone(&policy.borrow().policy), hold).await };
    tasks.spawn(async move { stop.run_until_cancelled(recovering).await });
}

/// Serves on `listeners` until `shutdown` has closed.
///
/// While draining, new generations are refused, and live ones may run on for `server.shutdown_grace`. After that, or
/// when `shutdown` is closed, the remaining generations end as `failed`, and connections close.
pub async fn serve(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    reloadable: &Reloadable,
    listeners: Listeners,
    bounds: server::ListenerLimits,
    threads: Threads,
    shutdown: Shutdown,
) -> Result<(), AppError> {
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    let _stop_on_return = stop.clone().drop_guard();

    let demo = demo::start(&tasks, stop.clone()).await?;
    let transports = TransportBuilder::new(tasks.clone(), stop.clone());
    let router = upstreams::router(settings, environment, &demo, &transports, tasks.clone())?;
    let metrics = metrics(settings);
    metrics.set_upstreams(upstream_figures(router.breakers_source()));
    let opened = usage::ledger(settings, reloadable.prices(), &metrics)?;
    metrics.set_retry_counts(retry_counts(&transports.retries()));
    let redis = shared_redis::start(settings, environment, metrics.replica(), &tasks, &stop)?;
    if let Some(redis) = &redis {
        metrics.set_redis(redis_figures(redis.clone()));
        opened.share(SharedSums::start(redis.clone(), Arc::clone(&metrics)));
    }
    let OpenedLedger { ledger, spent, .. } = opened;
    let logs = StoredLogs::start(settings, redis.as_ref(), &tasks, &stop);
    let channel_logs = StoredChannels::start(settings, redis.as_ref(), &tasks, &stop);
    let connections = Connections::new(settings.server.max_connections.get() as usize);
    let body_memory = BodyMemory::new(settings.server.max_body_memory.bytes());
    let held = (connections.clone(), body_memory.clone());
    metrics.set_capacities(capacities(settings, &bounds, logs.memory(), &channel_logs, held));
    metrics.set_totals(evictions(logs.memory(), channel_logs.clone()));
    let running = TaskTracker::new();
    let limits = Limiter::new(counted_limits::start(settings, redis.as_ref(), spent, &tasks, &stop), running.clone());
    let generations = Generations::new(
        logs.port(),
        router,
        terms(settings),
        limits.clone(),
        Arc::clone(&metrics),
        running.clone(),
        ledger.clone(),
    );
    recover(&generations, reloadable, body_memory.clone(), &tasks, &stop);
    let channels = channel_logs.service(settings.channels.max_subscribers.get() as usize, Arc::clone(&metrics));
    tasks.spawn({
        let (channels, metrics, stop) = (channels.clone(), Arc::clone(&metrics), stop.clone());
        let logged = move || logs.memory().map_or(0, Memory::bytes) + channel_logs.bytes();
        async move { _ = stop.run_until_cancelled(channels.run(&metrics, logged)).await }
    });
    let api = Api {
        generations: generations.clone(),
        channels: channels.clone(),
        limits,
        metrics,
        ledger: ledger.clone(),
        admission: reloadable.admission(),
        connections: connections.clone(),
        other_replicas: redis
            .as_ref()
            .map(|client| ReplicaConnections::start(client, &connections, &tasks) as Arc<dyn OtherReplicas>),
        // Without `auth.mode` the service listens on loopback only. It then accepts only loopback names in `Host`, as a
        // protection against DNS rebinding.
        hosts: if settings.auth.mode.is_none() { Hosts::Loopback } else { Hosts::Any },
        delivered_ends: Arc::new(DeliveredEnds::default()),
        heartbeat: settings.generation.heartbeat,
        head_wait: settings.generation.head_wait,
        body_memory,
        large_bodies: LargeBodies::default(),
        body: BodyLimits { size: settings.server.max_body.bytes(), time: settings.server.body_timeout },
        channel_terms: ChannelTerms {
            max_event: settings.channels.max_event.bytes(),
            idle: settings.channels.idle_timeout,
        },
    };
    let Listeners { public, admin } = listeners;
    let role = if admin.is_some() { ListenerRole::Public } else { ListenerRole::Sole };
    let service = api::router(api.clone(), role);
    let serving = server::serve(public, service, bounds.clone(), threads, shutdown.closing_token());
    let serving_operators = async {
        let Some(listener) = admin else { return };
        // `gate` itself checks the `Host` of operators that call without a key.
        let api = api::router(Api { hosts: Hosts::Any, ..api }, ListenerRole::Admin);
        let open = OpenConnections::default();
        let bounds = server::ListenerLimits { connections: ADMIN_CONNECTIONS, open, ..bounds };
        server::serve(listener, api, bounds, Threads::current(), shutdown.closing_token()).await;
    };
    let drained = async {
        shutdown.draining().await;
        connections.drain();
        let moving = async {
            if redis.is_some() {
                move_viewers(&generations, &connections).await;
            }
            pending::<()>().await;
        };
        tokio::select! {
            () = drain(&generations, &running, settings.server.shutdown_grace, &shutdown) => {}
            () = moving => {}
        }
        channels.close().await;
        connections.end();
        shutdown.close();
    };
    tokio::join!(serving, serving_operators, drained);
    ledger.close().await;
    Ok(())
}

fn terms(settings: &Settings) -> Terms {
    Terms {
        max_duration: settings.generation.max_duration,
        on_disconnect: settings.generation.on_disconnect,
        grace: settings.generation.grace,
        upstream_messages: settings.telemetry.upstream_messages,
    }
}

/// Sends the viewers to the other replicas once load balancers have noticed that this one is not ready.
async fn move_viewers(generations: &Generations, connections: &Connections) {
    generations.expect_moves();
    sleep(READINESS_TIME).await;
    connections.move_streams();
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
    if timeout(TASK_SHUTDOWN_TIMEOUT, running.wait()).await.is_err() {
        tracing::warn!(live = generations.count(), "generations did not end in time: aborting their tasks");
        generations.abort_all();
    }
}

/// Metrics with a series for each model that the settings name.
fn metrics(settings: &Settings) -> Arc<Metrics> {
    let metrics = Metrics::new();
    metrics.add_upstream("demo", ["demo"]);
    for UpstreamSettings { name, models, .. } in &settings.upstreams {
        metrics.add_upstream(name, models.iter().map(String::as_str).filter(|model| !model.contains('*')));
    }
    for target in settings.models.aliases.values().flat_map(|alias| &alias.targets) {
        metrics.add_upstream(target.split().map_or("", |(name, _)| name), target.split().map(|(_, model)| model));
    }
    metrics
}
