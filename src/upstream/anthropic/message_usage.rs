//! The usage that Anthropic reports, as inclusive totals.

use crate::domain::UsageReport;
use crate::json::{Object, Tree};

/// The figures of one answer. Later figures replace earlier ones, and missing ones keep them: the usage of
/// `message_delta` is cumulative and may be partial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageUsage {
    /// Without the cached tokens.
    input: Option<u64>,
    cache_write: Option<u64>,
    /// Of `cache_write`.
    cache_write_1h: Option<u64>,
    cache_read: Option<u64>,
    /// With the thinking.
    output: Option<u64>,
    thinking: Option<u64>,
}

impl MessageUsage {
    /// Reads the usage of `message_start`. Its output is a placeholder: the model has generated nothing yet.
    pub fn begin(&mut self, usage: &Object) {
        let output = self.output;
        self.update(usage);
        self.output = output;
    }

    /// Reads the usage of `message_delta`.
    pub fn update(&mut self, usage: &Object) {
        let details = usage.present("output_tokens_details").and_then(Tree::as_object);
        let writes = usage.present("cache_creation").and_then(Tree::as_object);
        for (figure, later) in [
            (&mut self.input, tokens(usage, "input_tokens")),
            (&mut self.cache_write, tokens(usage, "cache_creation_input_tokens")),
            (&mut self.cache_write_1h, writes.and_then(|writes| tokens(writes, "ephemeral_1h_input_tokens"))),
            (&mut self.cache_read, tokens(usage, "cache_read_input_tokens")),
            (&mut self.output, tokens(usage, "output_tokens")),
            (&mut self.thinking, details.and_then(|details| tokens(details, "thinking_tokens"))),
        ] {
            *figure = later.or(*figure);
        }
    }

    /// Returns the totals: the input with the tokens read from the cache and written to it.
    pub fn report(self) -> UsageReport {
        let parts = [self.input, self.cache_write, self.cache_read];
        let input = parts.into_iter().flatten().reduce(u64::saturating_add);
        UsageReport {
            input_tokens: input,
            cache_read_tokens: self.cache_read,
            cache_write_tokens: self.cache_write,
            cache_write_1h_tokens: self.cache_write_1h.and_then(UsageReport::hour_tokens),
            output_tokens: self.output,
            reasoning_tokens: self.thinking,
            ..UsageReport::default()
        }
    }
}

fn tokens(usage: &Object, name: &str) -> Option<u64> {
    if let Tree::Literal(number) = usage.get(name)? { number.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn object(json: &str) -> Object {
        let Ok(Tree::Object(object)) = Tree::parse(json) else { panic!("{json}") };
        object
    }

    #[test]
    fn input_includes_the_cached_tokens_and_later_figures_win() {
        let mut usage = MessageUsage::default();
        let start =
            r#"{"input_tokens":3,"cache_creation_input_tokens":20,"cache_read_input_tokens":100,"output_tokens":1}"#;
        usage.begin(&object(start));
        let started = UsageReport {
            input_tokens: Some(123),
            cache_read_tokens: Some(100),
            cache_write_tokens: Some(20),
            ..UsageReport::default()
        };
        assert_eq!(usage.report(), started, "the output of the start is no count");

        usage.update(&object(r#"{"output_tokens":9,"output_tokens_details":{"thinking_tokens":4}}"#));
        let totals = UsageReport { output_tokens: Some(9), reasoning_tokens: Some(4), ..started };
        assert_eq!(usage.report(), totals);

        usage.update(&object(r#"{"input_tokens":5,"cache_read_input_tokens":null,"output_tokens":12}"#));
        assert_eq!(usage.report(), UsageReport { input_tokens: Some(125), output_tokens: Some(12), ..totals });
    }

    #[test]
    fn usage_without_figures_reports_none() {
        let mut usage = MessageUsage::default();
        usage.begin(&object(r#"{"input_tokens":"x","output_tokens":-1}"#));
        assert_eq!(usage.report(), UsageReport::default());
    }

    #[test]
    fn cache_writes_for_an_hour_are_a_part_of_all_cache_writes() {
        let mut usage = MessageUsage::default();
        usage.begin(&object(
            r#"{"input_tokens":3,"cache_creation_input_tokens":20,
                "cache_creation":{"ephemeral_5m_input_tokens":8,"ephemeral_1h_input_tokens":12},"output_tokens":1}"#,
        ));
        usage.update(&object(r#"{"cache_creation":null,"output_tokens":5}"#));
        let report = usage.report();
        assert_eq!(
            (report.input_tokens, report.cache_write_tokens, report.cache_write_1h_tokens.map(NonZeroU32::get)),
            (Some(23), Some(20), Some(12))
        );
    }
}
