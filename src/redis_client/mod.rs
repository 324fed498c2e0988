//! The connections to the Redis or Valkey server that all replicas share.
//!
//! ```text
//! mod            one process's client
//! address        the forms of an address: one server, sentinels, a cluster
//! digest         digests of callers, keys and names
//! connection     the connection for commands: repeats calls, and replaces a connection that has failed
//! link           an open connection for commands
//! sentinels      the primary that sentinels name
//! server_fault   the requirements on a server
//! call           a call of a script, and its reply
//! call_counts    figures of the calls
//! script         declares scripts
//! subscriptions  the connection for messages
//! ```

mod address;
mod call;
mod call_counts;
mod connection;
mod digest;
mod link;
mod script;
mod sentinels;
mod server_fault;
mod subscriptions;

use std::sync::Arc;

use redis::RedisResult;

use address::RedisAddress;

use crate::domain::ReplicaId;

pub use call::{CallError, PATIENCE, Patience, RedisUnavailable, Reply, ScriptCall};
pub use call_counts::CallResult;
pub use connection::CommandConnection;
pub use digest::{digest, digest_of_account};
pub use script::assemble;
pub(crate) use script::scripts;
pub use subscriptions::{ChannelSubscription, Subscriptions};

/// One process's connections to the server that all replicas share. Clones share them.
#[derive(Clone)]
pub struct RedisClient {
    address: RedisAddress,
    prefix: Arc<str>,
    pub connection: CommandConnection,
    pub subscriptions: Subscriptions,
    /// This process.
    pub replica: ReplicaId,
}

impl RedisClient {
    /// [`RedisClient::run`] opens and keeps the connections.
    ///
    /// # Errors
    ///
    /// If `url` is not the address of a server, of sentinels or of a cluster. The error may contain the address.
    pub fn new(url: &str, prefix: &str, replica: ReplicaId) -> RedisResult<Self> {
        let address = RedisAddress::parse(url)?;
        let connection = CommandConnection::new(address.clone());
        Ok(Self { address, prefix: prefix.into(), connection, subscriptions: Subscriptions::default(), replica })
    }

    /// Keeps the connections for commands and for messages. Runs until dropped.
    pub async fn run(&self) {
        tokio::join!(self.address.watch(), self.connection.run(), self.subscriptions.run(&self.address));
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
