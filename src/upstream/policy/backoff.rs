//! How long a retry on the same target waits.

use std::time::Duration;

/// The bound of the first wait. It doubles with each retry.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);

/// The longest wait before a retry, also if the upstream asks for more: a reader waits for it.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Returns the wait before a retry with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"): a random
/// part of a bound that doubles. `retry` counts from 0; `random` is from 0 to 1.
pub fn full_jitter(retry: u32, random: f64) -> Duration {
    let bound = FIRST.saturating_mul(2_u32.saturating_pow(retry)).min(LONGEST_BACKOFF);
    bound.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_doubles_up_to_eight_seconds() {
        let bounds = [0, 1, 2, 3, 4, 5, u32::MAX].map(|retry| full_jitter(retry, 1.0).as_millis());
        assert_eq!(bounds, [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
        assert_eq!(full_jitter(3, 0.0), Duration::ZERO);
        assert_eq!(full_jitter(0, 0.5), Duration::from_millis(250));
    }
}
