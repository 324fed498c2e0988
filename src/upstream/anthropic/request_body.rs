//! The body of a request to Anthropic's Messages API.

use std::borrow::Cow;
use std::mem::take;

use bytes::Bytes;

use super::super::unsupported_field::UnsupportedFieldError;
use super::conversation::Conversation;
use super::tools::{ParallelCalls, tool_choice, tools};
use super::version::SamplingParameters;
use crate::domain::json_values::{copy, object, text};
use crate::domain::{ChatRequest, MessagesForm};
use crate::json::{Object, RawText, Tree, write_members};

/// The limit of an answer for which neither the caller nor the settings have one: Anthropic requires a limit. Thinking
/// with a budget comes on top of it, because the limit must exceed the budget.
const DEFAULT_MAX_TOKENS: u64 = 4_096;

/// Fields that are converted.
const CONVERTED: [&str; 15] = [
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "output_config",
    "parallel_tool_calls",
    "reasoning_effort",
    "response_format",
    "service_tier",
    "stop",
    "stream",
    "tool_choice",
    "tools",
    "user",
];

/// Fields of OpenAI's chat completions that Anthropic lacks and that are left out.
const DROPPED: [&str; 16] = [
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "modalities",
    "n",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "seed",
    "store",
    "stream_options",
    "top_logprobs",
    "verbosity",
];

const SAMPLING: [&str; 3] = ["temperature", "top_k", "top_p"];

/// Converts a request. Fields that are no parameters of OpenAI's chat completions are Anthropic's own, and pass
/// unchanged.
///
/// Errors: the request has a field that Anthropic cannot carry, and without which it would ask for something else.
pub fn body(request: &ChatRequest, model: &str, sampling: SamplingParameters) -> Result<Bytes, UnsupportedFieldError> {
    if let Some(form) = &request.messages_form {
        return Ok(body_as_sent(form, request, model));
    }
    refuse_unsupported(request)?;
    let fields = &request.fields;
    let mut conversation = Conversation::read(fields.present("messages").unwrap_or("[]"))?;
    if !conversation.system.is_empty() && fields.present("system").is_some() {
        return Err(UnsupportedFieldError::new("system", "is a second system prompt beside the system messages"));
    }
    let mut members: Vec<(&str, Cow<'_, str>)> = vec![
        ("model", text(model).to_json().into()),
        ("max_tokens", request.output_limit().unwrap_or_else(|| default_limit(request)).to_string().into()),
        ("stream", "true".into()),
    ];
    if !conversation.system.is_empty() {
        members.push(("system", Tree::Array(take(&mut conversation.system)).to_json().into()));
    }
    members.push(("messages", conversation.into_messages().to_json().into()));
    if let Some(json) = fields.present("tools") {
        members.push(("tools", tools(json)?.to_json().into()));
    }
    let parallel = match fields.present("parallel_tool_calls") {
        // Without tools, Anthropic refuses a choice among them.
        Some("false") if fields.present("tools").is_some() => ParallelCalls::Refused,
        _ => ParallelCalls::Allowed,
    };
    if let Some(choice) = tool_choice(fields.present("tool_choice"), parallel)? {
        members.push(("tool_choice", choice.to_json().into()));
    }
    if let Some(stop) = fields.present("stop") {
        let sequences = if stop.starts_with('[') { stop.into() } else { format!("[{stop}]").into() };
        members.push(("stop_sequences", sequences));
    }
    if let Some(config) = output_config(request)? {
        members.push(("output_config", config.to_json().into()));
    }
    if let Some(thinking) = thinking(request) {
        members.push(("thinking", thinking.to_json().into()));
    }
    if let Some(user) = user(request) {
        members.push(("metadata", Tree::Object(object([("user_id", user)])).to_json().into()));
    }
    if let Some(tier) = service_tier(request) {
        members.push(("service_tier", tier.into()));
    }
    for (name, json) in fields.iter() {
        let is_mapped = CONVERTED.contains(&name) || DROPPED.contains(&name);
        let is_refused = sampling == SamplingParameters::Refused && SAMPLING.contains(&name);
        let is_set = || members.iter().any(|(set, _)| *set == name);
        if json != "null" && !is_mapped && !is_refused && !is_set() {
            members.push((name, json.into()));
        }
    }
    let mut body = String::with_capacity(members.iter().map(|(name, json)| name.len() + json.len() + 8).sum());
    write_members(&mut body, members.iter().map(|(name, json)| (*name, &**json)));
    Ok(body.into())
}

