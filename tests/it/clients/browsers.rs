//! Real browsers and real proxies against the built program. The scripts contain the scenarios and their assertions.

use tokio::process::Command;

use crate::support::{installed, root, succeeds};

/// Runs a script of the suite with the Node version that puppeteer requires.
#[expect(clippy::print_stdout, reason = "--nocapture shows its output, such as arrival times")]
async fn suite(script: &str, arguments: &[&str]) {
    let mut node = Command::new(installed("tests/clients/node_modules/.bin/node"));
    node.arg(root().join("tests/clients/browsers").join(script));
    let said = succeeds(node.arg(env!("CARGO_BIN_EXE_tokenrill")).args(arguments)).await;
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() > 1, "{said}");
    println!("{said}");
}

#[tokio::test]
async fn chromium_passes_the_browser_suite() {
    suite("suite.mjs", &["chromium", "one"]).await;
}

#[tokio::test]
async fn firefox_passes_the_browser_suite() {
    suite("suite.mjs", &["firefox", "one"]).await;
}

/// Both replicas get each other request of a page.
#[tokio::test]
async fn chromium_passes_the_browser_suite_over_two_replicas() {
    suite("suite.mjs", &["chromium", "replicas"]).await;
}

#[tokio::test]
async fn use_chat_in_chromium_passes_its_suite() {
    suite("chat.mjs", &["chromium"]).await;
}

#[tokio::test]
async fn use_chat_in_firefox_passes_its_suite() {
    suite("chat.mjs", &["firefox"]).await;
}

#[tokio::test]
async fn own_client_in_chromium_passes_its_suite() {
    suite("client.mjs", &["chromium"]).await;
}

#[tokio::test]
async fn own_client_in_firefox_passes_its_suite() {
    suite("client.mjs", &["firefox"]).await;
}

#[tokio::test]
async fn two_browsers_on_one_answer_pass_their_suite() {
    suite("two.mjs", &[]).await;
}

#[tokio::test]
async fn browsers_behind_nginx_and_haproxy_pass_their_suite() {
    suite("proxies.mjs", &[]).await;
}

#[tokio::test]
async fn generated_types_match_the_openapi_document_and_the_snippets_compile() {
    let clients = root().join("tests/clients");
    let mut types = Command::new(installed("tests/clients/node_modules/.bin/node"));
    succeeds(types.arg(clients.join("types.mjs")).arg("--check")).await;
    let mut tsc = Command::new(installed("tests/clients/node_modules/.bin/tsc"));
    succeeds(tsc.arg("-p").arg(&clients)).await;
}

/// The code in the guide is exactly the files that the suite runs.
#[test]
fn the_guide_contains_every_snippet_verbatim() {
    let guide = include_str!("../../../docs/front-ends.md");
    let mut shown: Vec<_> =
        guide.split("```ts\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    let folder = std::fs::read_dir(root().join("docs/snippets")).expect("snippets");
    let mut snippets: Vec<_> =
        folder.map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("text")).collect();
    shown.sort_unstable();
    snippets.sort_unstable();
    assert_eq!(shown, snippets);
}
