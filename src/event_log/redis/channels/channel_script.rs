//! The scripts of channels.

use crate::redis_client::scripts;

scripts! {
    include_str!("scripts/channel.lua");
    APPEND_CHANNEL: "scripts/append_channel.lua";
    APPEND_END: "scripts/append_end.lua";
    SKIP: "scripts/skip.lua";
    READ_CHANNEL: "scripts/read_channel.lua";
}

scripts! {
    concat!(include_str!("scripts/channel.lua"), "\n", include_str!("scripts/roster.lua"));
    JOIN_CHANNEL: "scripts/join_channel.lua";
    LEAVE_CHANNEL: "scripts/leave_channel.lua";
    REFRESH_CHANNEL: "scripts/refresh_channel.lua";
    LOOK: "scripts/look.lua";
}
