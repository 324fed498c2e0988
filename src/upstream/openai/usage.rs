//! Reads the usage that an upstream reports, under all known names and in all known places.

use crate::domain::UsageReport;
use crate::json::{Object, Tree};

/// Returns the usage that a chunk or a completion reports, and its JSON object.
///
/// Reads `usage` of the object itself, of a choice (Moonshot), of `x_groq` (Groq) and of `message` (Anthropic). An
/// object without figures, or with zeros only, is a placeholder and is ignored.
pub fn find(chunk: &Object) -> Option<(UsageReport, &Object)> {
    fn of(usage: Option<&Tree>) -> Option<(UsageReport, &Object)> {
        let usage = usage?.as_object()?;
        Some((read(usage)?, usage))
    }
    let inner = |name: &str| chunk.get(name).and_then(Tree::as_object).and_then(|inner| inner.get("usage"));
    of(chunk.get("usage"))
        .or_else(|| {
            let choices = chunk.get("choices")?.as_array()?;
            choices.iter().filter_map(Tree::as_object).find_map(|choice| of(choice.get("usage")))
        })
        .or_else(|| of(inner("x_groq")))
        .or_else(|| of(inner("message")))
}

const INPUT_DETAILS: [&str; 2] = ["prompt_tokens_details", "input_tokens_details"];
const OUTPUT_DETAILS: [&str; 2] = ["completion_tokens_details", "output_tokens_details"];

/// Reads the figures. Totals are inclusive: Anthropic's `input_tokens` exclude cache reads and writes, so these are
/// added.
pub fn read(usage: &Object) -> Option<UsageReport> {
    let figure = |object: &Object, names: &[&str]| names.iter().find_map(|name| tokens(object.get(name)));
    let total = |names: &[&str]| figure(usage, names);
    let detail =
        |groups: &[&str], names: &[&str]| groups.iter().find_map(|group| figure(usage.get(group)?.as_object()?, names));
    let (anthropic_read, anthropic_write) =
        (total(&["cache_read_input_tokens"]), total(&["cache_creation_input_tokens"]));
    let inclusive = total(&["prompt_tokens"]);
    let exclusive = total(&["input_tokens"])
        .map(|input| [anthropic_read, anthropic_write].into_iter().flatten().fold(input, u64::saturating_add));
    let report = UsageReport {
        input_tokens: inclusive.or(exclusive),
        cache_read_tokens: anthropic_read
            .or_else(|| detail(&INPUT_DETAILS, &["cached_tokens"]))
            .or_else(|| total(&["prompt_cache_hit_tokens", "cached_tokens"])),
        cache_write_tokens: anthropic_write
            .or_else(|| detail(&INPUT_DETAILS, &["cache_write_tokens", "cache_creation_tokens"])),
        cache_write_1h_tokens: detail(&["cache_creation"], &["ephemeral_1h_input_tokens"])
            .and_then(UsageReport::hour_tokens),
        input_audio_tokens: detail(&INPUT_DETAILS, &["audio_tokens"]),
        output_tokens: total(&["completion_tokens", "output_tokens"]),
        reasoning_tokens: detail(&OUTPUT_DETAILS, &["reasoning_tokens"]).or_else(|| total(&["reasoning_tokens"])),
        output_audio_tokens: detail(&OUTPUT_DETAILS, &["audio_tokens"]),
    };
    let counts = |figure: Option<u64>| figure.is_some_and(|figure| figure > 0);
    (counts(report.input_tokens) || counts(report.output_tokens)).then_some(report)
}

/// Returns a number of tokens, also from a float or a string. A negative number yields `None`.
fn tokens(value: Option<&Tree>) -> Option<u64> {
    let (Tree::Literal(number) | Tree::Text(number)) = value? else { return None };
    if let Ok(number) = number.parse() {
        return Some(number);
    }
    let float = number.parse::<f64>().ok().filter(|float| (0.0..9e15).contains(float))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within the range")]
    Some(float.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(chunk: &str) -> Option<UsageReport> {
        let tree = Tree::parse(chunk).expect("JSON");
        find(tree.as_object().expect("an object")).map(|(report, _)| report)
    }

    fn totals(input: u64, output: u64) -> UsageReport {
        UsageReport { input_tokens: Some(input), output_tokens: Some(output), ..UsageReport::default() }
    }

    #[test]
    fn usage_is_read_in_every_known_place() {
        let usage = r#""usage":{"prompt_tokens":5,"completion_tokens":2}"#;
        for chunk in [
            format!("{{{usage}}}"),
            format!(r#"{{"usage":null,"choices":[{{}},{{{usage}}}]}}"#),
            format!(r#"{{"x_groq":{{{usage}}}}}"#),
            format!(r#"{{"message":{{{usage}}}}}"#),
        ] {
            assert_eq!(report(&chunk), Some(totals(5, 2)), "{chunk}");
        }
    }

    #[test]
    fn usage_is_read_under_each_name() {
        let read = |usage: &str| report(&format!(r#"{{"usage":{usage}}}"#));
        let plain = totals(50, 2);
        for (usage, expected) in [
            (r#"{"input_tokens":50,"output_tokens":2}"#, plain),
            (r#"{"prompt_tokens":50.0,"completion_tokens":"2"}"#, plain),
            (
                r#"{"prompt_tokens":50,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":40,"audio_tokens":3},"completion_tokens_details":{"reasoning_tokens":1,"audio_tokens":0}}"#,
                UsageReport {
                    cache_read_tokens: Some(40),
                    input_audio_tokens: Some(3),
                    reasoning_tokens: Some(1),
                    output_audio_tokens: Some(0),
                    ..plain
                },
            ),
            (
                r#"{"input_tokens":50,"output_tokens":2,"input_tokens_details":{"cached_tokens":40}}"#,
                UsageReport { cache_read_tokens: Some(40), ..plain },
            ),
            (
                r#"{"prompt_tokens":50,"completion_tokens":2,"prompt_cache_hit_tokens":40}"#,
                UsageReport { cache_read_tokens: Some(40), ..plain },
            ),
            (
                r#"{"prompt_tokens":50,"completion_tokens":2,"cached_tokens":40,"reasoning_tokens":1}"#,
                UsageReport { cache_read_tokens: Some(40), reasoning_tokens: Some(1), ..plain },
            ),
            (
                r#"{"prompt_tokens":50,"completion_tokens":2,"cache_read_input_tokens":30,"cache_creation_input_tokens":10}"#,
                UsageReport { cache_read_tokens: Some(30), cache_write_tokens: Some(10), ..plain },
            ),
            (
                r#"{"input_tokens":10,"output_tokens":2,"cache_read_input_tokens":30,"cache_creation_input_tokens":10}"#,
                UsageReport { cache_read_tokens: Some(30), cache_write_tokens: Some(10), ..plain },
            ),
            (
                r#"{"prompt_tokens":50,"completion_tokens":null}"#,
                UsageReport { input_tokens: Some(50), ..UsageReport::default() },
            ),
        ] {
            assert_eq!(read(usage), Some(expected), "{usage}");
        }
    }

    #[test]
    fn placeholder_is_no_usage() {
        for usage in [
            "null",
            "{}",
            "7",
            r#""x""#,
            "[]",
            r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#,
            r#"{"prompt_tokens":null,"completion_tokens":null,"total_tokens":0}"#,
            r#"{"prompt_tokens":-1,"completion_tokens":-1}"#,
            r#"{"prompt_tokens":{},"completion_tokens":"x"}"#,
        ] {
            assert_eq!(report(&format!(r#"{{"usage":{usage}}}"#)), None, "{usage}");
        }
    }
}
