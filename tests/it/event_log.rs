//! The event log's numbered contract, each number against each backend.
