//! Errors of reading prompts.

use std::fmt;
use std::io;

/// One sentence that begins with the file and the line, as in `prompts/translate.md:12: `, and states the error and
/// what is expected. It quotes names, never a line, since a prompt may be secret.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct CatalogError {
    place: FileLocation,
    problem: CatalogErrorKind,
}

impl CatalogError {
    /// An error of a whole file or of the directory.
    pub(super) fn whole(file: impl Into<String>, problem: CatalogErrorKind) -> Self {
        Self { place: FileLocation { file: file.into(), line: None }, problem }
    }
}

/// A file, and a line if the error has one.
#[derive(Debug)]
struct FileLocation {
    file: String,
    line: Option<usize>,
}

impl fmt::Display for FileLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// An error in a line, without the name of the file.
#[derive(Debug)]
pub(super) struct LineError {
    pub(super) line: usize,
    pub(super) problem: CatalogErrorKind,
}

impl LineError {
    pub(super) const fn new(line: usize, problem: CatalogErrorKind) -> Self {
        Self { line, problem }
    }

    pub(super) fn within(self, file: impl Into<String>) -> CatalogError {
        CatalogError { place: FileLocation { file: file.into(), line: Some(self.line) }, problem: self.problem }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CatalogErrorKind {
    #[error("cannot be read ({0}): fix its path or its permissions")]
    Unreadable(io::Error),
    #[error("has more than 1000 files with prompts: remove some")]
    Files,
    #[error("its name is not valid for a prompt: use 1 to 64 of a-z, 0-9, _ and -, not _ or - first, and .md")]
    Name,
    #[error("is not a file: remove or rename it")]
    NoFile,
    #[error("is a link out of the directory: replace it with the file itself")]
    Elsewhere,
    #[error("is larger than 256 KiB: shorten it")]
    Size,
    #[error("is not UTF-8: save it as UTF-8")]
    Encoding,

    #[error("the front matter is missing: write +++ alone on the first line")]
    NoFrontMatter,
    #[error("the front matter has no end: write +++ alone on a line after it")]
    OpenFrontMatter,
    #[error("the front matter is not valid TOML ({0}): fix it")]
    Syntax(String),
    #[error("`{0}` is unknown here: use description, model, [parameters] or [variables]")]
    UnknownKey(String),
    #[error("`description` is missing: describe the prompt in one sentence")]
    NoDescription,
    #[error("`{key}` must be {expected}")]
    Wrong { key: String, expected: &'static str },
    #[error("`{key}` is not a parameter that a prompt can set: use one of {known}")]
    UnknownParameter { key: String, known: String },
    #[error("the value cannot be represented in JSON: write dates in quotes, and finite numbers")]
    NotJson,

    #[error("the schema is not valid at `{pointer}` ({detail}): fix it")]
    Schema { pointer: String, detail: String },
    #[error("the schema of variables is always of the type object: remove `type`")]
    NotAnObject,
    #[error(
        "this `{0}` is not supported: write the whole schema here, and refer to its parts with $ref = \"#/$defs/...\""
    )]
    Reference(&'static str),
    #[error("the schema has an endless reference loop: move the reference below properties or items")]
    EndlessSchema,
    #[error("schemas use the draft 2020-12: remove `$schema`")]
    Draft,
    #[error(
        "the variable `{0}` cannot be named in a template: use at most 64 letters, digits and _, without a digit first"
    )]
    VariableName(String),
    #[error(
        "`{0}` is required but not declared, so that no request could set it: declare it under [variables.properties]"
    )]
    Required(String),
    #[error("the default of `{variable}` does not match its schema: it {detail}")]
    Default { variable: String, detail: String },

    #[error("a section must begin before this text: write # system, # user or # assistant alone on a line")]
    TextBeforeSections,
    #[error("there is no section: write # system, # user or # assistant alone on a line, and the text below")]
    NoSection,
    #[error("the heading of a section must be exactly `# {0}`: write it so, or change the words")]
    NearlyASection(&'static str),
    #[error("there are more than 100 sections: remove some")]
    Sections,

    #[error("the template is not valid ({0}): fix it")]
    Template(String),
    #[error("the name of a partial must be a string literal: write {{% include \"_name.md\" %}}")]
    ComputedName,
    #[error("there is no partial `{0}`: use the name of an existing file _name.md, or add the file")]
    NoPartial(String),
    #[error("there is no {kind} `{name}`: use one of MiniJinja's built-in ones")]
    Unknown { kind: &'static str, name: String },
    #[error("`{name}` is not a variable of {prompt}: declare it under [variables.properties], or set it here first")]
    Undeclared { name: String, prompt: String },
}
