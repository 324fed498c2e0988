//! The names of the settings that differ between two loads.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::{Settings, UpstreamSettings};

/// The names of the settings that differ, such as `limits.connections` or `upstreams[local].base_url`; never a value.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Settings that take effect when the settings are reloaded.
    pub reloaded: Vec<String>,
    /// Settings that take effect only after a restart.
    pub waiting: Vec<String>,
}

/// The reloadable settings: single settings, or all settings of a section.
const RELOADED: [&str; 9] = [
    "auth.api_keys",
    "auth.cookie",
    "auth.jwt",
    "cors",
    "limits",
    "prices",
    "prompts",
    "server.trusted_proxies",
    "usage.prices_file",
];

impl Changes {
    pub fn between(before: &Settings, after: &Settings) -> Self {
        let mut names = BTreeSet::new();
        collect("", &table(before), &table(after), &mut names);
        names.extend(of_upstreams(&before.upstreams, &after.upstreams));
        let (reloaded, waiting) = names.into_iter().partition(|name| is_reloaded(name));
        Self { reloaded, waiting }
    }
}

fn is_reloaded(name: &str) -> bool {
    RELOADED.iter().any(|one| name.strip_prefix(one).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Returns the settings without the upstreams, which are compared by name, not by position.
fn table(settings: &Settings) -> Table {
    let others = Settings { upstreams: Vec::new(), ..settings.clone() };
    Table::try_from(others).unwrap_or_default()
}

fn collect(prefix: &str, before: &Table, after: &Table, names: &mut BTreeSet<String>) {
    for name in before.keys().chain(after.keys()) {
        let full = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match (before.get(name), after.get(name)) {
            (Some(Value::Table(before)), Some(Value::Table(after))) => collect(&full, before, after, names),
            (Some(Value::Table(one)), None) | (None, Some(Value::Table(one))) => {
                collect(&full, one, &Table::new(), names);
            }
            (one, other) if one != other => drop(names.insert(full)),
            _ => {}
        }
    }
}

fn of_upstreams(before: &[UpstreamSettings], after: &[UpstreamSettings]) -> Vec<String> {
    let mut names = Vec::new();
    for old in before {
        let name = |field: &str| format!("upstreams[{}]{field}", old.name);
        let Some(new) = after.iter().find(|new| new.name == old.name) else {
            names.push(name(""));
            continue;
        };
        // Compared separately: serialization masks the values, so a change of a value would be invisible.
        if old.headers != new.headers {
            names.push(name(".headers"));
        }
        if old.proxy != new.proxy {
            names.push(name(".proxy"));
        }
        let written = |upstream: &UpstreamSettings| {
            let without_secrets = UpstreamSettings { headers: BTreeMap::new(), proxy: None, ..upstream.clone() };
            Table::try_from(without_secrets).unwrap_or_default()
        };
        let mut fields = BTreeSet::new();
        collect("", &written(old), &written(new), &mut fields);
        names.extend(fields.iter().map(|field| name(&format!(".{field}"))));
    }
    let added = after.iter().filter(|new| before.iter().all(|old| old.name != new.name));
    names.extend(added.map(|new| format!("upstreams[{}]", new.name)));
    let order =
        |upstreams: &[UpstreamSettings]| upstreams.iter().map(|upstream| upstream.name.clone()).collect::<Vec<_>>();
    if names.is_empty() && order(before) != order(after) {
        names.push("upstreams".to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{ApiKeySettings, Secret};

    #[test]
    fn equal_settings_have_no_changes() {
        let mut settings = Settings::default();
        settings.upstreams.push(UpstreamSettings::new("a", "http://localhost:1/v1".parse().unwrap()));
        assert_eq!(Changes::between(&settings, &settings.clone()), Changes::default());
    }

    #[test]
    fn changes_are_split_into_reloaded_and_waiting_for_a_restart() {
        let mut before = Settings::default();
        for name in ["stub", "other", "removed"] {
            before.upstreams.push(UpstreamSettings::new(name, "http://localhost:1/v1".parse().unwrap()));
        }
        let mut after = before.clone();
        after.upstreams[0].base_url = "http://localhost:2/v1".parse().unwrap();
        after.upstreams[1].headers.insert("x-key".into(), Secret::from("hunter2"));
        before.upstreams[1].proxy = Some("http://user:hunter1@proxy".parse().unwrap());
        after.upstreams[1].proxy = Some("http://user:hunter2@proxy".parse().unwrap());
        after.upstreams[2] = UpstreamSettings::new("new", "http://localhost:3/v1".parse().unwrap());
        after.server.max_connections = std::num::NonZeroU32::MIN;
        after.auth.api_keys.push(ApiKeySettings { name: "hunter2".into(), ..ApiKeySettings::default() });
        after.auth.jwt.issuer = Some("hunter2".into());
        after.auth.ticket_secret_env = Some("hunter2".into());
        after.limits.queue.max_waiting = 7;
        after.cors.origins = Some(vec!["https://hunter2.example".into()]);
        let changes = Changes::between(&before, &after);
        assert_eq!(changes.reloaded, ["auth.api_keys", "auth.jwt.issuer", "cors.origins", "limits.queue.max_waiting"]);
        assert_eq!(
            changes.waiting,
            [
                "auth.ticket_secret_env",
                "server.max_connections",
                "upstreams[new]",
                "upstreams[other].headers",
                "upstreams[other].proxy",
                "upstreams[removed]",
                "upstreams[stub].base_url"
            ]
        );
        assert!(!format!("{changes:?}").contains("hunter2"));
    }
}
