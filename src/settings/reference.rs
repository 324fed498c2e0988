//! The documentation of all settings, written from their tables: as a settings file, and as a page of `docs/`.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::keys::{SettingKey, SettingSection, ShownValue, UPSTREAMS};
use super::sections::{SECTIONS, keys};
use super::{Settings, UpstreamSettings};

const HEAD: &str = "Settings of Tokenrill. Copy this file to tokenrill.toml and keep the lines that you change.\n\
    \n\
    Every default is set explicitly. A setting behind a bare `#` is absent by default, or an example. A duration has a \
    unit (\"500ms\", \"15s\", \"10m\", \"1h 30m\") and is from \"1ms\" to \"365d\". A size has a unit (\"64KiB\", \
    \"4MiB\", \"1GiB\"). Only generation.grace may be zero. Each setting outside [[upstreams]] can also be set by the \
    environment variable named with it. The variable overrides this file; flags override both. `tokenrill check` prints \
    the settings in effect with secrets masked.";

const PAGE_HEAD: &str = "# Settings reference

This page lists every setting. [Settings](settings.md) explains where they come from. `make settings` writes this page
from the code.

The environment variable of a setting is `TOKENRILL_` and its name in capitals, with two underscores between levels:
`TOKENRILL_EVENT_LOG__MEMORY__MAX_BYTES` sets `event_log.memory.max_bytes`. Upstreams have no variables.

| Setting | Value | Default | Description |
| --- | --- | --- | --- |
";

/// The longest line of a comment.
const WIDTH: usize = 120;

/// Returns a settings file that sets every default explicitly and describes every setting.
pub fn example_file() -> String {
    let defaults = table(&Settings::default());
    let mut file = comment(HEAD);
    for section in SECTIONS {
        file.push('\n');
        file.push_str(&comment(section.intro));
        if section.name == UPSTREAMS {
            file.push_str(&upstreams(section));
            continue;
        }
        _ = writeln!(file, "[{}]", section.name);
        for (index, key) in section.keys.iter().enumerate() {
            if index > 0 {
                file.push('\n');
            }
            file.push_str(&comment(&format!("{}\nEnvironment: {}", key.description, key.variable())));
            file.push_str(&setting(key, &defaults));
        }
    }
    file
}

/// Returns a page of the documentation: a table of every setting.
pub fn markdown_page() -> String {
    let (defaults, upstream) = (table(&Settings::default()), upstream_defaults());
    let mut rows = PAGE_HEAD.to_owned();
    for key in keys() {
        let default = default_of(key, &defaults).or_else(|| default_of(key, &upstream));
        let default = default.map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
        let description = key.description.replace('\n', "<br>").replace('|', "\\|");
        _ = writeln!(rows, "| `{}` | {} | {default} | {description} |", key.name, key.expected);
    }
    rows
}

/// Returns the line of a setting: its default, or an example behind `#`.
fn setting(key: &SettingKey, defaults: &Table) -> String {
    let name = key.short_name();
    match key.shown {
        ShownValue::Default => default_of(key, defaults).map(|value| format!("{name} = {value}\n")).unwrap_or_default(),
        ShownValue::Example(tables) if tables.starts_with("[[") || tables.starts_with("[prices") => {
            commented_out(tables)
        }
        ShownValue::Example(example) => format!("#{name} = {example}\n"),
        ShownValue::Alternative(example) => format!("# {name} = {example}\n"),
    }
}

/// Describes the fields of an upstream, and adds the examples.
fn upstreams(section: &SettingSection) -> String {
    let defaults = upstream_defaults();
    let (list, fields): (Vec<_>, Vec<_>) = section.keys.iter().partition(|key| key.name == UPSTREAMS);
    let mut text = String::new();
    for field in fields {
        let default = default_of(field, &defaults).map(|value| format!(" Default: {value}.")).unwrap_or_default();
        text.push_str(&comment(&format!("{}: {}{default}", field.short_name(), field.description)));
    }
    for list in list {
        text.insert_str(0, &comment(&format!("{}\n\n", list.description)));
        if let ShownValue::Example(examples) = list.shown {
            text.push_str(&commented_out(examples));
        }
    }
    text
}

/// Returns the default of a setting, unless it is absent by default or required.
fn default_of(key: &SettingKey, defaults: &Table) -> Option<Value> {
    let ShownValue::Default = key.shown else { return None };
    let mut parts = key.name.split('.');
    let first = defaults.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.as_table()?.get(part)).cloned()
}

fn table(settings: &Settings) -> Table {
    Table::try_from(settings).unwrap_or_default()
}

/// Returns the defaults of an upstream, below `upstreams`.
fn upstream_defaults() -> Table {
    let upstream = "http://localhost".parse().map(|base_url| UpstreamSettings::new("", base_url));
    let fields = upstream.ok().and_then(|upstream| Value::try_from(upstream).ok());
    fields.map(|fields| (UPSTREAMS.to_owned(), fields)).into_iter().collect()
}

/// Returns the lines behind `#`, except empty ones and those that are comments already.
fn commented_out(lines: &str) -> String {
    lines.lines().fold(String::new(), |mut text, line| {
        let mark = if line.is_empty() || line.starts_with('#') { "" } else { "#" };
        _ = writeln!(text, "{mark}{line}");
        text
    })
}

/// Returns the text as a comment, with each line broken at [`WIDTH`].
fn comment(text: &str) -> String {
    let mut comment = String::new();
    for paragraph in text.lines() {
        let mut line = "#".to_owned();
        for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
            if line.len() + 1 + word.len() > WIDTH {
                _ = writeln!(comment, "{line}");
                "#".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        _ = writeln!(comment, "{line}");
    }
    comment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_example_file_and_reference_page_match_the_code() {
        let example = include_str!("../../tokenrill.example.toml");
        assert!(example == example_file(), "tokenrill.example.toml is not what the code says: run `make settings`");
        let page = include_str!("../../docs/settings-reference.md");
        assert!(page == markdown_page(), "docs/settings-reference.md is not what the code says: run `make settings`");
    }

    #[test]
    fn comment_is_broken_at_the_width() {
        let long = "word ".repeat(60);
        let comment = comment(&format!("{long}\n\nend"));
        assert!(comment.lines().all(|line| line.len() <= WIDTH && line.starts_with('#')), "{comment}");
        assert!(comment.ends_with("\n#\n# end\n") && comment.lines().count() == 5, "{comment}");
    }
}
