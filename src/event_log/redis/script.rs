//! The scripts that run inside Redis: each comparison and the change that depends on it are one step.

use std::sync::LazyLock;

/// The functions that all scripts share.
const PRELUDE: &str = include_str!("scripts/prelude.lua");

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident: $file:literal;)*) => {
        $($(#[$doc])*
        pub static $name: LazyLock<redis::Script> = LazyLock::new(|| assemble(include_str!($file)));)*
    };
}

scripts! {
    CREATE: "scripts/create.lua";
    APPEND: "scripts/append.lua";
    CLOSE: "scripts/close.lua";
    READ: "scripts/read.lua";
    RENEW: "scripts/renew.lua";
    REQUEST_END: "scripts/request_end.lua";
    JOIN: "scripts/join.lua";
    LEAVE: "scripts/leave.lua";
    SHUT: "scripts/shut.lua";
    REMOVE: "scripts/remove.lua";
    RELEASE: "scripts/release.lua";
    RETAIN_CLAIM: "scripts/retain_claim.lua";
}

/// Puts the shared functions after the line that declares the flags. A script without that line could use keys of
/// another slot of Redis Cluster by mistake.
fn assemble(source: &str) -> redis::Script {
    let (flags, body) = match source.split_once('\n') {
        Some((flags, body)) if flags.starts_with("#!lua") => (flags, body),
        _ => ("#!lua", source),
    };
    redis::Script::new(&format!("{flags}\n{PRELUDE}\n{body}"))
}
