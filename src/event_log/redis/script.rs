//! The scripts of the log.

use crate::redis_client::scripts;

scripts! {
    include_str!("scripts/retain.lua");
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
    TAKE: "scripts/take.lua";
    RELEASE: "scripts/release.lua";
    KEEP: "scripts/keep.lua";
    NAME_CHAT: "scripts/name_chat.lua";
    CLOSE_CHAT: "scripts/close_chat.lua";
    RETAIN_CLAIM: "scripts/retain_claim.lua";
}
