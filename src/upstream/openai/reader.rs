//! Reads the body of one answer, from its first byte to its end.

use std::collections::BTreeSet;

use super::super::sse::Parser;
use super::super::{Signal, Signals, UpstreamError};
use super::chunk::Decoder;
use super::templates::Templates;

/// Bytes in, signals out, and exactly one ending: a [`Signal::End`] or an error.
///
/// Knows nothing of time and of connections: that no more will come is for the caller to say.
#[derive(Debug)]
pub struct AnswerReader {
    parser: Parser,
    decoder: Decoder,
    state: State,
    /// How many choices were asked for.
    choices: usize,
    /// Those that have come to their end.
    finished: BTreeSet<u32>,
    /// Those that have said something and not come to their end.
    open: BTreeSet<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
}

/// The largest event and the longest line that an upstream may send.
const LARGEST_EVENT: usize = 1 << 20;

impl AnswerReader {
    /// `model` is what the request named, for a server that does not name its model; `choices` is how
    /// many it asked for; `templates` are those of its upstream.
    pub fn new(model: String, choices: usize, templates: Templates) -> Self {
        Self {
            parser: Parser::new(LARGEST_EVENT),
            decoder: Decoder::new(model, templates),
            state: State::Reading,
            choices,
            finished: BTreeSet::new(),
            open: BTreeSet::new(),
        }
    }

    /// Reads on, and appends what was said: with an error, what was said before it. What follows the
    /// end is nobody's.
    pub fn feed(&mut self, bytes: &[u8], signals: &mut Signals) -> Result<(), UpstreamError> {
        let Self { parser, decoder, state, finished, open, .. } = self;
        let parsed = parser.feed(bytes, |data| {
            if *state == State::Ended {
                return Ok(());
            }
            let said = signals.len();
            decoder.decode(data, signals)?;
            for signal in signals.iter().skip(said) {
                match signal {
                    Signal::Chunk(chunk) => {
                        open.extend(chunk.part().choice().filter(|choice| !finished.contains(choice)));
                    }
                    Signal::Finish { choice, .. } => {
                        open.remove(choice);
                        finished.insert(*choice);
                    }
                    Signal::End { .. } => *state = State::Ended,
                    Signal::Usage(_) => {}
                }
            }
            Ok(())
        });
        match parsed {
            Err(error) if !self.has_ended() => signals.push(self.cut_off(error)?),
            _ => {}
        }
        Ok(())
    }

    /// Nothing more will come, because of `error`: the end of an answer that is whole all the same.
    pub fn cut_off(&mut self, error: UpstreamError) -> Result<Signal, UpstreamError> {
        if !self.is_whole() {
            return Err(error);
        }
        self.state = State::Ended;
        Ok(self.decoder.end())
    }

    /// Whether the end has been said.
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether every choice has its finish reason, those that were asked for and those that came: then
    /// the answer is whole, whatever becomes of its connection.
    pub fn is_whole(&self) -> bool {
        self.finished.len() >= self.choices && self.open.is_empty()
    }
}
