//! Converts a request of Anthropic's Messages API to the fields of a chat completion.

use std::num::NonZeroU32;

use serde_json::value::RawValue;

use super::chat_messages::ChatMessages;
use crate::api::problem::FieldError;
use crate::domain::json_values::{copy, object};
use crate::domain::{MessagesForm, UncarriedField, number};
use crate::json::{JsonObject, Object, RawText, Tree};

/// A request in both dialects.
pub struct ConvertedRequest {
    /// As a chat completion.
    pub chat: JsonObject,
    pub form: MessagesForm,
}

/// Fields that are read here and are no fields of chat completions.
const CONVERTED: [&str; 12] = [
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "messages",
    "output_config",
    "stop_sequences",
    "stream",
    "system",
    "thinking",
    "tool_choice",
    "tools",
    "output_format",
];

/// Fields of Anthropic's API that change nothing for other models.
const DROPPED: [&str; 8] = [
    "betas",
    "cache_control",
    "context_management",
    "diagnostics",
    "inference_geo",
    "service_tier",
    "speed",
    "user_profile_id",
];

/// Fields without which a request would ask for something else.
const UNCARRIED: [&str; 2] = ["container", "mcp_servers"];

/// The service's own fields, and fields of chat completions that would contradict this API: no provider gets them.
const OWN: [&str; 8] = [
    "channel",
    "grace_ms",
    "max_completion_tokens",
    "max_queue_ms",
    "n",
    "on_disconnect",
    "on_upstream_failure",
    "stream",
];

/// Converts a body. Unknown fields are forwarded in both dialects.
///
/// Errors: the fields that every target needs and that are missing or of the wrong type.
pub fn convert(body: &JsonObject) -> Result<ConvertedRequest, Vec<FieldError>> {
    let mut errors = Vec::new();
    let limit = number(body, "max_tokens").and_then(|limit| NonZeroU32::new(u32::try_from(limit).unwrap_or(u32::MAX)));
    if limit.is_none() {
        errors.push(error("/max_tokens", "is missing: send the maximum tokens of the answer, at least 1"));
    }
    if body.present("n").is_some_and(|json| json != "1") {
        errors.push(error("/n", "is not a field of this API: a message has one answer"));
    }
    if body.present("max_tokens").and_then(|json| json.parse::<f64>().ok()).is_some_and(|limit| limit.fract() != 0.0) {
        errors.push(error("/max_tokens", "must be a whole number"));
    }
    check_kinds(body, &mut errors);
    let messages = messages(body, &mut errors);
    let (Some(limit), true) = (limit, errors.is_empty()) else { return Err(errors) };
    let mut chat = body.clone();
    for name in CONVERTED.iter().chain(&DROPPED).chain(&UNCARRIED) {
        chat.remove(name);
    }
    let mut uncarried = messages.uncarried.clone();
    set(&mut chat, "messages", messages.into_json());
    for (name, json) in chat_fields(body, &mut uncarried) {
        set(&mut chat, name, json);
    }
    if let Some(name) = UNCARRIED.into_iter().find(|name| body.present(name).is_some()) {
        lose(&mut uncarried, name, "is a part of Anthropic's API that other models lack");
    }
    let mut fields = body.clone();
    for own in OWN {
        fields.remove(own);
    }
    Ok(ConvertedRequest { chat, form: MessagesForm { fields, limit, uncarried } })
}

/// A field, what it must be, and whether a value is that.
type KindCheck<'a> = (&'a str, &'a str, &'a dyn Fn(&str) -> bool);

/// Checks the fields whose values are read here.
fn check_kinds(body: &JsonObject, errors: &mut Vec<FieldError>) {
    let are_objects = |json: &str| {
        let items = Tree::parse(json).ok();
        items.as_ref().and_then(Tree::as_array).is_some_and(|items| items.iter().all(|item| item.as_object().is_some()))
    };
    let are_tools = |json: &str| {
        let tools = Tree::parse(json).ok();
        tools.as_ref().and_then(Tree::as_array).is_some_and(|tools| tools.iter().all(is_tool))
    };
    let is_choice = |json: &str| {
        let choice = Tree::parse(json).ok();
        choice.as_ref().and_then(Tree::as_object).is_some_and(|choice| {
            choice.text("type").is_some() && choice.present("name").is_none_or(|name| name.as_text().is_some())
        })
    };
    let checks: [KindCheck<'_>; 5] = [
        ("stream", "must be true or false", &|json| ["true", "false"].contains(&json)),
        ("system", "must be a text or a list of blocks", &|json| json.starts_with('"') || are_objects(json)),
        ("tools", "must be a list of tools: objects with a name, and an input_schema that is an object", &are_tools),
        ("tool_choice", "must be an object with a type, and a name that is a text", &is_choice),
        ("stop_sequences", "must be a list of texts", &|json| serde_json::from_str::<Vec<String>>(json).is_ok()),
    ];
    for (name, demand, accepts) in checks {
        if body.present(name).is_some_and(|json| !accepts(json)) {
            errors.push(error(&format!("/{name}"), demand));
        }
    }
}

