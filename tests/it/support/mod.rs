//! Fixtures of the tests: the service, scripted upstreams, and clients.

pub mod answering_upstream;
mod client;
pub mod cluster;
mod connect_proxy;
mod gate;
pub mod in_process;
pub mod issuer;
mod leases;
mod leaver;
mod litellm;
pub mod lossy_proxy;
pub mod metrics;
mod output;
mod process;
mod program;
pub mod redis_server;
pub mod sentinels;
mod service;
mod shared_channels;
mod shared_limits;
mod slow_channels;
mod slow_limits;
pub mod slow_proxy;
mod slow_reader;
mod soak;
mod sockets;
mod still_redis;
mod tls;
mod upstream;

pub use answering_upstream::AnsweringUpstream;
pub use client::{Answer, Event, text};
pub use connect_proxy::ConnectProxy;
pub use gate::Gate;
pub use leases::LEASE;
pub use leaver::{Leaver, Way};
pub use litellm::LiteLlm;
pub use output::Output;
pub use process::ServiceProcess;
pub use program::{free_port, installed, root, succeeds};
pub use service::{Service, TICKET_SECRET, tests_use_redis};
pub use shared_channels::SharedChannels;
pub use shared_limits::SharedLimits;
pub use slow_channels::SlowChannels;
pub use slow_limits::SlowLimits;
pub use slow_reader::{SlowReader, slow_http2_client};
pub use soak::sized;
pub use sockets::sockets;
pub use still_redis::StillRedis;
pub use tls::Tls;
pub use upstream::{Call, Upstream};

use std::panic::{AssertUnwindSafe, Location};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::FutureExt;
use tokenrill::upstream::UpstreamIdentity;

/// The identity of the providers that tests implement.
pub fn test_identity() -> &'static Arc<UpstreamIdentity> {
    static IDENTITY: LazyLock<Arc<UpstreamIdentity>> = LazyLock::new(|| UpstreamIdentity::new("test", "test:"));
    &IDENTITY
}

/// The deadline of every wait in a test. Only a failing test waits this long, so it is generous: a machine under load
/// is several times slower than an idle one.
pub const SOON: Duration = Duration::from_secs(30);

/// Awaits `future` for at most [`SOON`].
///
/// # Panics
///
/// After that time; the message names the line that called this function.
#[track_caller]
pub fn soon<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    within(SOON, future)
}

/// Awaits `future` for at most `limit`, for work that is known to take long.
///
/// # Panics
///
/// After that time; the message names the line that called this function.
#[track_caller]
pub fn within<T>(limit: Duration, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let output = tokio::time::timeout(limit, future).await;
        output.unwrap_or_else(|_| panic!("no result after {limit:?} at {caller}"))
    }
}

/// Runs one case of a table. A failure names the case.
pub async fn case(what: &str, test: impl Future<Output = ()>) {
    let passed = AssertUnwindSafe(test).catch_unwind().await.is_ok();
    assert!(passed, "in this case: {what}");
}
