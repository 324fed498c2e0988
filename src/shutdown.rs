//! The two phases of a shutdown, and the signals that start them.

use std::future::pending;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The phase of the shutdown. Clones share one state.
///
/// ```text
///            begin_drain             close
///   serving ─────────────► draining ───────► closing
///      └───────────────── close ────────────────┘
/// ```
///
/// While *draining*, readiness fails and new generations are refused, but the listener still serves, so that viewers
/// can read live generations to their end and reconnect to them. When *closing*, logs are closed and the listener
/// stops. A shutdown cannot be undone. Both calls are idempotent.
#[derive(Clone, Debug)]
pub struct Shutdown {
    draining: CancellationToken,
    closing: CancellationToken,
}

impl Default for Shutdown {
    fn default() -> Self {
        let closing = CancellationToken::new();
        // A child token, so that closing also begins the drain.
        Self { draining: closing.child_token(), closing }
    }
}

impl Shutdown {
    /// Returns the state in which the process serves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins to drain: no new work is accepted.
    pub fn begin_drain(&self) {
        self.draining.cancel();
    }

    /// Resolves when draining begins, or immediately if it has begun.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Ends all work, including live generations.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Resolves when closing begins, or immediately if it has begun.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Returns a token that is cancelled when closing begins: the `stop` of a listener. Cancelling it does not close
    /// anything else.
    pub fn closing_token(&self) -> CancellationToken {
        self.closing.child_token()
    }
}

/// A handler of `SIGTERM` and `SIGINT` (Ctrl-C). Once it is installed, neither terminates the process by itself, and no
/// signal is lost between two calls of [`ShutdownSignals::recv`].
#[derive(Debug)]
pub struct ShutdownSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl ShutdownSignals {
    /// Installs the handlers. Must be called before the process announces that it serves: an earlier signal terminates
    /// it without a drain.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal. The caller drains at the first one and closes at the second.
    pub async fn recv(&mut self) {
        let signal = tokio::select! {
            Some(()) = self.terminate.recv() => "SIGTERM",
            Some(()) = self.interrupt.recv() => "SIGINT",
            else => return pending().await,
        };
        tracing::info!(signal, "received a signal to shut down");
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
    async fn close_also_begins_to_drain() {
        let shutdown = Shutdown::new();
        shutdown.close();
        shutdown.draining().await;
        assert_eq!(shutdown.draining().now_or_never(), Some(()));
    }

    #[test]
    fn cancelling_a_closing_token_does_not_close() {
        let shutdown = Shutdown::new();
        shutdown.closing_token().cancel();
        assert!(!shutdown.closing_token().is_cancelled());
    }

    #[tokio::test]
    async fn each_signal_is_received_once_even_if_sent_before_recv() {
        let mut signals = ShutdownSignals::listen().unwrap();
        for signal in ["TERM", "INT", "TERM"] {
            assert_eq!(signals.recv().now_or_never(), None, "no signal was sent yet");
            let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", id())]).status();
            assert!(sent.unwrap().success());
            timeout(Duration::from_secs(5), signals.recv()).await.unwrap();
        }
    }
}
