//! The address of the server that all replicas share.

use std::future::pending;
use std::sync::Arc;

use redis::{Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisResult};
use tokio::sync::watch;

use super::sentinels::Sentinels;

/// Where the server is.
#[derive(Clone)]
pub enum RedisAddress {
    /// `redis://`, `rediss://` for TLS, or a Unix socket.
    Server(Box<ConnectionInfo>),
    /// `redis+sentinel://`, `rediss+sentinel://`.
    Sentinels(Arc<Sentinels>),
    /// `redis+cluster://`, `rediss+cluster://`: some nodes of a cluster, which name the others.
    Cluster(Vec<ConnectionInfo>),
}

/// Moves of the primary to another server.
pub struct PrimaryMoves(Option<watch::Receiver<()>>);

/// The parts of an address that names several hosts: `SCHEME+TOPOLOGY://[USER:PASSWORD@]HOST,HOST[/PATH][?QUERY]`.
struct AddressParts<'a> {
    /// The scheme of a connection to one of the hosts.
    scheme: &'a str,
    /// With the `@`, or empty.
    credentials: &'a str,
    hosts: &'a str,
    path: &'a str,
    query: &'a str,
}

/// The port of a sentinel whose address has none.
const SENTINEL_PORT: u16 = 26379;

impl RedisAddress {
    /// # Errors
    ///
    /// If `address` has none of the forms above. The error may contain it.
    pub fn parse(address: &str) -> RedisResult<Self> {
        let (scheme, rest) = address.split_once("://").unwrap_or_default();
        match scheme.split_once('+') {
            Some((scheme, "sentinel")) => Ok(Self::Sentinels(Arc::new(AddressParts::new(scheme, rest).sentinels()?))),
            Some((scheme, "cluster")) => AddressParts::new(scheme, rest).cluster().map(Self::Cluster),
            _ => Ok(Self::Server(Box::new(address.into_connection_info()?))),
        }
    }

    /// Keeps up with moves of the primary. Runs until dropped.
    pub async fn watch(&self) {
        if let Self::Sentinels(sentinels) = self {
            sentinels.watch().await;
        }
    }

    /// Returns the moves of the primary from now on.
    pub fn moves(&self) -> PrimaryMoves {
        PrimaryMoves(match self {
            Self::Sentinels(sentinels) => Some(sentinels.moved.subscribe()),
            Self::Server(_) | Self::Cluster(_) => None,
        })
    }

    /// Returns a server that delivers messages. `attempt` numbers the attempts to connect: each node of a cluster
    /// delivers all messages, so another one may succeed where the last one failed.
    pub async fn message_server(&self, attempt: usize) -> RedisResult<Client> {
        match self {
            Self::Server(server) => Client::open((**server).clone()),
            Self::Sentinels(sentinels) => sentinels.primary().await,
            Self::Cluster(nodes) => {
                let node = nodes.iter().cycle().nth(attempt % nodes.len().max(1)).cloned();
                Client::open(node.ok_or_else(|| invalid("the address names no host"))?)
            }
        }
    }
}

impl PrimaryMoves {
    /// Waits for a move since the last call.
    pub async fn next(&mut self) {
        if let Some(moves) = &mut self.0
            && moves.changed().await.is_ok()
        {
            return;
        }
        pending::<()>().await;
    }
}

impl<'a> AddressParts<'a> {
    fn new(scheme: &'a str, rest: &'a str) -> Self {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        Self { scheme, credentials, hosts, path: path.trim_end_matches('/'), query }
    }

    fn sentinels(&self) -> RedisResult<Sentinels> {
        let (primary, database) = self.path.split_once('/').unwrap_or((self.path, ""));
        if primary.is_empty() {
            return Err(invalid("the address names no primary"));
        }
        let node = format!("{}://{}localhost/{database}", self.scheme, self.credentials).into_connection_info()?;
        let credentials = self.sentinel_credentials()?;
        let sentinel = |host: &str| {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            let port = if has_port { String::new() } else { format!(":{SENTINEL_PORT}") };
            format!("{}://{credentials}{host}{port}", self.scheme).into_connection_info()
        };
        let addresses = self.hosts.split(',').map(sentinel).collect::<RedisResult<_>>()?;
        Ok(Sentinels { addresses, primary: primary.to_owned(), node, moved: watch::Sender::new(()) })
    }

