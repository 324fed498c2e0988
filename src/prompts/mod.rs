//! Prompts that are kept in files, with what may be put into them.
//!
//! ```text
//! mod              Catalog: all prompts of a directory, checked, and one rendered
//! directory        which files these are; shipped: those that are part of the program
//! stored_prompt    one of them: read, named by its version, rendered
//! front_matter     what stands above its text; parameters, variables: what that says
//! sections         its messages
//! templates        what MiniJinja makes of them, within bounds; output: one of the bounds
//! tags             what a template names, and in which lines
//! ```
//!
//! All mistakes that can be found without the variables are found when a directory is read, with file and line, and a
//! directory with a mistake gives no catalog: the one before stays in use.

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
pub use message::{Message, Role};
pub use stored_prompt::StoredPrompt;
pub use variable_error::VariableError;

use error::Problem;
use output::Output;
use templates::Templates;

/// The prompts of one directory, checked. It never changes: it is replaced as a whole. Clones are cheap, and the same.
#[derive(Clone)]
pub struct Catalog(Arc<Prompts>);

struct Prompts {
    by_id: BTreeMap<PromptId, StoredPrompt>,
    templates: Templates,
    slots: Arc<Semaphore>,
    directory: Option<PathBuf>,
}

/// Why there are no messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("there is no such prompt, or it is of another version")]
    NotFound,
    /// At least one, at most 16.
    #[error("the variables are not those that the prompt takes")]
    Variables(Vec<VariableError>),
    #[error("the prompt came to too much, in steps, text or time")]
    TooMuch,
    /// With these variables the template does what cannot be done, such as adding a number to a list. The place is
    /// for whoever wrote the prompt, as in `translate.md:12 (invalid operation)`.
    #[error("the prompt does not work with these variables: {place}")]
    Failed { place: String },
    #[error("with these variables the prompt is empty")]
    Nothing,
    #[error("too many prompts are rendered at the moment")]
    Busy,
    #[error("a panic: a defect")]
    Defect,
}

/// Prompts that are rendered at the same time.
const SLOTS: usize = 2;
/// A rendering waits for its place no longer than this, and then takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { SLOW_MACHINE } else { 1 });
/// Seconds in tests, which are not optimized and share a machine: what ends a runaway there must be its fuel, not the clock.
const SLOW_MACHINE: u64 = 6;
/// All messages of a prompt together.
const MOST_BYTES: usize = 1024 * 1024;

impl Catalog {
    /// Reads and checks all prompts of a directory. Waits for its files: not for a runtime's thread.
    pub fn load(directory: &Path) -> Result<Self, CatalogError> {
        let files = directory::read(directory)?;
        Self::of(files, Some(directory), |name| directory.join(name).display().to_string())
    }

    /// Where they were read, where that was a directory.
    pub fn directory(&self) -> Option<&Path> {
        self.0.directory.as_deref()
    }

    /// The starter set.
    pub fn shipped() -> Result<Self, CatalogError> {
        Self::of(shipped::files(), None, |name| format!("prompts/{name}"))
    }

    /// No prompts.
    pub fn empty() -> Self {
        Self::new(BTreeMap::new(), Templates::default(), None)
    }

