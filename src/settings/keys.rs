//! One setting with its documentation. Each file of settings has a section of them below its struct.

/// A section of the settings file.
#[derive(Debug)]
pub(super) struct SettingSection {
    pub(super) name: &'static str,
    /// What the section is about, if its settings do not tell.
    pub(super) intro: &'static str,
    pub(super) keys: &'static [SettingKey],
}

pub(super) const DURATION: &str = "a duration from \"1ms\" to \"365d\" such as \"15s\"";
pub(super) const SIZE: &str = "a size above zero such as \"4MiB\"";
pub(super) const COUNT: &str = "a whole number, 1 or more";
pub(super) const TEXT: &str = "text in quotes";
pub(super) const VARIABLE: &str = "the name of an environment variable, as text in quotes";
pub(super) const CLAIM: &str = "the name of a claim, as text in quotes";

/// The list of upstreams, and the section of the fields of one.
pub(super) const UPSTREAMS: &str = "upstreams";

/// One setting.
#[derive(Debug)]
pub(super) struct SettingKey {
    /// The dotted name; `upstreams.` stands for any upstream.
    pub(super) name: &'static str,
    /// The expected value, as a phrase that follows "must be".
    pub(super) expected: &'static str,
    /// What the setting does. A new line begins a new line of a comment.
    pub(super) description: &'static str,
    pub(super) shown: ShownValue,
}

/// The value of a setting in the example file: TOML.
#[derive(Debug)]
pub(super) enum ShownValue {
    Default,
    /// For a setting that is absent by default, or required. May be the tables of a list.
    Example(&'static str),
    /// Like `Example`, for a setting that excludes another one of the file.
    Alternative(&'static str),
}

/// A setting that has a default.
pub(super) const fn key(name: &'static str, expected: &'static str, description: &'static str) -> SettingKey {
    SettingKey { name, expected, description, shown: ShownValue::Default }
}

impl SettingKey {
    pub(super) const fn with_example(self, example: &'static str) -> Self {
        Self { shown: ShownValue::Example(example), ..self }
    }

    pub(super) const fn with_alternative(self, example: &'static str) -> Self {
        Self { shown: ShownValue::Alternative(example), ..self }
    }

    /// Returns the last part of its name.
    pub(super) fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// Returns whether this is the list of upstreams or a field of one. The environment cannot set these.
    pub(super) fn is_of_upstreams(&self) -> bool {
        self.name.starts_with(UPSTREAMS)
    }

    /// Returns whether an environment variable can set it.
    pub(super) fn has_variable(&self) -> bool {
        !self.is_of_upstreams() && !self.name.contains('*')
    }

    /// Returns the environment variable that sets it.
    pub(super) fn variable(&self) -> String {
        format!("TOKENRILL_{}", self.name.to_ascii_uppercase().replace('.', "__"))
    }

    /// Returns the sum of two distances: of each word of `unknown` to the closest word of this name, and twice that of
    /// the whole names. The first tolerates an omitted section, the second a split or misspelt word. A section in the
    /// middle that `unknown` omits does not count.
    pub(super) fn distance(&self, unknown: &str) -> usize {
        const WORD_ENDS: [char; 2] = ['.', '_'];
        let distance = strsim::damerau_levenshtein;
        let closest = |word| self.name.split(WORD_ENDS).map(|known| distance(word, known)).min().unwrap_or_default();
        let joined = |name: &str| name.replace('_', "");
        let mut sections: Vec<_> = self.name.split('.').collect();
        if sections.len() == 3 && unknown.split('.').count() == 2 {
            sections.remove(1);
        }
        let whole = distance(&joined(unknown), &joined(&sections.join(".")));
        unknown.split(WORD_ENDS).map(closest).sum::<usize>() + 2 * whole
    }
}
