use serde_json::{Value, json};

use super::{
    chunk::AnswerId,
    completion::{CompletionEvent, DemoCompletion},
    logprobs,
    options::{DemoFault, DemoFinish},
    pace::Pace,
    request::Request,
    token::DemoToken,
};

/// Returns a completion as one `chat.completion`, when its last token is due. Dropping the future ends the answer.
///
/// # Errors
///
/// Returns the fault that interrupts the answer; a stall never returns.
pub(super) async fn completion(request: &Request, id: AnswerId, pace: Pace) -> Result<Value, DemoFault> {
    let mut choices: Vec<_> = (0..request.choices).map(|_| WholeChoice::default()).collect();
    let mut used = Value::Null;
    for (step, event) in DemoCompletion::new(request) {
        pace.wait(step).await;
        match event {
            CompletionEvent::Role { .. } => {}
            CompletionEvent::Token { choice, token } => {
                if let Some(choice) = choices.get_mut(usize::from(choice)) {
                    choice.logprobs.extend(request.logprobs.and_then(|top| logprobs::entry(&token, top)));
                    choice.add(token);
                }
            }
            CompletionEvent::Finish { choice, reason } => {
                if let Some(choice) = choices.get_mut(usize::from(choice)) {
                    choice.finish = Some(reason);
                }
            }
            CompletionEvent::Fault(DemoFault::Stall) => std::future::pending().await,
            CompletionEvent::Fault(fault) => return Err(fault),
            CompletionEvent::End(usage) => used = usage.json(),
        }
    }
    let choices: Vec<_> = (0..).zip(choices).map(|(index, choice)| choice.json(index, id)).collect();
    Ok(json!({
        "id": id.completion(),
        "object": "chat.completion",
        "created": id.created,
        "model": request.model,
        "choices": choices,
        "usage": used,
    }))
}

/// The content of a choice so far.
#[derive(Default)]
struct WholeChoice {
    reasoning: String,
    text: String,
    refusal: String,
    tool: Option<String>,
    arguments: String,
    logprobs: Vec<Value>,
    finish: Option<DemoFinish>,
}

impl WholeChoice {
    fn add(&mut self, token: DemoToken) {
        match token {
            DemoToken::Reasoning(piece) => self.reasoning.push_str(&piece),
            DemoToken::Text(piece) => self.text.push_str(&piece),
            DemoToken::Refusal(piece) => self.refusal.push_str(&piece),
            DemoToken::Call(name) => self.tool = Some(name),
            DemoToken::Arguments(piece) => self.arguments.push_str(&piece),
        }
    }

    fn json(self, index: u8, id: AnswerId) -> Value {
        let content = (!self.text.is_empty()).then_some(self.text);
        let reasoning = (!self.reasoning.is_empty()).then(|| ("reasoning_content", json!(self.reasoning)));
        let refusal = (!self.refusal.is_empty()).then(|| ("refusal", json!(self.refusal)));
        let call = self.tool.map(|name| {
            let function = json!({"name": name, "arguments": self.arguments});
            ("tool_calls", json!([{"id": id.call(index), "type": "function", "function": function}]))
        });
        let message = [("role", json!("assistant")), ("content", json!(content))];
        let message: Value = message.into_iter().chain(reasoning).chain(refusal).chain(call).collect();
        let logprobs = (!self.logprobs.is_empty()).then(|| json!({"content": self.logprobs}));
        json!({
            "index": index,
            "message": message,
            "logprobs": logprobs,
            "finish_reason": self.finish.map(DemoFinish::as_str),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn complete(model: &str, fields: &str) -> Result<Value, DemoFault> {
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hi"}}]{fields}}}"#);
        let request = Request::parse(body.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}"));
        completion(&request, AnswerId { number: 10, created: 7 }, Pace::start(&request.options)).await
    }

    #[tokio::test]
    async fn completion_has_all_its_text_and_its_usage() {
        let complete = complete("demo?rate=max&tokens=9&reasoning=4", r#","n":2"#).await.unwrap();
        assert_eq!(complete["object"], "chat.completion");
        assert_eq!(complete["choices"].as_array().unwrap().len(), 2);
        let choice = &complete["choices"][1];
        assert_eq!((&choice["index"], &choice["finish_reason"]), (&json!(1), &json!("stop")));
        assert!(choice["message"]["content"].as_str().unwrap().starts_with("# Hello from Tokenrill"));
        assert!(choice["message"]["reasoning_content"].as_str().unwrap().starts_with("Step 1"));
        assert_eq!(
            complete["usage"],
            json!({"prompt_tokens": 1, "completion_tokens": 26, "total_tokens": 27,
                   "completion_tokens_details": {"reasoning_tokens": 8}})
        );
    }

    #[tokio::test]
    async fn tool_call_has_complete_arguments_and_no_content() {
        let complete = complete("demo?rate=max&tool=weather", "").await.unwrap();
        let message = &complete["choices"][0]["message"];
        assert_eq!(message["content"], Value::Null);
        assert_eq!(message["tool_calls"][0]["function"]["name"], "weather");
        let arguments = message["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(arguments).unwrap()["city"], "Zürich");
    }

    #[tokio::test]
    async fn log_probabilities_cover_each_token_of_the_text() {
        let complete = complete("demo?rate=max&tokens=9&reasoning=4", r#","logprobs":true"#).await.unwrap();
        assert_eq!(complete["choices"][0]["logprobs"]["content"].as_array().unwrap().len(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn completion_is_returned_when_the_last_token_is_due() {
        let start = tokio::time::Instant::now();
        complete("demo?rate=10&tokens=31&first_token=2s", "").await.unwrap();
        assert_eq!(start.elapsed().as_millis(), 5000);
    }

    #[tokio::test(start_paused = true)]
    async fn fault_is_returned_or_stalls() {
        assert_eq!(complete("demo?fail_at=5", "").await, Err(DemoFault::Fail));
        assert_eq!(complete("demo?close_at=5", "").await, Err(DemoFault::Close));
        let hour = std::time::Duration::from_hours(1);
        assert!(tokio::time::timeout(hour, complete("demo?stall_at=5", "")).await.is_err());
    }
}
