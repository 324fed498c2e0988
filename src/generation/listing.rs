//! The caller's own generations.

use std::sync::Arc;

use super::following::FollowError;
use super::service::Generations;
use super::state::Status;
use crate::domain::{Event, GenerationId, Listed, Principal, Sequence, Start};
use crate::event_log::{GenerationLog, TailState, read_page};

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
        for place in listed {
            if generations.len() == most {
                return Ok(GenerationPage { generations, next });
            }
            next = Some(place);
            if let Some(summary) = self.summary(place.generation).await?
                && wanted(&summary.status)
            {
                generations.push(summary);
            }
        }
        Ok(GenerationPage { generations, next: next.filter(|_| !ended) })
    }

    /// Returns a generation that is still kept.
    async fn summary(&self, id: GenerationId) -> Result<Option<Summary>, FollowError> {
        match self.0.log.open(id, Sequence::START).await? {
            Some(log) => Ok(Summary::of(&*log).await),
            None => Ok(None),
        }
    }
}

impl Summary {
    async fn of(log: &dyn GenerationLog) -> Option<Self> {
        let tail = log.tail().await.ok()?;
        let status = match tail.state {
            TailState::Open => Status::Running,
            TailState::Closed => match read_page(log, tail.sequence.before()).await.ok()?.entries.pop()?.event {
                Event::Done(done) => Status::Done(done),
                Event::Cancelled(cancelled) => Status::Cancelled(cancelled),
                Event::Failed(failed) => Status::Failed(failed),
                Event::Start(_) | Event::Chunk(_) => return None,
            },
        };
        Some(Self { start: Arc::clone(log.start()), status, last_sequence: tail.sequence })
    }
}
