//! What the tests speak with: the service, a scripted upstream, a client.

mod client;
pub mod in_process;
pub mod issuer;
mod leaver;
mod litellm;
mod program;
mod service;
mod sockets;
mod tls;
mod upstream;

pub use client::{Answer, Event, text};
pub use leaver::{Leaver, Way};
pub use litellm::LiteLlm;
pub use program::{installed, root, succeeds};
pub use service::{Service, TICKET_SECRET};
pub use sockets::sockets;
pub use tls::Tls;
pub use upstream::{Call, Upstream};

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::FutureExt;
use tokenrill::upstream::UpstreamIdentity;

/// The identity of providers that are part of a test.
pub fn test_identity() -> &'static Arc<UpstreamIdentity> {
    static IDENTITY: LazyLock<Arc<UpstreamIdentity>> = LazyLock::new(|| UpstreamIdentity::new("test", "test:"));
    &IDENTITY
}

/// Whatever a test waits for has come by then, or never comes.
pub const SOON: Duration = Duration::from_secs(10);

/// Waits for what must come.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it did not come in time")
}

/// One case of a table: a failure names it.
pub async fn case(what: &str, test: impl Future<Output = ()>) {
    let passed = AssertUnwindSafe(test).catch_unwind().await.is_ok();
    assert!(passed, "in this case: {what}");
}
