//! Reads a chat request: what is ours, what goes to the provider, and what nobody may send.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::channels::answer_channel;
use super::extract::Caller;
use super::problem::{FieldError, Problem};
use super::prompt_call::{MODEL_PREFIX, PromptCall};
use crate::domain::{ChannelName, Metadata, UsageWish, field};
use crate::generation::{Delivery, NewGeneration, OnDisconnect, Storage};
use crate::limits::Patience;

/// What a body asks for.
pub struct Asked {
    pub generation: NewGeneration,
    /// What stands before its messages.
    pub prompt: Option<PromptCall>,
    /// Where the answer is told too.
    pub channel: Option<ChannelName>,
}

/// Reads the body of `POST /v1/generations`. Every mistake is named, not only the first.
pub fn new_generation(mut body: Map<String, Value>, caller: &Caller) -> Result<Asked, Problem> {
    let mut check = Check::default();
    for (name, value) in &body {
        if let Some((_, kind)) = FIELDS.iter().find(|(field, _)| field == name) {
            check.kind(name, value, *kind);
        } else if steers(name) {
            check.fail(&format!("/{name}"), "is not yours to set: this service decides which server is asked, and how");
        } else if caller.models.are_limited() && !CHOOSE_NO_MODEL.contains(&name.as_str()) {
            check.fail(&format!("/{name}"), "is not for a key with a list of models: it may choose another model");
        }
    }
    let mut model = take(&mut body, "model").and_then(|model| model.as_str().map(str::to_owned));
    let prompt = prompt(&mut body, &mut model, &mut check);
    let messages = messages(&mut body, &prompt, &mut check);
    if model.as_ref().is_some_and(|model| model.len() > LONGEST_MODEL) {
        check.fail("/model", format!("must be at most {LONGEST_MODEL} bytes"));
    }
    let metadata = metadata(take(&mut body, "metadata"), &mut check);
    let channel = take(&mut body, "channel").filter(|channel| !channel.is_null());
    let on_disconnect = match take(&mut body, "on_disconnect").as_ref().and_then(Value::as_str) {
        Some("continue") => Some(OnDisconnect::Continue),
        Some(_) => Some(OnDisconnect::Cancel),
        None => None,
    };
    let asks_for_usage =
        field(&body, "stream_options").and_then(|options| options.get("include_usage")) == Some(&Value::Bool(true));
    let storage = match field(&body, "store") {
        Some(Value::Bool(false)) => Storage::UntilRead,
        _ => Storage::Kept,
    };
    let usage = if asks_for_usage { UsageWish::Asked } else { UsageWish::NotAsked };
    // `as` saturates: what is longer than can be counted is cut by the settings all the same.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and not negative")]
    let grace = field(&body, "grace_ms").and_then(Value::as_f64).map(|millis| Duration::from_millis(millis as u64));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as above")]
    let at_most =
        field(&body, "max_queue_ms").and_then(Value::as_f64).map(|millis| Duration::from_millis(millis as u64));
    for ours in ["grace_ms", "max_queue_ms", "store", "stream"] {
        take(&mut body, ours);
    }
    check.result()?;
    let channel = channel.as_ref().and_then(Value::as_str).map(|name| answer_channel(name, caller)).transpose()?;
    body.insert("messages".to_owned(), messages);
    let (owner, request_id) = (caller.principal.clone(), caller.request_id);
    let generation = NewGeneration {
        owner,
        spender: caller.spender.clone(),
        patience: Patience::Waits { at_most },
        claim: None,
        allowed: caller.models.clone(),
        model,
        fields: body,
        metadata,
        prompt: None,
        usage,
        storage,
        delivery: Delivery::Stream,
        on_disconnect,
        grace,
        request_id,
    };
    let prompt = match prompt {
        Prompted::By(call) => Some(call),
        Prompted::Wrongly | Prompted::Not => None,
    };
    Ok(Asked { generation, prompt, channel })
}

/// Fields by which a caller could steer this service or its upstream elsewhere. The names that gateways
/// are known to read; an upstream that reads another needs a guard of its own.
const STEERING: &[&str] = &[
    "allowed_model_region",
    "api_base",
    "api_key",
    "api_type",
    "api_version",
    "base_url",
    "callbacks",
    "custom_llm_provider",
    "default_headers",
    "default_query",
    "extra_body",
    "extra_headers",
    "extra_query",
    "fallbacks",
    "headers",
    "litellm_params",
    "model_list",
    "organization",
    "proxies",
    "proxy",
    "router_settings",
    "user_config",
];

