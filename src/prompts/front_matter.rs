//! The front matter of a prompt: TOML between two lines `+++`, before the sections.

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{CatalogErrorKind, LineError};
use super::parameters;
use super::tags::line_at;
use super::variables::Variables;

/// The front matter, parsed and validated.
#[derive(Debug)]
pub(super) struct FrontMatter {
    pub(super) description: String,
    pub(super) model: Option<String>,
    pub(super) parameters: Map<String, Value>,
    pub(super) variables: Variables,
}

/// The text after the front matter, and the number of its first line in the file.
pub(super) struct PromptText<'t> {
    pub(super) text: &'t str,
    pub(super) first_line: usize,
}

/// The line of the file in which the TOML begins.
const FIRST_LINE: usize = 2;

impl FrontMatter {
    pub(super) fn read(file: &str) -> Result<(Self, PromptText<'_>), LineError> {
        let (toml, body) = split(file)?;
        let line = |at| line_at(toml, at) + FIRST_LINE - 1;
        let parsed = DeTable::parse(toml).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            LineError::new(line(at), CatalogErrorKind::Syntax(error.message().into()))
        })?;
        let mut read =
            Self { description: String::new(), model: None, parameters: Map::new(), variables: Variables::none() };
        for (key, value) in entries(parsed.get_ref()) {
            let at = line(key.span().start);
            match key.get_ref().as_ref() {
                "description" => {
                    read.description = text("description", value).map_err(|wrong| LineError::new(at, wrong))?;
                }
                "model" => read.model = Some(text("model", value).map_err(|wrong| LineError::new(at, wrong))?),
                "parameters" => {
                    for (key, value) in entries(table("parameters", value).map_err(|wrong| LineError::new(at, wrong))?)
                    {
                        let at = line(key.span().start);
                        let (key, value) = (key.get_ref().to_string(), json(value, &line)?);
                        parameters::check(&key, &value).map_err(|problem| LineError::new(at, problem))?;
                        read.parameters.insert(key, value);
                    }
                }
                "variables" => {
                    let table = table("variables", value).map_err(|wrong| LineError::new(at, wrong))?;
                    let schema = object(table, &line)?;
                    read.variables = Variables::compile(schema).map_err(|fault| {
                        let below =
                            fault.pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"));
                        LineError::new(find(value, below).map_or(at, line), fault.problem)
                    })?;
                }
                unknown => return Err(LineError::new(at, CatalogErrorKind::UnknownKey(unknown.into()))),
            }
        }
        if read.description.is_empty() {
            return Err(LineError::new(1, CatalogErrorKind::NoDescription));
        }
        Ok((read, body))
    }
}

fn split(file: &str) -> Result<(&str, PromptText<'_>), LineError> {
    let fence = |line: &str| line.trim_end_matches(['\n', '\r']) == "+++";
    let mut lines = file.split_inclusive('\n');
    let begins =
        lines.next().filter(|line| fence(line)).ok_or(LineError::new(1, CatalogErrorKind::NoFrontMatter))?.len();
    let mut ends = begins;
    for (line, number) in lines.zip(FIRST_LINE..) {
        if fence(line) {
            let text = file.get(ends + line.len()..).unwrap_or_default();
            return Ok((file.get(begins..ends).unwrap_or_default(), PromptText { text, first_line: number + 1 }));
        }
        ends += line.len();
    }
    Err(LineError::new(1, CatalogErrorKind::OpenFrontMatter))
}

/// Returns the entries in the order of the file.
fn entries<'a, 't>(table: &'a DeTable<'t>) -> Vec<(&'a Spanned<std::borrow::Cow<'t, str>>, &'a Spanned<DeValue<'t>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn text(key: &str, value: &Spanned<DeValue<'_>>) -> Result<String, CatalogErrorKind> {
    match value.get_ref() {
        DeValue::String(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        _ => Err(CatalogErrorKind::Wrong { key: key.into(), expected: "a non-empty string" }),
    }
}

fn table<'a, 't>(key: &str, value: &'a Spanned<DeValue<'t>>) -> Result<&'a DeTable<'t>, CatalogErrorKind> {
    match value.get_ref() {
        DeValue::Table(table) => Ok(table),
        _ => Err(CatalogErrorKind::Wrong { key: key.into(), expected: "a table" }),
    }
}

fn object(table: &DeTable<'_>, line: &impl Fn(usize) -> usize) -> Result<Map<String, Value>, LineError> {
    entries(table).into_iter().map(|(key, value)| Ok((key.get_ref().to_string(), json(value, line)?))).collect()
}

fn json(value: &Spanned<DeValue<'_>>, line: &impl Fn(usize) -> usize) -> Result<Value, LineError> {
    let number = match value.get_ref() {
        DeValue::String(text) => return Ok(Value::String(text.to_string())),
        DeValue::Boolean(truth) => return Ok(Value::Bool(*truth)),
        DeValue::Array(items) => return items.iter().map(|item| json(item, line)).collect(),
        DeValue::Table(table) => return object(table, line).map(Value::Object),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix()).ok().map(Number::from),
        DeValue::Float(digits) => digits.as_str().parse().ok().and_then(Number::from_f64),
        DeValue::Datetime(_) => None,
    };
    number.map(Value::Number).ok_or_else(|| LineError::new(line(value.span().start), CatalogErrorKind::NotJson))
}

/// Returns the position of the deepest key on `path` that exists.
fn find(value: &Spanned<DeValue<'_>>, mut path: impl Iterator<Item = String>) -> Option<usize> {
    let part = path.next()?;
    match value.get_ref() {
        DeValue::Table(table) => {
            let (key, value) = table.iter().find(|(key, _)| key.get_ref().as_ref() == part)?;
            find(value, path).or(Some(key.span().start))
        }
        DeValue::Array(items) => {
            let item = items.get(part.parse::<usize>().ok()?)?;
            find(item, path).or(Some(item.span().start))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn front_matter_is_read_in_file_order() {
        let file = "+++\r\ndescription = \" Does it. \"\r\nmodel = \"m\"\n[parameters]\nseed = 0x10\ntop_p = 1e-1\n\
                    [variables]\nrequired = [\"z\"]\n[variables.properties]\nz.type = \"string\"\na.type = \"string\"\n\
                    +++\n\n# user\n";
        let (read, body) = FrontMatter::read(file).expect("front matter");
        assert_eq!((read.description.as_str(), read.model.as_deref()), ("Does it.", Some("m")));
        assert_eq!(Value::Object(read.parameters), json!({ "seed": 16, "top_p": 0.1 }));
        assert_eq!(read.variables.names().collect::<Vec<_>>(), ["z", "a"]);
        assert_eq!((body.text, body.first_line), ("\n# user\n", 13));
    }
}
