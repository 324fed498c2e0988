//! A list of prices in the JSON of LiteLLM's `model_prices_and_context_window.json`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::{InvalidPrice, ModelPrice, TokenPrice};

/// The longest list, in bytes. LiteLLM's own has about 1.5 MB.
pub const LONGEST_PRICE_FILE: usize = 16 << 20;

/// Why a list of prices cannot be used. It never quotes a value.
#[derive(Debug, thiserror::Error)]
pub enum PriceFileError {
    #[error("cannot read it ({0})")]
    Unreadable(#[from] io::Error),
    #[error("it is longer than 16 MiB")]
    TooLong,
    #[error("it is not an object in JSON whose members are models: fix line {line}")]
    Form { line: usize },
    #[error("its entry `{model}` is not an object in JSON")]
    Entry { model: String },
    #[error("`{field}` of its entry `{model}` is not a price in US dollars for one token")]
    Price { model: String, field: &'static str },
}

/// The prices of an entry, in dollars for one token. Other members are ignored: other units, and the prices of long
/// contexts, batches and service tiers.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ListedPrice {
    input_cost_per_token: Option<Box<RawValue>>,
    cache_read_input_token_cost: Option<Box<RawValue>>,
    cache_creation_input_token_cost: Option<Box<RawValue>>,
    cache_creation_input_token_cost_above_1hr: Option<Box<RawValue>>,
    output_cost_per_token: Option<Box<RawValue>>,
    output_cost_per_reasoning_token: Option<Box<RawValue>>,
    input_cost_per_audio_token: Option<Box<RawValue>>,
    output_cost_per_audio_token: Option<Box<RawValue>>,
}

/// Reads a list of prices by model. Entries without a price for tokens are left out.
pub fn read_price_file(path: &Path) -> Result<BTreeMap<String, ModelPrice>, PriceFileError> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST_PRICE_FILE as u64 + 1).read_to_string(&mut text)?;
    if text.len() > LONGEST_PRICE_FILE {
        return Err(PriceFileError::TooLong);
    }
    parse_prices(&text)
}

fn parse_prices(json: &str) -> Result<BTreeMap<String, ModelPrice>, PriceFileError> {
    let entries: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(json).map_err(|error| PriceFileError::Form { line: error.line() })?;
    let mut prices = BTreeMap::new();
    for (model, entry) in entries {
        let Ok(listed) = serde_json::from_str::<ListedPrice>(entry.get()) else {
            return Err(PriceFileError::Entry { model });
        };
        let price = listed.price().map_err(|field| PriceFileError::Price { model: model.clone(), field })?;
        if price != ModelPrice::default() {
            prices.insert(model, price);
        }
    }
    Ok(prices)
}

impl ListedPrice {
    /// The error is the name of the field.
    fn price(&self) -> Result<ModelPrice, &'static str> {
        let read = |field: &'static str, value: &Option<Box<RawValue>>| {
            let price = value.as_ref().map(|value| of_one_token(value.get()));
            price.transpose().map_err(|InvalidPrice| field)
        };
        Ok(ModelPrice {
            input: read("input_cost_per_token", &self.input_cost_per_token)?,
            cache_read: read("cache_read_input_token_cost", &self.cache_read_input_token_cost)?,
            cache_write: read("cache_creation_input_token_cost", &self.cache_creation_input_token_cost)?,
            cache_write_1h: read(
                "cache_creation_input_token_cost_above_1hr",
                &self.cache_creation_input_token_cost_above_1hr,
            )?,
            output: read("output_cost_per_token", &self.output_cost_per_token)?,
            reasoning: read("output_cost_per_reasoning_token", &self.output_cost_per_reasoning_token)?,
            input_audio: read("input_cost_per_audio_token", &self.input_cost_per_audio_token)?,
            output_audio: read("output_cost_per_audio_token", &self.output_cost_per_audio_token)?,
        })
    }
}

/// Some lists have their numbers in quotes.
fn of_one_token(json: &str) -> Result<TokenPrice, InvalidPrice> {
    let unquoted = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
    TokenPrice::of_one_token(unquoted.unwrap_or(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "each price of a model is optional")]
    fn price(text: &str) -> Option<TokenPrice> {
        Some(text.parse().expect("a price"))
    }

    #[test]
    fn entries_are_read_from_the_text_of_their_numbers() {
        let json = r#"{
            "sample_spec": {"max_tokens": "a legacy field", "input_cost_per_token": 0.0, "mode": "one of: chat"},
            "gpt-x": {"input_cost_per_token": 2.5e-06, "cache_read_input_token_cost": 1.25e-06,
                "cache_creation_input_token_cost": 3e-06, "cache_creation_input_token_cost_above_1hr": 5e-06,
                "output_cost_per_token": 1e-05, "output_cost_per_reasoning_token": null,
                "input_cost_per_token_above_200k_tokens": 5e-06, "litellm_provider": "openai"},
            "groq/llama": {"input_cost_per_token": "0.00000005", "output_cost_per_token": 0.00000008},
            "painter": {"output_cost_per_image": 0.02}
        }"#;
        let prices = parse_prices(json).expect("prices");
        assert_eq!(prices.keys().collect::<Vec<_>>(), ["gpt-x", "groq/llama", "sample_spec"]);
        let gpt = ModelPrice {
            input: price("2.5"),
            cache_read: price("1.25"),
            cache_write: price("3"),
            cache_write_1h: price("5"),
            output: price("10"),
            ..ModelPrice::default()
        };
        assert_eq!(prices.get("gpt-x"), Some(&gpt));
        let llama = ModelPrice { input: price("0.05"), output: price("0.08"), ..ModelPrice::default() };
        assert_eq!(prices.get("groq/llama"), Some(&llama));
    }

    #[test]
    fn refused_list_names_the_entry_and_quotes_no_value() {
        for (json, expected) in [
            ("{\n\"a\": {},\n]", "it is not an object in JSON whose members are models: fix line 3"),
            ("[]", "it is not an object in JSON whose members are models: fix line 1"),
            (r#"{"gpt-x": 7}"#, "its entry `gpt-x` is not an object in JSON"),
            (
                r#"{"gpt-x": {"output_cost_per_token": "hunter2"}}"#,
                "`output_cost_per_token` of its entry `gpt-x` is not a price in US dollars for one token",
            ),
            (
                r#"{"gpt-x": {"input_cost_per_token": -1e-06}}"#,
                "`input_cost_per_token` of its entry `gpt-x` is not a price in US dollars for one token",
            ),
        ] {
            assert_eq!(parse_prices(json).map_err(|error| error.to_string()), Err(expected.to_owned()), "{json}");
        }
    }
}
