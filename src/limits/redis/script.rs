//! The scripts of the limits.

use crate::redis_client::scripts;

scripts! {
    include_str!("scripts/functions.lua");
    RESERVE: "scripts/reserve.lua";
    SETTLE: "scripts/settle.lua";
    OCCUPY: "scripts/occupy.lua";
    RELEASE: "scripts/release.lua";
    PUBLISH: "scripts/publish.lua";
    LEFT: "scripts/left.lua";
    KEEP: "scripts/keep.lua";
}
