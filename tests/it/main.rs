//! Tokenrill as its callers, operators and upstreams meet it: a real server on a port of its own, a
//! scripted upstream, real clients. One binary, a file for each promise.
#![expect(clippy::indexing_slicing, reason = "a test that indexes into nothing has failed")]

mod support;

mod answers;
mod event_log;
