//! Layers the sources of settings. Later sources override earlier ones: defaults, file, environment, flags.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use toml::{Table, Value};

use super::{
    AliasSettings, FileSource, ModelPrice, Settings, SettingsError, UpstreamSettings,
    file::SettingsFile,
    keys::{SettingKey, UPSTREAMS},
    sections::{is_section, keys, named, nearest, nearest_variable},
    usage::{PRICE, PRICE_KINDS, PRICE_TABLE, PRICES},
};

/// The input of [`load`]. The environment is a parameter, so that loading depends on no other state of the process. Not
/// `Debug`: the environment contains secrets.
pub struct Sources {
    pub file: FileSource,
    /// The whole environment: settings, and the keys that upstreams name. Collect it from `std::env::vars_os` and omit
    /// variables that are not Unicode: `std::env::vars` panics on those.
    pub environment: BTreeMap<String, String>,
    /// The flag `--listen`.
    pub listen: Option<SocketAddr>,
}

/// Reads and checks the settings.
///
/// The variable `TOKENRILL_SERVER__LISTEN` sets `server.listen`: two underscores separate levels, and the part after
/// the prefix is case-insensitive. The value is parsed as TOML or, if that fails or is not of the setting's type, used
/// as plain text. `OPENAI_API_KEY` or `OPENAI_BASE_URL`, or both, add an upstream `openai` unless the file has one.
///
/// Errors: unknown settings, and `TOKENRILL_` variables that are not settings, because a silently ignored setting is
/// worse than none. Only variables that Kubernetes sets by itself are ignored.
pub fn load(sources: Sources) -> Result<Settings, SettingsError> {
    let Sources { file, environment, listen } = sources;
    layer(file.read()?.as_ref(), &environment, listen)
}

fn layer(
    file: Option<&SettingsFile>,
    environment: &BTreeMap<String, String>,
    listen: Option<SocketAddr>,
) -> Result<Settings, SettingsError> {
    let mut layers = SettingLayers::default();
    if let Some(file) = file {
        layers.add_table("", file.parse()?, &file.path)?;
    }
    layers.add_environment(environment)?;

    let mut settings = layers.settings;
    settings.server.listen = listen.unwrap_or(settings.server.listen);
    if settings.upstreams.iter().all(|upstream| upstream.name != "openai") {
        settings.upstreams.extend(UpstreamSettings::openai(environment)?);
    }
    settings.validate()?;
    for upstream in &settings.upstreams {
        upstream.api_keys(environment)?;
        upstream.configured_proxy(environment)?;
    }
    Ok(settings)
}

/// The layers so far. They are parsed as settings after each addition, so that an error can name the one that failed.
#[derive(Default)]
struct SettingLayers {
    written: Table,
    settings: Settings,
}

/// The value is not of the setting's type. serde's error is dropped, because it quotes the value.
struct NotAccepted;

impl SettingLayers {
    /// Adds a part of the settings file; `section` is its dotted name, empty for the whole.
    fn add_table(&mut self, section: &str, table: Table, file: &str) -> Result<(), SettingsError> {
        for (name, value) in table {
            let name = if section.is_empty() { name } else { format!("{section}.{name}") };
            // A quoted name such as "upstreams.name" is not a setting at this level.
            let key = named(&name).filter(|key| key.name == UPSTREAMS || !key.is_of_upstreams());
            match (key, value) {
                (Some(key), value) => {
                    if key.name == UPSTREAMS {
                        check_upstreams(&value, file)?;
                    }
                    if key.name == PRICES {
                        check_prices(&value, file)?;
                    }
                    let is_bare = is_number(&value);
                    self.set(key, value).map_err(|NotAccepted| refused(&name, file, key, is_bare))?;
                }
                (None, Value::Table(alias)) if section == "models" => {
                    let short = name.trim_start_matches("models.");
                    AliasSettings::check(short, &alias, file)?;
                    self.add_alias(short, alias);
                }
                // Enter unknown sections too: the settings in them allow the best suggestion.
                (None, Value::Table(inner)) if is_section(&name) || !inner.is_empty() => {
                    self.add_table(&name, inner, file)?;
                }
                (None, _) if is_section(&name) => return Err(wrong(&name, file, "a table")),
                (None, _) => return Err(unknown(&name, file)),
            }
        }
        Ok(())
    }

