//! Prompts: templates of messages that are stored in files and rendered with the variables of a request.
//!
//! ```text
//! mod              Catalog: all prompts of a directory, validated; renders one
//! directory        reads the files of a directory; shipped: the starter set in the binary
//! stored_prompt    one prompt: parsing, version, rendering
//! front_matter     the TOML before the sections; parameters, variables: its tables
//! sections         the templates of the messages
//! templates        rendering with MiniJinja, within limits; output: the limits of size and time
//! tags             the names in a template, and their lines
//! ```
//!
//! Every error that does not depend on the variables is found when the directory is read, with file and line. If one
//! file is invalid, loading the directory fails, and the previous catalog stays in use.

mod directory;
mod error;
mod front_matter;
mod message;
mod output;
mod parameters;
mod sections;
mod shipped;
mod stored_prompt;
mod tags;
mod templates;
mod variable_error;
mod variables;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::domain::{PromptId, PromptReference};

pub use error::CatalogError;
pub use message::{PromptMessage, Role};
pub use stored_prompt::StoredPrompt;
pub use variable_error::VariableError;

use error::CatalogErrorKind;
use output::Output;
use templates::Templates;

/// The validated prompts of one directory. Immutable: a reload replaces it as a whole. Clones are cheap and share its
/// state.
#[derive(Clone)]
pub struct Catalog(Arc<StoredPrompts>);

struct StoredPrompts {
    by_id: BTreeMap<PromptId, StoredPrompt>,
    templates: Templates,
    slots: Arc<Semaphore>,
    directory: Option<PathBuf>,
}

/// Why a prompt could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("the prompt does not exist, or has another version")]
    NotFound,
    /// 1 to 16 errors.
    #[error("the variables do not match the prompt's schema")]
    Variables(Vec<VariableError>),
    #[error("the prompt exceeded a limit of steps, text or time")]
    TooMuch,
    /// An operation of the template failed with these variables, such as adding a number to a list. The place is for
    /// the author of the prompt, as in `translate.md:12 (invalid operation)`.
    #[error("the prompt cannot be rendered with these variables: {place}")]
    Failed { place: String },
    #[error("with these variables the prompt is empty")]
    Nothing,
    #[error("too many prompts are being rendered")]
    Busy,
    #[error("rendering panicked")]
    Defect,
}

/// The number of prompts that are rendered concurrently.
const SLOTS: usize = 2;
/// The limit of the wait for a slot, and then again of the rendering.
const TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { SLOW_MACHINE } else { 1 });
/// Seconds in tests, which are not optimized and run in parallel: the fuel must end a runaway there, not the clock.
const SLOW_MACHINE: u64 = 6;
/// The limit of all messages of a prompt together.
const MAX_BYTES: usize = 1024 * 1024;

impl Catalog {
    /// Reads and validates all prompts of a directory. Blocks, so it must not be called on a runtime thread.
    pub fn load(directory: &Path) -> Result<Self, CatalogError> {
        let files = directory::read(directory)?;
        Self::of(files, Some(directory), |name| directory.join(name).display().to_string())
    }

    /// Returns the directory of the prompts; `None` for the starter set.
    pub fn directory(&self) -> Option<&Path> {
        self.0.directory.as_deref()
    }

    /// Returns the starter set, which is embedded in the binary.
    pub fn shipped() -> Result<Self, CatalogError> {
        Self::of(shipped::files(), None, |name| format!("prompts/{name}"))
    }

    /// Returns a catalog without prompts.
    pub fn empty() -> Self {
        Self::new(BTreeMap::new(), Templates::default(), None)
    }

    fn new(by_id: BTreeMap<PromptId, StoredPrompt>, templates: Templates, directory: Option<&Path>) -> Self {
        let (slots, directory) = (Arc::new(Semaphore::new(SLOTS)), directory.map(Path::to_owned));
        Self(Arc::new(StoredPrompts { by_id, templates, slots, directory }))
    }

