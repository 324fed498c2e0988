//! The event streams of channels.

use serde_json::{Value, json};

use super::super::wire::channel;
use super::paths::{SUBSCRIBE, pointer, set};

/// Adds the schema of each event of a channel's stream, and example streams.
pub fn describe_channel_streams(document: &mut Value) {
    let data =
        |schema: Value| json!({"type": "string", "contentMediaType": "application/json", "contentSchema": schema});
    let id = json!({"type": "string", "description": "`<channel>.<sequence>`, the value for `Last-Event-ID`. Absent if the event is ephemeral."});
    let named = channel::EVENTS.map(|name| {
        let schema = match name {
            "joined" | "left" => "PresenceData",
            "gap" => "GapData",
            _ => "ConnectedData",
        };
        json!({
            "type": "object",
            "title": name,
            "required": ["event", "data"],
            "properties": {
                "event": {"const": name},
                "data": data(json!({"$ref": format!("#/components/schemas/{schema}")})),
                "id": id,
            },
        })
    });
    let published = json!({
        "type": "object",
        "title": "published",
        "description": "A published event, with the name that its publisher gave it, or without one. `system.time` has `server-time`, `system.metrics` has `metrics`.",
        "required": ["data"],
        "properties": {"event": {"type": "string"}, "data": data(json!({})), "id": id},
    });
    let of_generation = json!({
        "title": "generation event",
        "description": "As in the generation's own stream, with its id as `generation` in the data. A terminal event does not end the channel's stream.",
        "$ref": "#/components/schemas/GenerationEvent",
    });
    let branches: Vec<Value> = named.into_iter().chain([of_generation, published]).collect();
    let union = json!({"description": "One event. Clients must ignore unknown events.", "anyOf": branches});
    set(document, "/components/schemas", "ChannelStreamEvent", union);
    let content = json!({"schema": {"$ref": "#/components/schemas/ChannelStreamEvent"}, "examples": examples()});
    set(document, &pointer(SUBSCRIBE.0, SUBSCRIBE.1, "/responses/200/content"), "text/event-stream", content);
}

const REPLICA: &str = "rep_AAAAAAAAAAAAAAAAAAAAAA";

/// Returns example streams as text, one for each kind of event.
fn examples() -> Value {
    const FIRST: u64 = 1_795_690_000_000_000;
    const ID: &str = "gen_AAAAAAAAAAAAAAAAAAAAAA";
    let connection = "conn_AAAAAAAAAAAAAAAAAAAAAA";
    let since = "2026-11-26T11:06:40.000Z";
    let block = |channel: &str, name: Option<&str>, data: &Value, retry: &str, at: Option<u64>| {
        let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
        let id = at.map(|at| format!("id: {channel}.{}\n", FIRST + at)).unwrap_or_default();
        format!("{name}data: {data}\n{retry}{id}\n")
    };
    let stream = |channel: &str, present: Option<Value>, events: &[(Option<&str>, Value, Option<u64>)]| {
        let mut connected = json!({"channel": channel, "connection": connection, "subscribers": 1});
        if let Some(present) = present {
            set(&mut connected, "", "present", present);
        }
        let first = block(channel, Some("connected"), &connected, "retry: 1000\n", Some(0));
        let rest = events.iter().map(|(name, data, at)| block(channel, *name, data, "", *at));
        std::iter::once(first).chain(rest).collect::<String>()
    };
    let usage = json!({"input_tokens": 3, "output_tokens": 2, "estimated": false});
    let presence = |subscribers: u64| json!({"connection": "conn_AAAAAAAAAAAAAAAAAAAAAQ", "principal": "ada", "since": since, "subscribers": subscribers});
    let figures = json!({
        "time": since, "streams": 3, "subscribers": 2,
        "generations": {"running": 1, "waiting": 0, "done": 40, "cancelled": 2, "failed": 0},
        "tokens": {"input": 900, "output": 12_000, "saved": 310}, "tokens_per_second": 48.5,
        "first_token_ms": {"p50": 180.5, "p95": 420.0}, "refusals": 0, "memory_bytes": 31_000_000,
        "event_log_bytes": 90_000, "replica": REPLICA,
    });
    let clock = json!({"time": since, "unix_ms": 1_795_690_000_000_u64, "replica": REPLICA});
    let examples = [
        (
            "published",
            "Published events, the last one ephemeral",
            stream(
                "room-1",
                None,
                &[
                    (None, json!({"text": "Your report is ready"}), Some(1)),
                    (Some("said"), json!({"name": "Ada", "text": "Hello"}), Some(2)),
                    (Some("typing"), json!({"name": "Ada"}), None),
                ],
            ),
        ),
        (
            "presence",
            "Subscribers that join and leave, with `presence=true`",
            stream(
                "room-1",
                Some(json!([{"connection": connection, "since": since}])),
                &[(Some("joined"), presence(2), None), (Some("left"), presence(1), None)],
            ),
        ),
        (
            "gap",
            "Events after `Last-Event-ID` are no longer kept",
            stream(
                "room-1",
                None,
                &[
                    (Some("gap"), json!({"from": FIRST + 1, "to": FIRST + 5}), Some(5)),
                    (None, json!("the next"), Some(6)),
                ],
            ),
        ),
        (
            "generation",
            "A generation answers in the channel",
            stream(
                "room-1",
                None,
                &[
                    (Some("start"), json!({"generation": ID, "model": "demo", "created_at": since}), Some(1)),
                    (Some("delta"), json!({"generation": ID, "text": "Hello"}), Some(2)),
                    (
                        Some("done"),
                        json!({"generation": ID, "finish_reason": "stop", "usage": usage, "timings": {"first_token_ms": 180, "total_ms": 240}}),
                        Some(3),
                    ),
                ],
            ),
        ),
        ("system.time", "The server's clock", stream("system.time", None, &[(Some("server-time"), clock, Some(1))])),
        (
            "system.metrics",
            "The service's metrics",
            stream("system.metrics", None, &[(Some("metrics"), figures, Some(1))]),
        ),
    ];
    let examples = examples
        .into_iter()
        .map(|(name, summary, value)| (name.to_owned(), json!({"summary": summary, "value": value})));
    Value::Object(examples.collect())
}
