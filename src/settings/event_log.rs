//! The settings of the event log.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Size;
use super::keys::{DURATION, SIZE, SettingSection, TEXT, VARIABLE, key};

/// The storage of generations.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct EventLogSettings {
    pub backend: LogBackend,
    pub memory: MemoryLogSettings,
    pub redis: RedisSettings,
}

/// Where the answers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogBackend {
    /// In the process, which is the only one.
    #[default]
    Memory,
    /// In Redis or Valkey, shared by all processes that use it.
    Redis,
}

/// The event log in memory.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct MemoryLogSettings {
    pub max_bytes: Size,
}

/// The event log in Redis.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct RedisSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_env: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    pub prefix: String,
    #[serde(with = "super::units::duration")]
    pub lease: Duration,
    pub write: RedisWrite,
    #[serde(with = "super::units::duration")]
    pub hold: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Size>,
    pub recover: RedisRecover,
}

/// What becomes of a generation whose replica is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RedisRecover {
    /// It fails.
    #[default]
    Off,
    /// Another replica begins it anew, if its request permits that.
    Restart,
}

/// When a viewer of the replica that runs the generation is sent a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RedisWrite {
    /// After Redis has stored it.
    #[default]
    Ahead,
    /// At once.
    Behind,
}

pub(super) const SECTION: SettingSection = SettingSection {
    name: "event_log",
    intro: "",
    keys: &[key(
        "event_log.backend",
        "\"memory\" or \"redis\"",
        "Where answers are stored. \"memory\": in this process, and they end with it. \"redis\": in Redis 7.0 or later or \
         Valkey 7.2 or later, shared by every replica that uses it, see docs/replicas.md.",
    )],
};

pub(super) const MEMORY_SECTION: SettingSection = SettingSection {
    name: "event_log.memory",
    intro: "",
    keys: &[key(
        "event_log.memory.max_bytes",
        SIZE,
        "The maximum memory of all stored answers together. Above it, ended answers are evicted before their retention \
         ends, first those of the caller that holds most.",
    )],
};

pub(super) const REDIS_SECTION: SettingSection = SettingSection {
    name: "event_log.redis",
    intro: "",
    keys: &[
        key(
            "event_log.redis.url_env",
            VARIABLE,
            "The environment variable with the address of the server: redis://user:password@host:port/database, or \
             rediss:// for TLS; for Sentinel and Cluster see docs/replicas.md. Required with backend = \"redis\", unless \
             url_file is set. Default: absent.",
        )
        .with_example("\"REDIS_URL\""),
        key(
            "event_log.redis.url_file",
            "the path of a file, as text in quotes",
            "The file with that address, in place of url_env. Default: absent.",
        )
        .with_alternative("\"/run/secrets/redis_url\""),
        key(
            "event_log.redis.prefix",
            TEXT,
            "The first part of the name of every key. All replicas of one deployment have the same one, and no other \
             deployment on the same server.",
        ),
        key(
            "event_log.redis.lease",
            DURATION,
            "How long a replica that is gone keeps its generations and slots, from \"3s\" to \"12s\". After that, the next replica that \
             reads one ends it as failed (replica_lost), or begins it anew (recover).",
        ),
        key(
            "event_log.redis.write",
            "\"ahead\" or \"behind\"",
            "When viewers of the replica that runs the generation are sent a token: \"ahead\": when Redis has stored it; \
             \"behind\": at once, so that a killed replica loses the last tokens that its viewers were sent (history_lost). \
             The end of an answer is always stored first.",
        ),
        key(
            "event_log.redis.hold",
            DURATION,
            "With write = \"ahead\": if Redis does not answer for this long, viewers of the replica that runs the generation \
             are sent tokens that are not stored yet.",
        ),
        key(
            "event_log.redis.max_bytes",
            SIZE,
            "The maximum of the answers in Redis, counted when a generation begins and when it ends. At it, a caller that \
             holds more than its share (this size, divided by the callers that hold something) gets 503 for new \
             generations until its answers expire; the others do not. Set it below the server's maxmemory. Default: \
             absent, only maxmemory limits.",
        )
        .with_alternative("\"512MiB\""),
        key(
            "event_log.redis.recover",
            "\"off\" or \"restart\"",
            "What becomes of a generation whose replica is lost. \"off\": it fails (replica_lost). \"restart\": if its \
             request has on_upstream_failure = \"restart\" and no tool was called, the replica that reads it next begins it \
             anew, once. Redis then also stores the requests of such generations, with their prompts, until they end.",
        ),
    ],
};

impl Default for MemoryLogSettings {
    fn default() -> Self {
        Self { max_bytes: Size::mib(256) }
    }
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url_env: None,
            url_file: None,
            prefix: "tr".to_owned(),
            lease: Duration::from_secs(5),
            write: RedisWrite::Ahead,
            hold: Duration::from_secs(1),
            max_bytes: None,
            recover: RedisRecover::Off,
        }
    }
}
