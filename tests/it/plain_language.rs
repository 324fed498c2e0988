//! Refuses words in documentation and comments that hide the actor or replace a technical term.

use std::fs;
use std::path::PathBuf;

use crate::architecture::{files_below, root};

/// Words and phrases, in lower case, with the words to use instead.
const REFUSED: [(&str, &str); 19] = [
    ("somebody", "client, caller, operator"),
    ("nobody", "no client, no caller"),
    ("whoever", "the client that, the caller that"),
    ("as a rule", "usually"),
    ("come back", "reconnect, resume"),
    ("comes back", "reconnects, resumes"),
    ("came back", "reconnected, resumed"),
    ("coming back", "reconnecting, resuming"),
    ("let go of", "evict, expire, release"),
    ("lets go of", "evicts, expires, releases"),
    ("letting go of", "evicting, expiring, releasing"),
    ("put right", "normalize, patch"),
    ("puts right", "normalizes, patches"),
    ("once more", "again, retry"),
    ("turn away", "refuse, reject"),
    ("turns away", "refuses, rejects"),
    ("turned away", "refused, rejected"),
    ("turning away", "refusing, rejecting"),
    ("last of all", "finally"),
];

/// The prose of a line without its indentation and comment marker, or `None` if the line is code.
type Prose = fn(&str) -> Option<&str>;

/// An HTML comment is not rendered.
fn markdown(line: &str) -> Option<&str> {
    (!line.starts_with("<!--")).then_some(line)
}

fn toml_comment(line: &str) -> Option<&str> {
    line.strip_prefix('#')
}

fn rust_comment(line: &str) -> Option<&str> {
    line.strip_prefix("//").map(|rest| rest.trim_start_matches(['/', '!']))
}

/// The words of the prose in lower case, with the numbers of their lines. An empty word stands for punctuation, code and
/// the end of a paragraph, so that no phrase reaches across them.
fn words(text: &str, prose: Prose) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    let mut in_code_block = false;
    // A code span may continue on the next line of its paragraph.
    let mut in_code_span = false;
    for (line, number) in text.lines().zip(1..) {
        let prose = prose(line.trim_start()).map(str::trim);
        let fence = prose.is_some_and(|line| line.starts_with("```"));
        in_code_block = prose.is_some() && (in_code_block ^ fence);
        let Some(line) = prose.filter(|line| !fence && !in_code_block && !line.is_empty()) else {
            in_code_span = false;
            words.push((number, String::new()));
            continue;
        };
        for (index, part) in line.split('`').enumerate() {
            if index > 0 {
                in_code_span = !in_code_span;
                words.push((number, String::new()));
            }
            if !in_code_span {
                push_words(part, number, &mut words);
            }
        }
    }
    words
}

fn push_words(prose: &str, number: usize, words: &mut Vec<(usize, String)>) {
    for token in prose.to_lowercase().split_whitespace() {
        for (index, word) in token.split(|c: char| !c.is_alphanumeric()).enumerate() {
            if index > 0 {
                words.push((number, String::new()));
            }
            if !word.is_empty() {
                words.push((number, word.to_owned()));
            }
        }
    }
}

/// The refused phrases of a text, in the order of their lines, with what to write instead.
fn refused(text: &str, prose: Prose) -> Vec<(usize, &'static str, &'static str)> {
    let words = words(text, prose);
    let mut found = Vec::new();
    for (phrase, instead) in REFUSED {
        let sought: Vec<_> = phrase.split(' ').collect();
        for window in words.windows(sought.len()) {
            if window.iter().map(|(_, word)| word.as_str()).eq(sought.iter().copied()) {
                found.push((window[0].0, phrase, instead));
            }
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn documentation_and_comments_use_plain_words() {
    let mut files: Vec<(PathBuf, String, Prose)> = Vec::new();
    let mut add = |name: &str, prose: Prose| {
        files.push((name.into(), fs::read_to_string(root().join(name)).expect("a file"), prose));
    };
    add("README.md", markdown);
    add("ARCHITECTURE.md", markdown);
    add("CHANGELOG.md", markdown);
    add("tokenrill.example.toml", toml_comment);
    files.extend(files_below("docs", "md").into_iter().map(|(path, text)| (path, text, markdown as Prose)));
    files.extend(files_below("src", "rs").into_iter().map(|(path, text)| (path, text, rust_comment as Prose)));
    files.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
    let found: Vec<String> = files
        .iter()
        .flat_map(|(path, text, prose)| {
            refused(text, *prose)
                .into_iter()
                .map(move |(line, phrase, instead)| format!("{}:{line}:{phrase} (instead: {instead})", path.display()))
        })
        .collect();
    assert!(found.is_empty(), "{} refused words:\n{}", found.len(), found.join("\n"));
}

#[test]
fn refused_words_are_found_in_prose_only() {
    let found = |text: &str, prose: Prose| -> Vec<(usize, &'static str)> {
        refused(text, prose).into_iter().map(|(line, phrase, _)| (line, phrase)).collect()
    };
    let text =
        "Nobody's log.\n\nThe client comes\nback. `once more` and `once\nmore`\n```text\nnobody\n```\nas a\n\nrule";
    assert_eq!(found(text, markdown), [(1, "nobody"), (3, "comes back")]);
    assert_eq!(
        found("nobody = 1 # nobody\n# Once more.\n#nobody = 2", toml_comment),
        [(2, "once more"), (3, "nobody")]
    );
    let text =
        "let nobody = 1; // nobody\n    //! As a\n    //! rule.\n/// come\nfn back() {}\n/// ```\n/// nobody\n/// ```";
    assert_eq!(found(text, rust_comment), [(2, "as a rule")]);
}
