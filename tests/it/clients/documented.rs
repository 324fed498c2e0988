//! The pages of `docs/clients/`: each block of code runs as it stands there, but for the service's address, and each test
//! that the table names exists.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::{Service, installed, root, soon};

/// The address in the documentation.
const ADDRESS: &str = "http://127.0.0.1:8080";

/// Returns the pages, by name.
fn pages() -> Vec<(String, String)> {
    let folder = fs::read_dir(root().join("docs/clients")).expect("pages");
    let paths: BTreeSet<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
    let name = |path: &std::path::Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    paths.into_iter().map(|path| (name(&path), fs::read_to_string(&path).expect("text"))).collect()
}

/// Returns the blocks of this language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// Runs every block of a language, in turn, and asserts that each prints an answer of the embedded model.
async fn run_blocks(language: &str, runtime: &str, options: &[&str]) {
    let service = Service::start().await;
    let mut count = 0;
    for (name, page) in pages() {
        for block in blocks(&page, language) {
            assert!(block.contains(ADDRESS), "{name}: a block without the service's address");
            let code = block.replace(ADDRESS, &format!("http://{}", service.address));
            let mut command = Command::new(installed(runtime));
            // Only for pages: SDKs refuse to start where they take the process for a page.
            if block.contains("document.") {
                command.arg(format!("--import={}", root().join("tests/clients/page_stub.mjs").display()));
            }
            command.args(options).current_dir(root().join("tests/clients")).kill_on_drop(true);
            let mut process =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
            let mut input = process.stdin.take().expect("its input");
            input.write_all(code.as_bytes()).await.expect("it reads");
            drop(input);
            let said = soon(process.wait_with_output()).await.expect("it ends");
            let (text, errors) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
            assert!(said.status.success() && text.contains("Tokenrill"), "{name}: {text}\n{errors}");
            count += 1;
        }
    }
    assert!(count > 3, "{count}");
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn documented_javascript_runs_as_it_stands() {
    run_blocks("js", "tests/clients/node_modules/.bin/node", &["--input-type=module", "-"]).await;
}

#[tokio::test]
async fn documented_python_runs_as_it_stands() {
    run_blocks("python", ".venv-clients/bin/python", &["-B", "-"]).await;
}

/// A row begins with a client and the script of its tests; each other cell names checks of the script, or is a dash.
#[test]
fn every_test_that_the_table_of_clients_names_exists() {
    let table = fs::read_to_string(root().join("docs/clients/README.md")).expect("the table");
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| ") && line.contains("`tests/")).collect();
    assert!(rows.len() >= 8, "{rows:?}");
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 9, "{row}");
        let ticked = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        let scripts: Vec<_> = ticked(cells[0])
            .iter()
            .map(|script| fs::read_to_string(root().join(script)).unwrap_or_else(|_| panic!("no {script}")))
            .collect();
        for cell in &cells[1..] {
            let names = ticked(cell);
            assert!(!names.is_empty() || *cell == "—", "{cell}: name a test, or write a dash");
            for name in names {
                // A script that tests several providers alike names each of them before the check.
                let own = name.rsplit_once(": ").map_or(name.as_str(), |(_, own)| own);
                let exists = scripts.iter().any(|script| script.contains(&name) || script.contains(own));
                assert!(exists, "no test `{name}` in {}", cells[0]);
            }
        }
    }
}
