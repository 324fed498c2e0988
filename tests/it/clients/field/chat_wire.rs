//! A strict client of chat completions, streaming and whole.

use reqwest::RequestBuilder;
use serde_json::Value;

use super::Shown;
use super::reading::Reading;
use crate::support::soon;

/// Reads a stream of chunks to its end.
pub async fn stream(request: RequestBuilder) -> Shown {
    let (status, raw) = send(request).await?;
    if status != 200 {
        return refusal(status, raw);
    }
    let mut chunks = Chunks::default();
    for block in raw.split_terminator("\n\n") {
        if chunks.ended {
            return Err(format!("more after the end: {block}"));
        }
        let data = block.lines().filter(|line| !line.starts_with(':')).collect::<Vec<_>>().join("\n");
        let data = data.strip_prefix("data: ").ok_or_else(|| format!("more than data: {block}"))?;
        if data == "[DONE]" {
            chunks.ended = true;
        } else {
            chunks.read(serde_json::from_str(data).map_err(|error| format!("{error} in {block}"))?)?;
        }
    }
    let mut reading = chunks.into_reading()?;
    reading.raw = raw;
    Ok(reading)
}

/// Waits for the whole completion.
pub async fn whole(request: RequestBuilder) -> Shown {
    let (status, raw) = send(request).await?;
    if status != 200 {
        return refusal(status, raw);
    }
    let body: Value = serde_json::from_str(&raw).map_err(|error| format!("{error} in {raw}"))?;
    if body["object"] != "chat.completion" && !body["object"].is_null() {
        return Err(format!("object is {}", body["object"]));
    }
    let choice = &body["choices"][0];
    let message = &choice["message"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if !message["content"].is_null() && !message["content"].is_string() {
        return Err(format!("content is {}", message["content"]));
    }
    let mut calls = Vec::new();
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        calls.push([strict(&call["id"])?, strict(&call["function"]["name"])?, strict(&call["function"]["arguments"])?]);
    }
    Ok(Reading {
        text: text(&message["content"]),
        reasoning: reasoning(message).unwrap_or_default().to_owned(),
        refusal: text(&message["refusal"]),
        calls,
        finish: choice["finish_reason"].as_str().map(str::to_owned),
        finish_reason_missing: choice["finish_reason_missing"] == true,
        usage: usage(&body["usage"]),
        failure: body["error"]["code"].as_str().map(str::to_owned),
        raw,
        ..Reading::default()
    })
}

async fn send(request: RequestBuilder) -> Result<(u16, String), String> {
    let response = soon(request.send()).await.map_err(|error| format!("no response: {error}"))?;
    let status = response.status().as_u16();
    Ok((status, soon(response.text()).await.map_err(|error| format!("no clean end: {error}"))?))
}

fn refusal(status: u16, raw: String) -> Shown {
    let body: Value = serde_json::from_str(&raw).map_err(|error| format!("{error} in {raw}"))?;
    if !body["error"]["message"].is_string() {
        return Err(format!("{status} without a message: {raw}"));
    }
    let failure = Some(text_of(&body["error"]["code"]));
    Ok(Reading { failure, status: Some(status), raw, ..Reading::default() })
}

/// An upstream's own code may be a number or null.
fn text_of(code: &Value) -> String {
    code.as_str().map_or_else(|| code.to_string(), str::to_owned)
}

fn strict(value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("no string in a call: {value}"))
}

/// Returns the reasoning under either of its two names.
fn reasoning(message: &Value) -> Option<&str> {
    message["reasoning_content"].as_str().or_else(|| message["reasoning"].as_str())
}

fn usage(usage: &Value) -> Option<(i64, i64, bool)> {
    let figure = |name: &str, other: &str| usage[name].as_i64().or_else(|| usage[other].as_i64());
    let figures = figure("prompt_tokens", "input_tokens").zip(figure("completion_tokens", "output_tokens"));
    figures.map(|(input, output)| (input, output, usage["estimated"] == true))
}

/// State of a partially read stream.
#[derive(Default)]
struct Chunks {
    first: Option<Value>,
    reading: Reading,
    calls: Vec<(Value, [String; 3])>,
    roles: usize,
    ended: bool,
}

impl Chunks {
    #[expect(clippy::needless_pass_by_value, reason = "a chunk is read once")]
    fn read(&mut self, chunk: Value) -> Result<(), String> {
        if !chunk["error"].is_null() {
            self.reading.failure = Some(text_of(&chunk["error"]["code"]));
            return Ok(());
        }
        if self.reading.failure.is_some() {
            return Err(format!("more after the error: {chunk}"));
        }
        let first = self.first.get_or_insert_with(|| chunk.clone());
        for name in ["id", "object", "created", "model"] {
            if first[name] != chunk[name] {
                return Err(format!("{name} was {}, and is {}", first[name], chunk[name]));
            }
        }
        let well_formed = chunk["id"].as_str().is_some_and(|id| !id.is_empty())
            && chunk["object"] == "chat.completion.chunk"
            && chunk["created"].is_u64()
            && chunk["model"].is_string()
            && chunk["choices"].is_array();
        if !well_formed {
            return Err(format!("no chunk: {chunk}"));
        }
        if chunk["usage"].is_object() {
            self.reading.usage = usage(&chunk["usage"]);
        }
        for choice in chunk["choices"].as_array().into_iter().flatten() {
            if choice["index"].as_u64().is_none() || !choice["delta"].is_object() {
                return Err(format!("no choice: {choice}"));
            }
            if choice["index"] == 0 {
                self.choice(choice)?;
            }
        }
        Ok(())
    }

    fn choice(&mut self, choice: &Value) -> Result<(), String> {
        let delta = &choice["delta"];
        if !delta["role"].is_null() {
            self.roles += 1;
        }
        if !delta["content"].is_null() && !delta["content"].is_string() {
            return Err(format!("content is {}", delta["content"]));
        }
        self.reading.text += delta["content"].as_str().unwrap_or_default();
        self.reading.reasoning += reasoning(delta).unwrap_or_default();
        self.reading.refusal += delta["refusal"].as_str().unwrap_or_default();
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let function = &call["function"];
            if !function["arguments"].is_null() && !function["arguments"].is_string() {
                return Err(format!("arguments are {}", function["arguments"]));
            }
            let fragment = [&call["id"], &function["name"], &function["arguments"]];
            Reading::fragment(&mut self.calls, &call["index"], fragment);
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            if let Some(before) = self.reading.finish.replace(reason.to_owned()) {
                return Err(format!("two finish reasons: {before}, {reason}"));
            }
            self.reading.finish_reason_missing = choice["finish_reason_missing"] == true;
        }
        Ok(())
    }

    fn into_reading(mut self) -> Shown {
        if self.ended == self.reading.failure.is_some() {
            return Err(format!("[DONE] is {}, the error {:?}", self.ended, self.reading.failure));
        }
        if self.roles > 1 || (self.ended && self.roles == 0) {
            return Err(format!("{} roles", self.roles));
        }
        for (at, (index, call)) in self.calls.into_iter().enumerate() {
            if index != at {
                return Err(format!("call {at} has the index {index}"));
            }
            self.reading.calls.push(call);
        }
        Ok(self.reading)
    }
}
