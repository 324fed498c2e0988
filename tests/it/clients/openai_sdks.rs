//! OpenAI's SDKs, configured with only the base URL. Their scripts contain the assertions; these tests also assert that
//! no generation is live after they exit.

use std::num::NonZeroU32;
use std::time::Duration;

use tokenrill::settings::Settings;
use tokio::process::Command;

use super::run_against;
use crate::support::{LiteLlm, Service, installed, root};

/// A deadline that a silent model reaches during a test, and that an answer on a machine under load does not reach.
fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.generation.max_duration = Duration::from_secs(10);
    // Longer than the deadline, so that the deadline is reported as a status and not in the stream.
    settings.generation.head_wait = Duration::from_mins(1);
    settings
}

/// Runs the SDK for JavaScript with the Node version that it requires.
async fn javascript(service: &Service, through: &[&str]) {
    let mut node = Command::new(installed("tests/clients/node_modules/.bin/node"));
    run_against(service, node.arg(root().join("tests/clients/openai_sdk.mjs")), through).await;
}

/// Runs the SDK for Python, then httpx-sse for the streams that have ids.
async fn python(service: &Service, through: &[&str]) {
    for script in ["openai_sdk.py", "event_streams.py"] {
        let mut python = Command::new(installed(".venv-clients/bin/python"));
        run_against(service, python.arg("-B").arg(root().join("tests/clients").join(script)), through).await;
    }
}

#[tokio::test]
async fn the_sdk_for_javascript_needs_only_the_base_url() {
    javascript(&Service::with(settings()).await, &[]).await;
}

#[tokio::test]
async fn the_sdk_for_python_needs_only_the_base_url() {
    python(&Service::with(settings()).await, &[]).await;
}

#[tokio::test]
async fn rate_limited_sdk_waits_for_retry_after() {
    let mut settings = settings();
    settings.limits.each.requests_per_minute = NonZeroU32::new(60);
    let service = Service::with(settings).await;
    let mut node = Command::new(installed("tests/clients/node_modules/.bin/node"));
    run_against(&service, node.arg(root().join("tests/clients/openai_limits.mjs")), &[]).await;
}

#[tokio::test]
async fn both_sdks_work_through_litellm() {
    let far = Service::start().await;
    let litellm = LiteLlm::before(&format!("http://{}/v1", far.address)).await;
    let (one, other) = tokio::join!(litellm.behind_tokenrill(settings()), litellm.behind_tokenrill(settings()));
    tokio::join!(javascript(&one, &["litellm"]), python(&other, &["litellm"]));
    // A disconnect from the service also ends the generation behind LiteLLM.
    far.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn the_sdk_for_javascript_uses_a_prompt_as_a_model() {
    let service = Service::start().await;
    let mut node = Command::new(installed("tests/clients/node_modules/.bin/node"));
    run_against(&service, node.arg(root().join("tests/clients/openai_prompts.mjs")), &[]).await;
}