    fn of(
        files: BTreeMap<String, String>,
        directory: Option<&Path>,
        shown: impl Fn(&str) -> String,
    ) -> Result<Self, CatalogError> {
        let (mut partials, mut prompts) = (BTreeMap::new(), Vec::new());
        for (name, text) in files {
            let stem = name.strip_suffix(".md").unwrap_or(&name);
            let (partial, stem) = stem.strip_prefix('_').map_or((false, stem), |stem| (true, stem));
            match (stem.parse::<PromptId>(), partial) {
                (Ok(id), false) => prompts.push((id, text)),
                (Ok(_), true) => drop(partials.insert(name, text)),
                (Err(_), _) => return Err(CatalogError::whole(shown(&name), CatalogErrorKind::Name)),
            }
        }
        let (mut templates, mut by_id) = (Templates::new(partials, &shown)?, BTreeMap::new());
        for (id, text) in prompts {
            by_id.insert(id.clone(), StoredPrompt::read(id, &text, &mut templates, &shown)?);
        }
        Ok(Self::new(by_id, templates, directory))
    }

    /// Returns all prompts, ordered by id.
    pub fn list(&self) -> impl Iterator<Item = &StoredPrompt> {
        self.0.by_id.values()
    }

    /// Returns a prompt. `None` also if the reference names another version.
    pub fn get(&self, reference: &PromptReference) -> Option<&StoredPrompt> {
        let prompt = self.0.by_id.get(&reference.id)?;
        Some(prompt).filter(|prompt| reference.version.is_none_or(|version| version == prompt.version))
    }

    /// Renders a prompt. Values of variables are data: they become text of a message, and never a message or a
    /// template. `variables` is the JSON of an object. It is parsed only after a slot is acquired, so that there are
    /// never more parsed trees than slots.
    pub async fn render(
        &self,
        reference: &PromptReference,
        variables: Option<Box<RawValue>>,
    ) -> Result<Vec<PromptMessage>, RenderError> {
        let id = self.get(reference).ok_or(RenderError::NotFound)?.id.clone();
        let waiting = timeout(TIMEOUT, Arc::clone(&self.0.slots).acquire_owned());
        let Ok(Ok(slot)) = waiting.await else { return Err(RenderError::Busy) };
        let prompts = Arc::clone(&self.0);
        let rendering = spawn_blocking(move || {
            // Moved in, so that the slot is released when the blocking task ends, not when the caller is cancelled.
            let _slot = slot;
            let prompt = prompts.by_id.get(&id).ok_or(RenderError::NotFound)?;
            let variables = variables.map(|json| serde_json::from_str(json.get())).transpose();
            let variables: Map<String, Value> = variables.map_err(|_| RenderError::Defect)?.unwrap_or_default();
            prompt.render(variables, &prompts.templates, Output::new(MAX_BYTES, TIMEOUT))
        });
        match timeout(TIMEOUT, rendering).await {
            Ok(Ok(rendered)) => rendered,
            Ok(Err(_)) => Err(RenderError::Defect),
            // `Output` enforces the prompt's own limit. If this timeout expires first, the machine is overloaded.
            Err(_) => Err(RenderError::Busy),
        }
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Catalog({} prompts)", self.0.by_id.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalog(files: &[(&str, &str)]) -> Result<Catalog, String> {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Catalog::of(files, None, str::to_owned).map_err(|error| error.to_string())
    }

    /// A prompt with the variables `text`, `n` and `list`.
    fn prompt(body: &str) -> String {
        format!(
            "+++\ndescription = \"d\"\n[variables.properties]\ntext.type = \"string\"\nn.type = \"integer\"\n\
             list.type = \"array\"\n+++\n{body}"
        )
    }

    fn reference(text: &str) -> PromptReference {
        text.parse().expect("a reference")
    }

    /// Returns each message as `role: content`.
    async fn render_in(catalog: &Catalog, id: &str, variables: Value) -> Result<Vec<String>, RenderError> {
        let messages = catalog.render(&reference(id), RawValue::from_string(variables.to_string()).ok()).await?;
        Ok(messages.into_iter().map(|message| format!("{}: {}", message.role.name(), message.content)).collect())
    }

    async fn render(body: &str, variables: Value) -> Result<Vec<String>, RenderError> {
        render_in(&catalog(&[("a.md", &prompt(body))]).expect("a catalog"), "a", variables).await
    }

