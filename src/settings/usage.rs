//! The settings of usage and prices.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::keys::{SettingSection, TEXT, key};

/// The prices of models, below this name, one table for each.
pub(super) const PRICES: &str = "prices";

/// The prices of a model.
pub(super) const PRICE_KINDS: [&str; 8] =
    ["input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning", "input_audio", "output_audio"];
pub(super) const PRICE_TABLE: &str = "a table of the prices input, cache_read, cache_write, cache_write_1h, output, reasoning, \
                                      input_audio and output_audio";
pub(super) const PRICE: &str = "a price in US dollars for a million tokens, from 0 to 1000000 with at most nine decimal \
                                places, such as 2.5";

/// Where usage is kept, and where prices come from.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct UsageSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prices_file: Option<PathBuf>,
}

pub(super) const SECTION: SettingSection = SettingSection {
    name: "usage",
    intro: "",
    keys: &[
        key(
            "usage.path",
            TEXT,
            "The folder of the usage ledger: a file of JSON lines for each day, with two lines for each attempt at an \
             upstream. It is created if it does not exist, and read at the start. Each process needs a folder of its \
             own. Default: absent; usage is then kept in memory only, until the process ends.",
        )
        .with_example("\"/var/lib/tokenrill/usage\""),
        key(
        "usage.prices_file",
        TEXT,
        "A file of prices in the JSON of LiteLLM's model_prices_and_context_window.json, of at most 16 MiB, read at the \
         start and at SIGHUP. [prices] takes precedence over it. Prices of long contexts, batches and service tiers are not read. \
         Default: absent.",
    )
    .with_example("\"model_prices_and_context_window.json\"")
    ],
};

pub(super) const PRICE_SECTION: SettingSection = SettingSection {
    name: PRICES,
    intro: "",
    keys: &[key(
        PRICES,
        "written as tables, each under its own [prices.\"model\"], with prices in US dollars for a million tokens",
        "The prices of models, in US dollars for a million tokens. The name is the one that the upstream is asked for, \
         with the upstream before it or alone: \"upstream/model\" takes precedence over \"model\". A token is charged \
         once: cache_read, cache_write, of it cache_write_1h (kept for an hour), and input_audio are parts of input, reasoning and output_audio parts of output, \
         and a part without a price of its own has that of the whole. The cost of a model without a price is unknown. \
         Reloaded at SIGHUP. Default: none. In the environment: { \"gpt-x\" = { input = 2.5, output = 10 } }.",
    )
    .with_example(
        "[prices.\"gpt-x\"]\n\
         input = 2.5\n\
         cache_read = 1.25\n\
         output = 10\n\
         \n\
         [prices.\"openrouter/vendor/model\"]\n\
         input = 3\n\
         cache_read = 0.3\n\
         cache_write = 3.75\n\
         cache_write_1h = 6\n\
         output = 15\n\
         reasoning = 15\n\
         input_audio = 40\n\
         output_audio = 80",
    )],
};

#[cfg(test)]
mod tests {
    use crate::domain::{ModelPrice, TokenPrice};

    #[test]
    fn price_of_a_toml_number_or_text_is_the_written_one() {
        let toml = "input = 0.1\noutput = 3\nreasoning = \"0.000000007\"";
        let price: ModelPrice = toml::from_str(toml).expect("prices");
        let nanos = [price.input, price.output, price.reasoning].map(|price| price.map(TokenPrice::nanos_per_million));
        assert_eq!(nanos, [Some(100_000_000), Some(3_000_000_000), Some(7)]);
        let written = toml::to_string(&price).expect("TOML");
        assert_eq!(toml::from_str::<ModelPrice>(&written).expect("prices"), price, "{written}");
        for wrong in ["input = -1", "input = true", "input = nan", "inputs = 1", "input = 0.12345678901"] {
            assert!(toml::from_str::<ModelPrice>(wrong).is_err(), "{wrong}");
        }
    }
}
