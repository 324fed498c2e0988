//! The settings file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml::Table;

use super::SettingsError;

/// The source of the settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSource {
    /// This file, which must exist.
    Explicit(PathBuf),
    /// `./tokenrill.toml`, if it exists.
    Default,
}

/// The file that is read if none is named.
const DEFAULT_FILE: &str = "tokenrill.toml";

impl FileSource {
    /// Returns the path of the file. `None`: the default file does not exist.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Explicit(path) => Some(path),
            Self::Default => Some(Path::new(DEFAULT_FILE)).filter(|path| path.exists()),
        }
    }

    pub(super) fn read(&self) -> Result<Option<SettingsFile>, SettingsError> {
        match self {
            Self::Explicit(path) => SettingsFile::read(path).map(Some),
            Self::Default => SettingsFile::read_if_present(Path::new(DEFAULT_FILE)),
        }
    }
}

/// A file's text, and its path for error messages.
pub(super) struct SettingsFile {
    pub(super) path: String,
    pub(super) text: String,
}

impl SettingsFile {
    fn read(path: &Path) -> Result<Self, SettingsError> {
        let name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self { path: name, text }),
            Err(source) => Err(SettingsError::Unreadable { path: name, source }),
        }
    }

    fn read_if_present(path: &Path) -> Result<Option<Self>, SettingsError> {
        match Self::read(path) {
            Err(SettingsError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    pub(super) fn parse(&self) -> Result<Table, SettingsError> {
        self.text.parse().map_err(|error: toml::de::Error| {
            // The error's full text is not used: it quotes the line, which may contain a secret.
            let before = error.span().and_then(|span| self.text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            SettingsError::Syntax { path: self.path.clone(), line, problem: error.message().into() }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T>(result: Result<T, SettingsError>) -> String {
        result.err().expect("a refusal").to_string()
    }

    #[test]
    fn an_explicit_file_must_exist() {
        let refusal = refusal(FileSource::Explicit("no-such-folder/gateway.toml".into()).read());
        assert!(refusal.starts_with("cannot read the settings file no-such-folder/gateway.toml ("), "{refusal}");
        assert!(refusal.ends_with("): create it, or name another one with --config"), "{refusal}");
    }

    #[test]
    fn the_default_file_may_be_missing_but_not_unreadable() {
        assert!(matches!(SettingsFile::read_if_present(Path::new("no-such-folder/tokenrill.toml")), Ok(None)));
        // A directory instead of a file.
        assert!(SettingsFile::read_if_present(&std::env::temp_dir()).is_err());
    }

    #[test]
    fn a_syntax_error_names_the_line_and_does_not_quote_it() {
        for line in ["x-api-key = hunter2", "x-api-key = \"hunter2", "x-api-key \"hunter2\"", "x = 'a'\nx = 'hunter2'"]
        {
            let file = SettingsFile { path: "tokenrill.toml".into(), text: format!("[server]\n\n{line}\n") };
            let refusal = refusal(file.parse());
            assert!(refusal.starts_with("tokenrill.toml is not valid TOML: fix line "), "{refusal}");
            assert!(refusal.contains("line 3") || line.contains('\n') && refusal.contains("line 4"), "{refusal}");
            assert!(!refusal.contains("hunter2") && !refusal.contains('\n'), "{refusal}");
        }
    }
}
