//! What the tokens of an attempt cost.

use crate::domain::{ModelPrice, TokenPrice, Usage, Usd};

/// Tokens, which are known, of one kind.
type PricedPart = (Option<u64>, Option<TokenPrice>);

/// Returns what the tokens cost; `None` if a number of tokens, or the price of a kind of which there are tokens, is
/// unknown.
///
/// Totals include their parts, so each token is charged once: as its part if that has a price of its own, else at the
/// price of the total. Parts that exceed their total are cut. Rounds once, to the nearest nano-dollar.
pub fn cost_of(usage: &Usage, price: &ModelPrice) -> Option<Usd> {
    let written = usage.cache_write_tokens.unwrap_or_default();
    let for_an_hour = usage.cache_write_1h_tokens.map_or(0, |tokens| tokens.get().into()).min(written);
    let input: [PricedPart; 4] = [
        (usage.cache_read_tokens, price.cache_read),
        (Some(for_an_hour), price.cache_write_1h.or(price.cache_write)),
        (Some(written - for_an_hour), price.cache_write),
        (usage.input_audio_tokens, price.input_audio),
    ];
    let output: [PricedPart; 2] =
        [(usage.reasoning_tokens, price.reasoning), (usage.output_audio_tokens, price.output_audio)];
    let input = charge_total(usage.input_tokens, price.input, &input)?;
    let output = charge_total(usage.output_tokens?, price.output, &output)?;
    Some(rounded(input.saturating_add(output)))
}

/// Returns the price of a total in nano-dollars, times a million.
fn charge_total(total: u64, price: Option<TokenPrice>, parts: &[PricedPart]) -> Option<u128> {
    let (mut rest, mut sum) = (total, 0_u128);
    for (tokens, own) in parts {
        let tokens = tokens.unwrap_or_default().min(rest);
        rest -= tokens;
        sum = sum.saturating_add(charge(tokens, own.or(price))?);
    }
    Some(sum.saturating_add(charge(rest, price)?))
}

fn charge(tokens: u64, price: Option<TokenPrice>) -> Option<u128> {
    match (tokens, price) {
        (0, _) => Some(0),
        (_, None) => None,
        (_, Some(price)) => Some(u128::from(tokens) * u128::from(price.nanos_per_million())),
    }
}

