//! Usage in OpenAI's format.

use crate::domain::{Done, ProviderDialect, TokenSource, Usage};
use crate::json::{Object, Tree};

/// Returns the provider's usage with all its fields. The three totals always are numbers under OpenAI's names.
/// `estimated` is `true` if at least one is an estimate of this service.
pub fn usage_json(done: &Done) -> String {
    let provider = done.trailer.of(ProviderDialect::OpenAiChat).and_then(|trailer| trailer.usage_json.as_deref());
    let (mut usage, details) = match provider.and_then(|json| Tree::parse(json).ok()) {
        Some(Tree::Object(usage)) => (usage, Object::default()),
        _ => (Object::default(), details(&done.usage)),
    };
    let (input, output) = (done.usage.input_tokens, done.usage.output_tokens.unwrap_or_default());
    let is_estimated = done.usage.source == TokenSource::Estimated;
    let totals =
        [("prompt_tokens", input), ("completion_tokens", output), ("total_tokens", input.saturating_add(output))];
    for (name, tokens) in totals {
        if is_estimated || !is_count(usage.get(name)) {
            usage.set(name, Tree::Literal(itoa::Buffer::new().format(tokens).into()));
        }
    }
    for (name, value) in details {
        usage.set(name, value);
    }
    if is_estimated {
        usage.set("estimated", Tree::Literal("true".into()));
    }
    usage.to_json()
}

/// Returns the counts of each kind of tokens, as far as they are known.
fn details(usage: &Usage) -> Object {
    let object = |counts: &[(&str, Option<u64>)]| -> Object {
        let counts = counts.iter().filter_map(|(name, count)| Some((*name, (*count)?)));
        counts.map(|(name, count)| (name, Tree::Literal(itoa::Buffer::new().format(count).into()))).collect()
    };
    let input = object(&[("cached_tokens", usage.cache_read_tokens), ("audio_tokens", usage.input_audio_tokens)]);
    let output = object(&[("reasoning_tokens", usage.reasoning_tokens), ("audio_tokens", usage.output_audio_tokens)]);
    let details = [("prompt_tokens_details", input), ("completion_tokens_details", output)];
    details
        .into_iter()
        .filter(|(_, counts)| !counts.is_empty())
        .map(|(name, counts)| (name, Tree::Object(counts)))
        .collect()
}

fn is_count(value: Option<&Tree>) -> bool {
    matches!(value, Some(Tree::Literal(number)) if number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Timings, Trailer, Usage};

    #[test]
    fn totals_are_numbers_and_estimates_are_marked() {
        for (provider, source, expected) in [
            (
                Some(r#"{"prompt_tokens":5,"completion_tokens":2,"total_tokens":9,"x":{"y":1}}"#),
                TokenSource::Provider,
                r#"{"prompt_tokens":5,"completion_tokens":2,"total_tokens":9,"x":{"y":1}}"#,
            ),
            (
                Some(r#"{"input_tokens":5,"output_tokens":2}"#),
                TokenSource::Provider,
                r#"{"input_tokens":5,"output_tokens":2,"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}"#,
            ),
            (
                Some(r#"{"prompt_tokens":5.0,"completion_tokens":"2","total_tokens":null}"#),
                TokenSource::Provider,
                r#"{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}"#,
            ),
            (
                Some(r#"{"prompt_tokens":5,"completion_tokens":null,"total_tokens":5}"#),
                TokenSource::Estimated,
                r#"{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,"estimated":true}"#,
            ),
            (
                None,
                TokenSource::Estimated,
                r#"{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,"estimated":true}"#,
            ),
        ] {
            let dialect = Some(ProviderDialect::OpenAiChat);
            let trailer = Trailer { dialect, usage_json: provider.map(Into::into), ..Trailer::default() };
            let usage = Usage { input_tokens: 5, output_tokens: Some(2), source, ..Usage::default() };
            let done = Done { finish: Box::default(), trailer, usage, timings: Timings::default() };
            assert_eq!(usage_json(&done), expected);
        }
    }
}