/// Returns the body of a request that was sent in this dialect: as it came, except for the model and the limit.
fn body_as_sent(form: &MessagesForm, request: &ChatRequest, model: &str) -> Bytes {
    let limit = request.output_limit().unwrap_or_else(|| form.limit.get().into());
    let set = [("model", text(model).to_json()), ("max_tokens", limit.to_string()), ("stream", "true".to_owned())];
    let others = form.fields.iter().filter(|(name, _)| set.iter().all(|(set, _)| set != name));
    let members = set.iter().map(|(name, json)| (*name, json.as_str())).chain(others);
    let mut body = String::with_capacity(form.fields.text_len() + 64);
    write_members(&mut body, members);
    body.into()
}

/// Refuses fields without which the request would ask for something else.
fn refuse_unsupported(request: &ChatRequest) -> Result<(), UnsupportedFieldError> {
    let fields = &request.fields;
    let asks = |name: &str| fields.present(name).is_some_and(|json| !matches!(json, "false" | "0"));
    let has_other_modality = || {
        let Ok(Tree::Array(modalities)) = Tree::parse(fields.present("modalities").unwrap_or("[]")) else {
            return true;
        };
        modalities.iter().any(|modality| modality.as_text().is_none_or(|modality| modality != "text"))
    };
    let refused = [
        ("n", request.choices() > 1, "must be 1: Anthropic answers with one choice"),
        ("logprobs", asks("logprobs"), "is not supported: Anthropic returns no log probabilities"),
        ("top_logprobs", asks("top_logprobs"), "is not supported: Anthropic returns no log probabilities"),
        ("audio", asks("audio"), "is not supported: Anthropic returns no audio"),
        ("modalities", has_other_modality(), "must be [\"text\"]: Anthropic returns nothing else"),
        ("functions", asks("functions"), "is not supported: use `tools`"),
        ("function_call", asks("function_call"), "is not supported: use `tool_choice`"),
        ("web_search_options", asks("web_search_options"), "is not supported: use Anthropic's tool in `tools`"),
    ];
    match refused.into_iter().find(|(_, is_refused, _)| *is_refused) {
        Some((name, _, reason)) => Err(UnsupportedFieldError::new(name, reason)),
        None => Ok(()),
    }
}

fn field(request: &ChatRequest, name: &str) -> Option<Tree> {
    Tree::parse(request.fields.present(name)?).ok()
}

fn default_limit(request: &ChatRequest) -> u64 {
    let budget = match field(request, "thinking") {
        Some(Tree::Object(thinking)) => match thinking.get("budget_tokens") {
            Some(Tree::Literal(budget)) => budget.parse().unwrap_or(0),
            _ => 0,
        },
        _ => 0,
    };
    DEFAULT_MAX_TOKENS.saturating_add(budget)
}

/// Returns the caller's `output_config` with the format and the effort that other fields ask for.
fn output_config(request: &ChatRequest) -> Result<Option<Tree>, UnsupportedFieldError> {
    let mut config = match field(request, "output_config") {
        Some(Tree::Object(config)) => config,
        Some(other) => return Ok(Some(other)),
        None => Object::default(),
    };
    if let (Some(format), None) = (format(request)?, config.get("format")) {
        config.set("format", format);
    }
    if let (Some(effort), None) = (effort(request).filter(|effort| effort != "none"), config.get("effort")) {
        config.set("effort", Tree::Text(if effort == "minimal" { "low".into() } else { effort }));
    }
    Ok((!config.is_empty()).then_some(Tree::Object(config)))
}

