//! An open connection for commands.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{Client, Cmd, FromRedisValue, InfoDict, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use tokio::sync::Notify;

use super::address::RedisAddress;

/// A connection, with its failures. Once it has failed, it is replaced by another one.
pub struct CommandLink {
    route: CommandRoute,
    /// Timeouts in a row.
    timeouts: AtomicU32,
    failed: Notify,
}

/// Sends commands to the server that has their keys. Clones share the connection.
#[derive(Clone)]
pub enum CommandRoute {
    Server(ConnectionManager),
    /// One connection for each node.
    Cluster(ClusterConnection),
}

/// How long one attempt waits for its reply, and for its connection.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(1);
/// The first wait before a call is repeated.
pub const BACKOFF: Duration = Duration::from_millis(25);
/// Timeouts in a row after which the connection is replaced.
const MOST_TIMEOUTS: u32 = 3;
/// Commands that may wait to be written: about the number of generations of a replica.
const PIPELINE: usize = 4096;
/// How often a cluster's connection sends a command to another node, which may be its new one. Calls are repeated
/// beyond that.
const REDIRECTS: u32 = 2;

impl CommandLink {
    /// Opens a connection. For one server it is opened by the first command.
    pub async fn open(address: &RedisAddress) -> RedisResult<Self> {
        let route = match address {
            RedisAddress::Server(server) => CommandRoute::Server(managed(Client::open((**server).clone())?)?),
            RedisAddress::Sentinels(sentinels) => CommandRoute::Server(managed(sentinels.primary().await?)?),
            RedisAddress::Cluster(nodes) => {
                let client = ClusterClient::builder(nodes.iter().cloned())
                    .retries(REDIRECTS)
                    .connection_timeout(REPLY_TIMEOUT)
                    .response_timeout(REPLY_TIMEOUT)
                    .build()?;
                CommandRoute::Cluster(client.get_async_connection().await?)
            }
        };
        Ok(Self { route, timeouts: AtomicU32::new(0), failed: Notify::new() })
    }

    pub fn route(&self) -> CommandRoute {
        self.route.clone()
    }

    pub fn note_reply(&self) {
        self.timeouts.store(0, Ordering::Relaxed);
    }

    /// Records the failure of a command. The connection has failed if the server is gone, which no error of TCP may tell
    /// for minutes, or if it is no longer the primary.
    pub fn note_failure(&self, error: &RedisError) {
        let is_timeout = error.is_timeout()
            || matches!(error.kind(), redis::ErrorKind::Io | redis::ErrorKind::ClusterConnectionNotFound);
        let timeouts = if is_timeout { self.timeouts.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
        if timeouts >= MOST_TIMEOUTS || error.code() == Some("READONLY") {
            self.fail();
        }
    }

    /// Requests another connection in place of this one.
    pub fn fail(&self) {
        self.failed.notify_one();
    }

    pub async fn failed(&self) {
        self.failed.notified().await;
    }
}

/// Returns a connection that connects again by itself, to the same server.
fn managed(client: Client) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_min_delay(BACKOFF)
        .set_connection_timeout(Some(REPLY_TIMEOUT))
        .set_response_timeout(Some(REPLY_TIMEOUT))
        .set_pipeline_buffer_size(PIPELINE);
    ConnectionManager::new_lazy_with_config(client, config)
}

impl CommandRoute {
    /// Returns the `INFO` of each primary.
    pub async fn infos(&mut self) -> RedisResult<Vec<InfoDict>> {
        let command = redis::cmd("INFO");
        match self {
            Self::Server(server) => Ok(vec![command.query_async(server).await?]),
            Self::Cluster(cluster) => {
                let mut state = redis::cmd("CLUSTER");
                let state: InfoDict = state.arg("INFO").query_async(cluster).await?;
                if state.get::<String>("cluster_state").is_some_and(|state| state != "ok") {
                    return Err((redis::ErrorKind::Client, "the cluster does not cover all slots").into());
                }
                let to_primaries = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                let Value::Map(by_node) = cluster.route_command(command, to_primaries).await? else {
                    return Err((redis::ErrorKind::UnexpectedReturnType, "no INFO of each node").into());
                };
                by_node.into_iter().map(|(_, info)| Ok(InfoDict::from_redis_value(info)?)).collect()
            }
        }
    }
}

impl ConnectionLike for CommandRoute {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(server) => server.req_packed_command(command),
            Self::Cluster(cluster) => cluster.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(server) => server.req_packed_commands(commands, offset, count),
            Self::Cluster(cluster) => cluster.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(server) => server.get_db(),
            Self::Cluster(cluster) => cluster.get_db(),
        }
    }
}
