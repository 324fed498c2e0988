//! Log lines on standard error.

use std::io::IsTerminal;
use std::panic;

use tracing_subscriber::EnvFilter;

pub use crate::domain::LogFormat;

/// Logs each panic as one line with its source location. The panic's message is not logged, since it may contain
/// secrets.
pub fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
        tracing::error!(place, "panic: this is a bug");
    }));
}

/// Writes log lines to standard error, filtered by `RUST_LOG`; the default is `info`.
///
/// Always disables the logs of async-openai: it logs whole bodies that it cannot parse, including prompts and answers.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = match "async_openai=off".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    let colours = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    // Otherwise a failed write, such as to a closed terminal, is reported with `eprintln!`, which panics.
    let subscriber = subscriber.log_internal_errors(false);
    match format {
        LogFormat::Pretty => subscriber.with_target(false).init(),
        // Spans are not nested here, so the list would repeat the current span.
        LogFormat::Json => subscriber.json().with_span_list(false).init(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs itself in a child process, since the panic hook is global to the process.
    #[test]
    fn panic_is_logged_with_its_location_and_without_its_message() {
        const CHILD: &str = "TOKENRILL_TEST_PANICS";
        if std::env::var_os(CHILD).is_some() {
            init(LogFormat::Json);
            log_panics();
            panic!("hunter2");
        }
        let name = "telemetry::logging::tests::panic_is_logged_with_its_location_and_without_its_message";
        let program = std::env::current_exe().expect("a path");
        let child = std::process::Command::new(program).args(["--exact", name, "--nocapture"]).env(CHILD, "1").output();
        let output = child.expect("it runs");
        let output = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(output.contains("panic: this is a bug") && output.contains("src/telemetry/logging.rs:"), "{output}");
        assert!(!output.contains("hunter2"), "{output}");
    }
}
