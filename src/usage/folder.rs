//! The ledger's files: one for each day, of JSON lines that are only appended.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError, read_dir};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::line::LedgerLine;
use super::sums::oldest_kept;
use crate::domain::Day;

/// The folder of one process.
#[derive(Debug)]
pub struct LedgerFolder {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
    current: Option<(Day, File)>,
    last_write: LastWrite,
}

/// Whether the file of the day may end within a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastWrite {
    Whole,
    MaybeTorn,
}

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("it is used by another process: give each process a folder of its own")]
    InUse,
    #[error("{0}")]
    Files(#[from] io::Error),
}

/// Readable by the service's user alone.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// The longest line, in bytes.
const LONGEST_LINE: u64 = 16 << 10;

impl LedgerFolder {
    /// Opens the folder, and creates it if it does not exist.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)?;
        let lock = OpenOptions::new().create(true).append(true).mode(FILE_MODE).open(path.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => LedgerError::InUse,
            TryLockError::Error(error) => error.into(),
        })?;
        // The process before this one may have been killed while it wrote.
        Ok(Self { path: path.to_owned(), _lock: lock, current: None, last_write: LastWrite::MaybeTorn })
    }

    /// Reads the lines of the days that are kept, and passes each to `visit`. Returns the number of lines that cannot
    /// be read, such as the last one before a loss of power.
    pub fn read(&self, today: Day, mut visit: impl FnMut(LedgerLine)) -> io::Result<usize> {
        let mut days = Vec::new();
        for entry in read_dir(&self.path)? {
            let name = entry?.file_name();
            let day = name.to_str().and_then(|name| name.strip_suffix(".jsonl")?.parse::<Day>().ok());
            days.extend(day.filter(|day| *day >= oldest_kept(today)));
        }
        days.sort_unstable();
        let mut unreadable = 0;
        for day in days {
            unreadable += read_lines(File::open(self.file(day))?, &mut visit)?;
        }
        Ok(unreadable)
    }

    /// Appends lines to the file of the day, and waits until they are on the disk.
    pub fn append(&mut self, today: Day, lines: &[LedgerLine]) -> io::Result<()> {
        let mut text = String::new();
        if self.current.as_ref().is_none_or(|(day, _)| *day != today) {
            let file = OpenOptions::new().create(true).append(true).mode(FILE_MODE).open(self.file(today))?;
            self.last_write = if file.metadata()?.len() == 0 { LastWrite::Whole } else { LastWrite::MaybeTorn };
            self.current = Some((today, file));
        }
        if self.last_write == LastWrite::MaybeTorn {
            text.push('\n');
        }
        for line in lines {
            text.push_str(&line.to_json());
            text.push('\n');
        }
        let Some((_, file)) = &mut self.current else { return Ok(()) };
        self.last_write = LastWrite::MaybeTorn;
        file.write_all(text.as_bytes())?;
        self.last_write = LastWrite::Whole;
        file.sync_data()
    }

    fn file(&self, day: Day) -> PathBuf {
        self.path.join(format!("{day}.jsonl"))
    }
}

fn read_lines(file: File, visit: &mut impl FnMut(LedgerLine)) -> io::Result<usize> {
    let mut reader = BufReader::new(file);
    let (mut bytes, mut unreadable) = (Vec::new(), 0);
    loop {
        bytes.clear();
        if reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(unreadable);
        }
        match LedgerLine::parse(bytes.trim_ascii()) {
            Ok(line) => visit(line),
            Err(_) => unreadable += usize::from(!bytes.trim_ascii().is_empty()),
        }
    }
}