    fn new(by_id: BTreeMap<PromptId, StoredPrompt>, templates: Templates, directory: Option<&Path>) -> Self {
        let (slots, directory) = (Arc::new(Semaphore::new(SLOTS)), directory.map(Path::to_owned));
        Self(Arc::new(Prompts { by_id, templates, slots, directory }))
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
                (Err(_), _) => return Err(CatalogError::whole(shown(&name), Problem::Name)),
            }
        }
        let (mut templates, mut by_id) = (Templates::new(partials, &shown)?, BTreeMap::new());
        for (id, text) in prompts {
            by_id.insert(id.clone(), StoredPrompt::read(id, &text, &mut templates, &shown)?);
        }
        Ok(Self::new(by_id, templates, directory))
    }

    /// By id.
    pub fn list(&self) -> impl Iterator<Item = &StoredPrompt> {
        self.0.by_id.values()
    }

    /// None also where the prompt is of another version than the reference.
    pub fn get(&self, reference: &PromptReference) -> Option<&StoredPrompt> {
        let prompt = self.0.by_id.get(&reference.id)?;
        Some(prompt).filter(|prompt| reference.version.is_none_or(|version| version == prompt.version))
    }

    /// The messages that a prompt comes to. What is put into it is data: it is text in a message, whatever it says,
    /// and makes neither a message nor a template. `variables` is the JSON of an object: its tree is built here, so that
    /// there are never more trees than slots.
    pub async fn render(
        &self,
        reference: &PromptReference,
        variables: Option<Box<RawValue>>,
    ) -> Result<Vec<Message>, RenderError> {
        let id = self.get(reference).ok_or(RenderError::NotFound)?.id.clone();
        let waiting = timeout(PATIENCE, Arc::clone(&self.0.slots).acquire_owned());
        let Ok(Ok(slot)) = waiting.await else { return Err(RenderError::Busy) };
        let prompts = Arc::clone(&self.0);
        let rendering = spawn_blocking(move || {
            // Given back when this ends, and not when nobody waits for it any more.
            let _slot = slot;
            let prompt = prompts.by_id.get(&id).ok_or(RenderError::NotFound)?;
            let variables = variables.map(|json| serde_json::from_str(json.get())).transpose();
            let variables: Map<String, Value> = variables.map_err(|_| RenderError::Defect)?.unwrap_or_default();
            prompt.render(variables, &prompts.templates, Output::new(MOST_BYTES, PATIENCE))
        });
        match timeout(PATIENCE, rendering).await {
            Ok(Ok(rendered)) => rendered,
            Ok(Err(_)) => Err(RenderError::Defect),
            // What a prompt itself may take ends it from within; this is a machine without time.
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

    /// Takes a `text` and any `n`.
    fn prompt(body: &str) -> String {
        format!(
            "+++\ndescription = \"d\"\n[variables.properties]\ntext.type = \"string\"\nn.type = \"integer\"\n\
             list.type = \"array\"\n+++\n{body}"
        )
    }

    fn reference(text: &str) -> PromptReference {
        text.parse().expect("a reference")
    }

    /// Each message as `role: content`.
    async fn render_in(catalog: &Catalog, id: &str, variables: Value) -> Result<Vec<String>, RenderError> {
        let messages = catalog.render(&reference(id), RawValue::from_string(variables.to_string()).ok()).await?;
        Ok(messages.into_iter().map(|message| format!("{}: {}", message.role.name(), message.content)).collect())
    }

    async fn render(body: &str, variables: Value) -> Result<Vec<String>, RenderError> {
        render_in(&catalog(&[("a.md", &prompt(body))]).expect("a catalog"), "a", variables).await
    }

    /// All errors of a large value would take far more than the value.
    #[tokio::test]
    async fn a_million_mistakes_are_told_by_one() {
        let item = "list.items.required = [\"a\", \"b\"]";
        let text = prompt("# user\n{{ list | length }}").replace("list.type", &format!("{item}\nlist.type"));
        let catalog = catalog(&[("a.md", &text)]).expect("a catalog");
        let list = |items: usize| json!({ "list": vec![json!({}); items] });
        for (items, told) in [(3, 6), (100, 16), (500_000, 1)] {
            let refused = render_in(&catalog, "a", list(items)).await;
            let Err(RenderError::Variables(errors)) = refused else { panic!("{refused:?}") };
            assert_eq!(errors.len(), told, "{items}");
            assert_eq!(errors[0].pointer, "/list/0/a");
        }
    }

    /// File, text, and all that is told of it. `~` stands for a front matter as far as its end.
    const MISTAKES: &[(&str, &str, &str)] = &[
        ("A.md", "", "A.md: its name is no prompt's: write 1 to 64 of a-z, 0-9, _ and -, not _ or - first, and .md"),
        (
            "__a.md",
            "",
            "__a.md: its name is no prompt's: write 1 to 64 of a-z, 0-9, _ and -, not _ or - first, and .md",
        ),
        ("a.md", "", "a.md:1: a prompt begins with its front matter: write +++ alone on the first line"),
        ("a.md", "\n+++\n+++\n", "a.md:1: a prompt begins with its front matter: write +++ alone on the first line"),
        ("a.md", "~", "a.md:1: the front matter has no end: write +++ alone on a line after it"),
        (
            "a.md",
            "+++\nmodel = \"m\"\n+++\n# user\nx",
            "a.md:1: `description` is missing: say in a sentence what the prompt is for",
        ),
        (
            "a.md",
            "+++\n\ndescription = \" \"\n+++\n# user\nx",
            "a.md:3: `description` must be a text that is not empty",
        ),
        ("a.md", "~model = 1\n+++\n# user\nx", "a.md:3: `model` must be a text that is not empty"),
        (
            "a.md",
            "~version = 1\n+++\n# user\nx",
            "a.md:3: `version` is unknown here: write description, model, [parameters] or [variables]",
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
            "a.md:4: JSON has no such value: write dates in quotes and numbers that are finite",
        ),
        (
            "a.md",
            "~[variables]\ntype = \"array\"\n+++\n# user\nx",
            "a.md:4: variables are always an object: leave `type` out",
        ),
        (
            "a.md",
            "~[variables]\n\"$schema\" = \"http://json-schema.org/draft-07/schema#\"\n+++\n# user\nx",
            "a.md:4: schemas are of the draft 2020-12: leave `$schema` out",
        ),
        (
            "a.md",
            "~[variables.properties]\na.\"$ref\" = \"https://example.com/a.json\"\n+++\n# user\nx",
            "a.md:4: this `$ref` is not taken: write the whole schema here, and refer to its parts with $ref = \"#/$defs/...\"",
        ),
        (
            "a.md",
            "~[variables]\nallOf = [{ \"$ref\" = \"#\" }]\n+++\n# user\nx",
            "a.md:4: the schema refers to itself without an end: let what refers back stand below properties or items",
        ),
        (
            "a.md",
            "~[variables.properties]\nno-name = true\n+++\n# user\nx",
            "a.md:4: the variable `no-name` cannot be named in a template: write letters, digits and _, no digit first, 64 at most",
        ),
        (
            "a.md",
            "~[variables]\nrequired = [\"a\"]\n+++\n# user\nx",
            "a.md:4: `a` is required and not declared, so nobody could give it: declare it under [variables.properties]",
        ),
        (
            "a.md",
            "~[variables.properties.a]\ntype = \"string\"\ndefault = 1\n+++\n# user\nx",
            "a.md:5: the default of `a` is not what its schema takes: it must be a string",
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
            "a.md:6: sections begin with `# system`, just so: write it so, or other words",
        ),
        (
            "a.md",
            "~+++\n# user\n\n{% include name %}",
            "a.md:6: the name of a partial is written out in quotes: write {% include \"_name.md\" %}",
        ),
        (
            "a.md",
            "~+++\n# user\n{% include \"_b.md\" %}",
            "a.md:5: there is no partial `_b.md`: write the name of a file as _name.md, or add the file",
        ),
        (
            "a.md",
            "~+++\n# user\n{% extends \"/etc/passwd\" %}",
            "a.md:5: there is no partial `/etc/passwd`: write the name of a file as _name.md, or add the file",
        ),
        (
            "a.md",
            "~+++\n# user\n\n{{ \"a\" | upcase }}",
            "a.md:6: there is no filter `upcase`: write one of MiniJinja's own",
        ),
        (
            "a.md",
            "~+++\n# user\n{% if 1 is not real %}{% endif %}",
            "a.md:5: there is no test `real`: write one of MiniJinja's own",
        ),
        (
            "a.md",
            "~+++\n# system\nx\n# user\ny\nthe name {{ name }}",
            "a.md:8: `name` is no variable of a.md: declare it under [variables.properties], or set it here first",
        ),
        (
            "a.md",
            "~+++\n# user\n{{ debug() }}",
            "a.md:5: `debug` is no variable of a.md: declare it under [variables.properties], or set it here first",
        ),
    ];

    /// Text of a.md, and how what is told of it begins; the rest is a library's.
    const MISTAKES_OF_SYNTAX: &[(&str, &str)] = &[
        ("~model = \n+++\n# user\nx", "a.md:3: the front matter is not valid TOML ("),
        ("~description = \"d\"\n+++\n# user\nx", "a.md:3: the front matter is not valid TOML ("),
        (
            "~[parameters]\napi_base = \"http://a\"\n+++\n# user\nx",
            "a.md:4: `api_base` is no parameter that a prompt sets: write one of temperature, ",
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
    fn a_mistake_is_told_with_file_line_and_what_is_expected() {
        let written = |text: &str| text.replace('~', "+++\ndescription = \"d\"\n");
        for (name, text, told) in MISTAKES {
            assert_eq!(catalog(&[(name, &written(text))]).expect_err(told), *told);
        }
        for (text, told) in MISTAKES_OF_SYNTAX {
            let error = catalog(&[("a.md", &written(text))]).expect_err(told);
            assert!(error.starts_with(told), "{error}");
            assert!(error.ends_with(": mend it") || error.ends_with("parallel_tool_calls"), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn mistakes_of_partials_are_told_in_their_own_lines() {
        let prompt = prompt("# user\n{% include \"_b.md\" %}");
        for (partial, told) in [
            ("x\n{% if %}", "_b.md:2: the template is not valid ("),
            ("\n{% include \"_c.md\" %}", "_b.md:2: there is no partial `_c.md`"),
            ("x\ny\n{{ text }}{{ other }}", "_b.md:3: `other` is no variable of a.md"),
        ] {
            let error = catalog(&[("a.md", &prompt), ("_b.md", partial)]).expect_err(told);
            assert!(error.starts_with(told), "{error}");
        }
    }

    #[tokio::test]
    async fn sections_become_messages_and_empty_ones_none() {
        let body =
            "# system\n\n  Be brief.\n\n# user\n{% if n %}{{ n }}{% endif %}\n# assistant\nOne.\n# user\n{{ text }}\n";
        let messages = render(body, json!({ "text": "Two?" })).await;
        assert_eq!(messages.expect("messages"), ["system: Be brief.", "assistant: One.", "user: Two?"]);
        assert_eq!(render("# user\n{% if n %}n{% endif %}\n# system\n\n", json!({})).await, Err(RenderError::Nothing));
    }

    #[tokio::test]
    async fn what_a_variable_says_stays_text() {
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
    async fn variables_are_checked_and_defaults_put_in() {
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
        assert_eq!(rendered("a", json!({ "text": "", "x": 1 })).await, wrong("/x", "is no variable of this prompt"));
        assert_eq!(rendered("b", json!({ "x": 1 })).await, wrong("/x", "is no variable of this prompt"));
        assert_eq!(rendered("b", json!({})).await.expect("messages"), ["user: b"]);
    }

    #[tokio::test]
    async fn what_cannot_be_done_is_told_with_its_line_and_no_value() {
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
    async fn what_runs_away_ends_at_a_bound() {
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
    async fn long_texts_are_no_runaways() {
        let text = "x".repeat(1_000_000);
        let messages = render("# user\n{{ text | trim }}", json!({ "text": text })).await.expect("messages");
        assert_eq!(messages[0].len(), 1_000_006);
        let list: Vec<_> = (0..5_000).collect();
        assert!(render("# user\n{% for x in list %}- {{ x }}\n{% endfor %}", json!({ "list": list })).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_waits_a_second() {
        let catalog = catalog(&[("a.md", &prompt("# user\na"))]).expect("a catalog");
        let held = catalog.0.slots.acquire_many(2).await.expect("places");
        assert_eq!(render_in(&catalog, "a", json!({})).await, Err(RenderError::Busy));
        drop(held);
        assert!(render_in(&catalog, "a", json!({})).await.is_ok());
    }

    #[tokio::test]
    async fn a_version_changes_with_the_file_and_its_partials_and_with_nothing_else() {
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
        let message = Message { role: Role::User, content: "secret".into() };
        assert_eq!(format!("{message:?}"), "Message(user, 6 bytes)");
        assert!(!format!("{catalog:?}{:?}", catalog.list().next()).contains("secret"));
    }
}
