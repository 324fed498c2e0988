//! Scripts that run inside Redis: each comparison and the change that depends on it are one step.

/// Declares scripts, each from a file beside the caller. The first argument is the source of functions that they share.
macro_rules! scripts {
    ($functions:expr; $($name:ident: $file:literal;)*) => {
        $(pub static $name: std::sync::LazyLock<redis::Script> = std::sync::LazyLock::new(|| {
            $crate::redis_client::assemble($functions, include_str!($file))
        });)*
    };
}
pub(crate) use scripts;

/// The functions of all scripts.
const PRELUDE: &str = include_str!("prelude.lua");

/// Puts the shared functions after the line that declares the flags. A script without that line could use keys of
/// another slot of Redis Cluster by mistake.
pub fn assemble(functions: &str, source: &str) -> redis::Script {
    let (flags, body) = match source.split_once('\n') {
        Some((flags, body)) if flags.starts_with("#!lua") => (flags, body),
        _ => ("#!lua", source),
    };
    redis::Script::new(&format!("{flags}\n{PRELUDE}\n{functions}\n{body}"))
}
