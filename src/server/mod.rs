//! The listener: accepts connections and speaks HTTP on them.
//!
//! Serves any tower service, such as an axum `Router`, and knows no route. It exists because the stock accept loop
//! never closes a connection whose client sends nothing, sends half a header or stops reading:
//!
//! ```text
//! accept.rs           bind, serve: the accept loop, descriptor exhaustion, shutdown
//! connection.rs       one connection: HTTP/1.1 or cleartext HTTP/2, deadlines, end
//! connection_slot.rs  the connection limit: counts a connection, and evicts it while it is idle
//! exchange.rs         counts the requests of a connection that are in flight
//! limits.rs           limits on time, memory and streams of a client
//! responding.rs       the service's future for one request
//! socket.rs           an accepted socket; detects a disconnect and resets a connection, independently of HTTP
//! stall.rs            resets HTTP/2 streams whose clients read nothing
//! threads.rs          the threads that connections are spread over
//! ```
//!
//! Deliberately absent: deadlines for request bodies and for responses, which only the service can judge, and HTTP/1.1
//! upgrades. A client that closes its sending half counts as disconnected, even after a complete request.

mod accept;
mod connection;
mod connection_slot;
mod exchange;
#[cfg(test)]
mod fixture;
mod limits;
mod open_connections;
mod responding;
mod socket;
mod stall;
mod threads;

pub use accept::{bind, serve};
pub use connection::Peer;
pub use exchange::IncomingBody;
pub use limits::{ListenerLimits, Load};
pub use open_connections::OpenConnections;
pub use threads::{StartedThreads, Threads};
