//! The two phases in which the process ends, and the signals that ask for them.

use std::future::pending;

use tokio::signal::unix::{SignalKind, signal};
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

    /// Whether new work is refused; stays true while closing.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
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

/// Resolves when the process is asked to end, by `SIGTERM` or `SIGINT` (Ctrl-C).
///
/// The first signal drains, the second ends at once: for the second one, call this again, and wait for nothing
/// else in between, since a signal that nobody waits for is not kept. From the first call on, neither signal
/// ends the process by itself.
pub async fn signalled() {
    let signal = tokio::select! {
        () = received(SignalKind::terminate()) => "SIGTERM",
        () = received(SignalKind::interrupt()) => "SIGINT",
    };
    tracing::info!(signal, "asked to end");
}

async fn received(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signals) => {
            if signals.recv().await.is_some() {
                return;
            }
        }
        Err(error) => tracing::error!(%error, "cannot listen for signals"),
    }
    pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::pin::pin;
    use std::process::{Command, id};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn draining_comes_before_closing() {
        let shutdown = Shutdown::new();
        let elsewhere = shutdown.clone();
        assert!(!elsewhere.is_draining());

        shutdown.begin_drain();
        elsewhere.draining().await;
        assert!(elsewhere.is_draining());
        assert!(!elsewhere.closing_token().is_cancelled());

        shutdown.close();
        elsewhere.closing().await;
        assert!(elsewhere.is_draining());
        assert!(elsewhere.closing_token().is_cancelled());
    }

    #[tokio::test]
    async fn closing_is_draining_too() {
        let shutdown = Shutdown::new();
        shutdown.close();
        shutdown.draining().await;
        assert!(shutdown.is_draining());
    }

    #[test]
    fn a_listener_that_is_stopped_alone_closes_nothing_else() {
        let shutdown = Shutdown::new();
        shutdown.closing_token().cancel();
        assert!(!shutdown.closing_token().is_cancelled());
    }

    #[tokio::test]
    async fn either_signal_asks_to_end_and_each_call_waits_for_the_next() {
        for signal in ["TERM", "INT"] {
            let mut asked = pin!(signalled());
            tokio::select! {
                biased;
                () = &mut asked => panic!("no signal was sent yet"),
                () = ready(()) => {}
            }
            let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", id())]).status();
            assert!(sent.unwrap().success());
            timeout(Duration::from_secs(5), asked).await.unwrap();
        }
    }
}
