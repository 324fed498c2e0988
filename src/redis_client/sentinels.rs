//! The primary that sentinels name.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Client, ConnectionAddr, ConnectionInfo, ErrorKind, RedisResult};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Sentinels, and the primary that they watch.
pub struct Sentinels {
    pub addresses: Vec<ConnectionInfo>,
    /// The name by which the sentinels know the primary.
    pub primary: String,
    /// How to connect to it; the sentinels tell the host and the port.
    pub node: ConnectionInfo,
    /// Changed when the sentinels name another primary.
    pub moved: watch::Sender<()>,
}

/// The primary as one sentinel knows it. Each failover has a higher epoch.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct NamedPrimary {
    epoch: u64,
    host: String,
    port: u16,
}

/// How long the answer of a sentinel is waited for.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);
/// The interval in which the sentinels are asked. An old primary takes writes for ten seconds after a planned failover.
const INTERVAL: Duration = Duration::from_secs(1);

impl Sentinels {
    /// Returns the primary.
    pub async fn primary(&self) -> RedisResult<Client> {
        let NamedPrimary { host, port, .. } = self.find().await?;
        let address = match self.node.addr() {
            ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            _ => ConnectionAddr::Tcp(host, port),
        };
        Client::open(self.node.clone().set_addr(address))
    }

    /// Notices when another primary is named. Runs until dropped.
    pub async fn watch(&self) {
        let mut known = None;
        loop {
            if let Ok(found) = self.find().await {
                let is_other = known.as_ref().is_some_and(|known| *known != found);
                if is_other {
                    tracing::info!("the sentinels name another primary");
                    self.moved.send_replace(());
                }
                known = Some(found);
            }
            sleep(INTERVAL).await;
        }
    }

    /// Asks all sentinels, since some may not know of the last failover yet. The last one has the highest epoch.
    async fn find(&self) -> RedisResult<NamedPrimary> {
        let asked = self.addresses.iter().map(|sentinel| timeout(ASK_TIMEOUT, self.ask(sentinel)));
        let named = join_all(asked).await.into_iter().filter_map(|named| named.ok()?.ok());
        named.max().ok_or_else(|| (ErrorKind::Io, "no sentinel names a primary").into())
    }

    async fn ask(&self, sentinel: &ConnectionInfo) -> RedisResult<NamedPrimary> {
        let mut sentinel = Client::open(sentinel.clone())?.get_multiplexed_async_connection().await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("MASTER").arg(&self.primary);
        let mut primary: HashMap<String, String> = question.query_async(&mut sentinel).await?;
        let number = |field| primary.get(field).and_then(|value| value.parse::<u64>().ok());
        let (epoch, port) = (number("config-epoch"), number("port").and_then(|port| u16::try_from(port).ok()));
        let (Some(epoch), Some(port), Some(host)) = (epoch, port, primary.remove("ip")) else {
            return Err((ErrorKind::UnexpectedReturnType, "a sentinel describes no primary").into());
        };
        Ok(NamedPrimary { epoch, host, port })
    }
}
