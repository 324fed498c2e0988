//! Output whose texts are in a log.

use bytes::Bytes;

use crate::generation::TextSpan;

/// A piece of output that is sent while the log is read.
#[derive(Debug)]
pub enum OutputPiece {
    Written(Bytes),
    Logged(LoggedText),
}

/// A text in the log, to be inserted into JSON.
#[derive(Debug, Clone, Copy)]
pub struct LoggedText {
    pub span: TextSpan,
    pub form: TextForm,
}

/// How a text is inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextForm {
    /// Escaped, as the content of a JSON string.
    StringContent,
    /// Unescaped: the text is a JSON value itself.
    Value,
}
