//! The rendered text of all sections of a prompt, limited in size and time.

use std::io::{self, Write};
use std::time::{Duration, Instant};

/// A writer that fails once the text is too long or the deadline has passed.
#[derive(Debug)]
pub(super) struct Output {
    text: Vec<u8>,
    /// Bytes that may still be written.
    left: usize,
    deadline: Instant,
    is_over: bool,
}

impl Output {
    pub(super) fn new(bytes: usize, time: Duration) -> Self {
        Self { text: Vec::new(), left: bytes, deadline: Instant::now() + time, is_over: false }
    }

    /// Returns whether a limit was exceeded. Once it is, every later write fails.
    pub(super) fn is_over(&mut self) -> bool {
        self.is_over |= Instant::now() >= self.deadline;
        self.is_over
    }

    /// Returns the text since the last call, without surrounding white space.
    pub(super) fn take(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.text).trim().to_owned();
        self.text.clear();
        text
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Leading white space does not count: a section's source is padded with newlines to keep its line numbers.
        let bytes_taken = if self.text.is_empty() { bytes.trim_ascii_start() } else { bytes };
        match self.left.checked_sub(bytes_taken.len()) {
            Some(left) if !self.is_over() => self.left = left,
            _ => {
                self.is_over = true;
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        self.text.extend_from_slice(bytes_taken);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn limit_applies_to_all_texts_together() {
        let mut output = Output::new(8, LONG);
        assert!(output.write_all(b"\n\n \n").is_ok());
        assert!(output.write_all(b" one \n").is_ok());
        assert_eq!(output.take(), "one");
        assert!(output.write_all(b"two").is_ok());
        assert!(output.write_all(b"s").is_err());
        assert!(output.is_over());
        assert!(output.write_all(b"").is_ok() && output.is_over(), "the limit stays exceeded");
    }

    #[test]
    fn write_after_the_deadline_fails() {
        let mut output = Output::new(8, Duration::ZERO);
        assert!(output.write_all(b"one").is_err());
        assert_eq!(output.take(), "");
    }
}
