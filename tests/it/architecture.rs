//! The code against `ARCHITECTURE.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rows of the table whose header begins with this cell: what stands in backticks, cell by cell.
fn table(header: &str) -> Vec<Vec<Vec<String>>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("| {header} |")));
    let rows: Vec<_> = lines.by_ref().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(!rows.is_empty(), "no table that begins with {header}");
    rows.iter()
        .map(|row| {
            let cells = row.trim_matches('|').split('|');
            cells.map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()).collect()
        })
        .collect()
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The lines of a file before its tests, without comments.
pub fn production_code(text: &str) -> String {
    let (text, _) = text.split_once("#[cfg(test)]\nmod tests").unwrap_or((text, ""));
    text.lines().map(code).fold(String::new(), |code, line| code + line + "\n")
}

/// Every Rust file of the program, with its text.
pub fn files() -> Vec<(PathBuf, String)> {
    let files = files_below("src", "rs");
    assert!(files.len() > 30, "the walk found the code");
    files
}

/// Every file below this folder of the repository whose name has this extension, with its text.
pub fn files_below(folder: &str, extension: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, wanted: &str, files: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, wanted, files);
            } else if path.extension().is_some_and(|extension| extension == wanted) {
                let text = fs::read_to_string(&path).expect("a file");
                files.push((path.strip_prefix(root()).expect("below the root").to_owned(), text));
            }
        }
    }
    let mut files = Vec::new();
    walk(&root().join(folder), extension, &mut files);
    files
}

/// The room a file belongs to: the folder or file right below `src`.
fn room(path: &Path) -> String {
    let part = path.components().nth(1).expect("below src").as_os_str().to_string_lossy().into_owned();
    part.trim_end_matches(".rs").to_owned()
}

/// The code of a line: without its comment, which may name whatever it likes.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// What stands behind each `prefix` in a line.
fn named<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    code(line)
        .split(prefix)
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
}

/// `crate::` and, in the binary, `tokenrill::`; `use crate::{...}` is not written here.
fn rooms_named(line: &str) -> Vec<&str> {
    named(line, "crate::").chain(named(line, "tokenrill::")).collect()
}

#[test]
fn a_room_names_only_the_rooms_it_may() {
    let may: BTreeMap<String, Vec<String>> =
        table("Room").into_iter().map(|mut row| (row[0].remove(0), row.remove(1))).collect();
    let mut broken = Vec::new();
    for (path, text) in files() {
        let room = room(&path);
        if room == "lib" {
            continue;
        }
        let allowed = may.get(&room).unwrap_or_else(|| panic!("{room} is not in the table"));
        for (line, number) in text.lines().zip(1..) {
            assert!(!code(line).contains("crate::{"), "{}:{number}: one room a line", path.display());
            for other in rooms_named(line) {
                if other != room && !allowed.iter().any(|allowed| allowed == other) {
                    broken.push(format!("{}:{number} names {other}", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_table_of_rooms_has_no_arrow_that_nobody_uses() {
    let files = files();
    for row in table("Room") {
        let (from, to) = (&row[0][0], &row[1]);
        for other in to {
            let used = files
                .iter()
                .filter(|(path, _)| room(path) == *from)
                .any(|(_, text)| text.lines().any(|line| rooms_named(line).contains(&other.as_str())));
            assert!(used, "{from} does not name {other}: take the arrow out of the table");
        }
    }
}

#[test]
fn a_crate_with_a_home_is_named_nowhere_else() {
    let mut broken = Vec::new();
    for row in table("Crate") {
        let (crates, homes) = (&row[0], &row[1]);
        for (path, text) in files() {
            let path = path.to_string_lossy().into_owned();
            if homes.iter().any(|home| path.starts_with(home.as_str())) {
                continue;
            }
            for name in crates {
                let number = text.lines().position(|line| {
                    let line = code(line);
                    line.contains(&format!("use {name}::"))
                        || line.contains(&format!(" {name}::"))
                        || line.contains(&format!("({name}::"))
                });
                if let Some(number) = number {
                    broken.push(format!("{path}:{} names {name}", number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_file_is_one_noun_and_no_longer_than_400_lines_before_its_tests() {
    for (path, text) in files() {
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        assert!(lines <= 400, "{}: {lines} lines", path.display());
    }
}

fn is_visibility(word: &str) -> bool {
    ["pub", "crate", "super", "in"].contains(&word)
}

#[test]
fn type_names_are_unique() {
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in files() {
        let path = path.to_string_lossy().into_owned();
        for line in production_code(&text).lines() {
            let words: Vec<_> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let item = words.iter().position(|word| ["struct", "enum", "trait", "type"].contains(word));
            // An item at the start of the line, with its visibility before it.
            if let Some(item) =
                item.filter(|item| words[..*item].iter().all(|word| word.is_empty() || is_visibility(word)))
                && !line.starts_with([' ', '#'])
            {
                defined.entry(words[item + 1].to_owned()).or_default().push(path.clone());
            }
        }
    }
    let doubled: Vec<_> = defined.into_iter().filter(|(_, paths)| paths.len() > 1).collect();
    assert!(doubled.is_empty(), "{doubled:#?}");
}

#[test]
fn no_name_says_nothing() {
    const BANNED: [&str; 4] = ["Manager", "Helper", "Util", "Common"];
    for (path, text) in files() {
        let stem = path.file_stem().expect("a name").to_string_lossy().to_lowercase();
        for banned in BANNED {
            assert!(!stem.contains(&banned.to_lowercase()), "{}", path.display());
            let defined = ["struct ", "enum ", "trait ", "type "]
                .iter()
                .flat_map(|keyword| text.lines().flat_map(|line| named(line, keyword)));
            for name in defined {
                assert!(!name.contains(banned), "{}: {name}", path.display());
            }
        }
    }
}

#[test]
fn every_room_and_path_that_the_page_names_is_there() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let paths =
        text.split('`').skip(1).step_by(2).filter(|name| {
            ["src/", "tests/", "benches/", "playground/", "docs/"].iter().any(|top| name.starts_with(top))
        });
    for path in paths {
        assert!(root().join(path).exists(), "{path}");
    }
}
