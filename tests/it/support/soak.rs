//! The short and the long form of a test.

/// Returns `short`, for a run of less than a minute, or `long` if `make soak` has set `TOKENRILL_SOAK=1`.
pub fn sized<T>(short: T, long: T) -> T {
    if std::env::var_os("TOKENRILL_SOAK").is_some_and(|value| value == "1") { long } else { short }
}