    /// All errors of a large value would take far more than the value.
    #[tokio::test]
    async fn large_value_with_many_errors_reports_one() {
        let item = "list.items.required = [\"a\", \"b\"]";
        let text = prompt("# user\n{{ list | length }}").replace("list.type", &format!("{item}\nlist.type"));
        let catalog = catalog(&[("a.md", &text)]).expect("a catalog");
        let list = |items: usize| json!({ "list": vec![json!({}); items] });
        for (items, count) in [(3, 6), (100, 16), (500_000, 1)] {
            let refused = render_in(&catalog, "a", list(items)).await;
            let Err(RenderError::Variables(errors)) = refused else { panic!("{refused:?}") };
            assert_eq!(errors.len(), count, "{items}");
            assert_eq!(errors[0].pointer, "/list/0/a");
        }
    }

    /// File, text, and the whole error message. `~` stands for the beginning of a front matter.
    const ERRORS: &[(&str, &str, &str)] = &[
        (
            "A.md",
            "",
            "A.md: its name is not valid for a prompt: use 1 to 64 of a-z, 0-9, _ and -, not _ or - first, and .md",
        ),
        (
            "__a.md",
            "",
            "__a.md: its name is not valid for a prompt: use 1 to 64 of a-z, 0-9, _ and -, not _ or - first, and .md",
        ),
        ("a.md", "", "a.md:1: the front matter is missing: write +++ alone on the first line"),
        ("a.md", "\n+++\n+++\n", "a.md:1: the front matter is missing: write +++ alone on the first line"),
        ("a.md", "~", "a.md:1: the front matter has no end: write +++ alone on a line after it"),
        (
            "a.md",
            "+++\nmodel = \"m\"\n+++\n# user\nx",
            "a.md:1: `description` is missing: describe the prompt in one sentence",
        ),
        ("a.md", "+++\n\ndescription = \" \"\n+++\n# user\nx", "a.md:3: `description` must be a non-empty string"),
        ("a.md", "~model = 1\n+++\n# user\nx", "a.md:3: `model` must be a non-empty string"),
        (
            "a.md",
            "~version = 1\n+++\n# user\nx",
            "a.md:3: `version` is unknown here: use description, model, [parameters] or [variables]",
        ),
        ("a.md", "~parameters = 1\n+++\n# user\nx", "a.md:3: `parameters` must be a table"),
        (
            "a.md",
            "~[parameters]\ntop_p = 1\ntemperature = \"hot\"\n+++\n# user\nx",
            "a.md:5: `temperature` must be a number",
        ),
        (
            "a.md",
            "~[parameters]\nlogit_bias.a = 1979-05-27\n+++\n# user\nx",
            "a.md:4: the value cannot be represented in JSON: write dates in quotes, and finite numbers",
        ),
        (
            "a.md",
            "~[variables]\ntype = \"array\"\n+++\n# user\nx",
            "a.md:4: the schema of variables is always of the type object: remove `type`",
        ),
        (
            "a.md",
            "~[variables]\n\"$schema\" = \"http://json-schema.org/draft-07/schema#\"\n+++\n# user\nx",
            "a.md:4: schemas use the draft 2020-12: remove `$schema`",
        ),
        (
            "a.md",
            "~[variables.properties]\na.\"$ref\" = \"https://example.com/a.json\"\n+++\n# user\nx",
            "a.md:4: this `$ref` is not supported: write the whole schema here, and refer to its parts with $ref = \"#/$defs/...\"",
        ),
        (
            "a.md",
            "~[variables]\nallOf = [{ \"$ref\" = \"#\" }]\n+++\n# user\nx",
            "a.md:4: the schema has an endless reference loop: move the reference below properties or items",
        ),
        (
            "a.md",
            "~[variables.properties]\nno-name = true\n+++\n# user\nx",
            "a.md:4: the variable `no-name` cannot be named in a template: use at most 64 letters, digits and _, without a digit first",
        ),
        (
            "a.md",
            "~[variables]\nrequired = [\"a\"]\n+++\n# user\nx",
            "a.md:4: `a` is required but not declared, so that no request could set it: declare it under [variables.properties]",
        ),
        (
            "a.md",
            "~[variables.properties.a]\ntype = \"string\"\ndefault = 1\n+++\n# user\nx",
            "a.md:5: the default of `a` does not match its schema: it must be a string",
        ),
        (
            "a.md",
            "~+++\n\nHello.\n# user\nx",
            "a.md:5: a section must begin before this text: write # system, # user or # assistant alone on a line",
        ),
        (
            "a.md",
            "~+++\n\n",
            "a.md:4: there is no section: write # system, # user or # assistant alone on a line, and the text below",
        ),
        (
            "a.md",
            "~+++\n# user\nx\n## System\n",
            "a.md:6: the heading of a section must be exactly `# system`: write it so, or change the words",
        ),
        (
            "a.md",
            "~+++\n# user\n\n{% include name %}",
            "a.md:6: the name of a partial must be a string literal: write {% include \"_name.md\" %}",
        ),
        (
            "a.md",
            "~+++\n# user\n{% include \"_b.md\" %}",
            "a.md:5: there is no partial `_b.md`: use the name of an existing file _name.md, or add the file",
        ),
        (
            "a.md",
            "~+++\n# user\n{% extends \"/etc/passwd\" %}",
            "a.md:5: there is no partial `/etc/passwd`: use the name of an existing file _name.md, or add the file",
        ),
        (
            "a.md",
            "~+++\n# user\n\n{{ \"a\" | upcase }}",
            "a.md:6: there is no filter `upcase`: use one of MiniJinja's built-in ones",
        ),
        (
            "a.md",
            "~+++\n# user\n{% if 1 is not real %}{% endif %}",
            "a.md:5: there is no test `real`: use one of MiniJinja's built-in ones",
        ),
        (
            "a.md",
            "~+++\n# system\nx\n# user\ny\nthe name {{ name }}",
            "a.md:8: `name` is not a variable of a.md: declare it under [variables.properties], or set it here first",
        ),
        (
            "a.md",
            "~+++\n# user\n{{ debug() }}",
            "a.md:5: `debug` is not a variable of a.md: declare it under [variables.properties], or set it here first",
        ),
    ];

