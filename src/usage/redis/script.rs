//! The scripts of the sums.

use crate::redis_client::scripts;

scripts! {
    "";
    ADD: "scripts/add.lua";
    READ: "scripts/read.lua";
}
