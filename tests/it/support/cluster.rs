//! A Redis Cluster of three nodes.

use std::fs;
use std::path::Path;

use redis::cmd;
use tokio::task::yield_now;

use super::redis_server::{RedisServer, free_port, unique_prefix};
use super::soon;

/// The nodes end with this value.
pub struct Cluster {
    pub nodes: Vec<RedisServer>,
}

/// The slots of a cluster.
const SLOTS: usize = 16384;
const NODES: usize = 3;

impl Cluster {
    /// Starts the nodes, and waits until they know one another.
    pub async fn start() -> Self {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cluster-{}-{}", std::process::id(), unique_prefix()));
        fs::create_dir_all(&folder).expect("a folder");
        let start = |number: usize| {
            let bus = free_port();
            let options = format!(
                "--cluster-enabled yes --cluster-config-file {}/{number}.conf --cluster-port {bus} \
                 --cluster-node-timeout 2000",
                folder.display()
            );
            (RedisServer::with_options(&options), bus)
        };
        let started: Vec<_> = (0..NODES).map(start).collect();
        let [(_, _), others @ ..] = started.as_slice() else { panic!("three nodes") };
        for (number, (node, _)) in started.iter().enumerate() {
            let slots = [number * SLOTS / NODES, (number + 1) * SLOTS / NODES - 1];
            let _: () = node.command(cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(&slots));
        }
        for (other, bus) in others {
            let mut meet = cmd("CLUSTER");
            meet.arg("MEET").arg("127.0.0.1").arg(other.port()).arg(*bus);
            let _: () = started[0].0.command(&meet);
        }
        let cluster = Self { nodes: started.into_iter().map(|(node, _)| node).collect() };
        soon(async {
            while !cluster.nodes.iter().all(is_complete) {
                yield_now().await;
            }
        })
        .await;
        cluster
    }

    /// Returns the address, with all nodes.
    pub fn url(&self) -> String {
        let nodes = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port()));
        format!("redis+cluster://{}", nodes.collect::<Vec<_>>().join(","))
    }
}

/// Returns whether a node knows the others and a node for each slot.
fn is_complete(node: &RedisServer) -> bool {
    let info: redis::InfoDict = node.command(cmd("CLUSTER").arg("INFO"));
    info.get::<String>("cluster_state").is_some_and(|state| state == "ok")
        && info.get("cluster_size") == Some(NODES)
        && info.get("cluster_known_nodes") == Some(NODES)
}
