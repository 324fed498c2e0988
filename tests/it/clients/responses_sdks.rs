//! The Responses API through OpenAI's SDKs, configured with only the base URL. Their scripts contain the assertions; these
//! tests also assert that no generation is live after they exit.

use super::{NODE, PYTHON, run};

#[tokio::test]
async fn responses_of_openais_sdk_for_javascript_need_only_the_base_url() {
    run(NODE, "responses_sdk.mjs").await;
}

#[tokio::test]
async fn responses_of_openais_sdk_for_python_need_only_the_base_url() {
    run(PYTHON, "responses_sdk.py").await;
}