fn format(request: &ChatRequest) -> Result<Option<Tree>, UnsupportedFieldError> {
    let refused = |reason| UnsupportedFieldError::new("response_format", reason);
    let Some(Tree::Object(format)) = field(request, "response_format") else { return Ok(None) };
    match format.text("type").map(RawText::as_str) {
        Some("text") => Ok(None),
        Some("json_schema") => {
            let schema = format.present("json_schema").and_then(Tree::as_object);
            let mut converted = object([("type", Tree::text("json_schema"))]);
            copy(schema.ok_or_else(|| refused("has no schema"))?, "schema", &mut converted);
            Ok(Some(Tree::Object(converted)))
        }
        _ => Err(refused("must be of type `json_schema` or `text`: Anthropic has no other format")),
    }
}

fn effort(request: &ChatRequest) -> Option<RawText> {
    field(request, "reasoning_effort")?.as_text().cloned()
}

/// Returns how the model may think, if the request has an effort and no `thinking` of its own. Anthropic refuses thinking
/// with sampling parameters or a forced tool, so the request then has the effort alone.
fn thinking(request: &ChatRequest) -> Option<Tree> {
    let fields = &request.fields;
    let forces_tool = fields.present("tool_choice").is_some_and(|json| !matches!(json, "\"auto\"" | "\"none\""));
    let kind = match effort(request)?.as_str() {
        _ if fields.present("thinking").is_some() => return None,
        "none" => "disabled",
        _ if forces_tool || SAMPLING.iter().any(|name| fields.present(name).is_some()) => return None,
        _ => "adaptive",
    };
    Some(Tree::Object(object([("type", Tree::text(kind))])))
}

/// Returns the id of the end user: `metadata.user_id`, else `user`.
fn user(request: &ChatRequest) -> Option<Tree> {
    let metadata = field(request, "metadata");
    let id = metadata.as_ref().and_then(Tree::as_object).and_then(|metadata| metadata.present("user_id")).cloned();
    id.or_else(|| field(request, "user"))
}