    /// Text of a.md, and the beginning of the error message; the rest comes from a library.
    const SYNTAX_ERRORS: &[(&str, &str)] = &[
        ("~model = \n+++\n# user\nx", "a.md:3: the front matter is not valid TOML ("),
        ("~description = \"d\"\n+++\n# user\nx", "a.md:3: the front matter is not valid TOML ("),
        (
            "~[parameters]\napi_base = \"http://a\"\n+++\n# user\nx",
            "a.md:4: `api_base` is not a parameter that a prompt can set: use one of temperature, ",
        ),
        (
            "~[variables.properties.a]\n\ntype = \"text\"\n+++\n# user\nx",
            "a.md:5: the schema is not valid at `/properties/a/type` (",
        ),
        (
            "~[variables.properties.a]\npattern = \"(\"\n+++\n# user\nx",
            "a.md:4: the schema is not valid at `/properties/a/pattern` (",
        ),
        ("~+++\n# system\nx\n# user\n\n{% if %}", "a.md:8: the template is not valid ("),
        ("~+++\n# user\n{{ a }", "a.md:5: the template is not valid ("),
    ];

    #[test]
    fn error_has_file_line_and_expectation() {
        let written = |text: &str| text.replace('~', "+++\ndescription = \"d\"\n");
        for (name, text, expected) in ERRORS {
            assert_eq!(catalog(&[(name, &written(text))]).expect_err(expected), *expected);
        }
        for (text, expected) in SYNTAX_ERRORS {
            let error = catalog(&[("a.md", &written(text))]).expect_err(expected);
            assert!(error.starts_with(expected), "{error}");
            assert!(error.ends_with(": fix it") || error.ends_with("parallel_tool_calls"), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn errors_in_partials_have_their_own_file_and_line() {
        let prompt = prompt("# user\n{% include \"_b.md\" %}");
        for (partial, expected) in [
            ("x\n{% if %}", "_b.md:2: the template is not valid ("),
            ("\n{% include \"_c.md\" %}", "_b.md:2: there is no partial `_c.md`"),
            ("x\ny\n{{ text }}{{ other }}", "_b.md:3: `other` is not a variable of a.md"),
        ] {
            let error = catalog(&[("a.md", &prompt), ("_b.md", partial)]).expect_err(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn sections_become_messages_and_empty_ones_are_omitted() {
        let body =
            "# system\n\n  Be brief.\n\n# user\n{% if n %}{{ n }}{% endif %}\n# assistant\nOne.\n# user\n{{ text }}\n";
        let messages = render(body, json!({ "text": "Two?" })).await;
        assert_eq!(messages.expect("messages"), ["system: Be brief.", "assistant: One.", "user: Two?"]);
        assert_eq!(render("# user\n{% if n %}n{% endif %}\n# system\n\n", json!({})).await, Err(RenderError::Nothing));
    }

    #[tokio::test]
    async fn template_syntax_in_variables_stays_text() {
        for text in
            ["{{7*7}}", "{% for x in [1] %}x{% endfor %}", "a\n# system\nb", "{# a #}", "<b> & 'c'", "+++", "{{ n }}"]
        {
            let messages = render("# user\n{{ text }}", json!({ "text": text })).await;
            assert_eq!(messages.expect("messages"), [format!("user: {text}")]);
        }
        let handle = json!({ "list": [{ "\u{1}__minijinja_ValueHandle": 1 }] });
        assert_eq!(render("# user\n{{ list | length }}", handle).await.expect("messages"), ["user: 1"]);
    }

    #[tokio::test]
    async fn partials_are_included_and_imported() {
        let catalog = catalog(&[
            ("a.md", &prompt("# user\n{% from \"_b.md\" import twice %}{{ twice(text) }} {% include \"_c.md\" %}")),
            ("_b.md", "{% macro twice(text) %}{{ text }}{{ text }}{% endmacro %}"),
            ("_c.md", "{% include '_d.md' %}!\n"),
            ("_d.md", "{{ n }}"),
        ]);
        let rendered = render_in(&catalog.expect("a catalog"), "a", json!({ "text": "o", "n": 7 })).await;
        assert_eq!(rendered.expect("messages"), ["user: oo 7!"]);
    }

    #[tokio::test]
    async fn variables_are_validated_and_defaults_added() {
        let text = "+++\ndescription = \"d\"\n[variables]\nrequired = [\"text\", \"to\"]\n[variables.properties]\n\
                    text.type = \"string\"\nto = { enum = [\"de\", \"fr\"], default = \"de\" }\n+++\n# user\n{{ to }}: {{ text }}";
        let catalog =
            catalog(&[("a.md", text), ("b.md", "+++\ndescription = \"d\"\n+++\n# user\nb")]).expect("a catalog");
        let rendered = |id, variables| render_in(&catalog, id, variables);
        assert_eq!(rendered("a", json!({ "text": "x" })).await.expect("messages"), ["user: de: x"]);
        assert_eq!(rendered("a", json!({ "text": "x", "to": "fr" })).await.expect("messages"), ["user: fr: x"]);
        let wrong = |pointer: &str, detail: &str| {
            Err(RenderError::Variables(vec![VariableError { pointer: pointer.into(), detail: detail.into() }]))
        };
        assert_eq!(rendered("a", json!({})).await, wrong("/text", "is missing"));
        assert_eq!(rendered("a", json!({ "text": 1 })).await, wrong("/text", "must be a string"));
        assert_eq!(
            rendered("a", json!({ "text": "", "to": "xx" })).await,
            wrong("/to", "must be one of \"de\", \"fr\"")
        );
        assert_eq!(rendered("a", json!({ "text": "", "x": 1 })).await, wrong("/x", "is not a variable of this prompt"));
        assert_eq!(rendered("b", json!({ "x": 1 })).await, wrong("/x", "is not a variable of this prompt"));
        assert_eq!(rendered("b", json!({})).await.expect("messages"), ["user: b"]);
    }

    #[tokio::test]
    async fn failed_operation_reports_its_line_and_no_value() {
        for body in [
            "# system\nx\n# user\n{{ text }}\n{{ n }}",
            "# user\n\n\n\n{{ text + list }}",
            "# user\n\n\n\n{{ text | int }}",
        ] {
            let failed = render(body, json!({ "text": "secret", "list": ["secret"] })).await.expect_err("a failure");
            let RenderError::Failed { place } = &failed else { panic!("{failed}") };
            assert!(place.starts_with("a.md:12 (") && !failed.to_string().contains("secret"), "{failed}");
        }
    }

    #[tokio::test]
    async fn runaway_templates_end_at_a_limit() {
        let text = "x".repeat(1_000);
        let long = "x".repeat(1024 * 1024);
        for (body, variables) in [
            ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", json!({})),
            ("{% for a in range(100000) %}{{ a }}{% endfor %}", json!({})),
            ("{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}", json!({})),
            ("{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}", json!({})),
            ("{{ \"0123456789\" * 9999999 }}", json!({})),
            ("{{ text * n }}", json!({ "text": text, "n": 50_000 })),
            (
                "{% set s = namespace(t=\"x\") %}{% for a in range(60) %}{% set s.t = s.t ~ s.t %}{% endfor %}",
                json!({}),
            ),
            (
                "{% set x %}{% for a in range(90000) %}0123456789012345678901234567890123456789{% endfor %}{% endset %}",
                json!({}),
            ),
            ("{{ ([text] * 90000) | join }}", json!({ "text": text })),
            ("{{ text | indent(99999999) }}", json!({ "text": "a\nb\nc" })),
            ("{{ text }}{{ text }}", json!({ "text": long })),
        ] {
            let rendered = render(&format!("# user\n{body}"), variables).await.expect_err(body);
            assert_eq!(rendered, RenderError::TooMuch, "{body}");
        }
        let files =
            [("a.md", prompt("# user\n{% include \"_b.md\" %}")), ("_b.md", "{% include \"_b.md\" %}".repeat(2))];
        let catalog = catalog(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).expect("a catalog");
        assert_eq!(render_in(&catalog, "a", json!({})).await, Err(RenderError::TooMuch));
    }

    #[tokio::test]
    async fn long_texts_are_rendered() {
        let text = "x".repeat(1_000_000);
        let messages = render("# user\n{{ text | trim }}", json!({ "text": text })).await.expect("messages");
        assert_eq!(messages[0].len(), 1_000_006);
        let list: Vec<_> = (0..5_000).collect();
        assert!(render("# user\n{% for x in list %}- {{ x }}\n{% endfor %}", json!({ "list": list })).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn render_without_a_free_slot_returns_busy_after_the_timeout() {
        let catalog = catalog(&[("a.md", &prompt("# user\na"))]).expect("a catalog");
        let held = catalog.0.slots.acquire_many(2).await.expect("slots");
        assert_eq!(render_in(&catalog, "a", json!({})).await, Err(RenderError::Busy));
        drop(held);
        assert!(render_in(&catalog, "a", json!({})).await.is_ok());
    }

    #[tokio::test]
    async fn version_changes_only_with_the_file_and_its_partials() {
        let files = [("a.md", prompt("# user\n{% include \"_b.md\" %}")), ("_b.md", "{% include \"_c.md\" %}".into())];
        let files = [files, [("_c.md", "c".into()), ("_d.md", "d".into())]].concat();
        let version = |changed: &str| {
            let files: Vec<_> = files
                .iter()
                .map(|(name, text)| (*name, if *name == changed { format!("{text} ") } else { text.clone() }))
                .collect();
            let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
            catalog(&files).expect("a catalog").list().next().expect("a prompt").to_string()
        };
        let now = version("");
        assert!(now.starts_with("a@") && now.len() == 14, "{now}");
        assert_eq!(now, version("_d.md"));
        let others: std::collections::BTreeSet<_> = ["", "a.md", "_b.md", "_c.md"].map(version).into();
        assert_eq!(others.len(), 4);

        let catalog = catalog(&[("a.md", &prompt("# user\na"))]).expect("a catalog");
        let current = catalog.list().next().expect("a prompt").reference();
        assert!(catalog.get(&current).is_some() && catalog.get(&reference("a")).is_some());
        assert!(render_in(&catalog, &current.to_string(), json!({})).await.is_ok());
        for other in ["a@000000000000", "b"] {
            assert!(catalog.get(&reference(other)).is_none());
            assert_eq!(render_in(&catalog, other, json!({})).await, Err(RenderError::NotFound));
        }
    }

    #[test]
    fn an_empty_catalog_has_no_prompts() {
        assert_eq!(Catalog::empty().list().count(), 0);
    }

    #[test]
    fn debug_prints_no_text() {
        let catalog = catalog(&[("a.md", &prompt("# user\nsecret"))]).expect("a catalog");
        let message = PromptMessage { role: Role::User, content: "secret".into() };
        assert_eq!(format!("{message:?}"), "PromptMessage(user, 6 bytes)");
        assert!(!format!("{catalog:?}{:?}", catalog.list().next()).contains("secret"));
    }
}
