//! Checks that an HTTP/1.1 response is read alike wherever its reads are cut.
#![no_main]

#[allow(dead_code, reason = "each target uses one check")]
mod shared;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shared::checks::http1(bytes));