    fn add_environment(&mut self, environment: &BTreeMap<String, String>) -> Result<(), SettingsError> {
        for (variable, text) in environment {
            let Some(name) = variable.strip_prefix(PREFIX) else {
                if is_near_miss(variable) {
                    return Err(SettingsError::NearPrefix { variable: variable.clone() });
                }
                continue;
            };
            if is_service_link(name) {
                continue;
            }
            let name = name.to_ascii_lowercase().replace("__", ".");
            if name.split('.').next() == Some(UPSTREAMS) {
                return Err(SettingsError::NotInEnvironment { variable: variable.clone() });
            }
            let Some(key) = named(&name) else { return Err(unknown_variable(variable, &name)) };
            text.parse()
                .map_err(|_| NotAccepted)
                .and_then(|value| self.set(key, value))
                .or_else(|NotAccepted| self.set(key, Value::String(text.clone())))
                .map_err(|NotAccepted| refused(variable, ENVIRONMENT, key, text.trim().parse::<f64>().is_ok()))?;
        }
        Ok(())
    }

    /// Adds a checked alias. Its name may contain dots.
    fn add_alias(&mut self, name: &str, alias: Table) {
        let models = self.written.entry("models").or_insert_with(|| Table::new().into());
        if let Value::Table(models) = models {
            models.insert(name.into(), alias.into());
        }
        if let Ok(settings) = self.written.clone().try_into() {
            self.settings = settings;
        }
    }

    fn set(&mut self, key: &SettingKey, value: Value) -> Result<(), NotAccepted> {
        let value = match value {
            Value::String(text) if LISTENERS.contains(&key.name) => {
                Value::String(listen_address(&text).map_err(|_| NotAccepted)?.to_string())
            }
            value => value,
        };
        let mut written = self.written.clone();
        insert(&mut written, key.name, value);
        self.settings = written.clone().try_into().map_err(|_| NotAccepted)?;
        self.written = written;
        Ok(())
    }
}

/// Parses an address to listen on: an IP address and port, or `localhost` (127.0.0.1) and port.
pub fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    let localhost = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    let address = localhost.map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    address.map_or_else(|| text.parse(), Ok).map_err(|_| "expected an IP address and port such as 127.0.0.1:8080")
}

const LISTENERS: [&str; 2] = ["server.listen", "server.admin_listen"];
const PREFIX: &str = "TOKENRILL_";

/// Returns whether a variable without the prefix is a misspelt variable of a setting. A variable that only resembles
/// the prefix belongs to another program.
fn is_near_miss(variable: &str) -> bool {
    const DISTANCE: usize = 2;
    let upper = variable.to_ascii_uppercase();
    let distance = strsim::damerau_levenshtein;
    if keys().any(|key| distance(&upper, &key.variable()) <= DISTANCE) {
        return true;
    }
    let Some((prefix, rest)) = upper.split_once('_') else { return false };
    let section = rest.trim_start_matches('_').split_once("__").map(|(section, _)| section.to_ascii_lowercase());
    distance(prefix, PREFIX.trim_end_matches('_')) <= DISTANCE && section.is_some_and(|section| is_section(&section))
}

/// Returns whether Kubernetes set this variable: it describes a Service named `tokenrill` to every pod of the namespace
/// (`TOKENRILL_SERVICE_HOST`, `TOKENRILL_PORT_8080_TCP_ADDR`, ...).
fn is_service_link(name: &str) -> bool {
    !name.contains("__") && (name == "PORT" || name.starts_with("PORT_") || name.starts_with("SERVICE_"))
}

/// Writes a value under its dotted name.
fn insert(table: &mut Table, name: &str, value: Value) {
    let Some((section, rest)) = name.split_once('.') else {
        table.insert(name.into(), value);
        return;
    };
    if let Value::Table(inner) = table.entry(section).or_insert_with(|| Table::new().into()) {
        insert(inner, rest, value);
    }
}

/// Checks each upstream separately, so that an error can name the upstream and the unknown, wrong or missing field.
fn check_upstreams(upstreams: &Value, file: &str) -> Result<(), SettingsError> {
    let tables = upstreams.as_array().into_iter().flatten().filter_map(Value::as_table);
    for (number, table) in (1..).zip(tables) {
        let origin = format!("upstream {number} of {file}");
        for (field, value) in table {
            let name = format!("upstreams.{field}");
            let key = named(&name).ok_or_else(|| unknown(&name, &origin))?;
            if !upstream_accepts(field, value) {
                return Err(refused(&name, &origin, key, is_number(value)));
            }
        }
        if let Some(field) = ["name", "base_url"].into_iter().find(|field| !table.contains_key(*field)) {
            return Err(SettingsError::Missing { setting: format!("upstreams.{field}"), origin });
        }
    }
    Ok(())
}

