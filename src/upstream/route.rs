//! A provider and the models that it serves.

use std::sync::Arc;

use super::Provider;
use crate::domain::NamePatterns;

/// A provider and the names of the models that it serves.
pub struct Route {
    pub models: NamePatterns,
    pub provider: Arc<dyn Provider>,
}

impl Route {
    pub fn serves(&self, model: &str) -> bool {
        self.models.match_any(model)
    }

    /// Returns the model names, without the patterns, in the settings.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.models.names()
    }
}
