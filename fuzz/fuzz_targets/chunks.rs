//! Checks that any upstream answer has one ending, and chunks that OpenAI's clients can read.
#![no_main]

#[allow(dead_code, reason = "each target uses one check")]
mod shared;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shared::checks::chunks(bytes));
