//! A strict client of the native events and the snapshot.

use reqwest::RequestBuilder;
use serde_json::Value;

use super::Shown;
use super::reading::Reading;
use crate::support::soon;

/// The events of a stream that ended cleanly: name, data, id.
#[derive(Debug, Clone, PartialEq)]
pub struct Events {
    all: Vec<(String, Value, String)>,
    raw: String,
}

/// Reads a stream to its end.
pub async fn follow(request: RequestBuilder) -> Result<Events, String> {
    let response = soon(request.send()).await.map_err(|error| format!("no response: {error}"))?;
    let raw = soon(response.text()).await.map_err(|error| format!("no clean end: {error}"))?;
    let mut all = Vec::new();
    for block in raw.split_terminator("\n\n") {
        let field = |name: &str| {
            let value = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.ok_or_else(|| format!("a block without {name}: {block}"))
        };
        let data = serde_json::from_str(field("data")?).map_err(|error| format!("{error} in {block}"))?;
        all.push((field("event")?.to_owned(), data, field("id").unwrap_or_default().to_owned()));
    }
    if all.is_empty() { Err(format!("no event: {raw}")) } else { Ok(Events { all, raw }) }
}

impl Events {
    /// Returns the generation's path, if the stream began with `start`.
    pub fn path(&self) -> Option<String> {
        let (name, data, _) = &self.all[0];
        (name == "start").then(|| format!("/v1/generations/{}", data["generation"].as_str().unwrap_or_default()))
    }

    pub fn reading(self) -> Shown {
        let mut reading = Reading { raw: self.raw, ..Reading::default() };
        let mut calls = Vec::new();
        let last = self.all.len() - 1;
        for (at, (name, data, id)) in self.all.iter().enumerate() {
            let terminal = matches!(name.as_str(), "done" | "cancelled" | "failed");
            if terminal != (at == last) {
                return Err(format!("{name} as event {at} of {last}"));
            }
            if id.is_empty() && name != "queued" {
                return Err(format!("{name} without an id"));
            }
            if data["choice"].as_u64().unwrap_or(0) > 0 {
                continue;
            }
            let text = data["text"].as_str().unwrap_or_default();
            match name.as_str() {
                "delta" => reading.text += text,
                "reasoning" => reading.reasoning += text,
                "refusal" => reading.refusal += text,
                "tool_call" => {
                    Reading::fragment(&mut calls, &data["index"], [&data["id"], &data["name"], &data["arguments"]]);
                }
                "done" => {
                    reading.finish = data["finish_reason"].as_str().map(str::to_owned);
                    reading.finish_reason_missing = data["finish_reason_missing"] == true;
                }
                "failed" => reading.failure = data["error"]["code"].as_str().map(str::to_owned),
                _ => {}
            }
            if terminal {
                usage(&mut reading, &data["usage"]);
            }
        }
        for (at, (index, call)) in calls.into_iter().enumerate() {
            if index != at {
                return Err(format!("call {at} has the index {index}"));
            }
            reading.calls.push(call);
        }
        Ok(reading)
    }
}

/// Reads the snapshot of an ended generation.
pub async fn snapshot(request: RequestBuilder) -> Shown {
    let response = soon(request.send()).await.map_err(|error| format!("no response: {error}"))?;
    let raw = soon(response.text()).await.map_err(|error| format!("no body: {error}"))?;
    let state: Value = serde_json::from_str(&raw).map_err(|error| format!("{error} in {raw}"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let calls = state["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut reading = Reading {
        text: text(&state["text"]),
        reasoning: text(&state["reasoning"]),
        refusal: text(&state["refusal"]),
        calls: calls.iter().map(|call| [text(&call["id"]), text(&call["name"]), text(&call["arguments"])]).collect(),
        finish: state["finish_reason"].as_str().map(str::to_owned),
        finish_reason_missing: state["finish_reason_missing"] == true,
        failure: state["error"]["code"].as_str().map(str::to_owned),
        raw,
        ..Reading::default()
    };
    usage(&mut reading, &state["usage"]);
    let status = if reading.failure.is_some() { "failed" } else { "done" };
    if state["status"] == status { Ok(reading) } else { Err(format!("the status is {}", state["status"])) }
}

fn usage(reading: &mut Reading, usage: &Value) {
    let figure = |name: &str| usage[name].as_i64();
    reading.usage = figure("input_tokens")
        .zip(figure("output_tokens"))
        .map(|(input, output)| (input, output, usage["estimated"] == true));
    reading.kinds = usage.as_object().cloned().unwrap_or_default();
}
