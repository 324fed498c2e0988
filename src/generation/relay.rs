//! From the upstream's answer to the log, and on with the next answer if it breaks.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::ending::Ending;
use super::log_text::page_up_to;
use super::running::Running;
use crate::domain::{Chunk, Event, FailureCode, Part, Restart, Sequence, Trailer};
use crate::event_log::{AppendError, Events, GenerationLog, Limit, Writer};
use crate::upstream::{
    Answer, AttemptError, AttemptErrorKind, AttemptSeries, CommittedAnswer, FailedAttempt, Signal, Signals,
};

/// The number of events that may wait for an append that is in flight. With more, the upstream is not read.
const MOST_PENDING: usize = 64;

/// The fields of a delta that hold tool calls, as JSON text.
const UNREAD_CALLS: [&str; 2] = ["\"tool_calls\"", "\"function_call\""];

/// Appends the signals of one answer after the other to the log of a generation.
pub struct Relay<'a> {
    running: &'a Running,
    writer: &'a mut dyn Writer,
    /// One future, which resolves with an ending that the generation is asked for. `FuturesUnordered` polls it only when
    /// it is woken, not with each token.
    ended: FuturesUnordered<BoxFuture<'a, Ending>>,
    answer: AnswerExtent,
}

/// The extent of the answer that stands in the log.
#[derive(Debug)]
pub struct AnswerExtent {
    /// The last entry before it: the start, or the restart that began it.
    before: Sequence,
    /// Its last entry, pushed or appended.
    last: Sequence,
    tools: CalledTools,
}

/// Whether an answer has called a tool, which its reader may have run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CalledTools {
    None,
    Some,
}

/// Why an answer is not read any further.
#[derive(Debug)]
pub enum AnswerEnd {
    /// The upstream has ended it.
    Whole(Trailer),
    /// The upstream failed.
    Broken(AttemptError),
    Interrupted(Interruption),
}

/// Why a generation ends before its answer does.
#[derive(Debug)]
pub enum Interruption {
    Ended(Ending),
    /// Another process has closed the log.
    LogTaken,
}

impl Interruption {
    /// Returns the ending; `None` if another process has written one.
    pub fn ending(self) -> Option<Ending> {
        match self {
            Self::Ended(ending) => Some(ending),
            Self::LogTaken => None,
        }
    }
}

impl<'a> Relay<'a> {
    pub fn new(
        running: &'a Running,
        writer: &'a mut dyn Writer,
        ended: FuturesUnordered<BoxFuture<'a, Ending>>,
        answer: AnswerExtent,
    ) -> Self {
        Self { running, writer, ended, answer }
    }

    /// Resolves when the generation must end. The log is not watched: each append would wake the task that made it, and
    /// the next append reports that another writer has closed the log.
    pub async fn interrupted(&mut self) -> Interruption {
        poll_fn(|context| self.poll_interrupted(context)).await
    }

    /// Makes attempts until one delivers its first token, or none may follow. What is pending is appended meanwhile.
    pub async fn next_answer(
        &mut self,
        series: &mut AttemptSeries,
    ) -> Result<Result<CommittedAnswer, FailedAttempt>, Interruption> {
        let mut next = pin!(series.next_answer(&self.running.attempts));
        poll_fn(|context| match self.poll_interrupted(context) {
            Poll::Ready(interruption) => Poll::Ready(Err(interruption)),
            Poll::Pending => next.as_mut().poll(context).map(Ok),
        })
        .await
    }

    /// Appends the signals of an answer up to its end.
    pub async fn pass_on(&mut self, answer: &mut Answer) -> AnswerEnd {
        loop {
            let read = poll_fn(|context| {
                if let Poll::Ready(interruption) = self.poll_interrupted(context) {
                    return Poll::Ready(Err(interruption));
                }
                if self.writer.pending().len() >= MOST_PENDING {
                    return Poll::Pending;
                }
                answer.poll_next_unpin(context).map(Ok)
            });
            let signals = match read.await {
                Err(interruption) => return AnswerEnd::Interrupted(interruption),
                Ok(Some(Ok(signals))) => signals,
                Ok(Some(Err(error))) => return AnswerEnd::Broken(error),
                Ok(None) => {
                    let cause = "the answer has no end".into();
                    return AnswerEnd::Broken(AttemptError::in_response(AttemptErrorKind::Disconnected { cause }));
                }
            };
            if let Some(trailer) = self.push(signals) {
                return AnswerEnd::Whole(trailer);
            }
        }
    }

    /// Returns whether the answer may be withdrawn after this failure. Not after a tool call: the client may have run
    /// the tool. Not if a limit of this service was reached.
    pub fn can_withdraw(&self, code: FailureCode) -> bool {
        self.answer.can_be_withdrawn() && code != FailureCode::TooLarge
    }

