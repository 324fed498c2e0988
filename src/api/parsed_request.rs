//! Reads a chat request: takes the service's own fields, forwards the others to the provider, and refuses invalid ones.

use std::time::Duration;

use serde_json::value::{RawValue, to_raw_value};

use super::caller::Caller;
use super::channel_query::answer_channel;
use super::chat_fields::{CHOOSE_NO_MODEL, DUPLICATE, READ_OBJECTS, is_set_here, kind_of, nearest_own_field, steers};
use super::problem::{FieldError, Problem};
use super::prompt_call::{MODEL_PREFIX, PromptCall};
use crate::domain::{ChannelName, Metadata, OnUpstreamFailure, UsageRequest, number};
use crate::generation::{Delivery, NewGeneration, OnDisconnect, Storage};
use crate::json::{InvalidObject, JsonObject, MOST_MEMBERS, Token, Tokens, unescape};
use crate::limits::{RequestPermit, WaitPolicy};

/// A parsed request body.
pub struct ParsedRequest {
    pub generation: NewGeneration,
    /// The prompt whose messages precede those of the request.
    pub prompt: Option<PromptCall>,
    /// The channel to which the answer is also published.
    pub channel: Option<ChannelName>,
}

/// Which fields of a request are this service's own, beside those that only it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldRules {
    /// `metadata`, `store` and `stream`. Texts can be withdrawn (`on_upstream_failure`). `extra_body` and misspelled names of own fields are refused.
    Strict,
    /// None: `metadata`, `store` and `extra_body` are forwarded, as clients of the provider's API expect. These cannot
    /// withdraw a text.
    Forwarding,
}

/// Reads the body of a request for a generation. Reports all errors, up to `MOST_ERRORS`, not only the first.
pub fn new_generation(mut body: JsonObject, rules: FieldRules, caller: &Caller) -> Result<ParsedRequest, Problem> {
    let mut check = Check::default();
    let compares_names = rules == FieldRules::Strict && body.len() <= MOST_COMPARED;
    for (name, json) in body.iter() {
        match (name, rules) {
            ("extra_body", FieldRules::Forwarding) => check.extra_body(json, caller),
            ("extra_body", FieldRules::Strict) => check.fail("/extra_body", STEERS),
            _ => check.field("", name, json, caller),
        }
        if compares_names && let Some(nearest) = nearest_own_field(name) {
            check.fail(&format!("/{name}"), format!("is not a field of this service: did you mean {nearest}?"));
        }
        if READ_OBJECTS.contains(&name) && json.starts_with('{') {
            check.object(&format!("/{name}"), json);
        }
    }
    let mut model: Option<String> = body.read("model");
    let prompt = prompt(&mut body, &mut model, &mut check);
    let messages = messages(&mut body, &prompt, &mut check);
    if model.as_ref().is_some_and(|model| model.len() > LONGEST_MODEL) {
        check.fail("/model", format!("must be at most {LONGEST_MODEL} bytes"));
    }
    let metadata = match metadata(body.present("metadata")) {
        Ok(metadata) => metadata,
        Err(demand) if rules == FieldRules::Strict => {
            check.fail("/metadata", demand);
            Metadata::new()
        }
        // The field is forwarded to the provider, which checks it.
        Err(_) => Metadata::new(),
    };
    let channel: Option<String> = body.read("channel");
    let on_disconnect = body.present("on_disconnect").map(|json| match json {
        "\"continue\"" => OnDisconnect::Continue,
        _ => OnDisconnect::Cancel,
    });
    let on_upstream_failure = match (body.present("on_upstream_failure"), rules) {
        (Some("\"restart\""), FieldRules::Strict) => OnUpstreamFailure::Restart,
        (Some("\"restart\""), FieldRules::Forwarding) => {
            check.fail("/on_upstream_failure", NO_RESTART);
            OnUpstreamFailure::Fail
        }
        _ => OnUpstreamFailure::Fail,
    };
    let stream_options = body.get("stream_options").and_then(|json| JsonObject::parse(json.as_bytes()).ok());
    let asks_for_usage = stream_options.is_some_and(|options| options.get("include_usage") == Some("true"));
    let storage = if body.get("store") == Some("false") { Storage::UntilRead } else { Storage::Kept };
    // A number above 2^64 saturates, which does no harm: the settings have a lower maximum.
    let [grace, at_most] = ["grace_ms", "max_queue_ms"].map(|name| number(&body, name).map(Duration::from_millis));
    for ours in ["channel", "on_disconnect", "on_upstream_failure", "grace_ms", "max_queue_ms"] {
        body.remove(ours);
    }
    if rules == FieldRules::Strict {
        for ours in ["metadata", "store", "stream"] {
            body.remove(ours);
        }
    }
    check.result()?;
    let channel = channel.map(|name| answer_channel(&name, caller)).transpose()?;
    if let Some(messages) = messages {
        body.insert("messages", &messages);
    }
    let generation = NewGeneration {
        owner: caller.principal.clone(),
        spender: caller.spender.clone(),
        request: RequestPermit::default(),
        wait_policy: WaitPolicy::Waits { at_most },
        claim: None,
        allowed: caller.models.clone(),
        model,
        fields: body,
        messages_form: None,
        delivery: Delivery::Stream,
        metadata,
        notes: None,
        chat: None,
        prompt: None,
        usage: if asks_for_usage { UsageRequest::Asked } else { UsageRequest::NotAsked },
        storage,
        on_disconnect,
        on_upstream_failure,
        grace,
        request_id: caller.request_id,
    };
    let prompt = match prompt {
        Prompted::By(call) => Some(call),
        Prompted::Invalid | Prompted::Not => None,
    };
    Ok(ParsedRequest { generation, prompt, channel })
}

