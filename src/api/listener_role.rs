//! Which routes a listener serves.

/// The listener on which a request arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerRole {
    /// The only listener, with all routes.
    Sole,
    /// The listener for callers, if operators have their own.
    Public,
    /// The listener for operators (`server.admin_listen`).
    Admin,
}
