//! OpenAI's chat parameters have the same types in a request, in a stored prompt, and in the OpenAPI document.

use reqwest::Method;
use serde_json::{Value, json};
use tokenrill::api::openapi::document;
use tokenrill::domain::{CHAT_PARAMETERS, SetBy};
use tokenrill::prompts::Catalog;

use crate::prompts::Prompts;
use crate::support::{Answer, Service};

/// Each parameter with values of its type and values of other types, by OpenAI's reference and section 3 of the
/// contract.
fn cases() -> Vec<(&'static str, Value, Value)> {
    let number = || (json!([0, -1, 0.5]), json!(["1", true, [], {}]));
    let limit = || (json!([1, 5, -1]), json!([0, -2, 1.5, "1", true]));
    let text = || (json!(["low", ""]), json!([1, true, [], {}]));
    let flag = || (json!([true, false]), json!([0, "true", [], {}]));
    let object = || (json!([{}, {"a": 1}]), json!([1, "a", true, []]));
    [
        ("temperature", number()),
        ("top_p", number()),
        ("frequency_penalty", number()),
        ("presence_penalty", number()),
        ("max_tokens", limit()),
        ("max_completion_tokens", limit()),
        ("n", (json!([1, 2]), json!([0, -1, 1.5, "1"]))),
        ("seed", (json!([0, -5, i64::MAX, 5.0]), json!([1.5, "1", true, {}]))),
        ("stop", (json!(["end", ["a", "b"], []]), json!([1, [1], {}, true]))),
        ("response_format", object()),
        ("reasoning_effort", text()),
        ("verbosity", text()),
        ("logit_bias", object()),
        ("logprobs", flag()),
        ("top_logprobs", (json!([0, 5]), json!([-1, 1.5, "1"]))),
        ("tools", (json!([[], [{"type": "function"}]]), json!([{}, [1], "a"]))),
        ("tool_choice", (json!(["auto", {"type": "function"}]), json!([1, true, []]))),
        ("parallel_tool_calls", flag()),
        ("stream_options", object()),
        ("user", text()),
    ]
    .map(|(name, (accepted, refused))| (name, accepted, refused))
    .into()
}

fn items(values: &Value) -> impl Iterator<Item = &Value> {
    values.as_array().expect("a list").iter()
}

#[tokio::test]
async fn chat_parameter_has_one_type_in_requests_prompts_and_the_document() {
    let service = Service::start().await;
    let document = document();
    let named: Vec<_> = CHAT_PARAMETERS.iter().map(|parameter| parameter.name).collect();
    assert_eq!(cases().iter().map(|(name, ..)| *name).collect::<Vec<_>>(), named);
    for (parameter, (name, accepted, refused)) in CHAT_PARAMETERS.iter().zip(cases()) {
        let values = items(&accepted).map(|value| (value, true)).chain(items(&refused).map(|value| (value, false)));
        for (value, fits) in values {
            assert_eq!(request_admits(&service, name, value).await, fits, "in a request: {name} = {value}");
            for body in ["NewGeneration", "NewChatCompletion"] {
                assert_eq!(schema_admits(&document, body, name, value), fits, "in {body}: {name} = {value}");
            }
            let settable = parameter.set_by == SetBy::RequestOrPrompt;
            assert_eq!(prompt_admits(name, value), fits && settable, "in a prompt: {name} = {value}");
        }
        assert!(request_admits(&service, name, &Value::Null).await, "{name} = null");
    }
}

/// Whether the service accepts the value, whatever the model makes of it.
async fn request_admits(service: &Service, name: &str, value: &Value) -> bool {
    let body = json!({"model": "demo?tokens=1&rate=max", "input": "x", "stream": false, name: value});
    let answer = Answer::to(service.request(Method::POST, "/v1/generations").json(&body)).await;
    let answer = answer.json().await;
    let refused = answer["code"] == "invalid_request" && answer["errors"][0]["pointer"] == format!("/{name}");
    assert!(refused || answer["id"].is_string(), "{body}: {answer}");
    !refused
}

fn prompt_admits(name: &str, value: &Value) -> bool {
    let front = toml::to_string(&json!({"description": "x", "parameters": {name: value}})).expect("TOML");
    let prompts = Prompts::new("parameters", &[("one.md", &format!("+++\n{front}+++\n# user\n\nx\n"))]);
    Catalog::load(prompts.path()).is_ok()
}

fn schema_admits(document: &Value, body: &str, name: &str, value: &Value) -> bool {
    let pointer = format!("/components/schemas/{body}/allOf/0/properties/{name}");
    let schema = document.pointer(&pointer).unwrap_or_else(|| panic!("{pointer}"));
    jsonschema::is_valid(schema, value)
}
