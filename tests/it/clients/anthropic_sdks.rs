//! Anthropic's SDKs, configured with only the base URL. Their scripts contain the assertions; these tests also assert that
//! no generation is live after they exit.

use super::{NODE, PYTHON, run};

#[tokio::test]
async fn anthropics_sdk_for_javascript_needs_only_the_base_url() {
    run(NODE, "anthropic_sdk.mjs").await;
}

#[tokio::test]
async fn anthropics_sdk_for_python_needs_only_the_base_url() {
    run(PYTHON, "anthropic_sdk.py").await;
}
