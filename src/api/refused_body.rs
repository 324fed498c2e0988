//! Drains the bodies of refused requests, because a browser reads the response only after it has sent the whole body.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use tokio::time::Instant;

use super::body::RequestBody;
use super::body_limits::BodyLimits;
use crate::domain::Account;

/// Discards bodies of requests that were not admitted, within a budget of bytes per address and minute. Without the
/// budget, an unauthenticated client could make the service read forever.
pub struct RefusedBodies {
    limits: BodyLimits,
    spent: Mutex<HashMap<Account, DiscardedBytes>>,
}

struct DiscardedBytes {
    since: Instant,
    bytes: usize,
}

const WINDOW: Duration = Duration::from_mins(1);
/// The budget of an address per window. `server.max_body`, if larger, replaces it.
const MOST_BYTES: usize = 32 << 20;
/// The minimum cost of a body, so that many small bodies exhaust the budget as well.
const LEAST_BYTES: usize = 64 << 10;
/// The maximum number of addresses that are tracked.
const MOST_ADDRESSES: usize = 1024;

impl RefusedBodies {
    pub fn new(limits: BodyLimits) -> Self {
        Self { limits, spent: Mutex::default() }
    }

    /// Reads and drops the body, up to `server.max_body` and for at most `server.body_timeout`. A larger body is not
    /// read, nor is any body after the budget of its address is spent.
    pub async fn discard(&self, head: &Parts, body: Body, account: Account) {
        if body.is_end_stream() {
            return;
        }
        let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let length = length.unwrap_or(self.limits.size);
        if length <= self.limits.size && self.spend(account, length, Instant::now()) {
            RequestBody::new(&head.headers, body, self.limits).discard_at_most(length).await;
        }
    }

    fn spend(&self, account: Account, bytes: usize, now: Instant) -> bool {
        let bytes = bytes.max(LEAST_BYTES);
        let mut all = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let is_expired = |spent: &DiscardedBytes| now.saturating_duration_since(spent.since) >= WINDOW;
        if all.len() >= MOST_ADDRESSES && !all.contains_key(&account) {
            all.retain(|_, spent| !is_expired(spent));
            if all.len() >= MOST_ADDRESSES {
                return false;
            }
        }
        let spent = all.entry(account).or_insert(DiscardedBytes { since: now, bytes: 0 });
        if is_expired(spent) {
            *spent = DiscardedBytes { since: now, bytes: 0 };
        }
        let fits = spent.bytes.saturating_add(bytes) <= MOST_BYTES.max(self.limits.size);
        spent.bytes += if fits { bytes } else { 0 };
        fits
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn account(number: u32) -> Account {
        Account::of_address(Ipv4Addr::from_bits(number).into())
    }

    #[test]
    fn budget_of_an_address_is_spent_and_renewed_after_a_minute() {
        let bodies = RefusedBodies::new(BodyLimits { size: 4 << 20, time: Duration::from_secs(30) });
        let now = Instant::now();
        let read = |from, at| (0..100).filter(|_| bodies.spend(account(from), 4 << 20, at)).count();
        assert_eq!((read(1, now), read(1, now), read(2, now)), (8, 0, 8));
        assert_eq!(read(1, now + WINDOW), 8);
        let small = (0..10_000).filter(|_| bodies.spend(account(3), 1, now)).count();
        assert_eq!(small, MOST_BYTES / LEAST_BYTES);
    }

    #[test]
    fn addresses_beyond_the_limit_get_no_budget_until_others_expire() {
        let bodies = RefusedBodies::new(BodyLimits { size: 64 << 20, time: Duration::from_secs(30) });
        let now = Instant::now();
        let read = (0..2000).filter(|from| bodies.spend(account(*from), 64 << 20, now)).count();
        assert_eq!(read, MOST_ADDRESSES);
        assert!(bodies.spend(account(1999), 1, now + WINDOW));
    }
}
