//! The two sizes of a test that can run for minutes.

/// `short`, which takes less than a minute, or `long` where `make soak` has set `TOKENRILL_SOAK=1`.
pub fn sized<T>(short: T, long: T) -> T {
    if std::env::var_os("TOKENRILL_SOAK").is_some_and(|value| value == "1") { long } else { short }
}
