//! One prompt of a catalog.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::error::{CatalogError, Fault, Problem};
use super::front_matter::FrontMatter;
use super::output::Output;
use super::sections::Section;
use super::templates::{Templates, Trouble, values};
use super::variables::Variables;
use super::{Message, RenderError, Role};
use crate::domain::{PromptId, PromptReference, PromptVersion};

/// What is known of a prompt, apart from its text.
pub struct StoredPrompt {
    pub id: PromptId,
    /// Changes with the prompt's file and the partials that it reaches, and with nothing else.
    pub version: PromptVersion,
    pub description: String,
    /// The model that it was written for.
    pub model: Option<String>,
    /// Parameters of OpenAI's chat completions, for a request that does not set them itself.
    pub parameters: Map<String, Value>,
    variables: Variables,
    /// The name of each section's template.
    sections: Vec<(Role, String)>,
}

impl StoredPrompt {
    /// Reads a prompt and puts its sections to the templates, where the partials are already. `shown` makes the path
    /// that an error names.
    pub(super) fn read(
        id: PromptId,
        text: &str,
        templates: &mut Templates,
        shown: impl Fn(&str) -> String,
    ) -> Result<Self, CatalogError> {
        let file = format!("{id}.md");
        let within = |fault: Fault| fault.within(shown(&file));
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

    /// The prompt of this version.
    pub fn reference(&self) -> PromptReference {
        PromptReference { id: self.id.clone(), version: Some(self.version) }
    }

    /// A JSON Schema (2020-12) of an object: the variables that it takes, as they are checked.
    pub const fn variables(&self) -> &Value {
        self.variables.schema()
    }

    /// Takes as long as `output` allows: not for a runtime's thread.
    pub(super) fn render(
        &self,
        variables: Map<String, Value>,
        templates: &Templates,
        mut output: Output,
    ) -> Result<Vec<Message>, RenderError> {
        let variables = values(self.variables.complete(variables).map_err(RenderError::Variables)?);
        let mut messages = Vec::new();
        for (role, template) in &self.sections {
            templates.render(template, &variables, &mut output).map_err(|trouble| match trouble {
                Trouble::TooMuch => RenderError::TooMuch,
                Trouble::Failed(place) => RenderError::Failed { place },
            })?;
            let content = output.take();
            if !content.is_empty() {
                messages.push(Message { role: *role, content });
            }
        }
        if messages.is_empty() { Err(RenderError::Nothing) } else { Ok(messages) }
    }
}

/// That of the names which stands in the first line.
fn first_of(names: impl IntoIterator<Item = String>, source: &str, file: &str) -> Option<Fault> {
    let tags = super::tags::Tags::of(source);
    let found = names.into_iter().map(|name| {
        let line = tags.line_of(&name).unwrap_or(1);
        Fault::new(line, Problem::Undeclared { name, prompt: file.into() })
    });
    found.min_by_key(|fault| fault.line)
}

/// Each text with its length before it, so that no two lists of texts come to the same bytes.
fn version<'a>(text: &'a str, partials: impl IntoIterator<Item = &'a String>) -> PromptVersion {
    let mut hash = Sha256::new();
    for text in std::iter::once(text).chain(partials.into_iter().map(String::as_str)) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    PromptVersion::of_digest(hash.finalize().into())
}

/// `id@version`.
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
