//! One prompt of a catalog.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::error::{CatalogError, CatalogErrorKind, LineError};
use super::front_matter::FrontMatter;
use super::output::Output;
use super::sections::Section;
use super::templates::{TemplateError, Templates, values};
use super::variables::Variables;
use super::{PromptMessage, RenderError, Role};
use crate::domain::{PromptId, PromptReference, PromptVersion};

/// A prompt: its front matter, and the names of its section templates.
pub struct StoredPrompt {
    pub id: PromptId,
    /// Changes if and only if the prompt's file or a partial that it includes, directly or indirectly, changes.
    pub version: PromptVersion,
    pub description: String,
    /// The default model of the prompt.
    pub model: Option<String>,
    /// Defaults for parameters of OpenAI's chat completions that a request does not set.
    pub parameters: Map<String, Value>,
    variables: Variables,
    /// The role of each section and the name of its template.
    sections: Vec<(Role, String)>,
}

impl StoredPrompt {
    /// Parses a prompt and adds its sections to `templates`, which must already contain the partials. `shown` returns
    /// the path of a file for error messages.
    pub(super) fn read(
        id: PromptId,
        text: &str,
        templates: &mut Templates,
        shown: impl Fn(&str) -> String,
    ) -> Result<Self, CatalogError> {
        let file = format!("{id}.md");
        let within = |fault: LineError| fault.within(shown(&file));
        let (FrontMatter { description, model, parameters, variables }, body) =
            FrontMatter::read(text).map_err(within)?;
        let mut sections = Vec::new();
        let mut reached = BTreeMap::new();
        let undeclared = |template: &str, templates: &Templates| {
            let mut names = templates.undeclared(template);
            names.retain(|name| !variables.names().any(|declared| declared == name));
            names
        };
        for (section, number) in Section::split(body.text, body.first_line).map_err(within)?.into_iter().zip(1..) {
            let name = format!("{file}#{number}");
            templates.add(&name, &section.source).map_err(within)?;
            if let Some(fault) = first_of(undeclared(&name, templates), &section.source, &file) {
                return Err(within(fault));
            }
            let partials = templates.reached(&section.source);
            reached.extend(partials.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())));
            sections.push((section.role, name));
        }
        for (partial, text) in &reached {
            if let Some(fault) = first_of(undeclared(partial, templates), text, &file) {
                return Err(fault.within(shown(partial)));
            }
        }
        let version = version(text, reached.values());
        Ok(Self { id, version, description, model, parameters, variables, sections })
    }

    /// Returns a reference to this version of the prompt.
    pub fn reference(&self) -> PromptReference {
        PromptReference { id: self.id.clone(), version: Some(self.version) }
    }

    /// Returns the JSON Schema (2020-12) that validates the variables of the prompt, a schema of an object.
    pub const fn variables(&self) -> &Value {
        self.variables.schema()
    }

    /// Blocks for as long as `output` allows, so it must not be called on a runtime thread.
    pub(super) fn render(
        &self,
        variables: Map<String, Value>,
        templates: &Templates,
        mut output: Output,
    ) -> Result<Vec<PromptMessage>, RenderError> {
        let variables = values(self.variables.complete(variables).map_err(RenderError::Variables)?);
        let mut messages = Vec::new();
        for (role, template) in &self.sections {
            templates.render(template, &variables, &mut output).map_err(|error| match error {
                TemplateError::TooMuch => RenderError::TooMuch,
                TemplateError::Failed(place) => RenderError::Failed { place },
            })?;
            let content = output.take();
            if !content.is_empty() {
                messages.push(PromptMessage { role: *role, content });
            }
        }
        if messages.is_empty() { Err(RenderError::Nothing) } else { Ok(messages) }
    }
}

/// Returns an error for the name that occurs first in the source.
fn first_of(names: impl IntoIterator<Item = String>, source: &str, file: &str) -> Option<LineError> {
    let tags = super::tags::Tags::of(source);
    let found = names.into_iter().map(|name| {
        let line = tags.line_of(&name).unwrap_or(1);
        LineError::new(line, CatalogErrorKind::Undeclared { name, prompt: file.into() })
    });
    found.min_by_key(|fault| fault.line)
}

/// Hashes each text with its length as a prefix, so that different lists of texts never hash the same bytes.
fn version<'a>(text: &'a str, partials: impl IntoIterator<Item = &'a String>) -> PromptVersion {
    let mut hash = Sha256::new();
    for text in std::iter::once(text).chain(partials.into_iter().map(String::as_str)) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    PromptVersion::of_digest(hash.finalize().into())
}

/// Writes `id@version`.
impl fmt::Display for StoredPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.version)
    }
}

impl fmt::Debug for StoredPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
