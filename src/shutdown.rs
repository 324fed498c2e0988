//! The two phases in which the process ends, and the signals that ask for them.

use std::future::pending;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Where the process is on its way to the end. Clones share one state.
///
/// ```text
///            begin_drain             close
///   serving ─────────────► draining ───────► closing
///      └───────────────── close ────────────────┘
/// ```
///
/// While *draining*, readiness fails and new generations are refused, but the listener still serves, so that
/// viewers can read live generations to their end and re-attach to them. When *closing*, logs are closed and the
/// listener stops. There is no way back; both calls may be repeated.
#[derive(Clone, Debug)]
pub struct Shutdown {
    draining: CancellationToken,
    closing: CancellationToken,
}

impl Default for Shutdown {
    fn default() -> Self {
        let closing = CancellationToken::new();
        // The child, so that whoever closes has also begun to drain.
        Self { draining: closing.child_token(), closing }
    }
}

impl Shutdown {
    /// The process serves.
    pub fn new() -> Self {
        Self::default()
    }

    /// No new work from now on.
    pub fn begin_drain(&self) {
        self.draining.cancel();
    }

    /// Resolves when draining begins, at once if it has.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// No work at all from now on, new or old.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Resolves when closing begins, at once if it has.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Cancelled when closing begins: what the listener takes as its `stop`. Cancelling it does not close.
    pub fn closing_token(&self) -> CancellationToken {
        self.closing.child_token()
    }
}

/// `SIGTERM` and `SIGINT` (Ctrl-C). While this is there, neither ends the process by itself, and none is missed.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on. Called before anybody can know that the process serves: a signal that comes earlier
    /// ends it without a drain.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Resolves when the process is asked to end. The first time it drains, the second time it ends at once.
    pub async fn asked(&mut self) {
        let signal = tokio::select! {
            Some(()) = self.terminate.recv() => "SIGTERM",
            Some(()) = self.interrupt.recv() => "SIGINT",
            else => return pending().await,
        };
        tracing::info!(signal, "asked to end");
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, id};
    use std::time::Duration;

    use futures_util::future::FutureExt;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn draining_comes_before_closing() {
        let shutdown = Shutdown::new();
        let elsewhere = shutdown.clone();
        assert_eq!(elsewhere.draining().now_or_never(), None);

        shutdown.begin_drain();
        elsewhere.draining().await;
        assert_eq!(elsewhere.draining().now_or_never(), Some(()));
        assert!(!elsewhere.closing_token().is_cancelled());

        shutdown.close();
        elsewhere.closing().await;
        assert_eq!(elsewhere.draining().now_or_never(), Some(()));
        assert!(elsewhere.closing_token().is_cancelled());
    }

    #[tokio::test]
    async fn closing_is_draining_too() {
        let shutdown = Shutdown::new();
        shutdown.close();
        shutdown.draining().await;
        assert_eq!(shutdown.draining().now_or_never(), Some(()));
    }

    #[test]
    fn a_listener_that_is_stopped_alone_closes_nothing_else() {
        let shutdown = Shutdown::new();
        shutdown.closing_token().cancel();
        assert!(!shutdown.closing_token().is_cancelled());
    }

    #[tokio::test]
    async fn either_signal_asks_to_end_each_time_and_also_before_anybody_waits() {
        let mut signals = Signals::listen().unwrap();
        for signal in ["TERM", "INT", "TERM"] {
            assert_eq!(signals.asked().now_or_never(), None, "no signal was sent yet");
            let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", id())]).status();
            assert!(sent.unwrap().success());
            timeout(Duration::from_secs(5), signals.asked()).await.unwrap();
        }
    }
}