/// Families of such fields: where a cloud's models are, and its credentials.
const STEERING_FAMILIES: &[&str] = &["aws_", "azure_", "vertex_", "watsonx_"];

fn steers(name: &str) -> bool {
    STEERING.contains(&name) || STEERING_FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Fields of OpenAI's chat completions, and of servers like it, that stand in no table here and choose no model. A
/// router may read `models`, `route` or a name that nobody has heard of, and answer with another model than `model`.
const CHOOSE_NO_MODEL: &[&str] = &[
    "audio",
    "function_call",
    "functions",
    "min_p",
    "modalities",
    "prediction",
    "prompt_cache_key",
    "reasoning",
    "repetition_penalty",
    "safety_identifier",
    "service_tier",
    "stream",
    "tool_choice",
    "top_k",
    "variables",
    "verbosity",
];

/// What a field holds. A provider knows its own ranges; we refuse only what no provider takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    NonEmptyText,
    Number,
    Natural,
    Positive,
    Integer,
    Flag,
    List,
    Objects,
    Object,
    TextOrTexts,
    OnDisconnect,
}

/// The fields whose type is known; all others go to the provider as they are.
pub const FIELDS: &[(&str, Kind)] = &[
    ("input", Kind::NonEmptyText),
    ("messages", Kind::List),
    ("model", Kind::NonEmptyText),
    ("prompt", Kind::Object),
    ("channel", Kind::NonEmptyText),
    ("on_disconnect", Kind::OnDisconnect),
    ("grace_ms", Kind::Natural),
    ("max_queue_ms", Kind::Natural),
    ("metadata", Kind::Object),
    ("store", Kind::Flag),
    ("temperature", Kind::Number),
    ("top_p", Kind::Number),
    ("frequency_penalty", Kind::Number),
    ("presence_penalty", Kind::Number),
    ("max_tokens", Kind::Positive),
    ("max_completion_tokens", Kind::Positive),
    ("n", Kind::Positive),
    ("seed", Kind::Integer),
    ("stop", Kind::TextOrTexts),
    ("logprobs", Kind::Flag),
    ("top_logprobs", Kind::Natural),
    ("logit_bias", Kind::Object),
    ("tools", Kind::Objects),
    ("parallel_tool_calls", Kind::Flag),
    ("response_format", Kind::Object),
    ("reasoning_effort", Kind::Text),
    ("stream_options", Kind::Object),
    ("user", Kind::Text),
];

impl Kind {
    fn admits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::NonEmptyText => value.as_str().is_some_and(|text| !text.is_empty()),
            Self::Number => value.is_number(),
            Self::Natural => is_whole(value) && value.as_f64() >= Some(0.0),
            Self::Positive => is_whole(value) && value.as_f64() > Some(0.0),
            Self::Integer => is_whole(value),
            Self::Flag => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Objects => value.as_array().is_some_and(|items| items.iter().all(Value::is_object)),
            Self::Object => value.is_object(),
            Self::TextOrTexts => {
                value.is_string() || value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
            }
            Self::OnDisconnect => matches!(value.as_str(), Some("cancel" | "continue")),
        }
    }

    const fn demand(self) -> &'static str {
        match self {
            Self::Text => "must be a string",
            Self::NonEmptyText => "must be a string that is not empty",
            Self::Number => "must be a number",
            Self::Natural => "must be a whole number, 0 or more",
            Self::Positive => "must be a whole number, 1 or more",
            Self::Integer => "must be a whole number",
            Self::Flag => "must be true or false",
            Self::List => "must be an array",
            Self::Objects => "must be an array of objects",
            Self::Object => "must be an object",
            Self::TextOrTexts => "must be a string or an array of strings",
            Self::OnDisconnect => "must be \"cancel\" or \"continue\"",
        }
    }
}