/// Members of a body up to which names are checked for typos; comparing each name of a larger body would take long.
const MOST_COMPARED: usize = 256;

/// The requirement of the wires of SDKs.
const NO_RESTART: &str =
    "must be \"fail\" here: clients of this format cannot withdraw a text. Use POST /v1/generations";
pub const STEERS: &str = "cannot be set by callers: this service decides which server it calls, and how";

/// Collects the errors of a body.
#[derive(Default)]
struct Check(Vec<FieldError>);

/// The most errors that are reported, so that a long invalid list does not cause an even longer response.
const MOST_ERRORS: usize = 16;

impl Check {
    fn fail(&mut self, pointer: &str, detail: impl Into<String>) {
        if self.0.len() < MOST_ERRORS {
            self.0.push(FieldError { pointer: pointer.to_owned(), detail: detail.into() });
        }
    }

    /// Checks a field of the body or of its `extra_body`. A `null` counts as absent.
    fn field(&mut self, place: &str, name: &str, json: &str, caller: &Caller) {
        let pointer = || format!("{place}/{name}");
        if let Some(kind) = kind_of(name) {
            if !kind.admits(json) {
                self.fail(&pointer(), format!("must be {}", kind.expected()));
            }
        } else if steers(name) {
            self.fail(&pointer(), STEERS);
        } else if caller.models.are_limited() && !CHOOSE_NO_MODEL.contains(&name) {
            self.fail(&pointer(), "is not allowed for a key with a list of models: it may select another model");
        }
    }

    /// Checks `extra_body`. Some servers read its members as top-level fields, so a member is refused if it would be
    /// refused at the top level.
    fn extra_body(&mut self, json: &str, caller: &Caller) {
        match JsonObject::parse(json.as_bytes()) {
            Ok(members) => {
                for (name, json) in members.iter() {
                    if is_set_here(name) {
                        self.fail(&format!("/extra_body/{name}"), "is a top-level field of the request: move it there");
                    } else {
                        self.field("/extra_body", name, json, caller);
                    }
                }
            }
            Err(_) if json == "null" => {}
            Err(InvalidObject::NotAnObject) => self.fail("/extra_body", "must be an object"),
            // `object` reports it, as for the other objects that are read.
            Err(_) => {}
        }
    }

    /// Checks an object that this service reads for duplicate names and too many members.
    fn object(&mut self, pointer: &str, json: &str) {
        match JsonObject::parse(json.as_bytes()) {
            Err(InvalidObject::Duplicate(name)) => self.fail(&format!("{pointer}/{name}"), DUPLICATE),
            Err(InvalidObject::TooMany) => self.fail(pointer, format!("must have at most {MOST_MEMBERS} members")),
            _ => {}
        }
    }

