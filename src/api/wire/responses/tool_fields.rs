//! Converts the tools of the Responses API to those of a chat completion.

use serde_json::{Value, json};

use super::members::{MemberKind, members_of};
use super::unsupported;
use crate::api::problem::Problem;

/// Converts a tool, which must be a function.
pub fn function(tool: &Value, pointer: &str) -> Result<Value, Problem> {
    if !tool.is_object() {
        return Err(unsupported::invalid(pointer, "must be a tool"));
    }
    if tool["type"] != "function" {
        let detail = "must be function: this service runs no tools, and carries no others";
        return Err(unsupported::value(&format!("{pointer}/type"), detail));
    }
    let kinds: [MemberKind; 4] = [
        ("name", Value::is_string, "must be a text"),
        ("description", Value::is_string, "must be a text"),
        ("parameters", Value::is_object, "must be an object"),
        ("strict", Value::is_boolean, "must be true or false"),
    ];
    let function = members_of(tool, &kinds, pointer)?;
    if name(tool).is_none() {
        return Err(unsupported::invalid(&format!("{pointer}/name"), "must be a text"));
    }
    Ok(json!({"type": "function", "function": function}))
}

/// Converts the choice of a tool.
pub fn tool_choice(choice: &Value) -> Result<Value, Problem> {
    match (choice, choice["type"].as_str()) {
        (Value::String(word), _) if ["none", "auto", "required"].contains(&word.as_str()) => Ok(choice.clone()),
        (_, Some("function")) => chosen(choice, "/tool_choice"),
        (_, Some("allowed_tools")) => {
            let mode = match &choice["mode"] {
                Value::Null => "auto",
                Value::String(mode) if ["auto", "required"].contains(&mode.as_str()) => mode,
                _ => return Err(unsupported::value("/tool_choice/mode", "must be auto or required")),
            };
            let Some(tools) = choice["tools"].as_array() else {
                return Err(unsupported::invalid("/tool_choice/tools", "must be a list of tools"));
            };
            let tools = tools.iter().enumerate().map(|(at, tool)| chosen(tool, &format!("/tool_choice/tools/{at}")));
            let tools = tools.collect::<Result<Vec<_>, _>>()?;
            Ok(json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}))
        }
        _ => Err(unsupported::value("/tool_choice", "must be none, auto, required, a function or allowed_tools")),
    }
}

/// Converts the name of a function.
fn chosen(tool: &Value, pointer: &str) -> Result<Value, Problem> {
    if tool["type"] != "function" {
        return Err(unsupported::value(&format!("{pointer}/type"), "must be function"));
    }
    let name =
        name(tool).ok_or_else(|| unsupported::invalid(&format!("{pointer}/name"), "must be the name of a function"))?;
    Ok(json!({"type": "function", "function": {"name": name}}))
}

fn name(tool: &Value) -> Option<&str> {
    tool["name"].as_str().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(converted: Result<Value, Problem>) -> (String, String) {
        let problem = converted.expect_err("it is refused");
        (problem.code.name(), problem.errors[0].pointer.clone())
    }

    #[test]
    fn tool_that_is_not_carried_whole_is_refused() {
        for (tool, code, pointer) in [
            (json!(5), "invalid_request", "/tools/0"),
            (json!({"type": "web_search"}), "unsupported_value", "/tools/0/type"),
            (json!({"type": "function", "name": ""}), "invalid_request", "/tools/0/name"),
            (json!({"type": "function", "name": "f", "parameters": "{}"}), "invalid_request", "/tools/0/parameters"),
            (json!({"type": "function", "name": "f", "strict": "no"}), "invalid_request", "/tools/0/strict"),
            (json!({"type": "function", "name": "f", "description": {}}), "invalid_request", "/tools/0/description"),
        ] {
            assert_eq!(refused(function(&tool, "/tools/0")), (code.to_owned(), pointer.to_owned()), "{tool}");
        }
    }

    #[test]
    fn choice_that_is_not_carried_whole_is_refused() {
        let function = json!({"type": "function", "name": "f"});
        for (choice, code, pointer) in [
            (json!("some"), "unsupported_value", "/tool_choice"),
            (json!({"type": "mcp"}), "unsupported_value", "/tool_choice"),
            (json!({"type": "function"}), "invalid_request", "/tool_choice/name"),
            (json!({"type": "allowed_tools"}), "invalid_request", "/tool_choice/tools"),
            (
                json!({"type": "allowed_tools", "mode": "none", "tools": [function]}),
                "unsupported_value",
                "/tool_choice/mode",
            ),
            (
                json!({"type": "allowed_tools", "tools": [function, {"type": "mcp"}]}),
                "unsupported_value",
                "/tool_choice/tools/1/type",
            ),
        ] {
            assert_eq!(refused(tool_choice(&choice)), (code.to_owned(), pointer.to_owned()), "{choice}");
        }
    }
}