/// A number of 64 bits and a sign, however it is written: `1e3` is one (JSON Schema 2020-12, section 4.2.3).
fn is_whole(value: &Value) -> bool {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    value.is_i64() || (!value.is_u64() && value.as_f64().is_some_and(|it| it.fract() == 0.0 && it.abs() < LIMIT))
}

/// Collects what is wrong.
#[derive(Default)]
struct Check(Vec<FieldError>);

impl Check {
    fn fail(&mut self, pointer: &str, detail: impl Into<String>) {
        self.0.push(FieldError { pointer: pointer.to_owned(), detail: detail.into() });
    }

    /// A `null` is an absent field.
    fn kind(&mut self, name: &str, value: &Value, kind: Kind) {
        if !value.is_null() && !kind.admits(value) {
            self.fail(&format!("/{name}"), kind.demand());
        }
    }

    fn result(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::invalid(self.0)) }
    }
}

/// Removes a field, and looks first whether there is one.
fn take(body: &mut Map<String, Value>, name: &str) -> Option<Value> {
    field(body, name)?;
    body.shift_remove(name)
}

const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];
/// Mistakes named at most, so that a list of nonsense does not make a longer one.
const MOST_ERRORS: usize = 16;

/// The prompt that a request names, by its field or as its model.
enum Prompted {
    By(PromptCall),
    /// It is not one, which has been said.
    Wrongly,
    Not,
}

fn prompt(body: &mut Map<String, Value>, model: &mut Option<String>, check: &mut Check) -> Prompted {
    let as_model = model.as_ref().filter(|model| model.starts_with(MODEL_PREFIX)).cloned();
    let as_field = take(body, "prompt").filter(|prompt| !prompt.is_null());
    if as_field.is_some() && field(body, "variables").is_some() {
        check.fail("/variables", "stand in prompt: move them there");
    }
    let call = match (as_model, as_field) {
        (Some(_), Some(_)) => {
            check.fail("/prompt", "cannot stand beside a model that is a prompt: send one of them");
            return Prompted::Wrongly;
        }
        (Some(name), None) => {
            *model = None;
            PromptCall::of_model(&name, take(body, "variables")).map_err(|error| vec![error])
        }
        (None, Some(Value::Object(prompt))) => PromptCall::of_field(prompt),
        // Of the wrong type, which has been said.
        (None, Some(_)) => return Prompted::Wrongly,
        (None, None) => return Prompted::Not,
    };
    match call {
        Ok(call) => Prompted::By(call),
        Err(errors) => {
            check.0.extend(errors);
            Prompted::Wrongly
        }
    }
}

fn messages(body: &mut Map<String, Value>, prompt: &Prompted, check: &mut Check) -> Value {
    let present = |value: Option<Value>| value.filter(|value| !value.is_null());
    match (present(take(body, "input")), present(take(body, "messages"))) {
        (Some(_), Some(_)) => check.fail("/input", "cannot stand beside messages: send one of them"),
        (None, None) if !matches!(prompt, Prompted::Not) => return json!([]),
        (None, None) => check.fail("/messages", "is missing: send messages, a string as input, or a prompt"),
        (Some(input), None) => return json!([{"role": "user", "content": input}]),
        (None, Some(Value::Array(messages))) => {
            if messages.is_empty() && matches!(prompt, Prompted::Not) {
                check.fail("/messages", "must hold at least one message");
            }
            for (at, message) in messages.iter().enumerate() {
                if check.0.len() < MOST_ERRORS {
                    self::message(&format!("/messages/{at}"), message, check);
                }
            }
            return Value::Array(messages);
        }
        // Of the wrong type, which has been said.
        (None, Some(_)) => {}
    }
    Value::Null
}

fn message(pointer: &str, message: &Value, check: &mut Check) {
    let Value::Object(message) = message else { return check.fail(pointer, "must be an object") };
    if !message.get("role").and_then(Value::as_str).is_some_and(|role| ROLES.contains(&role)) {
        check.fail(&format!("{pointer}/role"), format!("must be one of {}", ROLES.join(", ")));
    }
    match message.get("content") {
        None | Some(Value::Null | Value::String(_)) => {}
        Some(Value::Array(parts)) => {
            if let Some(at) = parts.iter().position(|part| !part.is_object()) {
                check.fail(&format!("{pointer}/content/{at}"), "must be an object");
            }
        }
        Some(_) => check.fail(&format!("{pointer}/content"), "must be a string or an array of parts"),
    }
}

