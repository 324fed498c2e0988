//! Output whose texts are read from the log while it is sent.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;

use super::wire::output_piece::{LoggedText, OutputPiece, TextForm};
use crate::domain::{Escaped, wire_safe};
use crate::generation::{LogLost, LogTexts};

/// Pieces in order. Holds one piece of a text at a time.
///
/// Every item after a loss of the log is the error, so that what lacks a text is never completed.
pub struct OutputPieces {
    texts: LogTexts,
    pieces: VecDeque<OutputPiece>,
    step: OutputStep,
}

enum OutputStep {
    NextPiece,
    Text(TextForm, BoxStream<'static, Result<String, LogLost>>),
    Lost(LogLost),
}

impl OutputPieces {
    pub const fn new(texts: LogTexts, pieces: VecDeque<OutputPiece>) -> Self {
        Self { texts, pieces, step: OutputStep::NextPiece }
    }
}

impl Stream for OutputPieces {
    type Item = Result<Bytes, LogLost>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match &mut self.step {
                OutputStep::NextPiece => match self.pieces.pop_front() {
                    Some(OutputPiece::Written(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                    Some(OutputPiece::Logged(LoggedText { span, form })) => {
                        self.step = OutputStep::Text(form, Box::pin(self.texts.pieces(span)));
                    }
                    None => return Poll::Ready(None),
                },
                OutputStep::Text(form, text) => match ready!(text.as_mut().poll_next(context)) {
                    Some(Ok(piece)) => return Poll::Ready(Some(Ok(in_form(piece, *form)))),
                    Some(Err(lost)) => self.step = OutputStep::Lost(lost),
                    None => self.step = OutputStep::NextPiece,
                },
                OutputStep::Lost(lost) => return Poll::Ready(Some(Err(*lost))),
            }
        }
    }
}

/// Writes a piece of a text, which ends in no escape, so that it fits in one line.
fn in_form(piece: String, form: TextForm) -> Bytes {
    match form {
        TextForm::StringContent => piece.into(),
        TextForm::Value => match wire_safe(Escaped::from_stored(&piece).unescape().as_bytes()) {
            Cow::Borrowed(json) => Bytes::copy_from_slice(json),
            Cow::Owned(json) => json.into(),
        },
    }
}
