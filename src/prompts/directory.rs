//! Reads the files of a directory of prompts.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::error::{CatalogError, CatalogErrorKind};

const MAX_FILES: usize = 1_000;
const MAX_BYTES: usize = 256 * 1024;

/// Returns the texts of a directory's files `*.md` by name, except `README.md`. Ignores hidden files, subdirectories
/// and all other files.
pub(super) fn read(directory: &Path) -> Result<BTreeMap<String, String>, CatalogError> {
    let whole = |problem| CatalogError::whole(directory.display().to_string(), problem);
    let unreadable = |source| whole(CatalogErrorKind::Unreadable(source));
    let root = fs::canonicalize(directory).map_err(unreadable)?;
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(&root).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let text = Path::new(&name).extension() == Some(OsStr::new("md"));
        let name = name.to_string_lossy().into_owned();
        if !text || name.starts_with('.') || name == "README.md" {
            continue;
        }
        files.insert(name, String::new());
        if files.len() > MAX_FILES {
            return Err(whole(CatalogErrorKind::Files));
        }
    }
    for (name, text) in &mut files {
        let shown = || directory.join(name).display().to_string();
        *text = file(&root, name).map_err(|problem| CatalogError::whole(shown(), problem))?;
    }
    Ok(files)
}

/// Reads one file. A symbolic link may point to another place in the directory, as in a mounted `ConfigMap`.
fn file(root: &Path, name: &str) -> Result<String, CatalogErrorKind> {
    let path = fs::canonicalize(root.join(name)).map_err(CatalogErrorKind::Unreadable)?;
    if !path.starts_with(root) {
        return Err(CatalogErrorKind::Elsewhere);
    }
    // Must come before `open`, which would block for ever on a named pipe.
    if !fs::metadata(&path).map_err(CatalogErrorKind::Unreadable)?.is_file() {
        return Err(CatalogErrorKind::NoFile);
    }
    let mut bytes = Vec::new();
    let read = |file: File| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes);
    File::open(&path).and_then(read).map_err(|error: io::Error| CatalogErrorKind::Unreadable(error))?;
    if bytes.len() > MAX_BYTES {
        return Err(CatalogErrorKind::Size);
    }
    String::from_utf8(bytes).map_err(|_| CatalogErrorKind::Encoding)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::super::Catalog;
    use super::*;

    const PROMPT: &str = "+++\ndescription = \"d\"\n+++\n# user\nx";

    /// A directory that is removed at the end of the test.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tokenrill-prompts-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }

        fn with(self, name: &str, text: impl AsRef<[u8]>) -> Self {
            fs::write(self.0.join(name), text).expect("a file");
            self
        }

        /// The error message without the path of the directory.
        fn refusal(&self) -> String {
            let error = Catalog::load(&self.0).expect_err("a refusal").to_string();
            let shown = self.0.display().to_string();
            error.strip_prefix(&shown).expect(&error).to_owned()
        }

        fn ids(&self) -> Vec<String> {
            let catalog = Catalog::load(&self.0).expect("a catalog");
            catalog.list().map(|prompt| prompt.id.to_string()).collect()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn other_files_are_ignored() {
        let directory = Directory::new("passed").with("b.md", PROMPT).with("a-1_x.md", PROMPT);
        let directory =
            directory.with("README.md", "# Prompts").with(".hidden.md", "").with("a.md~", "").with("a.txt", "");
        assert_eq!(directory.ids(), ["a-1_x", "b"]);
    }

    #[test]
    fn one_invalid_file_fails_the_load() {
        let directory = Directory::new("bad").with("a.md", PROMPT).with("b.md", "x");
        assert_eq!(directory.refusal(), "/b.md:1: the front matter is missing: write +++ alone on the first line");
    }

    #[test]
    fn files_that_are_not_utf_8_too_large_or_directories_are_refused() {
        let directory = Directory::new("latin").with("a.md", b"\xff");
        assert_eq!(directory.refusal(), "/a.md: is not UTF-8: save it as UTF-8");
        let longest = PROMPT.to_owned() + &" ".repeat(MAX_BYTES - PROMPT.len());
        let directory = Directory::new("size").with("a.md", &longest);
        assert_eq!(directory.ids(), ["a"]);
        let directory = directory.with("a.md", longest + "x");
        assert_eq!(directory.refusal(), "/a.md: is larger than 256 KiB: shorten it");
        let directory = Directory::new("folder");
        fs::create_dir(directory.0.join("a.md")).expect("a folder");
        assert_eq!(directory.refusal(), "/a.md: is not a file: remove or rename it");
        let refusal = Directory::new("name").with("Bad Name.md", PROMPT).refusal();
        assert!(refusal.starts_with("/Bad Name.md: its name is not valid for a prompt"), "{refusal}");
    }

    #[test]
    fn more_than_a_thousand_files_are_refused() {
        let mut directory = Directory::new("many");
        for number in 0..1_000 {
            directory = directory.with(&format!("{number}.md"), PROMPT);
        }
        assert_eq!(directory.ids().len(), 1_000);
        assert_eq!(
            directory.with("one-more.md", PROMPT).refusal(),
            ": has more than 1000 files with prompts: remove some"
        );
    }

    #[test]
    fn missing_directory_is_an_error() {
        let error = Catalog::load(Path::new("no-such-folder")).expect_err("a refusal").to_string();
        assert!(error.starts_with("no-such-folder: cannot be read ("), "{error}");
        assert!(error.ends_with("): fix its path or its permissions"), "{error}");
    }

    #[test]
    fn links_within_the_directory_are_followed_and_others_refused() {
        // The layout in which Kubernetes mounts a ConfigMap.
        let directory = Directory::new("links");
        fs::create_dir(directory.0.join("..2026_11_26")).expect("a folder");
        let directory = directory.with("..2026_11_26/a.md", PROMPT);
        symlink("..2026_11_26", directory.0.join("..data")).expect("a link");
        symlink("..data/a.md", directory.0.join("a.md")).expect("a link");
        assert_eq!(directory.ids(), ["a"]);
        symlink("/etc/hostname", directory.0.join("b.md")).expect("a link");
        assert_eq!(directory.refusal(), "/b.md: is a link out of the directory: replace it with the file itself");
        fs::remove_file(directory.0.join("b.md")).expect("removed");
        symlink("nowhere.md", directory.0.join("b.md")).expect("a link");
        assert!(directory.refusal().starts_with("/b.md: cannot be read ("));
    }
}
