//! The body of a chat request to the upstream.

use bytes::Bytes;

use super::super::conversation::PROMPT_CACHE_KEY;
use super::super::{AttemptTerms, Delivery};
use super::request_form::{RequestForm, StreamOptions};
use crate::domain::ChatRequest;
use crate::json::{JsonObject, write_members};

/// Writes the caller's fields unchanged, `model` as the name of the model, and the fields that the form adds: `stream`,
/// `stream_options.include_usage` and the caller's output limit. A field that the caller sent too is replaced in place,
/// except `prompt_cache_key`, which is only added.
pub fn body(request: &ChatRequest, terms: &AttemptTerms, form: RequestForm) -> Bytes {
    let model = serde_json::Value::from(&*terms.model).to_string();
    let stream = if form.delivery == Delivery::Stream { "true" } else { "false" };
    let options = request.fields.get("stream_options");
    let options = match (form.delivery, form.stream_options) {
        // Providers refuse `stream_options` if the answer is not streamed.
        (Delivery::Whole, _) | (_, StreamOptions::Omitted) => None,
        (Delivery::Stream, StreamOptions::Sent) => Some(with_usage(options)),
    };
    let limit = request.added_limit.map(|limit| limit.to_string());
    let mut own: Vec<(&str, Option<&str>)> =
        vec![("model", Some(&model)), ("stream", Some(stream)), ("stream_options", options.as_deref())];
    own.extend(limit.as_deref().map(|limit| (form.limit_name.name(), Some(limit))));
    let cache_key = terms.conversation.filter(|_| request.fields.get(PROMPT_CACHE_KEY).is_none());
    let cache_key = cache_key.map(|conversation| format!("\"{}\"", conversation.prompt_cache_key()));
    own.extend(cache_key.as_deref().map(|key| (PROMPT_CACHE_KEY, Some(key))));
    let value = |name: &str| own.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let is_sent = |name: &str| request.fields.get(name).is_some();
    let model_first = (!is_sent("model")).then_some(("model", model.as_str()));
    let sent = request.fields.iter().filter_map(|(name, json)| Some((name, value(name).unwrap_or(Some(json))?)));
    let added =
        own.iter().skip(1).filter(|(name, _)| !is_sent(name)).filter_map(|(name, json)| Some((*name, (*json)?)));
    let mut body = String::with_capacity(
        request.fields.iter().map(|(name, json)| name.len() + json.len() + 8).sum::<usize>() + 128,
    );
    write_members(&mut body, model_first.into_iter().chain(sent).chain(added));
    body.into()
}

/// Returns the caller's options with the usage at the end of the stream.
fn with_usage(options: Option<&str>) -> String {
    let mut options = options.and_then(|json| JsonObject::parse(json.as_bytes()).ok()).unwrap_or_default();
    options.set("include_usage", &true);
    options.to_json()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::super::ConversationKey;
    use super::super::request_form::LimitName;
    use super::*;
    use crate::domain::Principal;

    const STREAMED: RequestForm = RequestForm {
        delivery: Delivery::Stream,
        stream_options: StreamOptions::Sent,
        limit_name: LimitName::MaxCompletionTokens,
    };

    fn written(fields: &str, limit: Option<u32>, form: RequestForm) -> String {
        written_in(None, fields, limit, form)
    }

    fn written_in(
        conversation: Option<ConversationKey>,
        fields: &str,
        limit: Option<u32>,
        form: RequestForm,
    ) -> String {
        let terms = AttemptTerms { conversation, ..AttemptTerms::new("m".into(), form.delivery) };
        let fields = JsonObject::parse(fields.as_bytes()).expect("an object");
        let request = ChatRequest {
            added_limit: limit.and_then(NonZeroU32::new),
            ..ChatRequest::new("requested".into(), fields)
        };
        String::from_utf8(body(&request, &terms, form).to_vec()).expect("UTF-8")
    }

    #[test]
    fn added_fields_replace_those_of_the_caller_or_are_appended() {
        let whole = RequestForm { delivery: Delivery::Whole, stream_options: StreamOptions::Omitted, ..STREAMED };
        let omitted = RequestForm { stream_options: StreamOptions::Omitted, ..STREAMED };
        let renamed = RequestForm { limit_name: LimitName::MaxTokens, ..STREAMED };
        let usage = r#""stream_options":{"include_usage":true}"#;
        for (fields, limit, form, expected) in [
            (r#"{"a":1.0}"#, None, STREAMED, format!(r#"{{"model":"m","a":1.0,"stream":true,{usage}}}"#)),
            (
                r#"{"stream":null,"a":[ 1e3 ],"model":"alias","b":12345678901234567890}"#,
                None,
                STREAMED,
                format!(r#"{{"stream":true,"a":[ 1e3 ],"model":"m","b":12345678901234567890,{usage}}}"#),
            ),
            (
                r#"{"stream_options":{"x":1,"include_usage":false},"a":1}"#,
                None,
                STREAMED,
                r#"{"model":"m","stream_options":{"x":1,"include_usage":true},"a":1,"stream":true}"#.into(),
            ),
            (r#"{"a":1}"#, None, omitted, r#"{"model":"m","a":1,"stream":true}"#.into()),
            (r#"{"stream_options":{"x":1},"a":1}"#, None, whole, r#"{"model":"m","a":1,"stream":false}"#.into()),
            (r#"{"a":1}"#, Some(7), whole, r#"{"model":"m","a":1,"stream":false,"max_completion_tokens":7}"#.into()),
            (
                r#"{"max_tokens":null}"#,
                Some(7),
                renamed,
                format!(r#"{{"model":"m","max_tokens":7,"stream":true,{usage}}}"#),
            ),
        ] {
            assert_eq!(written(fields, limit, form), expected, "{fields}");
        }
    }

    #[test]
    fn key_of_the_conversation_is_added_unless_the_caller_sent_one() {
        let whole = RequestForm { delivery: Delivery::Whole, ..STREAMED };
        let conversation = ConversationKey::of(&Principal::Anonymous, "m", &JsonObject::default());
        let key = conversation.prompt_cache_key();
        for (fields, expected) in [
            ("{}", format!(r#"{{"model":"m","stream":false,"prompt_cache_key":"{key}"}}"#)),
            (r#"{"prompt_cache_key":"own"}"#, r#"{"model":"m","prompt_cache_key":"own","stream":false}"#.to_owned()),
            (r#"{"prompt_cache_key":null}"#, r#"{"model":"m","prompt_cache_key":null,"stream":false}"#.to_owned()),
        ] {
            assert_eq!(written_in(Some(conversation), fields, None, whole), expected);
        }
    }
}
