//! Tokenrill relays a language model's answers to web front ends: it takes chat requests and streams the tokens as
//! Server-Sent Events.
//!
//! **A generation is an append-only log, and everything else reads or writes a log.** One task writes the model's
//! answer into the log. Viewers read it from the start, after a given event, or from the tail. `ARCHITECTURE.md`
//! describes the modules and which of them may depend on which.

pub mod api;
pub mod app;
pub mod auth;
pub mod channel;
pub mod demo;
pub mod detached;
pub mod domain;
pub mod event_log;
pub mod generation;
pub mod json;
pub mod limits;
pub mod prompts;
pub mod redis_client;
pub mod server;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod upstream;
pub mod usage;
