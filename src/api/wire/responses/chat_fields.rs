//! Converts the fields of the Responses API beside its input to those of a chat completion.

use serde_json::{Map, Value, json};

use super::members::{MemberKind, members_of, object, text_of, value};
use super::tool_fields::{function, tool_choice};
use super::unsupported;
use crate::api::problem::Problem;
use crate::json::JsonObject;

/// Fields that chat completions have under the same name.
const SAME: [&str; 9] = [
    "model",
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
];

/// Fields of this service, and of this API alone, that need no conversion.
const OWN: [&str; 6] = ["channel", "grace_ms", "max_queue_ms", "on_disconnect", "prompt", "store"];

/// Fields that are read elsewhere or change nothing here.
const READ: [&str; 20] = [
    "background",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "n",
    "on_upstream_failure",
    "previous_response_id",
    "reasoning",
    "response_format",
    "stream",
    "stream_options",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "truncation",
    "messages",
];

/// Fields without which a request would ask for something else.
const UNSUPPORTED: [&str; 6] =
    ["access_programs", "background_options", "context_management", "conversation", "image", "moderation"];

/// Returns the fields of a chat completion, without messages. Unknown fields are forwarded.
///
/// They are added to `chat`.
pub fn convert(fields: &JsonObject, mut chat: JsonObject) -> Result<JsonObject, Problem> {
    if let Some(name) = UNSUPPORTED.iter().find(|name| fields.present(name).is_some()) {
        return Err(unsupported::parameter(&format!("/{name}"), "is a field that this service does not carry"));
    }
    for (name, instead) in [("messages", "input"), ("response_format", "text.format")] {
        if fields.present(name).is_some() {
            return Err(unsupported::parameter(
                &format!("/{name}"),
                &format!("is not a field of responses: send {instead}"),
            ));
        }
    }
    if fields.present("n").is_some_and(|json| json != "1") {
        return Err(unsupported::value("/n", "must be 1: a response has one answer"));
    }
    if fields.present("on_upstream_failure").is_some_and(|json| json != "\"fail\"") {
        let detail = "must be \"fail\" here: clients of this format cannot withdraw a text. Use POST /v1/generations";
        return Err(unsupported::value("/on_upstream_failure", detail));
    }
    let truncation = value(fields, "truncation")?;
    if truncation.as_ref().is_some_and(|value| value != "disabled") {
        return Err(unsupported::value("/truncation", "must be \"disabled\": this service leaves nothing out"));
    }
    check_kinds(fields)?;
    for (name, json) in fields.iter() {
        let is_forwarded = SAME.contains(&name) || OWN.contains(&name) || !READ.contains(&name);
        if is_forwarded && let Ok(value) = serde_json::from_str::<&serde_json::value::RawValue>(json) {
            chat.insert(name, value);
        }
    }
    if let Some(limit) = value(fields, "max_output_tokens")? {
        if limit.as_u64().is_none_or(|limit| limit == 0) {
            return Err(unsupported::invalid("/max_output_tokens", "must be a whole number above 0"));
        }
        chat.set("max_completion_tokens", &limit);
    }
    set_logprobs(fields, &mut chat)?;
    if let Some(reasoning) = object(fields, "reasoning")? {
        text_of(&reasoning, "summary", "/reasoning")?;
        if let Some(effort) = text_of(&reasoning, "effort", "/reasoning")? {
            chat.set("reasoning_effort", &effort);
        }
    }
    if let Some(text) = object(fields, "text")? {
        if let Some(format) = text.get("format").filter(|format| !format.is_null()) {
            set_format(format, &mut chat)?;
        }
        if let Some(verbosity) = text_of(&text, "verbosity", "/text")? {
            chat.set("verbosity", &verbosity);
        }
    }
    if let Some(tools) = value(fields, "tools")? {
        let tools = tools.as_array().ok_or_else(|| unsupported::invalid("/tools", "must be a list of tools"))?;
        let converted = tools.iter().enumerate().map(|(at, tool)| function(tool, &format!("/tools/{at}")));
        let converted = converted.collect::<Result<Vec<_>, _>>()?;
        if !converted.is_empty() {
            chat.set("tools", &converted);
        }
    }
    if let Some(choice) = value(fields, "tool_choice")? {
        chat.set("tool_choice", &tool_choice(&choice)?);
    }
    Ok(chat)
}

