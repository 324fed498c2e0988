//! Cost of authentication with a valid and an invalid key and ticket, and of the rate limits.
//!
//! `cargo bench --bench gate`. For comparison, the table has the time of one SHA-256 of a key, the minimum for
//! comparing hashed keys. A request is admitted once, before its response head, so none of this is a cost per token.
//! Exits with 1 if one of the steps takes longer than [`BOUND`].
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a table or nothing is what this is for")]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use sha2::{Digest, Sha256};
use tokenrill::auth::{ApiKey, Credential, Gate, Grant, Identity, NewKey, Resource, Scopes, Tickets};
use tokenrill::domain::{Account, GenerationId, Principal, Quota, Timestamp, Usd};
use tokenrill::limits::{GenerationDemand, Limiter, Policy, Settlement, Spender, WaitPolicy};

const BOUND: Duration = Duration::from_micros(20);
/// The number of keys of a large team.
const KEYS: usize = 10_000;

fn main() -> ExitCode {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let (rounds, each) = if measuring { (50, 10_000) } else { (2, 10) };

    let made: Vec<_> = (0..KEYS).map(|_| NewKey::random().expect("random bytes")).collect();
    let principal = Principal::Key("web".into());
    let identity = Identity { principal, scopes: Scopes::usual(), ..Identity::anonymous() };
    let keys = made.iter().map(|new| ApiKey { hash: new.hash, identity: identity.clone() }).collect();
    let tickets = Tickets::random().expect("random bytes");
    let grant = Grant {
        resource: Resource::Generation(GenerationId::random()),
        owner: Principal::Key("web".into()),
        scopes: Scopes::usual(),
        connections: None,
        publishes_per_minute: None,
        expires_at: Timestamp::now().after(Duration::from_hours(1)),
    };
    let ticket = tickets.issue(&grant);
    let forged = Tickets::new(b"another secret").issue(&grant);
    let gate = Gate::Required { keys, issuer: None, tickets };
    let known = made.last().expect("keys").key.as_str();
    let unknown = NewKey::random().expect("random bytes").key;

    // The median of the rounds, so that an outlier does not change the result.
    let median = |of: &dyn Fn()| {
        let mut times: Vec<_> = (0..rounds)
            .map(|_| {
                let began = Instant::now();
                (0..each).for_each(|_| of());
                began.elapsed() / each
            })
            .collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    };
    let one_hash = median(&|| _ = black_box(Sha256::digest(black_box(known))));
    println!("{:<28} {:>9} {:>12}", "", "time", "SHA-256s");
    let mut slowest = Duration::ZERO;
    for (what, credential, good) in [
        ("a key, one of 10,000", Credential::ApiKey(known), true),
        ("an unknown key", Credential::ApiKey(&unknown), false),
        ("a ticket", Credential::Ticket(&ticket), true),
        ("a forged ticket", Credential::Ticket(&forged), false),
    ] {
        // `identify` is pending only while it waits for an issuer's keys, and there is no issuer.
        let look = |credential| gate.identify(Some(credential)).now_or_never().expect("at once");
        assert_eq!(look(credential).is_ok(), good, "{what}");
        let time = median(&|| drop(black_box(look(black_box(credential)))));
        slowest = slowest.max(time);
        println!("{what:<28} {:>6} ns {:>12.1}", time.as_nanos(), time.as_secs_f64() / one_hash.as_secs_f64());
    }
    let each = Quota {
        requests_per_minute: NonZeroU32::new(u32::MAX),
        tokens_per_minute: NonZeroU32::new(u32::MAX),
        concurrent_generations: NonZeroU32::new(u32::MAX),
        ..Quota::NONE
    };
    let (limits, policy) = (Limiter::default(), Arc::new(Policy { each, ..Policy::default() }));
    let spender = Spender::new(Account::Principal(Principal::Key("web".into())), Quota::NONE, policy);
    let admitted = median(&|| {
        let at_once = async {
            let request = limits.take_request(&spender).await.expect("there is enough");
            let (spender, model) = (spender.clone(), "m".to_owned());
            let demand = GenerationDemand {
                spender,
                model,
                tokens: 500,
                cost: Usd::default(),
                wait_policy: WaitPolicy::Refuses,
            };
            let permit = limits.admit(demand, request).await.expect("there is enough");
            black_box(permit.slot).release().await;
            permit.reservations.settle(Settlement::Used(black_box(400))).await;
        };
        at_once.now_or_never().expect("limits of one process answer at once");
    });
    slowest = slowest.max(admitted);
    let what = "admitted and settled";
    println!("{what:<28} {:>6} ns {:>12.1}", admitted.as_nanos(), admitted.as_secs_f64() / one_hash.as_secs_f64());
    if measuring && slowest > BOUND { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