    fn cluster(&self) -> RedisResult<Vec<ConnectionInfo>> {
        if !["", "0"].contains(&self.path) || !self.query.is_empty() {
            return Err(invalid("a cluster has only the database 0, and no parameters"));
        }
        let node = |host| format!("{}://{}{host}", self.scheme, self.credentials).into_connection_info();
        self.hosts.split(',').map(node).collect()
    }

    /// Returns the credentials for the sentinels, which are not those of the primary: a sentinel without a password
    /// refuses one.
    fn sentinel_credentials(&self) -> RedisResult<String> {
        let (mut user, mut password) = ("", None);
        for parameter in self.query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sentinel_user", value)) => user = value,
                Some(("sentinel_password", value)) => password = Some(value),
                _ => return Err(invalid("the parameters are sentinel_user and sentinel_password")),
            }
        }
        Ok(password.map_or_else(String::new, |password| format!("{user}:{password}@")))
    }
}

fn invalid(reason: &'static str) -> redis::RedisError {
    (ErrorKind::InvalidClientConfig, reason).into()
}

#[cfg(test)]
mod tests {
    use redis::ConnectionAddr;

    use super::*;

    fn described(address: &str) -> String {
        let node = |info: &ConnectionInfo| {
            let redis = info.redis_settings();
            let tls = if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) { " tls" } else { "" };
            let (user, password) = (redis.username().unwrap_or("-"), redis.password().unwrap_or("-"));
            format!("{} {user}:{password} {}{tls}", info.addr(), redis.db())
        };
        let nodes = |all: &[ConnectionInfo]| all.iter().map(node).collect::<Vec<_>>().join(", ");
        match RedisAddress::parse(address) {
            Ok(RedisAddress::Server(server)) => format!("server {}", node(&server)),
            Ok(RedisAddress::Sentinels(address)) => {
                format!("{} at {} of {}", address.primary, node(&address.node), nodes(&address.addresses))
            }
            Ok(RedisAddress::Cluster(all)) => format!("cluster {}", nodes(&all)),
            Err(_) => "invalid".to_owned(),
        }
    }

    #[test]
    fn address_of_one_server_is_read() {
        assert_eq!(described("redis://u:p%40@h:1/2"), "server h:1 u:p@ 2");
        assert_eq!(described("rediss://h"), "server h:6379 -:- 0 tls");
        for invalid in ["", "h:1", "http://h", "redis+other://h", "redis://"] {
            assert_eq!(described(invalid), "invalid", "{invalid}");
        }
    }

    #[test]
    fn credentials_and_database_of_a_sentinel_address_are_those_of_the_primary() {
        assert_eq!(
            described("redis+sentinel://u:p%40@a:1,b,[::1]/main/2?sentinel_password=s%40"),
            "main at localhost:6379 u:p@ 2 of a:1 -:s@ 0, b:26379 -:s@ 0, ::1:26379 -:s@ 0"
        );
        assert_eq!(
            described("rediss+sentinel://a:1/main?sentinel_user=x&sentinel_password=y"),
            "main at localhost:6379 -:- 0 tls of a:1 x:y 0 tls"
        );
        for invalid in ["redis+sentinel://a:1", "redis+sentinel://a:1/", "redis+sentinel://,/main", "x+sentinel://a/m"]
        {
            assert_eq!(described(invalid), "invalid", "{invalid}");
        }
        assert_eq!(described("redis+sentinel://a:1/main/x"), "invalid");
        assert_eq!(described("redis+sentinel://a:1/main?other=1"), "invalid");
    }

    #[test]
    fn all_hosts_of_a_cluster_address_have_its_credentials() {
        assert_eq!(described("redis+cluster://u:p@a:1,b:2"), "cluster a:1 u:p 0, b:2 u:p 0");
        assert_eq!(described("rediss+cluster://a/0"), "cluster a:6379 -:- 0 tls");
        assert_eq!(described("redis+cluster://a:1/1"), "invalid");
        assert_eq!(described("redis+cluster://"), "invalid");
    }

    #[tokio::test]
    async fn each_attempt_takes_the_next_node_of_a_cluster() {
        let address = RedisAddress::parse("redis+cluster://a:1,b:2").expect("an address");
        let mut taken = Vec::new();
        for attempt in 0..3 {
            let client = address.message_server(attempt).await.expect("a client");
            taken.push(client.get_connection_info().addr().to_string());
        }
        assert_eq!(taken, ["a:1", "b:2", "a:1"]);
    }
}
