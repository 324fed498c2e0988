use std::time::Duration;

use super::OpenConnections;

/// What one client may take from the listener before it is closed or refused. Sizes are in bytes.
///
/// The lifetime of a response is not limited: an open event stream survives every deadline here but `close`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From accepting a connection to its first whole request head. Default 10 s. Covers a connection that says
    /// nothing and one that stops inside the HTTP/2 preface, neither of which hyper's own deadlines see.
    pub first_request: Duration,
    /// For each HTTP/1.1 request head, and so also how long a kept-alive connection may idle. Default 10 s.
    pub header: Duration,
    /// How long a client may take nothing of what is written: sent bytes stay unacknowledged or the connection's
    /// window shut, at which the kernel ends the connection (`TCP_USER_TIMEOUT`, RFC 5482; Linux only), or the window
    /// of an HTTP/2 stream shut, at which that is reset. Default 30 s.
    pub write_timeout: Duration,
    /// An HTTP/2 connection is pinged this often. Default 20 s.
    pub ping_interval: Duration,
    /// A ping must be answered within this, or the connection is closed. Default 10 s.
    pub ping_timeout: Duration,
    /// What is left of a response when the server stops. Default 5 s.
    pub close: Duration,
    /// Kept for a client that does not read: per connection in the kernel (`SO_SNDBUF`, which Linux doubles), and
    /// per HTTP/2 stream. Default 64 KiB.
    pub send_buffer: u32,
    /// The HTTP/1.1 buffers, one for reading and one for writing: a longer request head is answered 431.
    /// Default 32 KiB, at least 8 KiB.
    pub buffer: usize,
    /// All headers of one HTTP/2 request (`SETTINGS_MAX_HEADER_LIST_SIZE`). Default 16 KiB.
    pub header_list: u32,
    /// Open requests on one HTTP/2 connection (`SETTINGS_MAX_CONCURRENT_STREAMS`). Default 100.
    pub concurrent_streams: u32,
    /// Connections that are open at the same time. Those beyond, a tenth more, are served as [`Load::Crowded`], so that
    /// whoever comes back finds room; what comes beyond them is refused with a bare 503. Default 10,000.
    pub connections: usize,
    /// Counts them. Default: a count of its own.
    pub open: OpenConnections,
    /// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`. Default 4096: with a
    /// short queue a crowd that returns at once waits out whole seconds of SYN retries.
    pub backlog: u32,
}

/// How busy the server is, seen from one connection. In the extensions of each of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    Normal,
    /// The connection is one of those beyond [`Limits::connections`], and there are as many still: nothing new should be
    /// begun on it.
    Crowded,
}

impl Limits {
    /// For who comes back.
    pub(super) const fn reserve(&self) -> usize {
        self.connections / 10 + 1
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_request: Duration::from_secs(10),
            header: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            close: Duration::from_secs(5),
            send_buffer: 64 * 1024,
            buffer: 32 * 1024,
            header_list: 16 * 1024,
            concurrent_streams: 100,
            connections: 10_000,
            open: OpenConnections::default(),
            backlog: 4096,
        }
    }
}
