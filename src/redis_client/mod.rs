//! The connections to the Redis or Valkey server that all replicas share.
//!
//! ```text
//! mod            one process's client
//! connection     the connection for commands
//! call           a call of a script, and its reply
//! script         declares scripts
//! subscriptions  the connection for messages
//! replica_id     the id of this process
//! ```

mod call;
mod connection;
mod replica_id;
mod script;
mod subscriptions;

use std::sync::Arc;

use redis::{Client, RedisResult};

pub use call::{CallError, PATIENCE, Patience, RedisUnavailable, Reply, ScriptCall};
pub use connection::CommandConnection;
pub use replica_id::ReplicaId;
pub use script::assemble;
pub(crate) use script::scripts;
pub use subscriptions::{ChannelSubscription, Subscriptions};

/// One process's connections to the server that all replicas share. Clones share them.
#[derive(Clone)]
pub struct RedisClient {
    client: Client,
    prefix: Arc<str>,
    pub connection: CommandConnection,
    pub subscriptions: Subscriptions,
    pub replica: ReplicaId,
}

impl RedisClient {
    /// Connects at the first use. [`RedisClient::run`] keeps the connection for messages.
    ///
    /// # Errors
    ///
    /// If `url` is not the address of a Redis server. The error may contain the address.
    pub fn new(url: &str, prefix: &str) -> RedisResult<Self> {
        let client = Client::open(url)?;
        let connection = CommandConnection::new(&client)?;
        let (subscriptions, replica) = (Subscriptions::default(), ReplicaId::random());
        Ok(Self { client, prefix: prefix.into(), connection, subscriptions, replica })
    }

    /// Receives messages from other processes. Runs until dropped.
    pub async fn run(&self) {
        self.subscriptions.run(&self.client).await;
    }

    /// Returns the prefix of all keys, so that several deployments can share a server.
    pub const fn prefix(&self) -> &Arc<str> {
        &self.prefix
    }

    /// Sends a message to the processes that listen to the channel.
    ///
    /// # Errors
    ///
    /// If Redis does not answer. The message may have been sent, more than once.
    pub async fn publish(&self, channel: &str, message: &str) -> Result<(), RedisUnavailable> {
        let mut commands = redis::pipe();
        commands.publish(channel, message).ignore();
        self.connection.send(&commands).await
    }

    /// Returns whether Redis answers commands, delivers messages, and is a server that can be used.
    pub async fn is_usable(&self) -> bool {
        self.subscriptions.is_connected() && self.connection.is_usable().await
    }
}
