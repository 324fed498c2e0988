//! The caller's own generations.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt, stream};

use super::following::FollowError;
use super::service::Generations;
use super::state::Status;
use crate::domain::{Event, Listed, Principal, Sequence, Start};
use crate::event_log::LogSummary;

/// A page of a list, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationPage {
    pub generations: Vec<Summary>,
    /// The cursor after which the next page begins; `None` if no page can follow.
    pub next: Option<Listed>,
}

/// A generation without its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub start: Arc<Start>,
    pub status: Status,
    pub last_sequence: Sequence,
}

/// Generations that are inspected for one page, so that a rare status costs no more than a common one. A page may
/// therefore be short, or empty, and still have a next one.
const MOST_LOOKED_AT: usize = 500;
/// Generations that are read at the same time.
const READ_AT_ONCE: usize = 16;

impl Generations {
    /// Returns the caller's own generations that `wanted` accepts, newest first, after `before`, at most `most`.
    pub async fn list(
        &self,
        principal: &Principal,
        wanted: impl Fn(&Status) -> bool,
        before: Option<Listed>,
        most: usize,
    ) -> Result<GenerationPage, FollowError> {
        let mut generations = Vec::new();
        let listed = self.0.log.list(principal, before, MOST_LOOKED_AT).await?;
        let ended = listed.len() < MOST_LOOKED_AT;
        let mut next = None;
        let log = &self.0.log;
        let summaries =
            listed.into_iter().map(|place| log.summary(place.generation).map(move |summary| (place, summary)));
        let mut summaries = stream::iter(summaries).buffered(READ_AT_ONCE);
        while let Some((place, summary)) = summaries.next().await {
            if generations.len() == most {
                return Ok(GenerationPage { generations, next });
            }
            next = Some(place);
            if let Some(summary) = summary?.and_then(Summary::of)
                && wanted(&summary.status)
            {
                generations.push(summary);
            }
        }
        Ok(GenerationPage { generations, next: next.filter(|_| !ended) })
    }
}

impl Summary {
    fn of(summary: LogSummary) -> Option<Self> {
        let status = match summary.end {
            None => Status::Running,
            Some(Event::Done(done)) => Status::Done(done),
            Some(Event::Cancelled(cancelled)) => Status::Cancelled(cancelled),
            Some(Event::Failed(failed)) => Status::Failed(failed),
            Some(Event::Start(_) | Event::Chunk(_) | Event::Restart(_)) => return None,
        };
        Some(Self { start: summary.start, status, last_sequence: summary.last })
    }
}
