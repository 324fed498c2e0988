//! The prices of models.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use super::charge::cost_of;
use super::price_file::{PriceFileError, read_price_file};
use crate::domain::{ModelPrice, Usage, Usd};

/// The prices of the settings, and those of the file that they name. The settings take precedence.
#[derive(Debug, Default)]
pub struct Prices {
    settings: BTreeMap<String, ModelPrice>,
    file: BTreeMap<String, ModelPrice>,
}

/// The prices in effect, which a reload replaces. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct CurrentPrices(Arc<RwLock<Arc<Prices>>>);

impl CurrentPrices {
    /// Returns the prices in effect. They stay as they are if others replace them.
    pub fn get(&self) -> Arc<Prices> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other prices into effect, for everything that is priced from now on.
    pub fn replace(&self, prices: Prices) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(prices);
    }
}

impl From<Prices> for CurrentPrices {
    fn from(prices: Prices) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(prices))))
    }
}

impl Prices {
    /// Reads the file, if there is one. The names are `model` or `upstream/model`.
    pub fn load(settings: BTreeMap<String, ModelPrice>, file: Option<&Path>) -> Result<Self, PriceFileError> {
        let file = file.map(read_price_file).transpose()?.unwrap_or_default();
        Ok(Self { settings, file })
    }

    /// Returns what the tokens cost at an upstream; `None` if that is unknown.
    ///
    /// `model` is the name that the upstream was asked for, not the one that the caller requested.
    pub fn cost(&self, upstream: &str, model: &str, usage: &Usage) -> Option<Usd> {
        cost_of(usage, self.price(upstream, model)?)
    }

    /// Returns whether every answer of this model has a known cost: it has prices for input and output.
    pub fn is_priced(&self, upstream: &str, model: &str) -> bool {
        self.price(upstream, model).is_some_and(|price| price.input.is_some() && price.output.is_some())
    }

    /// Returns the price of a model. The name with the upstream takes precedence; the text after a `?`, which has
    /// options of the embedded model, is not part of the name.
    fn price(&self, upstream: &str, model: &str) -> Option<&ModelPrice> {
        let name = model.split_once('?').map_or(model, |(name, _)| name);
        let qualified = format!("{upstream}/{name}");
        [&self.settings, &self.file].into_iter().find_map(|prices| prices.get(&qualified).or_else(|| prices.get(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_is_priced_if_it_has_prices_for_input_and_output() {
        let price = |text: &str| Some(text.parse().expect("a price"));
        let both = ModelPrice { input: price("0"), output: price("0"), ..ModelPrice::default() };
        let settings = [("free".to_owned(), both), ("half".to_owned(), ModelPrice { output: None, ..both })].into();
        let prices = Prices { settings, file: BTreeMap::new() };
        assert_eq!(["free", "half", "other"].map(|model| prices.is_priced("main", model)), [true, false, false]);
    }

    fn prices(pairs: &[(&str, &str)]) -> BTreeMap<String, ModelPrice> {
        let price = |text: &str| ModelPrice { input: Some(text.parse().expect("a price")), ..ModelPrice::default() };
        pairs.iter().map(|(model, text)| ((*model).to_owned(), price(text))).collect()
    }

    #[test]
    fn settings_win_over_the_file_and_the_upstream_over_the_model() {
        let prices = Prices {
            settings: prices(&[("a", "1"), ("main/a", "2"), ("vendor/b", "3"), ("demo", "4")]),
            file: prices(&[("main/a", "5"), ("c", "6"), ("main/c", "7"), ("main/vendor/b", "8")]),
        };
        let million = Usage { input_tokens: 1_000_000, output_tokens: Some(0), ..Usage::default() };
        for (upstream, model, cost) in [
            ("main", "a", Some("2")),
            ("other", "a", Some("1")),
            ("main", "c", Some("7")),
            ("other", "c", Some("6")),
            ("other", "vendor/b", Some("3")),
            ("main", "vendor/b", Some("3")),
            ("demo", "demo?rate=20", Some("4")),
            ("main", "d", None),
            ("vendor", "b", Some("3")),
        ] {
            let found = prices.cost(upstream, model, &million).map(|cost| cost.to_string());
            assert_eq!(found.as_deref(), cost, "{upstream}/{model}");
        }
    }
}
