//! Compares the parser of event streams with the HTML Standard's algorithm.
#![no_main]

#[allow(dead_code, reason = "each target uses one check")]
mod shared;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shared::checks::event_stream(bytes));
