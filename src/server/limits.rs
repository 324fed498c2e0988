use std::time::Duration;

use super::OpenConnections;

/// Limits above which the listener closes or refuses a client. Sizes are in bytes.
///
/// The lifetime of a response is not limited: of these deadlines, only `close` ends an open event stream.
#[derive(Clone, Debug)]
pub struct ListenerLimits {
    /// From accepting a connection to its first complete request head. Default 10 s. Covers a client that sends
    /// nothing and one that stops inside the HTTP/2 preface, which hyper's own deadlines do not.
    pub first_request: Duration,
    /// For each HTTP/1.1 request head. Therefore also how long a kept-alive connection may stay idle. Default 10 s.
    pub header: Duration,
    /// How long a client may read nothing. If sent bytes stay unacknowledged or the connection's window stays closed,
    /// the kernel ends the connection (`TCP_USER_TIMEOUT`, RFC 5482; Linux only). If the window of an HTTP/2 stream
    /// stays closed, the stream is reset. Default 30 s.
    pub write_timeout: Duration,
    /// Interval of pings on an HTTP/2 connection. Default 20 s.
    pub ping_interval: Duration,
    /// The connection is closed if a ping is not acknowledged within this time. Default 10 s.
    pub ping_timeout: Duration,
    /// How long running responses may take to finish when the server stops. Default 5 s.
    pub close: Duration,
    /// Buffered for a client that does not read: per connection in the kernel (`SO_SNDBUF`, which Linux doubles), and
    /// per HTTP/2 stream. Default 64 KiB.
    pub send_buffer: u32,
    /// Size of each HTTP/1.1 buffer, one for reading and one for writing. A longer request head is refused with 431.
    /// Default 32 KiB, at least 8 KiB.
    pub buffer: usize,
    /// All headers of one HTTP/2 request (`SETTINGS_MAX_HEADER_LIST_SIZE`). Default 16 KiB.
    pub header_list: u32,
    /// Open requests on one HTTP/2 connection (`SETTINGS_MAX_CONCURRENT_STREAMS`). Default 100.
    pub concurrent_streams: u32,
    /// Connections that are open at the same time. A tenth more are served as [`Load::Crowded`], which leaves room for
    /// reconnecting clients. Further connections are refused with a bare 503. Default 10,000.
    pub connections: usize,
    /// Counts the open connections. Default: a separate counter.
    pub open: OpenConnections,
    /// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`. Default 4096: with a short
    /// backlog, many clients that reconnect at once wait whole seconds for SYN retries.
    pub backlog: u32,
}

/// The server's load as it applies to one connection. Set in the extensions of each of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    Normal,
    /// The connection was accepted above [`ListenerLimits::connections`], and the limit is still reached. The service should
    /// start nothing new on it.
    Crowded,
}

impl ListenerLimits {
    /// Connections above the limit that are kept free for reconnecting clients.
    pub(super) const fn reserve(&self) -> usize {
        self.connections / 10 + 1
    }
}

impl Default for ListenerLimits {
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