/// Checks the prices of each model separately, so that an error can name the model and the price.
fn check_prices(prices: &Value, file: &str) -> Result<(), SettingsError> {
    for (model, price) in prices.as_table().into_iter().flatten() {
        let name = format!("prices.\"{model}\"");
        let Some(table) = price.as_table() else { return Err(wrong(&name, file, PRICE_TABLE)) };
        for (field, value) in table {
            if !PRICE_KINDS.contains(&field.as_str()) {
                return Err(wrong(&name, file, PRICE_TABLE));
            }
            let one: Table = [(field.clone(), value.clone())].into_iter().collect();
            if one.try_into::<ModelPrice>().is_err() {
                return Err(wrong(&format!("{name}.{field}"), file, PRICE));
            }
        }
    }
    Ok(())
}

/// Returns whether this field accepts this value in an otherwise valid upstream.
fn upstream_accepts(field: &str, value: &Value) -> bool {
    let mut upstream = Table::new();
    insert(&mut upstream, "name", "any".into());
    insert(&mut upstream, "base_url", "http://localhost".into());
    insert(&mut upstream, field, value.clone());
    upstream.try_into::<UpstreamSettings>().is_ok()
}

const ENVIRONMENT: &str = "the environment";

fn is_number(value: &Value) -> bool {
    match value {
        Value::Integer(_) | Value::Float(_) => true,
        Value::String(text) => text.trim().parse::<f64>().is_ok(),
        _ => false,
    }
}

/// Returns the error for a refused value. For a bare number instead of a duration or size: the unit is missing.
fn refused(setting: &str, origin: &str, key: &SettingKey, is_number: bool) -> SettingsError {
    if is_number && (key.expected.starts_with("a duration") || key.expected.starts_with("a size")) {
        SettingsError::NoUnit { setting: setting.into(), origin: origin.into(), expected: key.expected }
    } else {
        wrong(setting, origin, key.expected)
    }
}

fn wrong(setting: &str, origin: &str, expected: &'static str) -> SettingsError {
    SettingsError::Wrong { setting: setting.into(), origin: origin.into(), expected }
}

fn unknown(setting: &str, origin: &str) -> SettingsError {
    let nearest = nearest(setting).map(Into::into);
    SettingsError::Unknown { setting: setting.into(), origin: origin.into(), nearest }
}

