//! Closes connections of other replicas, with messages over Redis.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{Connections, OtherReplicas, ReplicasUnavailable};
use crate::domain::ConnectionId;
use crate::redis_client::RedisClient;

/// Asks all replicas to close a connection. The one that has it replies.
pub struct ReplicaConnections {
    client: RedisClient,
    asked: Arc<AskedConnections>,
}

/// The connections that this replica asks for; a token is cancelled by the reply.
#[derive(Default)]
struct AskedConnections(Mutex<HashMap<ConnectionId, CancellationToken>>);

/// One of them, as long as a caller waits for the reply.
struct AskedConnection {
    all: Arc<AskedConnections>,
    id: ConnectionId,
    closed: CancellationToken,
}

/// How long a replica that has the connection may take to reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

impl ReplicaConnections {
    /// Listens to the requests and replies of other replicas, as long as the process runs.
    pub fn start(client: &RedisClient, connections: &Connections, tasks: &TaskTracker) -> Arc<Self> {
        let asked = Arc::<AskedConnections>::default();
        let (connections, tasks, asking) = (connections.clone(), tasks.clone(), client.clone());
        client.subscriptions.handle(requests(client), move |message| {
            let Some((id, replica)) = message.split_once(' ') else { return };
            if id.parse().is_ok_and(|id| connections.close(id)) {
                let (client, replies, id) = (asking.clone(), replies(&asking, replica), id.to_owned());
                tasks.spawn(async move { _ = client.publish(&replies, &id).await });
            }
        });
        let receiver = Arc::clone(&asked);
        client.subscriptions.handle(replies(client, &client.replica.to_string()), move |message| {
            let closed = message.parse().ok().and_then(|id: ConnectionId| receiver.lock().get(&id).cloned());
            if let Some(closed) = closed {
                closed.cancel();
            }
        });
        Arc::new(Self { client: client.clone(), asked })
    }
}

impl AskedConnections {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AskedConnection {
    fn new(all: &Arc<AskedConnections>, id: ConnectionId) -> Self {
        let closed = all.lock().entry(id).or_default().clone();
        Self { all: Arc::clone(all), id, closed }
    }
}

impl Drop for AskedConnection {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}

/// Returns the channel of the requests to all replicas.
fn requests(client: &RedisClient) -> String {
    format!("{}:r:connections", client.prefix())
}

/// Returns the channel of the replies to one replica.
fn replies(client: &RedisClient, replica: &str) -> String {
    format!("{}:r:connections:{replica}", client.prefix())
}

impl OtherReplicas for ReplicaConnections {
    fn close_connection(&self, id: ConnectionId) -> BoxFuture<'static, Result<bool, ReplicasUnavailable>> {
        let client = self.client.clone();
        // Before the request is sent, so that no reply is missed.
        let asked = AskedConnection::new(&self.asked, id);
        async move {
            let deadline = Instant::now() + REPLY_TIMEOUT;
            if !client.subscriptions.is_connected() {
                return Err(ReplicasUnavailable);
            }
            let request = format!("{id} {}", client.replica);
            let sent = timeout_at(deadline, client.publish(&requests(&client), &request)).await;
            sent.map_err(|_| ReplicasUnavailable)?.map_err(|_| ReplicasUnavailable)?;
            Ok(timeout_at(deadline, asked.closed.cancelled()).await.is_ok())
        }
        .boxed()
    }
}