    fn result(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::invalid(self.0)) }
    }
}

/// The prompt of a request, named in the field `prompt` or as the model.
enum Prompted {
    By(PromptCall),
    /// The prompt is invalid, which has been reported.
    Invalid,
    Not,
}

fn prompt(body: &mut JsonObject, model: &mut Option<String>, check: &mut Check) -> Prompted {
    let as_model = model.as_ref().filter(|model| model.starts_with(MODEL_PREFIX)).cloned();
    let as_field = body.present("prompt").map(|json| JsonObject::parse(json.as_bytes()));
    body.remove("prompt");
    if as_field.is_some() && body.get("variables").is_some() {
        check.fail("/variables", "is a field of prompt: move it there");
    }
    let call = match (as_model, as_field) {
        (Some(_), Some(_)) => {
            check.fail("/prompt", "cannot be combined with a model that is a prompt: send one of them");
            return Prompted::Invalid;
        }
        (Some(name), None) => {
            *model = None;
            body.remove("model");
            let call = PromptCall::of_model(&name, body.present("variables"));
            body.remove("variables");
            call
        }
        (None, Some(Ok(prompt))) => PromptCall::of_field(&prompt),
        // The wrong type or a duplicate name, which has been reported.
        (None, Some(Err(_))) => return Prompted::Invalid,
        (None, None) => return Prompted::Not,
    };
    match call {
        Ok(call) => Prompted::By(call),
        Err(errors) => {
            check.0.extend(errors);
            Prompted::Invalid
        }
    }
}

