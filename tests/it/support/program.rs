//! Programs of others' making, which `make test` installs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What `make test` has installed at this path in the repository.
pub fn installed(path: &str) -> PathBuf {
    let path = root().join(path);
    assert!(path.exists(), "{} is missing: run `make test`, which installs it", path.display());
    path
}

/// Runs a program to its end, which must be a success; what it said.
pub async fn succeeds(command: &mut Command) -> String {
    let output = tokio::time::timeout(Duration::from_mins(4), command.kill_on_drop(true).output());
    let output = output.await.expect("it ends in time").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    said
}
