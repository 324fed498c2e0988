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

use tokenrill::settings::Settings;
use tokio::process::Command;

use crate::support::{Service, installed, root, succeeds};

const NODE: (&str, &[&str]) = ("tests/clients/node_modules/.bin/node", &[]);
const PYTHON: (&str, &[&str]) = (".venv-clients/bin/python", &["-B"]);

/// Runs a script of `tests/clients/` against a service of its own.
async fn run((runtime, options): (&str, &[&str]), script: &str) {
    let mut command = Command::new(installed(runtime));
    command.args(options).arg(root().join("tests/clients").join(script));
    run_against(&Service::start().await, &mut command, &[]).await;
}

/// Runs a script, with these arguments after the address. For its checks of refusals it has another service, which
/// refuses callers without a key, and a key that may only follow. After it no generation and no viewer is left.
async fn run_against(service: &Service, script: &mut Command, arguments: &[&str]) {
    let (guarded, keys) = Service::guarded(Settings::default(), &[("reader", &["follow"])]).await;
    script.env("GUARDED_URL", format!("http://{}", guarded.address)).env("GUARDED_KEY", &keys["reader"]);
    let said = succeeds(script.arg(format!("http://{}", service.address)).args(arguments)).await;
    assert!(said.lines().any(|line| line.starts_with("ok ")), "{said}");
    for gauge in ["tokenrill_generations_live", "tokenrill_viewers_live"] {
        service.metric_becomes(gauge, 0.0).await;
    }
}

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