/// Checks the messages. Returns those that replace the caller's, if any do.
fn messages(body: &mut JsonObject, prompt: &Prompted, check: &mut Check) -> Option<Box<RawValue>> {
    let input = body.present("input").map(|input| format!(r#"[{{"role":"user","content":{input}}}]"#));
    body.remove("input");
    match (input, body.present("messages")) {
        (Some(_), Some(_)) => check.fail("/input", "cannot be combined with messages: send one of them"),
        (None, None) if !matches!(prompt, Prompted::Not) => return to_raw_value(&[(); 0]).ok(),
        (None, None) => check.fail("/messages", "is missing: send messages, a string as input, or a prompt"),
        (Some(messages), None) => return RawValue::from_string(messages).ok(),
        (None, Some(messages)) => {
            if each_message(messages, check) == 0 && matches!(prompt, Prompted::Not) {
                check.fail("/messages", "must hold at least one message");
            }
        }
    }
    None
}

/// Checks what every provider requires of messages and returns their number. The provider checks their content.
fn each_message(messages: &str, check: &mut Check) -> usize {
    let (mut tokens, mut at) = (Tokens::new(messages), 0);
    if tokens.next() != Some(Token::Array) {
        // The wrong type, which has been reported.
        return 1;
    }
    while let Some(token) = tokens.next() {
        match token {
            Token::Close => break,
            Token::Object => {
                if !has_role(&mut tokens) {
                    check.fail(&format!("/messages/{at}/role"), "must be a string such as \"user\"");
                }
            }
            Token::Array | Token::Name(_) | Token::Text(_) | Token::Scalar(_) => {
                check.fail(&format!("/messages/{at}"), "must be an object");
                if token == Token::Array {
                    tokens.leave();
                }
            }
        }
        at += 1;
    }
    at
}

/// Reads the rest of a message and returns whether it has a role that is a string and not empty.
fn has_role(tokens: &mut Tokens<'_>) -> bool {
    let mut found = false;
    while let Some(Token::Name(name)) = tokens.next() {
        if unescape(name) != "role" {
            tokens.skip_value();
            continue;
        }
        match tokens.next() {
            Some(Token::Text(role)) => found = role != "\"\"",
            Some(Token::Object | Token::Array) => tokens.leave(),
            _ => {}
        }
    }
    found
}

/// The most bytes of a model's name.
pub const LONGEST_MODEL: usize = 512;
const METADATA_PAIRS: usize = 16;
const METADATA_KEY: usize = 64;
const METADATA_VALUE: usize = 512;

/// Reads the metadata that is kept with the record. A value that is not an object reads as empty metadata.
///
/// Returns as an error the requirement that the metadata violates.
fn metadata(json: Option<&str>) -> Result<Metadata, String> {
    let Some(json) = json.filter(|json| json.starts_with('{')) else { return Ok(Metadata::new()) };
    let pairs = JsonObject::parse(json.as_bytes()).unwrap_or_default();
    if pairs.len() > METADATA_PAIRS {
        return Err(format!("must hold at most {METADATA_PAIRS} pairs"));
    }
    let pairs = pairs.iter().map(|(key, value)| {
        let value: String = serde_json::from_str(value).ok()?;
        let fits = key.chars().count() <= METADATA_KEY && value.chars().count() <= METADATA_VALUE;
        fits.then(|| (key.to_owned(), value))
    });
    pairs.collect::<Option<Metadata>>().ok_or_else(|| {
        format!("must hold strings: keys of at most {METADATA_KEY} characters, values of at most {METADATA_VALUE}")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::auth::Identity;
    use crate::domain::{Account, Quota, RequestId};
    use crate::limits::Spender;
    use crate::server::Load;

    fn read_as(rules: FieldRules, body: &str) -> Result<NewGeneration, Problem> {
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
            hosts: crate::api::Hosts::Loopback,
        };
        let body = JsonObject::parse(body.as_bytes()).expect("an object");
        new_generation(body, rules, &caller).map(|parsed| parsed.generation)
    }

    fn read(body: &Value) -> Result<NewGeneration, Problem> {
        read_as(FieldRules::Strict, &body.to_string())
    }

    /// Returns the forwarded fields of a chat without its messages, or the pointers of its errors.
    fn chat(members: &str) -> Result<String, Vec<String>> {
        let body = format!(r#"{{"messages":[{{"role":"user"}}],{members}}}"#);
        let forwarded = read_as(FieldRules::Forwarding, &body).map(|new| new.fields.to_json());
        let forwarded = forwarded.map(|json| json.replace(r#""messages":[{"role":"user"}],"#, ""));
        forwarded.map_err(|problem| problem.errors.into_iter().map(|error| error.pointer).collect())
    }

    #[test]
    fn input_string_alone_becomes_a_user_message() {
        let new = read(&json!({"input": "Hel\"lo"})).expect("valid");
        assert_eq!(new.fields.to_json(), r#"{"messages":[{"role":"user","content":"Hel\"lo"}]}"#);
        assert_eq!((new.model, new.on_disconnect), (None, None));
    }

    #[test]
    fn own_fields_are_stripped_and_others_are_forwarded_in_their_order() {
        let new = read(&json!({
            "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}], "model": "m", "metadata": {"a": "b"},
            "on_disconnect": "continue", "grace_ms": 1e3, "stream": false, "temperature": 0.5, "top_k": 7, "nobody_knows": {"x": [1]},
        }))
        .expect("valid");
        let fields: Vec<_> = new.fields.iter().map(|(name, _)| name).collect();
        assert_eq!(fields, ["messages", "model", "temperature", "top_k", "nobody_knows"]);
        assert_eq!(new.metadata, Metadata::from([("a".into(), "b".into())]));
        assert_eq!((new.on_disconnect, new.grace), (Some(OnDisconnect::Continue), Some(Duration::from_secs(1))));
    }

    #[test]
    fn null_field_counts_as_absent() {
        let body = json!({"input": "x", "messages": null, "temperature": null, "model": null, "metadata": null, "stream": null});
        assert!(read(&body).is_ok());
    }

    #[test]
    fn message_needs_a_role_and_may_have_any_content() {
        for (message, error) in [
            (r#"{"role":"user","content":{"parts":[1]}}"#, None),
            (r#"{"role":"critic","content":5}"#, None),
            (r#"{"r\u006fle":"tool","content":["a",{}]}"#, None),
            (r#"{"content":{"role":"user"}}"#, Some("/messages/0/role")),
            (r#"{"role":5}"#, Some("/messages/0/role")),
            (r#"{"role":{"role":"user"}}"#, Some("/messages/0/role")),
            (r#""user""#, Some("/messages/0")),
            (r#"[{"role":"user"}]"#, Some("/messages/0")),
        ] {
            let read = read_as(FieldRules::Strict, &format!(r#"{{"messages":[{message},{{"role":"x"}}]}}"#));
            let errors = read.map(drop).map_err(|problem| problem.errors.into_iter().map(|it| it.pointer).collect());
            assert_eq!(errors, error.map_or(Ok(()), |error| Err(vec![error.to_owned()])), "{message}");
        }
    }

    #[test]
    fn store_and_metadata_are_forwarded_on_the_openai_wire() {
        let sent = r#""store":false,"metadata":{"customer":"12"}"#;
        assert_eq!(chat(sent), Ok(format!("{{{sent}}}")));
        for sent in [r#""metadata":{"a":1}"#, r#""metadata":null"#, r#""store":null"#] {
            assert_eq!(chat(sent), Ok(format!("{{{sent}}}")), "{sent}");
        }
        let new =
            read_as(FieldRules::Forwarding, r#"{"messages":[{"role":"user"}],"store":false,"metadata":{"a":"b"}}"#);
        let new = new.expect("valid");
        assert_eq!((new.storage, new.metadata.len()), (Storage::UntilRead, 1));
    }

    #[test]
    fn extra_body_is_accepted_if_all_members_are_accepted_at_the_top_level() {
        for sent in [
            r#""extra_body":{"google": {"thinking_config": {"include_thoughts": true}}}"#,
            r#""extra_body":null"#,
            r#""extra_body":{"metadata":{"a":1},"max_tokens":5}"#,
        ] {
            assert_eq!(chat(sent), Ok(format!("{{{sent}}}")), "{sent}");
        }
        for (members, pointer) in [
            (r#""api_base":"http://x""#, "/extra_body/api_base"),
            (r#""aws_region_name":"x""#, "/extra_body/aws_region_name"),
            (r#""grace_ms":5"#, "/extra_body/grace_ms"),
            (r#""model":"m""#, "/extra_body/model"),
            (r#""stream":true"#, "/extra_body/stream"),
            (r#""extra_body":{}"#, "/extra_body/extra_body"),
            (r#""n":"two""#, "/extra_body/n"),
            (r#""a":1,"\u0061":2"#, "/extra_body/a"),
        ] {
            assert_eq!(chat(&format!(r#""extra_body":{{{members}}}"#)), Err(vec![pointer.to_owned()]), "{members}");
        }
        assert_eq!(chat(r#""extra_body":5"#), Err(vec!["/extra_body".to_owned()]));
        assert!(read(&json!({"input": "x", "extra_body": {}})).is_err(), "the native wire refuses it");
    }

    #[test]
    fn duplicate_name_in_a_read_object_is_refused() {
        for name in READ_OBJECTS.into_iter().filter(|name| !matches!(*name, "prompt" | "variables")) {
            let errors = chat(&format!(r#""{name}":{{"a":"1","b":"2","\u0061":"3"}}"#));
            assert_eq!(errors, Err(vec![format!("/{name}/a")]), "{name}");
        }
        assert!(chat(r#""response_format":{"a":1,"a":2}"#).is_ok(), "the provider reads that object");
    }

    #[test]
    fn typo_of_an_own_field_is_refused_on_the_native_wire_only() {
        let errors = read(&json!({"input": "x", "grcae_ms": 5})).map(drop).map_err(|problem| problem.errors);
        let errors = errors.expect_err("a typo");
        assert!(errors[0].pointer == "/grcae_ms" && errors[0].detail.contains("grace_ms"), "{errors:?}");
        assert!(chat(r#""grcae_ms":5"#).is_ok());
    }

    #[test]
    fn known_field_of_the_wrong_type_is_refused() {
        for (name, kind) in super::super::chat_fields::checked_fields() {
            let wrong = [json!(-1.5), json!({}), json!([]), json!(true), json!("")];
            let wrong = wrong.into_iter().find(|value| !kind.admits(&value.to_string()));
            let mut body = json!({"input": "x"});
            body[name] = wrong.expect("no kind admits all of these");
            assert!(read(&body).is_err(), "{name}");
        }
    }
}
