//! All tests that need a browser, Node or Python, which `make test` installs. `make quick` skips every test whose path
//! has a module named `clients`.

mod anthropic_sdks;
mod browsers;
mod documented;
mod field;
mod frameworks;
mod openai_sdks;
mod real_clients;
mod responses_sdks;
mod schemathesis;

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::root;

#[test]
fn tests_of_installed_tools_are_in_modules_named_clients() {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }
    let mut files = Vec::new();
    walk(&root().join("tests/it"), &mut files);
    let tests = files.iter().filter(|path| {
        let names: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
        !names.iter().any(|name| ["clients", "clients.rs", "support"].contains(&name.as_ref()))
    });
    for path in tests {
        let text = fs::read_to_string(path).expect("a file in UTF-8");
        let used = ["installed(", "LiteLlm::"].into_iter().find(|call| text.contains(call));
        assert_eq!(used, None, "{}: move this test into a module named `clients`", path.display());
    }
}
