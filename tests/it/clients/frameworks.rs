//! Frameworks and libraries that are configured with only the base URL. Their scripts contain the assertions; these tests
//! also assert that no generation is live after they exit.

use tokio::process::Command;

use crate::support::{Service, installed, root, succeeds};

const NODE: (&str, &[&str]) = ("tests/clients/node_modules/.bin/node", &[]);
const PYTHON: (&str, &[&str]) = (".venv-clients/bin/python", &["-B"]);

async fn run((runtime, options): (&str, &[&str]), script: &str) {
    let service = Service::start().await;
    let mut command = Command::new(installed(runtime));
    command.args(options).arg(root().join("tests/clients").join(script));
    let said = succeeds(command.arg(format!("http://{}", service.address))).await;
    assert!(said.lines().any(|line| line.starts_with("ok ")), "{said}");
    for gauge in ["tokenrill_generations_live", "tokenrill_viewers_live"] {
        service.metric_becomes(gauge, 0.0).await;
    }
}

#[tokio::test]
async fn langchain_for_python_needs_only_the_base_url() {
    run(PYTHON, "langchain_openai_client.py").await;
}

#[tokio::test]
async fn langchain_for_javascript_needs_only_the_base_url() {
    run(NODE, "langchain.mjs").await;
}

#[tokio::test]
async fn ai_sdk_providers_of_openai_and_anthropic_need_only_the_base_url() {
    run(NODE, "ai_sdk.mjs").await;
}

#[tokio::test]
async fn eventsource_resumes_after_each_cut() {
    run(NODE, "eventsource.mjs").await;
}

#[tokio::test]
async fn httpx_sse_resumes_after_each_event() {
    run(PYTHON, "httpx_sse_resume.py").await;
}
