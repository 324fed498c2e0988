//! The port between the bytes of a streamed answer and the signals of one dialect.

use super::Signals;
use super::attempt_error::AttemptErrorKind;
use super::deadlines::{AnswerDeadlines, ReadProgress};
use super::exchange::read;
use super::transport::{More, Response};

/// Converts the bytes of one answer to signals, with exactly one ending: a `Signal::End` or an error.
pub trait AnswerParser: Send {
    /// Reads the next bytes and appends their signals, also those before an error. Ignores bytes after the end of the
    /// answer.
    fn feed(&mut self, bytes: &[u8], signals: &mut Signals) -> Result<(), AttemptErrorKind>;

    /// Ends the answer because no more bytes will come. Returns `error` unless the answer is complete.
    fn cut_off(&mut self, error: AttemptErrorKind, signals: &mut Signals) -> Result<(), AttemptErrorKind>;

    /// Returns whether the end of the answer was read.
    fn has_ended(&self) -> bool;

    fn progress(&self) -> ReadProgress;
}

/// Waits for the next bytes of an answer within its deadlines, and returns their signals. `first` holds bytes that were
/// read before.
///
/// An error is the ending of the answer, behind the signals.
pub async fn next_signals(
    response: &mut Response,
    first: Vec<u8>,
    parser: &mut impl AnswerParser,
    deadlines: &mut AnswerDeadlines<'_>,
) -> (Signals, Result<(), AttemptErrorKind>) {
    let mut signals = Signals::new();
    let mut fed = Ok(());
    let mut sink = |bytes: &[u8]| {
        if fed.is_ok() {
            fed = parser.feed(bytes, &mut signals);
        }
    };
    let reading = async {
        if first.is_empty() {
            return read(response, &mut sink).await;
        }
        sink(&first);
        Ok(More::Maybe)
    };
    let ending = match deadlines.await_step(reading).await {
        Ok(Ok(More::Maybe)) => fed,
        // The result of the bytes before the failure takes precedence.
        _ if fed.is_err() || parser.has_ended() => fed,
        Ok(Ok(More::None)) => {
            let cause = "the response ended before the answer did".into();
            parser.cut_off(AttemptErrorKind::Disconnected { cause }, &mut signals)
        }
        Ok(Err(error)) | Err(error) => parser.cut_off(error, &mut signals),
    };
    deadlines.record(&signals, parser.progress());
    (signals, ending)
}

/// Reads the bytes after the end of an answer: only a connection whose response was read to its end can be reused.
pub async fn drain(mut response: Response) {
    while let Ok(More::Maybe) = read(&mut response, &mut |_: &[u8]| {}).await {}
    response.recycle();
}
