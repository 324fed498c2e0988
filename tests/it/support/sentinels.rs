//! A primary with a replica, and the sentinels that watch them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use redis::cmd;
use tokenrill::settings::Settings;
use tokio::task::yield_now;

use super::redis_server::{RedisServer, unique_prefix, use_redis};
use super::soon;

/// The servers end with this value.
pub struct Sentinels {
    pub primary: RedisServer,
    pub replica: RedisServer,
    watchers: Vec<RedisServer>,
}

/// After this time without a reply, a sentinel takes the primary for down.
const DOWN: u32 = 500;

impl Sentinels {
    /// Starts the servers, and waits until the sentinels know each other and the replica.
    pub async fn start() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "sentinels-{}-{}",
            std::process::id(),
            unique_prefix()
        ));
        fs::create_dir_all(&folder).expect("a folder");
        let primary = RedisServer::start();
        // A replica stores what it receives first in a file.
        let options = format!("--dir {} --replicaof 127.0.0.1 {}", folder.display(), primary.port());
        let replica = RedisServer::with_options(&options);
        replica.info_becomes("master_link_status", "up").await;
        let sentinel = |number: u32| {
            let file = folder.join(format!("{number}.conf"));
            let text = format!(
                "sentinel monitor main 127.0.0.1 {} 2\nsentinel down-after-milliseconds main {DOWN}\n\
                 sentinel failover-timeout main 5000\n",
                primary.port()
            );
            fs::write(&file, text).expect("a file");
            RedisServer::sentinel(&file)
        };
        let all = Self { watchers: (0..3).map(sentinel).collect(), primary, replica };
        soon(async {
            while !all.watchers.iter().all(Self::is_complete) {
                yield_now().await;
            }
        })
        .await;
        all
    }

    /// Returns whether a sentinel knows the two others and the replica.
    fn is_complete(sentinel: &RedisServer) -> bool {
        let known: HashMap<String, String> = sentinel.command(cmd("SENTINEL").arg("MASTER").arg("main"));
        known["num-other-sentinels"] == "2" && known["num-slaves"] == "1" && known["flags"] == "master"
    }

    /// Makes the replica miss what the primary stores from now on.
    pub fn cut_replication(&self) {
        // The primary refuses a password, because it has none.
        let _: () = self.replica.command(cmd("CONFIG").arg("SET").arg("masterauth").arg("other"));
        let _: i64 = self.primary.command(cmd("CLIENT").arg("KILL").arg("TYPE").arg("replica"));
    }

    /// Makes the replica the primary, and the primary its replica.
    pub fn fail_over(&self) {
        let [sentinel, ..] = self.watchers.as_slice() else { return };
        let _: () = sentinel.command(cmd("SENTINEL").arg("FAILOVER").arg("main"));
    }

    pub fn url(&self) -> String {
        let hosts = self.watchers.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port()));
        format!("redis+sentinel://{}/main", hosts.collect::<Vec<_>>().join(","))
    }

    /// Makes a service find its server with the sentinels.
    pub fn serve(&self, settings: &mut Settings, environment: &mut BTreeMap<String, String>, prefix: &str) {
        use_redis(self.url(), settings, environment, prefix);
    }
}

impl RedisServer {
    /// Returns a field of the server's `INFO`, or nothing while it closes its connections.
    pub fn info(&self, field: &str) -> String {
        let client = redis::Client::open(self.url()).expect("an address");
        let info = client.get_connection().and_then(|mut server| cmd("INFO").query::<redis::InfoDict>(&mut server));
        info.ok().and_then(|info| info.get(field)).unwrap_or_default()
    }

    /// Waits until a field of the server's `INFO` has a value.
    pub async fn info_becomes(&self, field: &str, value: &str) {
        soon(async {
            while self.info(field) != value {
                yield_now().await;
            }
        })
        .await;
    }
}
