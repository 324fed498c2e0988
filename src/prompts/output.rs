//! What all sections of a prompt come to, which is not without a bound.

use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Takes text until there is too much of it or too late, and then no more.
#[derive(Debug)]
pub(super) struct Output {
    text: Vec<u8>,
    /// Bytes that may still come.
    left: usize,
    deadline: Instant,
    is_over: bool,
}

impl Output {
    pub(super) fn new(bytes: usize, time: Duration) -> Self {
        Self { text: Vec::new(), left: bytes, deadline: Instant::now() + time, is_over: false }
    }

    /// Whether a bound was reached. It stays so.
    pub(super) fn is_over(&mut self) -> bool {
        self.is_over |= Instant::now() >= self.deadline;
        self.is_over
    }

    /// What was written since the last time, without white space around it.
    pub(super) fn take(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.text).trim().to_owned();
        self.text.clear();
        text
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // White space before the text is not part of it: lines above a section are no output.
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
    fn the_bound_holds_over_all_texts_together() {
        let mut output = Output::new(8, LONG);
        assert!(output.write_all(b"\n\n \n").is_ok());
        assert!(output.write_all(b" one \n").is_ok());
        assert_eq!(output.take(), "one");
        assert!(output.write_all(b"two").is_ok());
        assert!(output.write_all(b"s").is_err());
        assert!(output.is_over());
        assert!(output.write_all(b"").is_ok() && output.is_over(), "it stays over");
    }

    #[test]
    fn it_takes_nothing_when_it_is_late() {
        let mut output = Output::new(8, Duration::ZERO);
        assert!(output.write_all(b"one").is_err());
        assert_eq!(output.take(), "");
    }
}