    /// Withdraws the answer, and pushes the first signals of the next one in the same append. Returns its trailer if they
    /// are all of it.
    pub fn restart(&mut self, reason: FailureCode, signals: Signals) -> Option<Trailer> {
        let AnswerExtent { before, last, .. } = self.answer;
        let restart = last.plus(1);
        self.answer = AnswerExtent { before: restart, last: restart, tools: CalledTools::None };
        self.push_after(Some(Event::Restart(Restart { from: before, reason })), signals)
    }

    /// Pushes the signals of one read, which are appended together. Returns the trailer at the end of the answer.
    pub fn push(&mut self, signals: Signals) -> Option<Trailer> {
        self.push_after(None, signals)
    }

    fn push_after(&mut self, first: Option<Event>, signals: Signals) -> Option<Trailer> {
        let mut events = Events::with_capacity(signals.len() + usize::from(first.is_some()));
        events.extend(first);
        let mut end = None;
        for signal in signals {
            match signal {
                Signal::Chunk(chunk) => {
                    self.running.record_chunk(&chunk);
                    self.answer.add(&chunk);
                    events.push(Event::Chunk(chunk));
                }
                Signal::Finish { choice, reason } => self.running.record_finish(choice, reason),
                Signal::Usage(usage) => self.running.record_usage(usage),
                Signal::End { trailer } => end = Some(trailer),
            }
        }
        if !events.is_empty() {
            self.writer.push(events);
        }
        end
    }

    /// A requested ending is polled before everything else: later signals are no longer wanted. An append in flight is
    /// polled beside the upstream, so that a slow log delays neither a stop nor a deadline.
    fn poll_interrupted(&mut self, context: &mut Context<'_>) -> Poll<Interruption> {
        if let Poll::Ready(Some(ending)) = self.ended.poll_next_unpin(context) {
            return Poll::Ready(Interruption::Ended(ending));
        }
        if self.writer.poll_renew(context).is_ready() {
            return Poll::Ready(Interruption::LogTaken);
        }
        let is_restarting = self.is_restarting();
        if !self.writer.pending().is_empty()
            && let Poll::Ready(Err(error)) = self.writer.poll_append(context)
        {
            if is_restarting && matches!(error, AppendError::Full(_)) && self.writer.tail() < self.answer.before {
                self.running.undo_answer();
            }
            return Poll::Ready(error.into());
        }
        Poll::Pending
    }

    /// Returns whether the restart that began the answer is still pending.
    fn is_restarting(&self) -> bool {
        self.writer.tail() < self.answer.before
            && self.writer.pending().iter().any(|event| matches!(event, Event::Restart(_)))
    }
}

impl AnswerExtent {
    /// Returns the extent of the answer that stands at the end of a log. `None` if the log is lost.
    pub async fn read(log: &dyn GenerationLog, tail: Sequence) -> Option<Self> {
        let (mut answer, mut at) = (Self::default(), Sequence::new(1));
        while let Some(page) = page_up_to(log, at, tail).await.ok()? {
            for entry in &page {
                at = entry.sequence;
                match &entry.event {
                    Event::Chunk(chunk) => answer.add(chunk),
                    Event::Restart(_) => answer = Self { before: at, last: at, tools: CalledTools::None },
                    _ => {}
                }
            }
        }
        Some(answer)
    }

    /// Returns whether it has an entry.
    pub fn has_begun(&self) -> bool {
        self.last > self.before
    }

    /// Returns whether it has called no tool.
    pub fn can_be_withdrawn(&self) -> bool {
        self.tools == CalledTools::None
    }

    fn add(&mut self, chunk: &Chunk) {
        self.last = self.last.plus(1);
        match chunk.part() {
            Part::ToolCall { .. } => self.tools = CalledTools::Some,
            // Calls that are passed on unread: those of custom tools, and the form before `tool_calls`.
            Part::Other { delta_json, .. } if UNREAD_CALLS.iter().any(|field| delta_json.contains(field)) => {
                self.tools = CalledTools::Some;
            }
            _ => {}
        }
    }
}

/// The extent in a log that has only its start.
impl Default for AnswerExtent {
    fn default() -> Self {
        let start = Sequence::new(1);
        Self { before: start, last: start, tools: CalledTools::None }
    }
}

impl From<AppendError> for Interruption {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full(limit) => Self::Ended(Ending::failed(limit.into())),
            AppendError::Closed | AppendError::Fenced => Self::LogTaken,
            AppendError::Lost => Self::Ended(Ending::failed(FailureCode::Internal)),
        }
    }
}

impl From<Limit> for FailureCode {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::Own => Self::TooLarge,
            Limit::Total => Self::Overloaded,
        }
    }
}
