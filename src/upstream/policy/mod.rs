//! The rules by which attempts are repeated: plain structs to which the caller gives the time.

mod backoff;
mod breaker;
mod count_window;
mod first_token_times;
mod hedge_budget;
mod next_step;
mod rest;
mod retry_budget;

pub use backoff::{LONGEST_WAIT, full_jitter};
pub use breaker::{AdmittedAs, Breaker, BreakerState, BreakerTerms};
pub use first_token_times::FirstTokenTimes;
pub use hedge_budget::HedgeBudget;
pub use next_step::{AttemptHealth, FailureVerdict, NextStep, Resting};
pub use rest::Rest;
pub use retry_budget::{RetryBudget, RetryBudgetTerms};
