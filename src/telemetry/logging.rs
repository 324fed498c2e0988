//! Log lines on standard error.

use std::io::IsTerminal;
use std::panic;

use tracing_subscriber::EnvFilter;

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Pretty,
    Json,
}

/// Logs each panic as one line with its place. The panic's message may hold anything, and is not logged.
pub fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
        tracing::error!(place, "a panic: a defect");
    }));
}

/// Writes log lines to standard error, filtered by `RUST_LOG`, or else from `info` on.
///
/// async-openai is always off: it logs whole bodies, prompts and answers included, where it cannot parse them.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = match "async_openai=off".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    let colours = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    // A terminal that has gone would make the next line a panic.
    let subscriber = subscriber.log_internal_errors(false);
    match format {
        LogFormat::Pretty => subscriber.with_target(false).init(),
        // Spans do not nest here: the list would say again what the current span says.
        LogFormat::Json => subscriber.json().with_span_list(false).init(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Run as a process of its own, since the hook is the process's.
    #[test]
    fn a_panic_is_logged_by_its_place_and_not_by_its_words() {
        const CHILD: &str = "TOKENRILL_TEST_PANICS";
        if std::env::var_os(CHILD).is_some() {
            init(LogFormat::Json);
            log_panics();
            panic!("hunter2");
        }
        let name = "telemetry::logging::tests::a_panic_is_logged_by_its_place_and_not_by_its_words";
        let program = std::env::current_exe().expect("a path");
        let child = std::process::Command::new(program).args(["--exact", name, "--nocapture"]).env(CHILD, "1").output();
        let said = child.expect("it runs");
        let said = String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
        assert!(said.contains("a panic: a defect") && said.contains("src/telemetry/logging.rs:"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
