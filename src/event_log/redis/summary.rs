//! The start and the end of a log, without the entries between them.

use super::batch::BatchDecoder;
use super::store::Store;
use crate::domain::{Event, GenerationId, Sequence};
use crate::event_log::{LogSummary, LogUnavailable};

/// What two commands tell of a log.
pub enum SummaryReply {
    Closed(LogSummary),
    /// It is open, or cannot be summarised.
    Open,
    Missing,
}

pub async fn read(store: &Store, generation: GenerationId) -> Result<SummaryReply, LogUnavailable> {
    let keys = store.keys.of(generation);
    let mut commands = redis::pipe();
    commands.cmd("HMGET").arg(&keys.head).arg(&["st", "tail", "term", "gone"]);
    commands.cmd("XRANGE").arg(&keys.entries).arg(&["-", "+", "COUNT", "1"]);
    let (head, first) = store.client.connection.send::<(StoredHead, StoredBatches)>(&commands).await?;
    let (Some(state), tail, end, None) = head else { return Ok(SummaryReply::Missing) };
    let first = first.first().and_then(|(_, fields)| fields.get(1)).and_then(decode);
    let Some(Event::Start(start)) = first else { return Ok(SummaryReply::Missing) };
    Ok(match end.as_deref().and_then(decode) {
        Some(end) if state == "closed" => {
            SummaryReply::Closed(LogSummary { start, last: Sequence::new(tail.unwrap_or_default()), end: Some(end) })
        }
        _ => SummaryReply::Open,
    })
}

/// State, tail, terminal event, whether it was removed.
type StoredHead = (Option<String>, Option<u64>, Option<Vec<u8>>, Option<String>);
/// The entries of a stream: their ids, and their fields with the values.
type StoredBatches = Vec<(String, Vec<Vec<u8>>)>;

/// Returns the first event of a batch.
fn decode(batch: impl AsRef<[u8]>) -> Option<Event> {
    BatchDecoder::default().decode(batch.as_ref()).ok()?.into_iter().next()
}
