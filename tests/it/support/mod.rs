//! What the tests speak with: the service, a scripted upstream, a client.

mod client;
mod service;
mod upstream;

pub use client::{Answer, Event, text};
pub use service::Service;
pub use upstream::Upstream;

use std::time::Duration;

/// Whatever a test waits for has come by then, or never comes.
pub const SOON: Duration = Duration::from_secs(10);

/// Waits for what must come.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it did not come in time")
}