/// Checks fields that are only read or repeated.
fn check_kinds(fields: &JsonObject) -> Result<(), Problem> {
    for name in ["background", "parallel_tool_calls", "store", "stream"] {
        if fields.present(name).is_some_and(|json| !["true", "false"].contains(&json)) {
            return Err(unsupported::invalid(&format!("/{name}"), "must be true or false"));
        }
    }
    for name in ["instructions", "previous_response_id"] {
        if fields.present(name).is_some_and(|json| !json.starts_with('"')) {
            return Err(unsupported::invalid(&format!("/{name}"), "must be a text"));
        }
    }
    object(fields, "stream_options")?;
    if value(fields, "max_tool_calls")?.is_some_and(|most| most.as_u64().is_none()) {
        return Err(unsupported::invalid("/max_tool_calls", "must be a whole number"));
    }
    let include = value(fields, "include")?;
    if include.is_some_and(|include| include.as_array().is_none_or(|names| !names.iter().all(Value::is_string))) {
        return Err(unsupported::invalid("/include", "must be a list of texts"));
    }
    Ok(())
}

fn set_logprobs(fields: &JsonObject, chat: &mut JsonObject) -> Result<(), Problem> {
    let most = value(fields, "top_logprobs")?;
    if most.as_ref().is_some_and(|most| most.as_u64().is_none_or(|most| most > 20)) {
        return Err(unsupported::invalid("/top_logprobs", "must be a whole number from 0 to 20"));
    }
    let included = value(fields, "include")?.is_some_and(|include| {
        include.as_array().is_some_and(|names| names.iter().any(|name| name == "message.output_text.logprobs"))
    });
    if most.is_some() || included {
        chat.set("logprobs", &true);
    }
    if let Some(most) = most {
        chat.set("top_logprobs", &most);
    }
    Ok(())
}

fn set_format(format: &Value, chat: &mut JsonObject) -> Result<(), Problem> {
    match format.get("type").and_then(Value::as_str) {
        Some("text") => {}
        Some("json_object") => chat.set("response_format", &json!({"type": "json_object"})),
        Some("json_schema") => {
            let kinds: [MemberKind; 4] = [
                ("name", Value::is_string, "must be a text"),
                ("description", Value::is_string, "must be a text"),
                ("schema", Value::is_object, "must be an object"),
                ("strict", Value::is_boolean, "must be true or false"),
            ];
            let schema = members_of(format, &kinds, "/text/format")?;
            for (name, detail) in [("name", "must be a text"), ("schema", "must be an object")] {
                if !schema.contains_key(name) {
                    return Err(unsupported::invalid(&format!("/text/format/{name}"), detail));
                }
            }
            chat.set("response_format", &json!({"type": "json_schema", "json_schema": schema}));
        }
        _ => return Err(unsupported::value("/text/format", "must have the type text, json_object or json_schema")),
    }
    Ok(())
}

