use serde::Deserialize;

use super::{
    options::{DemoFault, DemoFinish, Options},
    refusal::DemoRefusal,
    token::pieces,
};

/// The demo model's name without options.
pub(super) const MODEL: &str = "demo";

/// The length is bounded because each chunk repeats the model's name.
const LONGEST_MODEL_NAME: usize = 512;

/// The fields of a chat completion request that the demo model uses. Other fields, such as `temperature`, `stop` and
/// `tools`, are accepted and have no effect. Does not implement `Debug`, because it holds a prompt.
pub(super) struct Request {
    /// The requested name of the model, including its options.
    pub model: String,
    pub options: Options,
    pub messages: Vec<DemoMessage>,
    pub delivery: DemoDelivery,
    /// Number of choices, from 1 to 8.
    pub choices: u8,
    /// Most tokens of a choice, reasoning included.
    pub max_tokens: u32,
    /// Number of alternatives for each token, from 0 to 20; `None` if log probabilities are not requested.
    pub logprobs: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DemoDelivery {
    Whole,
    Stream,
    StreamWithUsage,
}

#[derive(Deserialize)]
#[serde(expecting = "struct Message")]
pub(super) struct DemoMessage {
    role: String,
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<DemoContentPart>),
}

#[derive(Deserialize)]
struct DemoContentPart {
    text: Option<String>,
}

/// The request body on the wire. Error messages, which callers read, keep the names in `expecting`.
#[derive(Deserialize)]
#[serde(expecting = "struct Wire")]
struct DemoRequestBody {
    model: String,
    messages: Vec<DemoMessage>,
    stream: Option<bool>,
    stream_options: Option<DemoStreamOptions>,
    n: Option<u8>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    logprobs: Option<bool>,
    top_logprobs: Option<u8>,
}

#[derive(Deserialize)]
#[serde(expecting = "struct StreamOptions")]
struct DemoStreamOptions {
    include_usage: Option<bool>,
}

/// Returns the options in the model's name.
///
/// # Errors
///
/// Returns an error if it is the name of another model, too long, or has unknown options.
pub(super) fn check_model(model: &str) -> Result<Options, DemoRefusal> {
    if model.len() > LONGEST_MODEL_NAME {
        return Err(DemoRefusal::OutOfRange { param: "model", accepts: "at most 512 bytes" });
    }
    let (name, options) = model.split_once('?').unwrap_or((model, ""));
    if name != MODEL {
        return Err(DemoRefusal::UnknownModel(model.to_owned()));
    }
    Ok(options.parse()?)
}

impl Request {
    /// Parses the body of a request.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is not JSON of this shape, names another model, or has a value out of range.
    pub(super) fn parse(body: &[u8]) -> Result<Self, DemoRefusal> {
        let wire: DemoRequestBody = serde_json::from_slice(body).map_err(|error| DemoRefusal::malformed(&error))?;
        let options = check_model(&wire.model)?;
        if wire.messages.is_empty() {
            return Err(DemoRefusal::OutOfRange { param: "messages", accepts: "at least one message" });
        }
        let choices = wire.n.unwrap_or(1);
        if !(1..=8).contains(&choices) {
            return Err(DemoRefusal::OutOfRange { param: "n", accepts: "a number from 1 to 8" });
        }
        let max_tokens = wire.max_completion_tokens.or(wire.max_tokens).unwrap_or(u32::MAX);
        if max_tokens == 0 {
            return Err(DemoRefusal::OutOfRange { param: "max_completion_tokens", accepts: "at least 1" });
        }
        let top_logprobs = wire.top_logprobs.unwrap_or(0);
        if top_logprobs > 20 {
            return Err(DemoRefusal::OutOfRange { param: "top_logprobs", accepts: "a number from 0 to 20" });
        }
        let include_usage = wire.stream_options.and_then(|options| options.include_usage).unwrap_or(false);
        Ok(Self {
            delivery: match (wire.stream.unwrap_or(false), include_usage) {
                (false, _) => DemoDelivery::Whole,
                (true, false) => DemoDelivery::Stream,
                (true, true) => DemoDelivery::StreamWithUsage,
            },
            model: wire.model,
            options,
            messages: wire.messages,
            choices,
            max_tokens,
            logprobs: wire.logprobs.unwrap_or(false).then_some(top_logprobs),
        })
    }

    /// Returns the tool that the answer calls. After a tool's result the answer is text, so the loop of an agent ends.
    pub(super) fn tool(&self) -> Option<&str> {
        let answered = self.messages.last().is_some_and(|message| message.role == "tool");
        self.options.tool.as_deref().filter(|_| !answered)
    }

