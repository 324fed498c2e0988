//! An upstream and the models that it serves.

use std::sync::Arc;

use super::upstream_server::UpstreamServer;
use crate::domain::NamePatterns;

/// An upstream and the names of the models that it serves.
pub struct Route {
    pub models: NamePatterns,
    pub server: Arc<UpstreamServer>,
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