/// Returns the members of a request that its response repeats, with the defaults of those that it lacks.
pub fn echo(fields: &JsonObject) -> Map<String, Value> {
    let read = |name: &str| fields.present(name).and_then(|json| serde_json::from_str(json).ok());
    let defaults = [
        ("access_programs", Value::Null),
        ("background", json!(false)),
        ("instructions", Value::Null),
        ("max_output_tokens", Value::Null),
        ("max_tool_calls", Value::Null),
        ("metadata", json!({})),
        ("parallel_tool_calls", json!(true)),
        ("previous_response_id", Value::Null),
        ("prompt_cache_key", Value::Null),
        ("reasoning", json!({"effort": null, "summary": null})),
        ("safety_identifier", Value::Null),
        ("service_tier", Value::Null),
        ("store", json!(true)),
        ("temperature", Value::Null),
        ("text", json!({"format": {"type": "text"}})),
        ("tool_choice", json!("auto")),
        ("tools", json!([])),
        ("top_logprobs", Value::Null),
        ("top_p", Value::Null),
        ("truncation", json!("disabled")),
        ("user", Value::Null),
    ];
    defaults.into_iter().map(|(name, default)| (name.to_owned(), read(name).unwrap_or(default))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(fields: &Value) -> Result<Value, (String, String)> {
        let fields = JsonObject::parse(fields.to_string().as_bytes()).expect("an object");
        match convert(&fields, JsonObject::default()) {
            Ok(chat) => Ok(serde_json::from_str(&chat.to_json()).expect("JSON")),
            Err(problem) => Err((problem.code.name(), problem.errors[0].pointer.clone())),
        }
    }

    #[test]
    fn each_field_has_its_counterpart() {
        let schema = json!({"type": "object"});
        assert_eq!(
            converted(&json!({
                "model": "m", "input": "Hello", "instructions": "i", "max_output_tokens": 9, "temperature": 0.5, "top_logprobs": 2,
                "reasoning": {"effort": "low", "summary": "auto"}, "metadata": {"a": "b"}, "store": false, "stream": true,
                "text": {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": true}, "verbosity": "low"},
                "tools": [{"type": "function", "name": "f", "description": "d", "parameters": schema, "strict": null}],
                "tool_choice": {"type": "function", "name": "f"}, "include": ["reasoning.encrypted_content"], "truncation": "disabled",
                "max_tool_calls": 5, "top_k": 3, "grace_ms": 7, "stream_options": {"include_obfuscation": false},
            })),
            Ok(json!({
                "model": "m", "max_completion_tokens": 9, "temperature": 0.5, "logprobs": true, "top_logprobs": 2,
                "reasoning_effort": "low", "store": false, "verbosity": "low",
                "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": true}},
                "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": schema}}],
                "tool_choice": {"type": "function", "function": {"name": "f"}}, "top_k": 3, "grace_ms": 7,
            }))
        );
        let allowed = json!({"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}});
        assert_eq!(
            converted(&allowed).expect("valid")["tool_choice"],
            json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}})
        );
    }

    #[test]
    fn what_is_not_carried_is_refused_by_name() {
        for (fields, code, pointer) in [
            (json!({"conversation": "c"}), "unsupported_parameter", "/conversation"),
            (json!({"messages": []}), "unsupported_parameter", "/messages"),
            (json!({"n": 2}), "unsupported_value", "/n"),
            (json!({"truncation": "auto"}), "unsupported_value", "/truncation"),
            (json!({"tools": [{"type": "web_search"}]}), "unsupported_value", "/tools/0/type"),
            (json!({"tool_choice": {"type": "mcp"}}), "unsupported_value", "/tool_choice"),
            (json!({"text": {"format": {"type": "xml"}}}), "unsupported_value", "/text/format"),
            (json!({"on_upstream_failure": "restart"}), "unsupported_value", "/on_upstream_failure"),
            (json!({"max_output_tokens": 0}), "invalid_request", "/max_output_tokens"),
            (json!({"tools": [{"type": "function"}]}), "invalid_request", "/tools/0/name"),
            (json!({"stream": "yes"}), "invalid_request", "/stream"),
            (json!({"instructions": []}), "invalid_request", "/instructions"),
            (json!({"reasoning": "low"}), "invalid_request", "/reasoning"),
            (json!({"include": "all"}), "invalid_request", "/include"),
            (json!({"reasoning": {"summary": 1}}), "invalid_request", "/reasoning/summary"),
            (json!({"text": {"verbosity": 1}}), "invalid_request", "/text/verbosity"),
            (
                json!({"text": {"format": {"type": "json_schema", "name": "n"}}}),
                "invalid_request",
                "/text/format/schema",
            ),
            (
                json!({"text": {"format": {"type": "json_schema", "name": 1, "schema": {}}}}),
                "invalid_request",
                "/text/format/name",
            ),
        ] {
            assert_eq!(converted(&fields), Err((code.to_owned(), pointer.to_owned())), "{fields}");
        }
    }
}
