//! The list of a caller's generations in Redis: a sorted set that is ordered by its members.

use futures_util::future::try_join_all;

use super::store::Store;
use crate::domain::{GenerationId, Listed, Principal, Start, Timestamp};
use crate::event_log::LogUnavailable;

/// Adds the generation to its owner's list, which is in another slot of a cluster.
pub async fn add(store: &Store, start: &Start) -> Result<(), LogUnavailable> {
    let Some(list) = store.keys.list(&start.owner) else { return Ok(()) };
    let lifetime = i64::try_from(store.lifetime().as_millis()).unwrap_or(i64::MAX >> 16);
    let oldest = start.created_at.millis().saturating_sub(u64::try_from(lifetime).unwrap_or_default());
    let mut commands = redis::pipe();
    commands.cmd("ZREMRANGEBYLEX").arg(&list).arg("-").arg(format!("({oldest:014}")).ignore();
    commands.zadd(&list, list_member(&Listed::from(start)), 0).ignore();
    commands.cmd("PEXPIRE").arg(&list).arg(lifetime).ignore();
    Ok(store.client.connection.send::<()>(&commands).await?)
}

pub async fn list(
    store: &Store,
    owner: &Principal,
    before: Option<Listed>,
    most: usize,
) -> Result<Vec<Listed>, LogUnavailable> {
    let Some(list) = store.keys.list(owner) else { return Ok(Vec::new()) };
    let (mut listed, mut before) = (Vec::new(), before);
    while listed.len() < most {
        let wanted = most - listed.len();
        let from = before.map_or_else(|| "+".to_owned(), |before| format!("({}", list_member(&before)));
        let mut commands = redis::pipe();
        commands.cmd("ZRANGE").arg(&list).arg(from).arg("-").arg(&["BYLEX", "REV", "LIMIT", "0"]).arg(wanted);
        let members = store.client.connection.send::<(Vec<String>,)>(&commands).await?.0;
        let found: Vec<Listed> = members.iter().filter_map(|member| parse_member(member)).collect();
        let Some(oldest) = found.last() else { break };
        before = Some(*oldest);
        listed.extend(kept(store, &list, found).await?);
        if members.len() < wanted {
            break;
        }
    }
    Ok(listed)
}

/// Returns those whose logs are kept; the others leave the list.
async fn kept(store: &Store, list: &str, found: Vec<Listed>) -> Result<Vec<Listed>, LogUnavailable> {
    // Each by itself, because they are in several slots of a cluster. The connection sends them together.
    let are_kept = try_join_all(found.iter().map(|place| is_kept(store, place.generation))).await?;
    let (kept, gone): (Vec<_>, Vec<_>) = found.into_iter().zip(are_kept).partition(|(_, is_kept)| *is_kept);
    if !gone.is_empty() {
        let mut commands = redis::pipe();
        let members: Vec<_> = gone.iter().map(|(place, _)| list_member(place)).collect();
        commands.zrem(list, members).ignore();
        store.client.connection.send::<()>(&commands).await?;
    }
    Ok(kept.into_iter().map(|(place, _)| place).collect())
}

async fn is_kept(store: &Store, generation: GenerationId) -> Result<bool, LogUnavailable> {
    let mut commands = redis::pipe();
    commands.cmd("HMGET").arg(store.keys.of(generation).head).arg(&["v", "gone"]);
    let head = store.client.connection.send::<((Option<String>, Option<String>),)>(&commands).await?.0;
    Ok(matches!(head, (Some(_), None)))
}

/// Returns the member of a list. Members sort as their generations do: by time, then by id.
fn list_member(listed: &Listed) -> String {
    format!("{:014}.{:032x}", listed.created_at.millis(), listed.generation.to_bits())
}

fn parse_member(member: &str) -> Option<Listed> {
    let (millis, generation) = member.split_once('.')?;
    let generation = GenerationId::from_bits(u128::from_str_radix(generation, 16).ok()?);
    Some(Listed { created_at: Timestamp::from_millis(millis.parse().ok()?), generation })
}