const LONGEST_MODEL: usize = 512;
const METADATA_PAIRS: usize = 16;
const METADATA_KEY: usize = 64;
const METADATA_VALUE: usize = 512;

fn metadata(metadata: Option<Value>, check: &mut Check) -> Metadata {
    let Some(Value::Object(pairs)) = metadata else { return Metadata::new() };
    if pairs.len() > METADATA_PAIRS {
        check.fail("/metadata", format!("must hold at most {METADATA_PAIRS} pairs"));
        return Metadata::new();
    }
    let mut read = Metadata::new();
    for (key, value) in pairs {
        match value {
            Value::String(value) if key.chars().count() <= METADATA_KEY && value.chars().count() <= METADATA_VALUE => {
                read.insert(key, value);
            }
            _ => {
                let detail = format!(
                    "must hold strings: keys of at most {METADATA_KEY} characters, values of at most {METADATA_VALUE}"
                );
                check.fail("/metadata", detail);
                return Metadata::new();
            }
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Identity;
    use std::sync::Arc;

    use crate::domain::{Account, Quota, RequestId};
    use crate::limits::Spender;
    use crate::server::Load;

    fn read(body: Value) -> Result<NewGeneration, Problem> {
        let Value::Object(body) = body else { unreachable!() };
        let Identity { principal, scopes, models, .. } = Identity::anonymous();
        let spender = Spender::new(Account::Principal(principal.clone()), Quota::NONE, Arc::default());
        let caller = Caller {
            principal,
            spender,
            scopes,
            models,
            until: None,
            load: Load::Normal,
            request_id: RequestId::random(),
        };
        new_generation(body, &caller).map(|asked| asked.generation)
    }

    #[test]
    fn a_string_is_a_complete_request() {
        let new = read(json!({"input": "Hello"})).expect("valid");
        assert_eq!(Value::Object(new.fields), json!({"messages": [{"role": "user", "content": "Hello"}]}));
        assert_eq!((new.model, new.on_disconnect), (None, None));
    }

    #[test]
    fn what_is_ours_stays_here_and_the_rest_goes_on() {
        let new = read(json!({
            "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}], "model": "m", "metadata": {"a": "b"},
            "on_disconnect": "continue", "grace_ms": 1e3, "stream": false, "temperature": 0.5, "top_k": 7, "nobody_knows": {"x": [1]},
        }))
        .expect("valid");
        let fields: Vec<_> = new.fields.keys().map(String::as_str).collect();
        assert_eq!(fields, ["temperature", "top_k", "nobody_knows", "messages"]);
        assert_eq!(new.metadata, Metadata::from([("a".into(), "b".into())]));
        assert_eq!((new.on_disconnect, new.grace), (Some(OnDisconnect::Continue), Some(Duration::from_secs(1))));
    }

    #[test]
    fn a_null_is_an_absent_field() {
        assert!(
            read(json!({"input": "x", "messages": null, "temperature": null, "model": null, "metadata": null})).is_ok()
        );
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        for (max, valid) in [
            (json!(1), true),
            (json!(5.0), true),
            (json!(1.5e16), true),
            (json!(i64::MAX), true),
            (json!(i64::MAX as u64 + 1), false),
            (json!(1e19), false),
            (json!(1.5), false),
            (json!(0.0), false),
            (json!(-1), false),
        ] {
            assert_eq!(read(json!({"input": "x", "max_tokens": max})).is_ok(), valid, "{max}");
        }
    }

    #[test]
    fn a_list_holds_what_it_is_a_list_of() {
        assert!(read(json!({"input": "x", "stop": ["a"], "tools": [{}]})).is_ok());
        for wrong in [json!({"input": "x", "stop": [1]}), json!({"input": "x", "tools": [null]})] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_known_field_of_a_wrong_type_is_refused() {
        for (name, kind) in FIELDS {
            let wrong = [json!(-1.5), json!({}), json!([]), json!(true), json!("")]
                .into_iter()
                .find(|value| !kind.admits(value));
            let mut body = json!({"input": "x"});
            body[*name] = wrong.expect("no kind admits all of these");
            assert!(read(body).is_err(), "{name}");
        }
    }
}