/// Returns the service tier; `None` for a tier that Anthropic lacks.
fn service_tier(request: &ChatRequest) -> Option<&'static str> {
    match request.fields.present("service_tier")? {
        "\"auto\"" => Some("\"auto\""),
        "\"default\"" | "\"standard_only\"" => Some("\"standard_only\""),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use serde_json::{Value, json};

    use super::*;
    use crate::json::JsonObject;

    fn request(fields: &Value) -> ChatRequest {
        let mut fields = fields.clone();
        if fields.get("messages").is_none() {
            fields["messages"] = json!([{"role": "user", "content": "a"}]);
        }
        ChatRequest::new("alias".into(), JsonObject::parse(fields.to_string().as_bytes()).expect("an object"))
    }

    fn written(request: &ChatRequest, sampling: SamplingParameters) -> Result<Value, UnsupportedFieldError> {
        let body = body(request, "m\"", sampling)?;
        Ok(serde_json::from_slice(&body).expect("JSON"))
    }

    /// Returns the members beside those of every request.
    fn converted(fields: &Value) -> Value {
        let mut body = written(&request(fields), SamplingParameters::Accepted).expect("supported");
        for name in ["model", "max_tokens", "stream", "messages"] {
            body.as_object_mut().expect("an object").remove(name).expect(name);
        }
        body
    }

    #[test]
    fn request_has_the_model_of_the_target_a_limit_and_a_stream() {
        let body = written(&request(&json!({"model": "alias", "stream": false})), SamplingParameters::Accepted);
        assert_eq!(
            body,
            Ok(json!({
                "model": "m\"", "max_tokens": 4096, "stream": true,
                "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
            }))
        );
    }

    #[test]
    fn limit_is_that_of_the_request_else_that_of_the_caller() {
        let limit = |fields: Value, added: Option<u32>| {
            let request = ChatRequest { added_limit: added.and_then(NonZeroU32::new), ..request(&fields) };
            written(&request, SamplingParameters::Accepted).expect("supported")["max_tokens"].clone()
        };
        assert_eq!(limit(json!({"max_tokens": 7}), Some(9)), json!(7));
        assert_eq!(limit(json!({"max_completion_tokens": 1e3}), None), json!(1000));
        assert_eq!(limit(json!({"max_tokens": -1}), Some(9)), json!(9));
        assert_eq!(limit(json!({"max_tokens": null}), None), json!(4096));
        let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 2048}});
        assert_eq!(limit(thinking.clone(), None), json!(6144));
        assert_eq!(limit(thinking, Some(3000)), json!(3000));
    }

    #[test]
    fn parameters_of_openai_are_converted() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let format = json!({"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}});
        let tool = json!({"type": "function", "function": {"name": "f", "parameters": schema}});
        for (sent, expected) in [
            (json!({"stop": "a"}), json!({"stop_sequences": ["a"]})),
            (json!({"stop": ["a", "b"]}), json!({"stop_sequences": ["a", "b"]})),
            (json!({"user": "u"}), json!({"metadata": {"user_id": "u"}})),
            (json!({"user": "u", "metadata": {"user_id": "v", "x": "y"}}), json!({"metadata": {"user_id": "v"}})),
            (json!({"metadata": {"x": "y"}}), json!({})),
            (json!({"service_tier": "default"}), json!({"service_tier": "standard_only"})),
            (json!({"service_tier": "flex"}), json!({})),
            (
                json!({"response_format": format}),
                json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}),
            ),
            (json!({"response_format": {"type": "text"}}), json!({})),
            (
                json!({"reasoning_effort": "minimal"}),
                json!({"output_config": {"effort": "low"}, "thinking": {"type": "adaptive"}}),
            ),
            (json!({"reasoning_effort": "none"}), json!({"thinking": {"type": "disabled"}})),
            (
                json!({"reasoning_effort": "high", "thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"effort": "max"}}),
                json!({"output_config": {"effort": "max"}, "thinking": {"type": "enabled", "budget_tokens": 1024}}),
            ),
            (
                json!({"tools": [tool], "tool_choice": "required", "parallel_tool_calls": false}),
                json!({
                    "tools": [{"name": "f", "input_schema": schema}],
                    "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
                }),
            ),
            (json!({"parallel_tool_calls": false}), json!({})),
        ] {
            assert_eq!(converted(&sent), expected, "{sent}");
        }
    }

    #[test]
    fn fields_of_anthropic_pass_unchanged_and_those_of_openai_without_a_counterpart_are_dropped() {
        let own = json!({
            "thinking": {"type": "adaptive"}, "top_k": 5, "temperature": 0.5, "stop_sequences": ["x"],
            "cache_control": {"type": "ephemeral"}, "system": [{"type": "text", "text": "s"}], "mcp_servers": [1.50],
        });
        let mut sent = own.clone();
        for name in DROPPED {
            sent[name] = json!(match name {
                "logprobs" => json!(false),
                "n" => json!(1),
                "top_logprobs" => json!(0),
                "modalities" => json!(["text"]),
                _ => json!("x"),
            });
        }
        assert_eq!(converted(&sent), own);
    }

    #[test]
    fn sampling_parameters_are_dropped_if_the_version_refuses_them() {
        let request = request(&json!({"temperature": 1, "top_p": 1, "top_k": 1}));
        let body = written(&request, SamplingParameters::Refused).expect("supported");
        assert!(SAMPLING.iter().all(|name| body.get(name).is_none()), "{body}");
        let body = written(&request, SamplingParameters::Accepted).expect("supported");
        assert!(SAMPLING.iter().all(|name| body[name] == 1), "{body}");
    }

    #[test]
    fn field_that_changes_the_meaning_is_refused_by_its_name() {
        for (name, value) in [
            ("n", json!(2)),
            ("logprobs", json!(true)),
            ("top_logprobs", json!(3)),
            ("audio", json!({"voice": "alloy"})),
            ("modalities", json!(["text", "audio"])),
            ("functions", json!([{}])),
            ("function_call", json!("auto")),
            ("web_search_options", json!({})),
            ("response_format", json!({"type": "json_object"})),
        ] {
            let mut fields = json!({});
            fields[name] = value;
            let refused = written(&request(&fields), SamplingParameters::Accepted).expect_err(name);
            assert_eq!(refused.field, name);
        }
    }

    #[test]
    fn second_system_prompt_is_refused() {
        let fields = json!({"system": "s", "messages": [{"role": "system", "content": "t"}]});
        let refused = written(&request(&fields), SamplingParameters::Accepted).expect_err("two");
        assert_eq!(refused.field, "system");
    }
}
