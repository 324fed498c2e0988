//! Patterns of names of models and channels.

use std::collections::HashSet;
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

    /// Returns the name, if this is not a pattern.
    pub fn name(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|name| !name.contains('*'))
    }

    pub fn matches(&self, name: &str) -> bool {
        #[cfg(test)]
        tests::COMPARISONS.set(tests::COMPARISONS.get() + 1);
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

/// Names and patterns, of which one must match. Costs one lookup, and one comparison for each pattern with `*`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamePatterns {
    /// In the order of their definition, each once.
    names: Vec<Arc<str>>,
    known: HashSet<Arc<str>>,
    several: Vec<NamePattern>,
}

impl NamePatterns {
    pub fn match_any(&self, name: &str) -> bool {
        self.known.contains(name) || self.several.iter().any(|pattern| pattern.matches(name))
    }

    /// Returns the names that are not patterns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }
}

impl FromIterator<NamePattern> for NamePatterns {
    fn from_iter<I: IntoIterator<Item = NamePattern>>(patterns: I) -> Self {
        let mut all = Self::default();
        for pattern in patterns {
            match pattern.name() {
                Some(name) => {
                    let name: Arc<str> = name.into();
                    if all.known.insert(Arc::clone(&name)) {
                        all.names.push(name);
                    }
                }
                None => all.several.push(pattern),
            }
        }
        all
    }
}

/// The models that a caller may use.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum AllowedModels {
    #[default]
    All,
    These(Arc<NamePatterns>),
}

impl AllowedModels {
    pub const fn are_limited(&self) -> bool {
        matches!(self, Self::These(_))
    }

    pub fn allow(&self, model: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(patterns) => patterns.match_any(model),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How often a name was compared with a pattern on this thread.
        pub static COMPARISONS: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn a_name_is_looked_up_and_not_compared_with_every_other_name() {
        let names = (0..60_000).map(|number| NamePattern::new(format!("model-{number}")));
        let patterns: NamePatterns = names.chain([NamePattern::new("gpt-*"), NamePattern::new("model-1")]).collect();
        let before = COMPARISONS.get();
        for (name, matches) in [("model-59999", true), ("model-60000", false), ("gpt-4", true), ("gpt", false)] {
            assert_eq!(patterns.match_any(name), matches, "{name}");
        }
        assert_eq!(COMPARISONS.get() - before, 3);
        assert_eq!((patterns.names().count(), patterns.names().next()), (60_000, Some("model-0")));
    }

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
