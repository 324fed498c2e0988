//! The output of a child process, printed if the test that started it fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

/// The number of lines that a failure prints.
const LINES: usize = 60;

/// A file that holds the output of one process. It is removed when this is dropped; a test that panics prints the
/// file's last lines first.
pub struct Output {
    name: String,
    path: PathBuf,
}

impl Output {
    /// Creates an empty file for the output of the process `name`.
    pub fn of(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let file = format!("output-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
        File::create(&path).expect("a file");
        Self { name: name.to_owned(), path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a standard stream for the process. Several streams may share the file, since each write appends.
    pub fn stream(&self) -> Stdio {
        File::options().append(true).open(&self.path).expect("a file").into()
    }

    /// Returns the output so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.path).expect("a file")).into_owned()
    }

    fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

impl Drop for Output {
    #[expect(clippy::print_stderr, reason = "the test runner shows it beside the panic")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("last output of {}:\n{}\n", self.name, self.tail());
        }
        _ = fs::remove_file(&self.path);
    }
}

#[test]
fn a_tail_is_bounded_and_keeps_the_last_lines() {
    use std::io::Write;

    let output = Output::of("a test");
    let mut file = File::options().append(true).open(&output.path).expect("a file");
    for line in 0..10 * LINES {
        writeln!(file, "line {line}").expect("written");
    }
    file.write_all(b"not UTF-8: \xff").expect("written");
    let tail = output.tail();
    assert_eq!((tail.lines().count(), tail.lines().next_back()), (LINES, Some("not UTF-8: \u{fffd}")));
}
