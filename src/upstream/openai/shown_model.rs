//! The model that callers see in an answer.

/// The name of the model in the chunks and in the completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShownModel {
    /// The one that the server sends; the requested one if it sends none.
    Sent { requested: String },
    /// The requested one, because it is an alias: the server knows it by another name.
    Alias(String),
}

impl ShownModel {
    /// `sent` is the name that was sent to the server.
    pub fn of_request(requested: &str, sent: &str) -> Self {
        let requested = requested.to_owned();
        if requested == sent { Self::Sent { requested } } else { Self::Alias(requested) }
    }

    pub fn requested(&self) -> &str {
        match self {
            Self::Sent { requested } => requested,
            Self::Alias(alias) => alias,
        }
    }
}

impl From<String> for ShownModel {
    fn from(requested: String) -> Self {
        Self::Sent { requested }
    }
}