/// Returns whether the members that are read here are what they should be. A tool of Anthropic's servers has no schema.
fn is_tool(tool: &Tree) -> bool {
    let Some(tool) = tool.as_object() else { return false };
    let is_text = |name: &str| tool.present(name).is_none_or(|value| value.as_text().is_some());
    tool.text("name").is_some_and(|name| !name.is_empty())
        && is_text("type")
        && is_text("description")
        && tool.present("input_schema").is_none_or(|schema| schema.as_object().is_some())
}

fn messages(body: &JsonObject, errors: &mut Vec<FieldError>) -> ChatMessages {
    let mut chat = ChatMessages::default();
    if let Some(system) = tree(body, "system") {
        chat.add_system(&system);
    }
    let Some(Tree::Array(messages)) = tree(body, "messages") else {
        errors.push(error("/messages", "is missing: send a list of messages"));
        return chat;
    };
    if messages.is_empty() {
        errors.push(error("/messages", "must hold at least one message"));
    }
    for (at, message) in messages.iter().enumerate() {
        match message.as_object() {
            Some(message) if message.text("role").is_none_or(RawText::is_empty) => {
                errors.push(error(&format!("/messages/{at}/role"), "must be a string such as \"user\""));
            }
            Some(message) => match wrong_content(message) {
                Some(place) => errors.push(error(
                    &format!("/messages/{at}/content{place}"),
                    "must be a text or a list of blocks with a type, and a text if that is the type",
                )),
                None => chat.add(message, &format!("messages[{at}]")),
            },
            None => errors.push(error(&format!("/messages/{at}"), "must be an object")),
        }
        if errors.len() >= MOST_ERRORS {
            break;
        }
    }
    chat
}

/// Returns the place of content that is no text and no block.
fn wrong_content(message: &Object) -> Option<String> {
    let is_block = |block: &Tree| {
        block.as_object().is_some_and(|block| {
            let text = block.present("text");
            block.text("type").is_some_and(|kind| kind != "text" || text.is_some())
                && text.is_none_or(|text| text.as_text().is_some())
        })
    };
    match message.present("content") {
        Some(Tree::Text(_)) => None,
        Some(Tree::Array(blocks)) => blocks.iter().position(|block| !is_block(block)).map(|at| format!("/{at}")),
        _ => Some(String::new()),
    }
}

const MOST_ERRORS: usize = 16;

/// Returns the fields of a chat completion beside the messages and those of the same name.
fn chat_fields(body: &JsonObject, uncarried: &mut Option<UncarriedField>) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    if let Some(Tree::Array(tools)) = tree(body, "tools") {
        fields.push(("tools", Tree::Array(functions(tools, uncarried)).to_json()));
    }
    if let Some(Tree::Object(choice)) = tree(body, "tool_choice") {
        if let Some(choice) = tool_choice(&choice) {
            fields.push(("tool_choice", choice.to_json()));
        }
        if choice.get("disable_parallel_tool_use") == Some(&Tree::Literal("true".into())) {
            fields.push(("parallel_tool_calls", "false".to_owned()));
        }
    }
    if let Some(sequences) = body.present("stop_sequences").filter(|json| *json != "[]") {
        fields.push(("stop", sequences.to_owned()));
    }
    let config = tree(body, "output_config");
    let config = config.as_ref().and_then(Tree::as_object);
    let format = config.and_then(|config| config.present("format")).cloned().or_else(|| tree(body, "output_format"));
    if let Some(format) = format.as_ref().and_then(Tree::as_object).and_then(response_format) {
        fields.push(("response_format", format.to_json()));
    }
    if let Some(effort) = config.and_then(|config| config.text("effort")) {
        fields.push(("reasoning_effort", Tree::Text(effort.clone()).to_json()));
    }
    if let Some(Tree::Object(metadata)) = tree(body, "metadata")
        && let Some(user) = metadata.text("user_id")
    {
        fields.push(("user", Tree::Text(user.clone()).to_json()));
    }
    fields
}

fn functions(tools: Vec<Tree>, uncarried: &mut Option<UncarriedField>) -> Vec<Tree> {
    let mut functions = Vec::with_capacity(tools.len());
    for (at, tool) in tools.into_iter().enumerate() {
        let Some(tool) = tool.as_object() else { continue };
        if tool.text("type").is_some_and(|kind| kind != "custom") {
            lose(uncarried, &format!("tools[{at}]"), "is a tool of Anthropic's servers, which other models lack");
            continue;
        }
        let mut function = Object::default();
        copy(tool, "name", &mut function);
        copy(tool, "description", &mut function);
        if let Some(schema) = tool.present("input_schema") {
            function.set("parameters", schema.clone());
        }
        copy(tool, "strict", &mut function);
        functions.push(Tree::Object(object([("type", Tree::text("function")), ("function", Tree::Object(function))])));
    }
    functions
}