    /// Returns the finish reason of an answer that is neither truncated nor interrupted.
    pub(super) fn finish(&self) -> DemoFinish {
        let natural = if self.tool().is_some() { DemoFinish::ToolCalls } else { DemoFinish::Stop };
        self.options.finish.unwrap_or(natural)
    }

    pub(super) fn fault(&self) -> Option<(u32, DemoFault)> {
        self.options.fault()
    }

    /// Returns the number of prompt tokens, counted as those of the answer.
    pub(super) fn prompt_tokens(&self) -> usize {
        self.messages.iter().flat_map(DemoMessage::texts).map(|text| pieces(text).count()).sum()
    }

    /// Returns the text of the last user message, with its parts joined by blanks.
    pub(super) fn last_user_text(&self) -> Option<String> {
        let message = self.messages.iter().rfind(|message| message.role == "user")?;
        Some(message.texts().collect::<Vec<_>>().join(" "))
    }
}

impl DemoMessage {
    fn texts(&self) -> impl Iterator<Item = &str> {
        let (text, parts) = match &self.content {
            Some(Content::Text(text)) => (Some(text), None),
            Some(Content::Parts(parts)) => (None, Some(parts)),
            None => (None, None),
        };
        let of_parts = parts.into_iter().flatten().filter_map(|part| part.text.as_ref());
        text.into_iter().chain(of_parts).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Request {
        Request::parse(body.as_bytes()).unwrap_or_else(|refusal| panic!("{body}: {refusal}"))
    }

    fn refused(body: &str) -> String {
        match Request::parse(body.as_bytes()) {
            Ok(_) => panic!("{body} was accepted"),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn model_and_messages_are_the_only_required_fields() {
        let request = parse(r#"{"model":"demo","messages":[{"role":"user","content":"Hi"}]}"#);
        assert_eq!(request.options, Options::default());
        assert_eq!(request.delivery, DemoDelivery::Whole);
        assert_eq!((request.choices, request.max_tokens, request.logprobs), (1, u32::MAX, None));
        assert_eq!(request.last_user_text().as_deref(), Some("Hi"));
    }

    #[test]
    fn null_counts_as_absent_and_unknown_fields_are_ignored() {
        let request = parse(
            r#"{"model":"demo?rate=max","messages":[{"role":"assistant","content":null,"tool_calls":[]}],"n":null,
                "stream":true,"stream_options":null,"max_tokens":null,"temperature":2,"tools":[{}],"x":{"y":[1]}}"#,
        );
        assert_eq!(request.delivery, DemoDelivery::Stream);
        assert_eq!(request.model, "demo?rate=max");
        assert_eq!(request.last_user_text(), None);
    }

    #[test]
    fn text_parts_of_the_last_user_message_are_read() {
        let request = parse(
            r#"{"model":"demo","messages":[{"role":"user","content":"old"},{"role":"user","content":[
                {"type":"text","text":"new"},{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"er"}]},
                {"role":"assistant","content":"old"}]}"#,
        );
        assert_eq!(request.last_user_text().as_deref(), Some("new er"));
        assert_eq!(request.prompt_tokens(), 4);
    }

    #[test]
    fn after_a_tools_result_no_tool_is_called() {
        let ask = r#"{"role":"user","content":"weather?"}"#;
        let first = parse(&format!(r#"{{"model":"demo?tool=weather","messages":[{ask}]}}"#));
        assert_eq!((first.tool(), first.finish()), (Some("weather"), DemoFinish::ToolCalls));
        let second = format!(r#"{{"model":"demo?tool=weather","messages":[{ask},{{"role":"tool","content":"sun"}}]}}"#);
        let second = parse(&second);
        assert_eq!((second.tool(), second.finish()), (None, DemoFinish::Stop));
    }

    #[test]
    fn error_names_the_field_that_is_out_of_range() {
        for (field, param) in [
            (r#""n":0"#, "`n`"),
            (r#""n":9"#, "`n`"),
            (r#""max_tokens":0"#, "`max_completion_tokens`"),
            (r#""top_logprobs":21"#, "`top_logprobs`"),
        ] {
            let body = format!(r#"{{"model":"demo","messages":[{{"role":"user","content":"Hi"}}],{field}}}"#);
            assert!(refused(&body).contains(param), "{body}");
        }
        assert!(refused(r#"{"model":"demo","messages":[]}"#).contains("`messages`"));
        assert!(refused(&format!(r#"{{"model":"{}","messages":[]}}"#, "x".repeat(513))).contains("`model`"));
    }

    #[test]
    fn another_model_is_unknown() {
        for model in ["demo2", "Demo", "gpt-4?tokens=1", ""] {
            assert!(refused(&format!(r#"{{"model":"{model}","messages":[]}}"#)).contains("no model"), "{model}");
        }
    }
}
