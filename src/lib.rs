//! Tokenrill stands between web front ends and a language model: chat requests in, tokens out as
//! Server-Sent Events.
//!
//! **A generation is an append-only log, and everything else reads or writes a log.** The model's answer
//! is written into it by one task; viewers read it, from the start, from where they were cut off, or
//! from the tail. `ARCHITECTURE.md` has the picture, the rooms and what each may name.

pub mod api;
pub mod app;
pub mod auth;
pub mod channel;
pub mod domain;
pub mod event_log;
pub mod generation;
pub mod json;
pub mod limits;
pub mod prompts;
pub mod server;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod upstream;
