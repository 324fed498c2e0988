//! A whole answer of an upstream: one ending, and chunks that OpenAI's clients can read.
#![no_main]

#[allow(dead_code, reason = "the other targets use the rest")]
#[path = "../../tests/it/upstream_streams/checks.rs"]
mod checks;
#[allow(dead_code, reason = "the other targets use the rest")]
#[path = "../../tests/it/upstream_streams/reference.rs"]
mod reference;
#[allow(dead_code, reason = "the other targets use the rest")]
#[path = "../../tests/it/upstream_streams/wires.rs"]
mod wires;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::chunks(bytes));
