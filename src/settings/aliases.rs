//! The settings of a model that stands for several targets: `[models."name"]`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use toml::{Table, Value};

use super::keys::DURATION;
use super::{HedgeSettings, SettingsError, units};
use crate::domain::{Affinity, FallbackClass, Strategy};

/// A model that stands for one or more targets.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AliasSettings {
    pub targets: Vec<TargetSettings>,
    #[serde(default)]
    pub strategy: Strategy,
    #[serde(default = "on")]
    pub affinity: Affinity,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback_on: Vec<FallbackClass>,
    #[serde(default, with = "units::optional_duration", skip_serializing_if = "Option::is_none")]
    pub first_token_timeout: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<HedgeSettings>,
}

/// A model on an upstream, written `"upstream/model"`, or as a table with a weight and parameters.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(from = "WrittenTarget")]
pub struct TargetSettings {
    pub target: String,
    /// Absent for the weight of the upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Fields of the request body that replace those of the caller.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Json>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenTarget {
    Name(String),
    Table(TargetTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetTable {
    target: String,
    weight: Option<f64>,
    #[serde(default)]
    parameters: BTreeMap<String, Json>,
}

/// The fields of an alias, with the expected values.
const FIELDS: [(&str, &str); 6] = [
    (
        "targets",
        "a list of \"upstream/model\" and of tables such as { target = \"upstream/model\", weight = 2, parameters = {} }",
    ),
    ("strategy", "\"fallback\", \"weighted\" or \"fastest\""),
    ("affinity", "true or false"),
    ("fallback_on", "a list of \"rejected\", \"context_length\" and \"content_filter\""),
    ("first_token_timeout", DURATION),
    ("hedge", HedgeSettings::EXPECTED),
];

/// Fields on which the limits of the caller, the wire or the choice of the target depend.
const FIXED_PARAMETERS: [&str; 8] =
    ["extra_body", "max_completion_tokens", "max_tokens", "messages", "model", "n", "stream", "stream_options"];

const fn on() -> Affinity {
    Affinity::On
}

impl From<WrittenTarget> for TargetSettings {
    fn from(written: WrittenTarget) -> Self {
        let TargetTable { target, weight, parameters } = match written {
            WrittenTarget::Name(target) => TargetTable { target, weight: None, parameters: BTreeMap::new() },
            WrittenTarget::Table(table) => table,
        };
        Self { target, weight, parameters }
    }
}

impl TargetSettings {
    /// Returns the names of the upstream and of the model.
    pub fn split(&self) -> Option<(&str, &str)> {
        self.target.split_once('/').filter(|(upstream, model)| !upstream.is_empty() && !model.is_empty())
    }
}

impl AliasSettings {
    /// Returns the targets in order, for a log line.
    pub fn target_names(&self) -> String {
        self.targets.iter().map(|target| target.target.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Checks one alias of the file, field by field, so that an error can name the field.
    pub(super) fn check(name: &str, table: &Table, file: &str) -> Result<(), SettingsError> {
        let setting = |field: &str| format!("models.\"{name}\".{field}");
        for (field, value) in table {
            let Some((_, expected)) = FIELDS.into_iter().find(|(known, _)| known == field) else {
                let near = FIELDS.iter().map(|(known, _)| *known);
                let nearest = near.min_by_key(|known| strsim::damerau_levenshtein(known, field)).map(setting);
                return Err(SettingsError::Unknown { setting: setting(field), origin: file.into(), nearest });
            };
            if !accepts(field, value) {
                return Err(SettingsError::Wrong { setting: setting(field), origin: file.into(), expected });
            }
        }
        if table.contains_key("targets") {
            return Ok(());
        }
        Err(SettingsError::Missing { setting: setting("targets"), origin: file.into() })
    }

    /// `upstreams` has the weight of each upstream.
    pub(super) fn validate(&self, name: &str, upstreams: &BTreeMap<&str, f64>) -> Result<(), SettingsError> {
        let alias = || name.to_owned();
        if name.is_empty() || name == "demo" || name.starts_with("demo?") {
            return Err(SettingsError::AliasName { alias: alias() });
        }
        if self.targets.is_empty() {
            return Err(SettingsError::Empty { setting: format!("`models.\"{name}\".targets`") });
        }
        let mut total = 0.0;
        for target in &self.targets {
            let of_upstream = target.split().and_then(|(upstream, _)| upstreams.get(upstream).copied());
            let Some(of_upstream) = of_upstream else {
                return Err(SettingsError::AliasTarget { alias: alias(), target: target.target.clone() });
            };
            let weight = target.weight.unwrap_or(of_upstream);
            total += weight;
            if !weight.is_finite() || weight < 0.0 {
                return Err(SettingsError::AliasWeight { alias: alias() });
            }
            if let Some(parameter) = FIXED_PARAMETERS.into_iter().find(|name| target.parameters.contains_key(*name)) {
                return Err(SettingsError::AliasParameter { alias: alias(), parameter });
            }
        }
        if total <= 0.0 {
            return Err(SettingsError::AliasWeight { alias: alias() });
        }
        Ok(())
    }
}

/// Returns whether this field accepts this value in an otherwise valid alias.
fn accepts(field: &str, value: &Value) -> bool {
    let targets = Value::Array(vec![Value::String("any/any".into())]);
    let mut table: Table = [("targets".to_owned(), targets)].into_iter().collect();
    table.insert(field.into(), value.clone());
    table.try_into::<AliasSettings>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validated(alias: &str, fields: &str) -> Result<(), String> {
        let settings: AliasSettings = toml::from_str(fields).unwrap();
        settings.validate(alias, &[("local", 1.0), ("spare", 0.0)].into()).map_err(|error| error.to_string())
    }

    fn checked(fields: &str) -> Result<(), String> {
        AliasSettings::check("fast", &fields.parse().unwrap(), "tokenrill.toml").map_err(|error| error.to_string())
    }

    #[test]
    fn target_is_a_name_or_a_table() {
        let fields = "targets = [\"local/org/m\", { target = \"local/n\", weight = 2, parameters = { top_k = 5 } }]";
        let settings: AliasSettings = toml::from_str(fields).unwrap();
        let [one, other] = settings.targets.as_slice() else { panic!("two targets") };
        assert_eq!((one.split(), one.weight), (Some(("local", "org/m")), None));
        assert_eq!((other.split(), other.weight), (Some(("local", "n")), Some(2.0)));
        assert_eq!(other.parameters["top_k"], 5);
        let written = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<AliasSettings>(&written).unwrap(), settings, "{written}");
    }

    #[test]
    fn wrong_field_is_refused_by_its_name() {
        assert_eq!(checked("targets = [\"local/m\"]\nfirst_token_timeout = \"10s\""), Ok(()));
        for (fields, refusal) in [
            ("strategy = \"fallback\"", "`models.\"fast\".targets` is missing in tokenrill.toml: add it"),
            (
                "targets = []\nstrategi = \"fastest\"",
                "unknown setting `models.\"fast\".strategi` in tokenrill.toml: did you mean `models.\"fast\".strategy`?",
            ),
            (
                "targets = []\nstrategy = \"cheapest\"",
                "`models.\"fast\".strategy` in tokenrill.toml must be \"fallback\", \"weighted\" or \"fastest\"",
            ),
            (
                "targets = []\nhedge = { budget = 2 }",
                "`models.\"fast\".hedge` in tokenrill.toml must be a table such as { after = \"p95\", budget = 0.05 }, with \"p95\" or a duration, and at most 1 hedge per request",
            ),
        ] {
            assert_eq!(checked(fields), Err(refusal.to_owned()));
        }
    }

    #[test]
    fn unusable_alias_is_refused_with_what_to_do() {
        assert_eq!(validated("fast", "targets = [\"local/m\"]"), Ok(()));
        assert_eq!(validated("fast", "targets = [\"spare/m\", { target = \"spare/n\", weight = 1 }]"), Ok(()));
        for (alias, fields, part) in [
            ("demo", "targets = [\"local/m\"]", "choose another name"),
            ("fast", "targets = []", "`models.\"fast\".targets` is empty"),
            ("fast", "targets = [\"other/m\"]", "`other/m` of `models.\"fast\"` is not a model of an upstream"),
            ("fast", "targets = [\"m\"]", "is not a model of an upstream"),
            ("fast", "targets = [{ target = \"local/m\", weight = -1 }]", "is negative"),
            ("fast", "targets = [{ target = \"local/m\", weight = 0 }]", "all are 0"),
            ("fast", "targets = [\"spare/m\"]", "all are 0"),
            ("fast", "targets = [{ target = \"local/m\", parameters = { n = 2 } }]", "sets the parameter `n`"),
        ] {
            let refusal = validated(alias, fields).unwrap_err();
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}
