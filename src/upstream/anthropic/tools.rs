//! Converts the tools of a request, and the choice among them.

use super::super::unsupported_field::UnsupportedFieldError;
use crate::domain::json_values::{copy, object, raw};
use crate::json::{Object, RawText, Tree};

/// Converts `tools`, a JSON array. A tool that is not in OpenAI's form is one of Anthropic's, and passes unchanged.
pub fn tools(tools: &str) -> Result<Tree, UnsupportedFieldError> {
    let Ok(Tree::Array(tools)) = Tree::parse(tools) else {
        return Err(UnsupportedFieldError::new("tools", "is not a list"));
    };
    let tools = tools.into_iter().enumerate().map(|(at, tool)| match tool {
        Tree::Object(tool) => convert(tool, &format!("tools[{at}]")),
        _ => Err(UnsupportedFieldError::new(format!("tools[{at}]"), "is not an object")),
    });
    Ok(Tree::Array(tools.collect::<Result<_, _>>()?))
}

fn convert(tool: Object, place: &str) -> Result<Tree, UnsupportedFieldError> {
    let Some(function) = tool.present("function").and_then(Tree::as_object) else {
        return if tool.present("custom").is_some() {
            Err(UnsupportedFieldError::new(place, "is a custom tool, which Anthropic lacks: use a function"))
        } else {
            Ok(Tree::Object(tool))
        };
    };
    let mut converted = Object::default();
    for name in ["name", "description"] {
        copy(function, name, &mut converted);
    }
    let no_parameters = || object([("type", Tree::text("object")), ("properties", Tree::Object(Object::default()))]);
    let schema = function.present("parameters").cloned().unwrap_or_else(|| Tree::Object(no_parameters()));
    converted.set("input_schema", schema);
    copy(function, "strict", &mut converted);
    for holder in [function, &tool] {
        copy(holder, "cache_control", &mut converted);
    }
    Ok(Tree::Object(converted))
}

/// Whether the model may call several tools at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParallelCalls {
    Allowed,
    Refused,
}

/// Converts `tool_choice`. Returns `None` if neither it nor the parallel calls are restricted.
pub fn tool_choice(choice: Option<&str>, parallel: ParallelCalls) -> Result<Option<Tree>, UnsupportedFieldError> {
    let unknown = || UnsupportedFieldError::new("tool_choice", "is a choice that Anthropic lacks");
    let kind = |kind: &'static str| object([("type", Tree::text(kind))]);
    let mut converted = match choice.map(Tree::parse).transpose().map_err(|_| unknown())? {
        None if parallel == ParallelCalls::Allowed => return Ok(None),
        None => kind("auto"),
        Some(Tree::Text(word)) => match &*word {
            "auto" => kind("auto"),
            "required" => kind("any"),
            "none" => kind("none"),
            _ => return Err(unknown()),
        },
        Some(Tree::Object(choice)) => match choice.text("type").map(RawText::as_str) {
            Some("function") => {
                let function = choice.present("function").and_then(Tree::as_object);
                let name = function.and_then(|function| function.text("name")).ok_or_else(unknown)?;
                object([("type", Tree::text("tool")), ("name", raw(name))])
            }
            // Anthropic's own form.
            Some("auto" | "any" | "tool" | "none") => choice,
            _ => return Err(unknown()),
        },
        Some(_) => return Err(unknown()),
    };
    if parallel == ParallelCalls::Refused && converted.text("type").is_some_and(|kind| kind != "none") {
        converted.set("disable_parallel_tool_use", Tree::Literal("true".into()));
    }
    Ok(Some(Tree::Object(converted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_become_tools_and_tools_of_anthropic_pass() {
        for (sent, expected) in [
            (
                r#"{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","required":["a"]},"strict":true},"cache_control":{"type":"ephemeral"}}"#,
                r#"{"name":"f","description":"d","input_schema":{"type":"object","required":["a"]},"strict":true,"cache_control":{"type":"ephemeral"}}"#,
            ),
            (
                r#"{"type":"function","function":{"name":"f","description":null}}"#,
                r#"{"name":"f","input_schema":{"type":"object","properties":{}}}"#,
            ),
            (
                r#"{"type":"web_search_20250305","name":"web_search","max_uses":1}"#,
                r#"{"type":"web_search_20250305","name":"web_search","max_uses":1}"#,
            ),
            (r#"{"name":"f","input_schema":{}}"#, r#"{"name":"f","input_schema":{}}"#),
        ] {
            assert_eq!(tools(&format!("[{sent}]")).map(|tools| tools.to_json()), Ok(format!("[{expected}]")));
        }
        let custom = tools(r#"[{"type":"custom","custom":{"name":"c"}}]"#).expect_err("custom");
        assert_eq!(custom.field, "tools[0]");
    }

    #[test]
    fn choice_and_parallel_calls_are_one_object() {
        use ParallelCalls::{Allowed, Refused};
        for (choice, parallel, expected) in [
            (None, Allowed, None),
            (Some(r#""auto""#), Allowed, Some(r#"{"type":"auto"}"#)),
            (Some(r#""required""#), Allowed, Some(r#"{"type":"any"}"#)),
            (Some(r#""none""#), Refused, Some(r#"{"type":"none"}"#)),
            (Some(r#"{"type":"function","function":{"name":"f"}}"#), Allowed, Some(r#"{"type":"tool","name":"f"}"#)),
            (Some(r#"{"type":"tool","name":"f"}"#), Allowed, Some(r#"{"type":"tool","name":"f"}"#)),
            (None, Refused, Some(r#"{"type":"auto","disable_parallel_tool_use":true}"#)),
            (Some(r#""required""#), Refused, Some(r#"{"type":"any","disable_parallel_tool_use":true}"#)),
        ] {
            let converted = tool_choice(choice, parallel).expect("a choice").map(|choice| choice.to_json());
            assert_eq!(converted.as_deref(), expected, "{choice:?} {parallel:?}");
        }
        for choice in [r#""sometimes""#, r#"{"type":"allowed_tools"}"#, "7"] {
            assert_eq!(tool_choice(Some(choice), Allowed).expect_err(choice).field, "tool_choice");
        }
    }
}
