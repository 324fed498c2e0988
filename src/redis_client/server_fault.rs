//! The requirements on a server.

use redis::InfoDict;

/// Why a server cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServerFault {
    #[error("Redis is too old: use Redis 7.0 or later, or Valkey 7.2 or later")]
    TooOld,
    #[error("Redis may evict answers: set its maxmemory-policy to noeviction")]
    Evicts,
    #[error("Redis is a replica of another server: name the primary")]
    Replica,
}

/// The first version with flags for scripts (`#!lua`).
const OLDEST_VERSION: u32 = 7;

impl ServerFault {
    pub fn of(info: &InfoDict) -> Option<Self> {
        // Valkey reports the version of Redis that it is compatible with.
        let version: String = info.get("redis_version").unwrap_or_default();
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        // A server that does not report its version is accepted.
        if major.is_some_and(|major| major < OLDEST_VERSION) {
            return Some(Self::TooOld);
        }
        if info.get::<String>("role").is_some_and(|role| role != "master") {
            return Some(Self::Replica);
        }
        let policy: Option<String> = info.get("maxmemory_policy");
        policy.is_some_and(|policy| policy != "noeviction").then_some(Self::Evicts)
    }
}