fn unknown_variable(variable: &str, name: &str) -> SettingsError {
    let nearest = nearest_variable(name);
    SettingsError::Unknown { setting: variable.into(), origin: ENVIRONMENT.into(), nearest }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::{
        AuthMode, EventLogSettings, LimitSettings, LogFormat, OnDisconnect, QueueSettings, RedisSettings, Secret,
        ServerSettings, Size,
    };

    const EXAMPLE: &str = include_str!("../../tokenrill.example.toml");

    fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn layered(file: &str, variables: &[(&str, &str)], listen: Option<&str>) -> Result<Settings, String> {
        let file = SettingsFile { path: "tokenrill.toml".into(), text: file.into() };
        let listen = listen.map(|address| address.parse().unwrap());
        layer(Some(&file), &environment(variables), listen).map_err(|error| error.to_string())
    }

    fn from_file(file: &str) -> Result<Settings, String> {
        layered(file, &[], None)
    }

    fn from_environment(variable: &str, value: &str) -> Result<Settings, String> {
        layered("", &[(variable, value)], None)
    }

    /// Loads one upstream with its required fields and this line.
    fn with_upstream_line(line: &str) -> Result<Settings, String> {
        from_file(&format!("[[upstreams]]\nname = \"local\"\nbase_url = \"http://localhost:8000/v1\"\n{line}"))
    }

    /// Returns the example with its commented-out settings enabled: `#` without a space precedes a setting, `# ` prose.
    fn uncommented_example() -> String {
        let setting = |line: &'static str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
        EXAMPLE.lines().map(setting).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn kubernetes_service_variables_are_ignored() {
        let links =
            ["TOKENRILL_PORT", "TOKENRILL_PORT_8080_TCP_ADDR", "TOKENRILL_SERVICE_HOST", "TOKENRILL_SERVICE_PORT_HTTP"];
        let environment = links.map(|name| (name.to_owned(), "tcp://10.0.0.1:8080".to_owned())).into();
        assert_eq!(layer(None, &environment, None).unwrap(), Settings::default());
    }

    #[test]
    fn defaults_apply_without_any_source() {
        assert_eq!(layer(None, &BTreeMap::new(), None).unwrap(), Settings::default());
    }

    #[test]
    fn each_layer_overrides_the_one_below() {
        let file = "[server]\nlisten = \"127.0.0.1:1\"\nmax_body = \"1MiB\"";
        let variables = [("TOKENRILL_SERVER__LISTEN", "127.0.0.1:2")];
        let port = |settings: Result<Settings, String>| settings.unwrap().server.listen.port();
        assert_eq!(port(layered("", &[], None)), 8080);
        assert_eq!(port(layered(file, &[], None)), 1);
        assert_eq!(port(layered(file, &variables, None)), 2);
        assert_eq!(port(layered(file, &variables, Some("127.0.0.1:3"))), 3);

        let settings = layered(file, &variables, Some("127.0.0.1:3")).unwrap();
        assert_eq!(settings.server.max_body, Size::mib(1), "a setting that a layer omits keeps its value");
        assert_eq!(settings.server.shutdown_grace, Duration::from_secs(30));
    }

    #[test]
    fn the_environment_sets_any_level_in_any_case() {
        let settings = layered(
            "",
            &[
                ("TOKENRILL_EVENT_LOG__MEMORY__MAX_BYTES", "64MiB"),
                ("TOKENRILL_generation__On_Disconnect", "continue"),
                ("TOKENRILL_TELEMETRY__LOG_FORMAT", "\"json\""),
                ("TOKENRILL_MODELS__DEFAULT", "4"),
                ("TOKENRILL_AUTH__MODE", "none"),
                ("TOKENRILL_GENERATION__HEARTBEAT", "1s"),
                ("PATH", "/bin"),
            ],
            None,
        )
        .unwrap();
        assert_eq!(settings.event_log.memory.max_bytes, Size::mib(64));
        assert_eq!(settings.generation.on_disconnect, OnDisconnect::Continue);
        assert_eq!(settings.telemetry.log_format, LogFormat::Json, "a value in TOML's quotes");
        assert_eq!(settings.models.default.as_deref(), Some("4"), "text, though it reads as a number");
        assert_eq!(settings.auth.mode, Some(AuthMode::None));
        assert_eq!(settings.generation.heartbeat, Duration::from_secs(1));
    }

    #[test]
    fn the_file_is_read_from_its_path() {
        let path = std::env::temp_dir().join(format!("tokenrill-settings-{}.toml", std::process::id()));
        std::fs::write(&path, "[models]\ndefault = \"demo\"\n").unwrap();
        let file = FileSource::Explicit(path.clone());
        let settings = load(Sources { file, environment: BTreeMap::new(), listen: None });
        std::fs::remove_file(path).unwrap();
        assert_eq!(settings.unwrap().models.default.as_deref(), Some("demo"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_one() {
        for (file, unknown, nearest) in [
            ("[server]\nlisen = \"127.0.0.1:1\"", "server.lisen", "server.listen"),
            ("listen = \"127.0.0.1:1\"", "listen", "server.listen"),
            ("[servr]\nlisten = \"127.0.0.1:1\"", "servr.listen", "server.listen"),
            ("[event_log.memory]\nmax_byte = \"1MiB\"", "event_log.memory.max_byte", "event_log.memory.max_bytes"),
            ("[[upstream]]\nname = \"local\"", "upstream", "upstreams"),
        ] {
            let expected = format!("unknown setting `{unknown}` in tokenrill.toml: did you mean `{nearest}`?");
            assert_eq!(from_file(file).unwrap_err(), expected);
        }
        assert!(from_file("\"upstreams.name\" = \"local\"").unwrap_err().starts_with("unknown setting"));
        assert_eq!(
            from_file("[listen]\naddress = \"127.0.0.1:1\"").unwrap_err(),
            "unknown setting `listen.address` in tokenrill.toml: remove it; tokenrill.example.toml lists all settings"
        );
        assert!(from_file("[telemtry]").unwrap_err().starts_with("unknown setting `telemtry` in tokenrill.toml"));
        assert_eq!(
            with_upstream_line("url = \"http://localhost\"").unwrap_err(),
            "unknown setting `upstreams.url` in upstream 1 of tokenrill.toml: did you mean `upstreams.base_url`?"
        );
    }

    #[test]
    fn an_unknown_variable_is_refused_with_the_nearest_one() {
        for (unknown, nearest) in [
            ("TOKENRILL_SERVER__LISEN", "TOKENRILL_SERVER__LISTEN"),
            ("TOKENRILL_SERVER_LISTEN", "TOKENRILL_SERVER__LISTEN"),
            ("TOKENRILL_LISTEN", "TOKENRILL_SERVER__LISTEN"),
            ("TOKENRILL_EVENT_LOG__MAX_BYTES", "TOKENRILL_EVENT_LOG__MEMORY__MAX_BYTES"),
        ] {
            let expected = format!("unknown setting `{unknown}` in the environment: did you mean `{nearest}`?");
            assert_eq!(from_environment(unknown, "x").unwrap_err(), expected);
        }
        assert!(from_environment("TOKENRILL_", "x").unwrap_err().starts_with("unknown setting `TOKENRILL_`"));
    }

    #[test]
    fn a_misspelt_prefix_is_refused_and_an_unrelated_variable_is_not() {
        for variable in [
            "TOKENRIL_SERVER__LISTEN",
            "TOKENRIL_SERVER_LISTEN",
            "TOKENRLIL_AUTH__MODE",
            "TOKEN_RILL_AUTH__MODE",
            "tokenrill_auth__mode",
            "TOKENRIL__LIMITS__CONNECTIONS",
            "TOKENRIL_LIMITS__ANYTHING",
        ] {
            let refusal = from_environment(variable, "hunter2").unwrap_err();
            let expected = format!("the environment variable `{variable}` is not read: the prefix is `TOKENRILL_`");
            assert!(refusal.starts_with(&expected), "{refusal}");
        }
        for variable in [
            "TOKENIZERS_PARALLELISM",
            "TOKEN",
            "TOKENRILLS",
            "TOKENMILL_HOME",
            "TOKENMILL_CACHE__DIRECTORY",
            "SERVER__LISTEN",
            "OTHER_SERVER__LISTEN",
        ] {
            assert_eq!(from_environment(variable, "x"), Ok(Settings::default()), "{variable}");
        }
    }

    #[test]
    fn localhost_is_an_address_to_listen_on() {
        let listen = |settings: Result<Settings, String>| settings.unwrap().server.listen.to_string();
        assert_eq!(listen(from_file("[server]\nlisten = \"localhost:9000\"")), "127.0.0.1:9000");
        assert_eq!(listen(from_environment("TOKENRILL_SERVER__LISTEN", "localhost:9000")), "127.0.0.1:9000");
        for wrong in ["localhost", "localhost:", "localhost:x", "localhost:99999", "example.com:80", ":8080"] {
            let refusal = from_file(&format!("[server]\nlisten = \"{wrong}\"")).unwrap_err();
            assert!(refusal.starts_with("`server.listen` in tokenrill.toml must be an IP address"), "{refusal}");
        }
    }

    #[test]
    fn duration_or_size_without_a_unit_is_refused_with_the_reason() {
        for (file, setting) in [
            ("[generation]\ngrace = 10", "generation.grace"),
            ("[generation]\nheartbeat = \"15\"", "generation.heartbeat"),
            ("[server]\nmax_body = 1048576", "server.max_body"),
        ] {
            let refusal = from_file(file).unwrap_err();
            assert!(refusal.starts_with(&format!("`{setting}` in tokenrill.toml must be a ")), "{refusal}");
            assert!(refusal.ends_with(": the unit is missing"), "{refusal}");
        }
        assert!(from_environment("TOKENRILL_GENERATION__GRACE", "10").unwrap_err().ends_with(": the unit is missing"));
        assert!(with_upstream_line("idle_timeout = 60").unwrap_err().ends_with(": the unit is missing"));
        assert!(!from_file("[generation]\nheartbeat = true").unwrap_err().contains("the unit"));
    }

    #[test]
    fn an_origin_with_a_slash_or_a_star_is_refused_with_the_reason() {
        let refusal = |origin: &str| from_file(&format!("[cors]\norigins = [\"{origin}\"]")).unwrap_err();
        assert!(refusal("https://app.example/").contains("ends with a slash"));
        assert!(refusal("*").starts_with("number 1 of cors.origins is `*`, which is not accepted"));
        assert!(refusal("https://app.example/path/").starts_with("number 1 of cors.origins is not an origin"));
    }

    #[test]
    fn upstreams_cannot_be_set_by_the_environment() {
        let fix = "write upstreams as [[upstreams]] in the settings file";
        for variable in ["TOKENRILL_UPSTREAMS", "TOKENRILL_UPSTREAMS__0__NAME", "TOKENRILL_UPSTREAMS__NAME"] {
            let expected = format!("`{variable}` cannot be set in the environment: {fix}");
            assert_eq!(from_environment(variable, "[]").unwrap_err(), expected);
        }
    }

    #[test]
    fn a_wrong_value_is_refused_with_what_was_expected() {
        let duration = "a duration from \"1ms\" to \"365d\" such as \"15s\"";
        for (section, line, expected) in [
            ("server", "listen = 8080", "an IP address and port such as \"127.0.0.1:8080\""),
            ("server", "listen = \"localhost\"", "an IP address and port such as \"127.0.0.1:8080\""),
            ("server", "max_body = true", "a size above zero such as \"4MiB\""),
            ("server", "shutdown_grace = \"0s\"", duration),
            ("auth", "mode = \"off\"", "\"none\" or \"required\""),
            ("cors", "origins = \"https://app.example\"", "a list of origins such as [\"https://app.example\"]"),
            ("models", "default = 4", "text in quotes"),
            ("generation", "on_disconnect = \"stop\"", "\"cancel\" or \"continue\""),
            ("generation", "retention = \"0s\"", duration),
            ("generation", "max_duration = \"-10m\"", duration),
            ("generation", "max_bytes = \"0MiB\"", "a size above zero such as \"4MiB\""),
            ("generation", "heartbeat = true", duration),
            ("event_log.memory", "max_bytes = \"lots\"", "a size above zero such as \"4MiB\""),
            ("event_log", "memory = \"256MiB\"", "a table"),
            ("telemetry", "log_format = true", "\"pretty\" or \"json\""),
        ] {
            let name = format!("{section}.{}", line.split(' ').next().unwrap());
            let refusal = from_file(&format!("[{section}]\n{line}")).unwrap_err();
            assert_eq!(refusal, format!("`{name}` in tokenrill.toml must be {expected}"));
        }
    }

    #[test]
    fn a_wrong_variable_is_refused_by_its_own_name() {
        for value in ["", "0s", "-1s", "soon"] {
            assert_eq!(
                from_environment("TOKENRILL_GENERATION__HEARTBEAT", value).unwrap_err(),
                "`TOKENRILL_GENERATION__HEARTBEAT` in the environment must be \
                 a duration from \"1ms\" to \"365d\" such as \"15s\""
            );
        }
    }

    #[test]
    fn a_wrong_field_of_an_upstream_is_refused_by_name() {
        for (line, field) in [
            ("api_key_env = 1", "api_key_env"),
            ("models = \"*\"", "models"),
            ("headers = \"hunter2\"", "headers"),
            ("headers = { X-Api-Key = 1 }", "headers"),
            ("connect_timeout = \"0s\"", "connect_timeout"),
            ("keepalive = \"0s\"", "keepalive"),
            ("first_token_timeout = \"0s\"", "first_token_timeout"),
            ("idle_timeout = 60", "idle_timeout"),
        ] {
            let refusal = with_upstream_line(line).unwrap_err();
            let expected = format!("`upstreams.{field}` in upstream 1 of tokenrill.toml must be ");
            assert!(refusal.starts_with(&expected), "{refusal}");
        }
        for upstreams in ["upstreams = 1", "upstreams = [1]", "[upstreams]\nname = \"local\""] {
            assert_eq!(
                from_file(upstreams).unwrap_err(),
                "`upstreams` in tokenrill.toml must be written as tables, each under its own [[upstreams]]"
            );
        }
    }

    #[test]
    fn a_missing_field_of_an_upstream_is_refused_by_name() {
        let second = "\n[[upstreams]]\nname = \"other\"";
        assert_eq!(
            with_upstream_line(second).unwrap_err(),
            "`upstreams.base_url` is missing in upstream 2 of tokenrill.toml: add it"
        );
        assert_eq!(
            from_file("[[upstreams]]\nbase_url = \"http://localhost\"").unwrap_err(),
            "`upstreams.name` is missing in upstream 1 of tokenrill.toml: add it"
        );
    }

    #[test]
    fn prices_are_read_by_model_and_a_wrong_one_is_refused_by_name() {
        let settings =
            from_file("[prices.\"gpt-4.1\"]\ninput = 0.1\noutput = 8\n[prices.\"a/b\"]\ninput = \"3\"").unwrap();
        let inputs: Vec<_> = settings.prices.iter().map(|(model, price)| (&**model, price.input.unwrap())).collect();
        assert_eq!(inputs, [("a/b", "3".parse().unwrap()), ("gpt-4.1", "0.1".parse().unwrap())]);
        for (price, refusal) in [
            ("input = -1", "`prices.\"m\".input` in tokenrill.toml must be a price in US dollars"),
            ("input = \"hunter2\"", "`prices.\"m\".input` in tokenrill.toml must be a price in US dollars"),
            ("input = 0.0000000001", "`prices.\"m\".input` in tokenrill.toml must be a price in US dollars"),
            ("inputs = 1", "`prices.\"m\"` in tokenrill.toml must be a table of the prices input"),
        ] {
            let error = from_file(&format!("[prices.\"m\"]\n{price}")).unwrap_err();
            assert!(error.starts_with(refusal) && !error.contains("hunter2"), "{error}");
        }
        let error = from_file("[prices]\ninput = 1").unwrap_err();
        assert!(error.starts_with("`prices.\"input\"` in tokenrill.toml must be a table"), "{error}");
    }

    #[test]
    fn an_upstream_without_its_key_is_refused() {
        let refusal = with_upstream_line("api_key_env = \"LOCAL_KEY\"").unwrap_err();
        assert!(
            refusal.starts_with("upstream `local` has no key: set the environment variable `LOCAL_KEY`"),
            "{refusal}"
        );
    }

    #[test]
    fn settings_that_contradict_one_another_are_refused() {
        let refusal = from_file("[server]\nlisten = \"0.0.0.0:8080\"").unwrap_err();
        assert!(refusal.starts_with("refusing to listen on 0.0.0.0:8080 without authentication: "), "{refusal}");
        assert!(layered("", &[], Some("0.0.0.0:8080")).is_err(), "by the flag as well");
        assert!(layered("[auth]\nmode = \"none\"", &[], Some("0.0.0.0:8080")).is_ok());
    }

    #[test]
    fn openai_variables_add_an_upstream() {
        let openai = |variables: &[_]| layered("", variables, None).unwrap().upstreams;
        let [keyed] = openai(&[("OPENAI_API_KEY", "sk-hunter2")]).try_into().unwrap();
        assert_eq!((keyed.name.as_str(), keyed.base_url.as_str()), ("openai", "https://api.openai.com/v1"));
        assert_eq!((keyed.api_key_env.as_deref(), keyed.models), (Some("OPENAI_API_KEY"), vec!["*".to_owned()]));

        let [keyless] = openai(&[("OPENAI_BASE_URL", "http://localhost:8000/v1/")]).try_into().unwrap();
        assert_eq!((keyless.base_url.as_str(), keyless.api_key_env), ("http://localhost:8000/v1", None));

        assert_eq!(openai(&[("OPENAI_API_KEY", ""), ("OPENAI_BASE_URL", " ")]), []);
        assert!(
            from_environment("OPENAI_BASE_URL", "nowhere").unwrap_err().starts_with("`OPENAI_BASE_URL` in the environ")
        );
    }

    #[test]
    fn explicit_upstream_named_openai_takes_precedence() {
        let file = "[[upstreams]]\nname = \"openai\"\nbase_url = \"http://localhost:1/v1\"";
        let settings =
            layered(file, &[("OPENAI_API_KEY", "sk-hunter2"), ("OPENAI_BASE_URL", "nowhere")], None).unwrap();
        assert_eq!(settings.upstreams.len(), 1);
        assert_eq!(settings.upstreams.first().unwrap().base_url.as_str(), "http://localhost:1/v1");
    }

    #[test]
    fn the_effective_settings_load_as_the_same_settings() {
        let variables = [("OPENAI_API_KEY", "sk-hunter2"), ("LOCAL_KEY", "hunter2")];
        for file in ["", "[server]\nmax_body = \"1500B\"\n[[upstreams]]\nname = \"a\"\nbase_url = \"http://a\""] {
            let settings = layered(file, &variables, Some("127.0.0.1:3")).unwrap();
            assert!(!settings.effective().contains("hunter2"));
            assert_eq!(layered(&settings.effective(), &variables, None).unwrap(), settings, "{}", settings.effective());
        }
    }

    #[test]
    fn errors_and_printed_settings_contain_no_secret() {
        let key = [("LOCAL_KEY", "hunter2 with spaces")];
        for line in [
            "headers = \"hunter2\"",
            "headers = { X-Api-Key = [\"hunter2\"] }",
            "headers = { \"X Api Key\" = \"hunter2\" }",
            "headers = { X-Api-Key = \"hunter2\\r\\n\" }",
            "headers = { X-Api-Key = hunter2 }",
            "api_key_env = \"LOCAL_KEY\"",
            "base_url = \"http://user:hunter2@localhost\"",
        ] {
            let required = "[[upstreams]]\nname = \"local\"\n";
            let base_url = if line.starts_with("base_url") { "" } else { "base_url = \"http://localhost\"\n" };
            let file = SettingsFile { path: "tokenrill.toml".into(), text: format!("{required}{base_url}{line}") };
            let refusal = layer(Some(&file), &environment(&key), None).unwrap_err();
            assert!(!format!("{refusal} {refusal:?}").contains("hunter2"), "{refusal:?}");
        }
        let settings = with_upstream_line("headers = { X-Api-Key = \"hunter2\" }").unwrap();
        assert_eq!(settings.upstreams.first().unwrap().headers.get("X-Api-Key"), Some(&Secret::from("hunter2")));
        assert!(!format!("{settings:?} {}", settings.effective()).contains("hunter2"));
    }

    #[test]
    fn example_sets_the_defaults_explicitly() {
        assert_eq!(from_file(EXAMPLE), Ok(Settings::default()));
    }

    #[test]
    fn example_names_every_setting_and_its_variable() {
        for key in keys().filter(|key| !["upstreams", "auth.api_keys", "models.*", "prices"].contains(&key.name)) {
            let (_, name) = key.name.rsplit_once('.').unwrap();
            // The fields of an upstream are described before the examples.
            let is_written = EXAMPLE.contains(&format!("{name} = ")) || EXAMPLE.contains(&format!("\n# {name}: "));
            assert!(is_written, "{} is not written", key.name);
            assert!(!key.has_variable() || EXAMPLE.contains(&key.variable()), "{} is not named", key.variable());
        }
    }

    #[test]
    fn example_loads_when_its_settings_are_uncommented() {
        let keys = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AZURE_OPENAI_API_KEY"].map(|key| (key, "sk-hunter2"));
        let settings = layered(&uncommented_example(), &keys, None).unwrap();
        let urls: Vec<_> =
            settings.upstreams.iter().map(|upstream| (upstream.name.as_str(), upstream.base_url.as_str())).collect();
        assert_eq!(
            urls,
            [
                ("openai", "https://api.openai.com/v1"),
                ("anthropic", "https://api.anthropic.com"),
                ("azure", "https://example.openai.azure.com/openai/v1"),
                ("ollama", "http://127.0.0.1:11434/v1"),
                ("vllm", "http://127.0.0.1:8000/v1"),
            ]
        );
        // Only these, and settings that are absent by default, differ from the defaults.
        let Settings { server, cors, auth, limits, upstreams, models, prices, usage, event_log, prompts, .. } =
            settings.clone();
        let RedisSettings { url_env, url_file, .. } = event_log.redis;
        let redis = RedisSettings { url_env, url_file, ..RedisSettings::default() };
        let event_log = EventLogSettings { redis, ..EventLogSettings::default() };
        let ServerSettings { admin_listen, trusted_proxies, .. } = server;
        let server = ServerSettings { admin_listen, trusted_proxies, ..ServerSettings::default() };
        let limits = LimitSettings { queue: QueueSettings::default(), ..limits };
        assert_eq!(
            settings,
            Settings {
                server,
                cors,
                auth,
                limits,
                upstreams,
                models,
                prices,
                usage,
                event_log,
                prompts,
                ..Settings::default()
            }
        );
    }
}
