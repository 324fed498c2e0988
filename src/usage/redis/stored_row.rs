//! The stored form of a row: a field of the hash, and its figures.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::{Principal, Usd};
use crate::usage::sums::{SumRow, UsageCaller, UsageEntry};
use crate::usage::totals::UsageTotals;

/// The kind of a caller in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredCaller {
    Anonymous,
    Key,
    Token,
    Others,
}

/// The names of a row, as JSON: kind, name and issuer of the caller, model, upstream.
type StoredNames<'a> = (StoredCaller, Option<&'a str>, Option<&'a str>, &'a str, &'a str);

/// Returns the field: the day, a space, and the names. `scripts/add.lua` knows this form.
pub fn field(row: &SumRow) -> String {
    let SumRow { day, caller, model, upstream } = row;
    let (kind, name, issuer) = stored_caller(caller);
    let names: StoredNames<'_> = (kind, name, issuer, model, upstream);
    format!("{day} {}", json(&names))
}

/// Returns the text with which the names of all rows of a caller begin.
pub fn begin_of_names(caller: &Principal) -> String {
    let caller = UsageCaller::Principal(caller.clone());
    json(&stored_caller(&caller)).trim_end_matches(']').to_owned() + ","
}

/// Returns the figures in the order of [`entry`].
pub fn figures(totals: &UsageTotals) -> String {
    let figures = [
        totals.done,
        totals.cancelled,
        totals.failed,
        totals.estimated,
        totals.unpriced,
        totals.input_tokens,
        totals.cache_read_tokens,
        totals.cache_write_tokens,
        totals.input_audio_tokens,
        totals.output_tokens,
        totals.reasoning_tokens,
        totals.output_audio_tokens,
        totals.known_cost.nanos(),
    ];
    figures.map(|figure| figure.to_string()).join(" ")
}

/// Parses a row; `None` if it is not in the form that this version writes.
pub fn entry(field: &[u8], figures: &[u8]) -> Option<UsageEntry> {
    let (day, names) = std::str::from_utf8(field).ok()?.split_once(' ')?;
    let (kind, name, issuer, model, upstream): (_, Option<String>, Option<String>, Arc<str>, Arc<str>) =
        serde_json::from_str(names).ok()?;
    let caller = match (kind, name, issuer) {
        (StoredCaller::Anonymous, None, None) => UsageCaller::Principal(Principal::Anonymous),
        (StoredCaller::Key, Some(name), None) => UsageCaller::Principal(Principal::Key(name.into())),
        (StoredCaller::Token, Some(subject), Some(issuer)) => {
            UsageCaller::Principal(Principal::Subject { issuer: issuer.into(), subject: subject.into() })
        }
        (StoredCaller::Others, None, None) => UsageCaller::Others,
        _ => return None,
    };
    let mut figures = std::str::from_utf8(figures).ok()?.split(' ').map(|figure| figure.parse::<u64>().ok());
    let mut next = || figures.next().flatten();
    let totals = UsageTotals {
        done: next()?,
        cancelled: next()?,
        failed: next()?,
        estimated: next()?,
        unpriced: next()?,
        input_tokens: next()?,
        cache_read_tokens: next()?,
        cache_write_tokens: next()?,
        input_audio_tokens: next()?,
        output_tokens: next()?,
        reasoning_tokens: next()?,
        output_audio_tokens: next()?,
        known_cost: Usd::from_nanos(next()?),
    };
    Some(UsageEntry { row: SumRow { day: day.parse().ok()?, caller, model, upstream }, totals })
}

fn stored_caller(caller: &UsageCaller) -> (StoredCaller, Option<&str>, Option<&str>) {
    let kind = match caller {
        UsageCaller::Others => return (StoredCaller::Others, None, None),
        UsageCaller::Principal(Principal::Anonymous) => StoredCaller::Anonymous,
        UsageCaller::Principal(Principal::Key(_)) => StoredCaller::Key,
        UsageCaller::Principal(Principal::Subject { .. }) => StoredCaller::Token,
    };
    let UsageCaller::Principal(principal) = caller else { return (kind, None, None) };
    (kind, principal.name(), principal.issuer())
}

fn json(value: &impl Serialize) -> String {
    // Cannot fail for these types.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_reads_back_as_it_was_stored() {
        let totals = UsageTotals {
            done: 1,
            cancelled: 2,
            failed: 3,
            estimated: 4,
            unpriced: 5,
            input_tokens: 6,
            cache_read_tokens: 7,
            cache_write_tokens: 8,
            input_audio_tokens: 9,
            output_tokens: 10,
            reasoning_tokens: 11,
            output_audio_tokens: 12,
            known_cost: Usd::from_nanos(13),
        };
        let subject = Principal::Subject { issuer: "https://id".into(), subject: "a \"b\"".into() };
        for caller in [
            UsageCaller::Principal(Principal::Anonymous),
            UsageCaller::Principal(Principal::Key("web ]".into())),
            UsageCaller::Principal(subject),
            UsageCaller::Others,
        ] {
            let day = "2026-12-01".parse().expect("a day");
            let row = SumRow { day, caller: caller.clone(), model: "m".into(), upstream: "u".into() };
            let field = field(&row);
            assert_eq!(entry(field.as_bytes(), figures(&totals).as_bytes()), Some(UsageEntry { row, totals }));
            if let UsageCaller::Principal(principal) = caller {
                let names = field.split_once(' ').expect("a day and names").1;
                assert!(names.starts_with(&begin_of_names(&principal)), "{field}");
            }
        }
        for (wrong, figures) in [("2026-12-01", "1"), ("2026-12-01 []", "1"), ("!", "2026-12-01")] {
            assert_eq!(entry(wrong.as_bytes(), figures.as_bytes()), None, "{wrong}");
        }
    }
}
