//! Third-party programs, which `make test` installs.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::process::Command;

use super::{Output, within};

/// The timeout of a script. One that runs two browsers or all tests of an SDK takes minutes on a machine under load.
const SCRIPT: Duration = Duration::from_mins(10);

/// Returns the root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the absolute path of a file that `make test` has installed in the repository.
pub fn installed(path: &str) -> PathBuf {
    let path = root().join(path);
    assert!(path.exists(), "{} is missing: run `make test`, which installs it", path.display());
    path
}

/// Runs a program that must succeed. Returns its standard output and standard error.
pub async fn succeeds(command: &mut Command) -> String {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = Output::of(&program);
    command.stdin(Stdio::null()).stdout(output.stream()).stderr(output.stream()).kill_on_drop(true);
    let mut process = command.spawn().unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    let status = within(SCRIPT, process.wait()).await.expect("a status");
    assert!(status.success(), "{program}: {status}");
    output.text()
}

/// Returns a port for a server that does not accept a listening socket. The port is below the kernel's ephemeral range,
/// so that no connection of a parallel test takes it before the server does.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).expect("four digits");
    let ports = std::iter::repeat_with(|| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000);
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.take(10_000).find(is_free).expect("a free port")
}