fn tool_choice(choice: &Object) -> Option<Tree> {
    Some(match choice.text("type")?.as_str() {
        "any" => Tree::text("required"),
        "tool" => {
            let mut function = Object::default();
            copy(choice, "name", &mut function);
            Tree::Object(object([("type", Tree::text("function")), ("function", Tree::Object(function))]))
        }
        // `auto` and `none` have the same name.
        other => Tree::text(other),
    })
}

fn response_format(format: &Object) -> Option<Tree> {
    let schema = format.present("schema").filter(|_| format.text("type").is_some_and(|kind| kind == "json_schema"))?;
    let named = object([("name", Tree::text("answer")), ("schema", schema.clone())]);
    Some(Tree::Object(object([("type", Tree::text("json_schema")), ("json_schema", Tree::Object(named))])))
}

fn lose(uncarried: &mut Option<UncarriedField>, field: &str, reason: &'static str) {
    uncarried.get_or_insert_with(|| UncarriedField { field: field.to_owned(), reason });
}

fn tree(body: &JsonObject, name: &str) -> Option<Tree> {
    Tree::parse(body.present(name)?).ok()
}

fn set(chat: &mut JsonObject, name: &str, json: String) {
    if let Ok(value) = RawValue::from_string(json) {
        chat.insert(name, &value);
    }
}

fn error(pointer: &str, detail: &str) -> FieldError {
    FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn converted(body: &Value) -> Result<(Value, Value, Option<String>), Vec<String>> {
        let body = JsonObject::parse(body.to_string().as_bytes()).expect("an object");
        let converted =
            convert(&body).map_err(|errors| errors.into_iter().map(|error| error.pointer).collect::<Vec<_>>())?;
        let value = |fields: &JsonObject| serde_json::from_str(&fields.to_json()).expect("JSON");
        let ConvertedRequest { chat, form } = converted;
        Ok((value(&chat), value(&form.fields), form.uncarried.map(|uncarried| uncarried.field)))
    }

    #[test]
    fn each_field_has_its_counterpart_and_the_form_keeps_the_request_as_it_came() {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        let body = json!({
            "model": "m", "max_tokens": 100, "system": "s", "messages": [{"role": "user", "content": "a"}], "stream": true, "grace_ms": 5,
            "tools": [{"name": "f", "description": "d", "input_schema": schema, "cache_control": {"type": "ephemeral"}}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": true}, "stop_sequences": ["x"], "temperature": 0.5, "top_k": 3,
            "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": schema}}, "metadata": {"user_id": "u"},
            "thinking": {"type": "adaptive"}, "service_tier": "auto", "later": [1],
        });
        let (chat, form, uncarried) = converted(&body).expect("valid");
        assert_eq!(uncarried, None);
        assert_eq!(
            chat,
            json!({
                "model": "m", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}], "grace_ms": 5,
                "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": schema}}],
                "tool_choice": "required", "parallel_tool_calls": false, "stop": ["x"], "temperature": 0.5, "top_k": 3,
                "reasoning_effort": "low", "user": "u", "later": [1],
                "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
            })
        );
        let mut kept = body;
        let members = kept.as_object_mut().expect("an object");
        members.remove("stream");
        members.remove("grace_ms");
        assert_eq!(form, kept);
    }

    #[test]
    fn what_every_model_needs_is_asked_for_by_name() {
        for (body, pointers) in [
            (json!({"messages": [{"role": "user", "content": "a"}]}), vec!["/max_tokens"]),
            (json!({"max_tokens": 0, "messages": []}), vec!["/max_tokens", "/messages"]),
            (json!({"max_tokens": 1}), vec!["/messages"]),
            (json!({"max_tokens": 1, "messages": [{"content": "a"}, 5]}), vec!["/messages/0/role", "/messages/1"]),
            (json!({"max_tokens": 1, "messages": [{"role": "user"}]}), vec!["/messages/0/content"]),
            (
                json!({"max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}),
                vec!["/messages/0/content/0"],
            ),
        ] {
            assert_eq!(converted(&body).map(drop), Err(pointers.into_iter().map(str::to_owned).collect()), "{body}");
        }
    }

    #[test]
    fn field_that_other_models_lack_is_named() {
        for (field, value, place) in [
            ("tools", json!([{"name": "f"}, {"type": "web_search_20250305", "name": "web_search"}]), "tools[1]"),
            ("container", json!("c"), "container"),
            ("mcp_servers", json!([{}]), "mcp_servers"),
        ] {
            let mut body = json!({"max_tokens": 1, "messages": [{"role": "user", "content": "a"}]});
            body[field] = value;
            assert_eq!(converted(&body).expect("valid").2.as_deref(), Some(place));
        }
    }
}
