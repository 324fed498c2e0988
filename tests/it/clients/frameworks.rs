//! Frameworks and libraries that are configured with only the base URL, and the client of this repository. Their scripts
//! contain the assertions; these tests also assert that no generation is live after they exit.

use super::{NODE, PYTHON, run};

#[tokio::test]
async fn langchain_for_python_needs_only_the_base_url() {
    run(PYTHON, "langchain_openai_client.py").await;
}

#[tokio::test]
async fn langchain_for_javascript_needs_only_the_base_url() {
    run(NODE, "langchain.mjs").await;
}

#[tokio::test]
async fn openais_agents_need_only_the_base_url() {
    run(NODE, "openai_agents.mjs").await;
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
async fn own_client_delivers_each_event_once_over_every_cut() {
    run(NODE, "tokenrill_client.mjs").await;
}

#[tokio::test]
async fn httpx_sse_resumes_after_each_event() {
    run(PYTHON, "httpx_sse_resume.py").await;
}
