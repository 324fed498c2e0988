//! Why prompts are refused when they are read.

use std::fmt;
use std::io;

/// One sentence that begins with the file and the line, as in `prompts/translate.md:12: `, and says what is wrong and
/// what is expected. It quotes names, never a line: a prompt may be a secret.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct CatalogError {
    place: Place,
    problem: Problem,
}

impl CatalogError {
    /// A problem with a file, or with the directory, as a whole.
    pub(super) fn whole(file: impl Into<String>, problem: Problem) -> Self {
        Self { place: Place { file: file.into(), line: None }, problem }
    }
}

/// A file, and mostly a line.
#[derive(Debug)]
struct Place {
    file: String,
    line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// A problem in a line, found where the file's name is not known.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) problem: Problem,
}

impl Fault {
    pub(super) const fn new(line: usize, problem: Problem) -> Self {
        Self { line, problem }
    }

    pub(super) fn within(self, file: impl Into<String>) -> CatalogError {
        CatalogError { place: Place { file: file.into(), line: Some(self.line) }, problem: self.problem }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("cannot be read ({0}): mend its path or its permissions")]
    Unreadable(io::Error),
    #[error("has more than 1000 files with prompts: remove some")]
    Files,
    #[error("its name is no prompt's: write 1 to 64 of a-z, 0-9, _ and -, not _ or - first, and .md")]
    Name,
    #[error("is no file: remove or rename it")]
    NoFile,
    #[error("leads out of the directory: put the file itself there")]
    Elsewhere,
    #[error("is larger than 256 KiB: shorten it")]
    Size,
    #[error("is not UTF-8: save it as UTF-8")]
    Encoding,

    #[error("a prompt begins with its front matter: write +++ alone on the first line")]
    NoFrontMatter,
    #[error("the front matter has no end: write +++ alone on a line after it")]
    OpenFrontMatter,
    #[error("the front matter is not valid TOML ({0}): mend it")]
    Syntax(String),
    #[error("`{0}` is unknown here: write description, model, [parameters] or [variables]")]
    UnknownKey(String),
    #[error("`description` is missing: say in a sentence what the prompt is for")]
    NoDescription,
    #[error("`{key}` must be {expected}")]
    Wrong { key: String, expected: &'static str },
    #[error("`{key}` is no parameter that a prompt sets: write one of {known}")]
    UnknownParameter { key: String, known: String },
    #[error("JSON has no such value: write dates in quotes and numbers that are finite")]
    NotJson,

    #[error("the schema is not valid at `{pointer}` ({detail}): mend it")]
    Schema { pointer: String, detail: String },
    #[error("variables are always an object: leave `type` out")]
    NotAnObject,
    #[error("this `{0}` is not taken: write the whole schema here, and refer to its parts with $ref = \"#/$defs/...\"")]
    Reference(&'static str),
    #[error("the schema refers to itself without an end: let what refers back stand below properties or items")]
    EndlessSchema,
    #[error("schemas are of the draft 2020-12: leave `$schema` out")]
    Draft,
    #[error(
        "the variable `{0}` cannot be named in a template: write letters, digits and _, no digit first, 64 at most"
    )]
    VariableName(String),
    #[error("`{0}` is required and not declared, so nobody could give it: declare it under [variables.properties]")]
    Required(String),
    #[error("the default of `{variable}` is not what its schema takes: it {detail}")]
    Default { variable: String, detail: String },

    #[error("a section must begin before this text: write # system, # user or # assistant alone on a line")]
    TextBeforeSections,
    #[error("there is no section: write # system, # user or # assistant alone on a line, and the text below")]
    NoSection,
    #[error("sections begin with `# {0}`, just so: write it so, or other words")]
    NearlyASection(&'static str),
    #[error("there are more than 100 sections: remove some")]
    Sections,

    #[error("the template is not valid ({0}): mend it")]
    Template(String),
    #[error("the name of a partial is written out in quotes: write {{% include \"_name.md\" %}}")]
    ComputedName,
    #[error("there is no partial `{0}`: write the name of a file as _name.md, or add the file")]
    NoPartial(String),
    #[error("there is no {kind} `{name}`: write one of MiniJinja's own")]
    Unknown { kind: &'static str, name: String },
    #[error("`{name}` is no variable of {prompt}: declare it under [variables.properties], or set it here first")]
    Undeclared { name: String, prompt: String },
}
