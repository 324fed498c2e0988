//! The Responses API through OpenAI's SDKs, configured with only the base URL. Their scripts contain the assertions; these
//! tests also assert that no generation is live after they exit.

use tokio::process::Command;

use crate::support::{Service, installed, root, succeeds};

async fn run(runtime: &str, options: &[&str], script: &str) {
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
async fn responses_of_openais_sdk_for_javascript_need_only_the_base_url() {
    run("tests/clients/node_modules/.bin/node", &[], "responses_sdk.mjs").await;
}

#[tokio::test]
async fn responses_of_openais_sdk_for_python_need_only_the_base_url() {
    run(".venv-clients/bin/python", &["-B"], "responses_sdk.py").await;
}
