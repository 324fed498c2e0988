//! The templates of all prompts, and the partials that they share.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde_json::Map;

use super::error::{CatalogError, CatalogErrorKind, LineError};
use super::output::Output;
use super::tags::Tags;

/// Templates by name. Rendering cannot add templates, and never loads them from another source.
#[derive(Debug)]
pub(super) struct Templates {
    environment: Environment<'static>,
    /// The text of each partial by file name.
    partials: BTreeMap<String, String>,
}

/// Why a template could not be rendered.
#[derive(Debug)]
pub(super) enum TemplateError {
    TooMuch,
    /// The file, the line and the kind of error, without values of variables.
    Failed(String),
}

/// The fuel of one section. A step costs one, and so do 64 bytes that are created or read.
const FUEL: u64 = 200_000;
/// The recursion limit. It allows nesting macros 50 deep and partials 20 deep.
const DEPTH: usize = 200;

impl Templates {
    /// Adds the partials, which may include one another. `shown` returns the path of a file for error messages.
    pub(super) fn new(
        partials: BTreeMap<String, String>,
        shown: impl Fn(&str) -> String,
    ) -> Result<Self, CatalogError> {
        let mut templates = Self { partials, ..Self::default() };
        for (name, text) in templates.partials.clone() {
            templates.add(&name, &text).map_err(|fault| fault.within(shown(&name)))?;
        }
        Ok(templates)
    }

    /// Adds a template. Refuses invalid ones, and those that name a partial, filter or test that does not exist.
    pub(super) fn add(&mut self, name: &str, source: &str) -> Result<(), LineError> {
        self.environment.add_template_owned(name.to_owned(), source.to_owned()).map_err(|error| {
            let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            LineError::new(error.line().unwrap_or(1), CatalogErrorKind::Template(detail))
        })?;
        let tags = Tags::of(source);
        for (line, name) in tags.templates() {
            let name = name.ok_or(LineError::new(line, CatalogErrorKind::ComputedName))?;
            if !self.partials.contains_key(name) {
                return Err(LineError::new(line, CatalogErrorKind::NoPartial(name.into())));
            }
        }
        let filters = tags.filters().map(|(line, name)| (line, "filter", name));
        for (line, kind, name) in filters.chain(tags.tests().map(|(line, name)| (line, "test", name))) {
            if !self.knows(kind, name) {
                return Err(LineError::new(line, CatalogErrorKind::Unknown { kind, name: name.into() }));
            }
        }
        Ok(())
    }

    /// Returns whether a filter or test exists, with MiniJinja's tests `filter` and `test`.
    fn knows(&self, kind: &str, name: &str) -> bool {
        let asked = self.environment.compile_expression_owned(format!("'{name}' is {kind}"));
        asked.and_then(|asked| asked.eval(())).is_ok_and(|known| known.is_true())
    }

    /// Returns the partials that a template includes, directly or indirectly, with their texts.
    pub(super) fn reached<'a>(&'a self, source: &str) -> BTreeMap<&'a str, &'a str> {
        let (mut reached, mut ahead) = (BTreeMap::new(), self.named(source));
        while let Some((name, text)) = ahead.pop() {
            if reached.insert(name, text).is_none() {
                ahead.extend(self.named(text));
            }
        }
        reached
    }

    fn named(&self, source: &str) -> Vec<(&str, &str)> {
        let names = Tags::of(source);
        let found = names.templates().filter_map(|(_, name)| self.partials.get_key_value(name?));
        found.map(|(name, text)| (name.as_str(), text.as_str())).collect()
    }

    /// Returns the names that a template uses without setting them, in order.
    pub(super) fn undeclared(&self, name: &str) -> BTreeSet<String> {
        let template = self.environment.get_template(name);
        let mut names: BTreeSet<_> =
            template.map(|template| template.undeclared_variables(false)).into_iter().flatten().collect();
        for (global, _) in self.environment.globals() {
            names.remove(global);
        }
        names
    }

    /// Renders a template into `output`. Variables are data: their values are never compiled as templates.
    pub(super) fn render(&self, name: &str, variables: &Value, output: &mut Output) -> Result<(), TemplateError> {
        let template = self.environment.get_template(name).map_err(|error| template_error(&error))?;
        match template.render_captured_to(variables.clone(), &mut *output) {
            _ if output.is_over() => Err(TemplateError::TooMuch),
            rendered => rendered.map(drop).map_err(|error| template_error(&error)),
        }
    }
}

/// No templates.
impl Default for Templates {
    fn default() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_syntax(syntax());
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(DEPTH);
        environment.set_debug(false);
        // `debug()` would print all variables.
        environment.remove_global("debug");
        Self { environment, partials: BTreeMap::new() }
    }
}

/// Converts variables to MiniJinja's values.
pub(super) fn values(variables: Map<String, serde_json::Value>) -> Value {
    Value::from(Serde(variables))
}

/// Removes the line of a tag that is alone on it.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().unwrap_or_default()
}

fn template_error(error: &Error) -> TemplateError {
    let (mut innermost, mut next) = (error, Some(error));
    while let Some(error) = next {
        let deep = error.detail().is_some_and(|detail| detail.starts_with("recursion limit"));
        if error.kind() == ErrorKind::OutOfFuel || deep {
            return TemplateError::TooMuch;
        }
        innermost = error;
        next = error.source().and_then(|source| source.downcast_ref());
    }
    let file = innermost.name().unwrap_or_default().split('#').next().unwrap_or_default();
    TemplateError::Failed(format!("{file}:{} ({})", innermost.line().unwrap_or_default(), innermost.kind()))
}
