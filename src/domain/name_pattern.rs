//! Names by pattern: models, channels.

use std::sync::Arc;

/// A name, or a pattern of names in which `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one name that this means, where it is no pattern of several.
    pub fn name(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|name| !name.contains('*'))
    }

    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|start| name.strip_prefix(start)) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else { return false };
            rest = after;
        }
        rest.ends_with(last)
    }
}

/// The models that a caller may ask.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum AllowedModels {
    #[default]
    All,
    These(Arc<[NamePattern]>),
}

impl AllowedModels {
    pub const fn are_limited(&self) -> bool {
        matches!(self, Self::These(_))
    }

    pub fn allow(&self, model: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(patterns) => patterns.iter().any(|pattern| pattern.matches(model)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, model, matches) in [
            ("gpt-4", "gpt-4", true),
            ("gpt-4", "gpt-4o", false),
            ("*", "", true),
            ("*", "anything", true),
            ("gpt-*", "gpt-4o", true),
            ("gpt-*", "chatgpt-4o", false),
            ("*/qwen*b", "local/qwen-7b", true),
            ("*/qwen*b", "local/qwen-7", false),
            ("a*a", "a", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("demo?*", "demo?rate=max", true),
            ("demo?*", "demo", false),
        ] {
            assert_eq!(NamePattern::new(pattern).matches(model), matches, "{pattern} and {model}");
        }
    }
}
