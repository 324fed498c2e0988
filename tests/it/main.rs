//! Tokenrill as its callers, operators and upstreams meet it: a real server on a port of its own, a
//! scripted upstream, real clients. One binary, a file for each promise.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::similar_names,
    clippy::format_push_string,
    reason = "what is not there when a test looks for it has failed the test, and tests build their bytes in place"
)]

mod support;

mod allocations;
mod answers;
mod anthropic;
mod append_in_flight;
mod architecture;
mod attacks;
mod authentication;
mod bodies;
mod budgets;
mod channels;
mod chat_completions;
mod chat_parameters;
mod clients;
mod cluster;
mod connections;
mod cut_anywhere;
mod disconnect;
mod embeddings;
mod event_log;
mod event_stream_parser;
mod evictions;
mod exact_budgets;
mod fairness;
mod fan_out;
mod fault_matrix;
mod grace;
mod import_cycles;
mod in_flight;
mod life;
mod limits;
mod limits_contract;
mod memory_bounds;
mod messages;
mod model_lists;
mod openapi;
mod operators;
mod ownership;
mod plain_language;
mod program;
mod prompts;
mod queries;
mod queue;
mod reattaching;
mod redis_metrics;
mod refusals;
mod replica_channels;
mod replica_limits;
mod replica_money;
mod replicas;
mod request_hosts;
mod requests;
mod responses;
mod restarts;
mod reused_connections;
mod rosters;
mod seeds;
mod sentinel;
mod sessions;
mod snapshots;
mod states;
mod stopping;
mod targets;
mod tokens;
mod ui_chats;
mod upstream_faults;
mod upstream_streams;
mod usage;
mod usage_ledger;
mod whole_answers;
