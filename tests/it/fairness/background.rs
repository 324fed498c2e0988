//! Threads for the attackers. When times are measured, they have the lowest priority (nice(2)).

use std::fs;
use std::process::Command;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio_util::task::TaskTracker;

use super::Protocol;
use super::attacker::{Attack, Attacker};
use crate::support::sized;

pub struct Background(Option<Runtime>);

impl Background {
    pub fn start() -> Self {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2).enable_all();
        // Not in the short form: other tests run at the same time, and would leave these threads no CPU.
        if sized(false, true) {
            builder.on_thread_start(lower_priority);
        }
        Self(Some(builder.build().expect("threads")))
    }

    /// Runs each attack with its number of tasks over each protocol.
    pub fn spawn_all(&self, attacker: &Arc<Attacker>, tasks: &TaskTracker, attacks: &[(Attack, usize)]) {
        for (attack, count) in attacks {
            for protocol in Protocol::BOTH {
                self.spawn(attacker, tasks, *attack, protocol, *count);
            }
        }
    }

    /// Runs `count` tasks of an attack, until [`Attacker::stop`].
    pub fn spawn(
        &self,
        attacker: &Arc<Attacker>,
        tasks: &TaskTracker,
        attack: Attack,
        protocol: Protocol,
        count: usize,
    ) {
        let runtime = self.0.as_ref().expect("until it is dropped").handle();
        for _ in 0..count {
            tasks.spawn_on(Arc::clone(attacker).repeat(attack, protocol), runtime);
        }
    }
}

/// A runtime that is dropped inside another must not block until its threads end.
impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Sets the lowest priority for this thread. On Linux each thread has its own niceness.
fn lower_priority() {
    let thread = fs::read_link("/proc/thread-self").expect("Linux");
    let id = thread.file_name().expect("an id");
    let status = Command::new("renice").args(["-n", "19", "-p"]).arg(id).stdout(std::process::Stdio::null()).status();
    assert!(status.expect("renice").success(), "renice");
}
