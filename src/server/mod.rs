//! The listener: accepts connections and speaks HTTP on them.
//!
//! It serves any tower service, such as an axum `Router`, and knows no route. It exists because the stock
//! accept loop leaves open whoever connects and says nothing, sends half a header or stops reading:
//!
//! ```text
//! accept.rs       bind, serve: the loop, what it does when descriptors run out, how it stops
//! connection.rs   one connection: HTTP/1.1 or cleartext HTTP/2, its deadlines, its end
//! exchange.rs     its requests and responses: which are in flight
//! limits.rs       what one client may take: time, memory, streams
//! socket.rs       an accepted socket, and past HTTP: whether its client has left, and how to reset it
//! stall.rs        HTTP/2 streams whose clients take nothing
//! threads.rs      the threads that connections are spread over
//! ```
//!
//! Deliberately absent: a time limit on request bodies and on responses, which only the service can judge, and
//! HTTP/1.1 upgrades. A client that closes its sending half is taken to have left, whatever it sent before.

mod accept;
mod connection;
mod exchange;
#[cfg(test)]
mod fixture;
mod limits;
mod open_connections;
mod socket;
mod stall;
mod threads;

pub use accept::{bind, serve};
pub use connection::Peer;
pub use exchange::IncomingBody;
pub use limits::{Limits, Load};
pub use open_connections::OpenConnections;
pub use threads::{Started as StartedThreads, Threads};