fn rounded(nanos_times_million: u128) -> Usd {
    let nanos = nanos_times_million.saturating_add(500_000) / 1_000_000;
    Usd::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "each price of a model is optional")]
    fn price(text: &str) -> Option<TokenPrice> {
        Some(text.parse().expect("a price"))
    }

    /// Prices of one cent per million and kind, two cents, and so on.
    fn full() -> ModelPrice {
        ModelPrice {
            input: price("2.5"),
            cache_read: price("0.25"),
            cache_write: price("3.125"),
            cache_write_1h: price("5"),
            output: price("10"),
            reasoning: price("12"),
            input_audio: price("40"),
            output_audio: price("80"),
        }
    }

    fn dollars(usage: &Usage, price: &ModelPrice) -> Option<String> {
        cost_of(usage, price).map(|cost| cost.to_string())
    }

    #[test]
    fn cached_tokens_are_charged_once() {
        let usage = Usage {
            input_tokens: 1_000_000,
            cache_read_tokens: Some(600_000),
            cache_write_tokens: Some(100_000),
            output_tokens: Some(0),
            ..Usage::default()
        };
        // 300,000 at 2.5, 600,000 at 0.25 and 100,000 at 3.125.
        assert_eq!(dollars(&usage, &full()).as_deref(), Some("1.2125"));
        // Half of what was written is kept for an hour, at 5; without a price of its own at 3.125.
        let hour = Usage { cache_write_1h_tokens: NonZeroU32::new(50_000), ..usage };
        assert_eq!(dollars(&hour, &full()).as_deref(), Some("1.30625"));
        assert_eq!(dollars(&hour, &ModelPrice { cache_write_1h: None, ..full() }).as_deref(), Some("1.2125"));
        let more_than_written = Usage { cache_write_1h_tokens: Some(NonZeroU32::MAX), ..usage };
        assert_eq!(dollars(&more_than_written, &full()).as_deref(), Some("1.4"));
        let without = ModelPrice { cache_read: None, cache_write: None, cache_write_1h: None, ..full() };
        assert_eq!(dollars(&usage, &without).as_deref(), Some("2.5"));
    }

    #[test]
    fn reasoning_and_audio_are_not_charged_twice() {
        let usage = Usage {
            input_tokens: 100,
            input_audio_tokens: Some(40),
            output_tokens: Some(1_000),
            reasoning_tokens: Some(700),
            output_audio_tokens: Some(100),
            ..Usage::default()
        };
        // Millionths of a dollar: 60 * 2.5 + 40 * 40 + 200 * 10 + 700 * 12 + 100 * 80.
        assert_eq!(dollars(&usage, &full()).as_deref(), Some("0.02015"));
        let plain = ModelPrice { input: price("2.5"), output: price("10"), ..ModelPrice::default() };
        assert_eq!(dollars(&usage, &plain).as_deref(), Some("0.01025"));
    }

    #[test]
    fn cost_is_rounded_once_to_the_nearest_nano_dollar() {
        let price = |input: &str, output: &str| ModelPrice {
            input: price(input),
            output: price(output),
            ..ModelPrice::default()
        };
        let usage = |input_tokens, output| Usage { input_tokens, output_tokens: Some(output), ..Usage::default() };
        // Two quarters of a nano-dollar are half of one, which is rounded up.
        assert_eq!(cost_of(&usage(1, 1), &price("0.00025", "0.00025")), Some(Usd::from_nanos(1)));
        assert_eq!(cost_of(&usage(1, 0), &price("0.00025", "0.00025")), Some(Usd::from_nanos(0)));
        assert_eq!(cost_of(&usage(u64::MAX, u64::MAX), &price("1000000", "1000000")), Some(Usd::from_nanos(u64::MAX)));
    }

    #[test]
    fn cost_is_unknown_without_the_price_or_the_number_of_its_tokens() {
        let usage = Usage { input_tokens: 5, output_tokens: Some(2), ..Usage::default() };
        let no_output = ModelPrice { output: None, ..full() };
        assert_eq!(cost_of(&usage, &no_output), None);
        assert_eq!(cost_of(&Usage { output_tokens: None, ..usage }, &full()), None);
        let nothing_out = Usage { output_tokens: Some(0), ..usage };
        assert_eq!(dollars(&nothing_out, &no_output).as_deref(), Some("0.0000125"));
    }

    #[test]
    fn any_split_into_parts_costs_the_total_if_all_prices_are_equal() {
        let mut seed = 7_u64;
        let mut random = |most: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % (most + 1)
        };
        let one = price("0.6");
        let every = ModelPrice {
            cache_read: one,
            cache_write: one,
            cache_write_1h: one,
            reasoning: one,
            input_audio: one,
            output_audio: one,
            input: one,
            output: one,
        };
        for _ in 0..10_000 {
            let (input, output) = (random(1_000_000), random(100_000));
            // Some parts exceed their totals, as some servers report them.
            let usage = Usage {
                input_tokens: input,
                cache_read_tokens: Some(random(input)),
                cache_write_tokens: Some(random(input)),
                cache_write_1h_tokens: NonZeroU32::new(u32::try_from(random(input)).expect("small")),
                input_audio_tokens: Some(random(input)),
                output_tokens: Some(output),
                reasoning_tokens: Some(random(output)),
                output_audio_tokens: Some(random(output)),
                ..Usage::default()
            };
            assert_eq!(cost_of(&usage, &every), Some(Usd::from_nanos((input + output) * 600)), "{usage:?}");
            let totals = ModelPrice { input: one, output: one, ..ModelPrice::default() };
            assert_eq!(cost_of(&usage, &totals), cost_of(&usage, &every));
        }
    }
}
