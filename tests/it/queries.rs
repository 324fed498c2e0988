//! Queries: refused parameters, and the texts of the refusals.

use reqwest::Method;
use serde_json::{Value, json};
use tokenrill::api::openapi::document;

use crate::support::{Answer, Service};

const ID: &str = "gen_AAAAAAAAAAAAAAAAAAAAAA";

/// Returns the status and the detail of the response.
async fn refusal(service: &Service, path: &str) -> (u16, Value) {
    let answer = Answer::to(service.request(Method::GET, path)).await;
    let (status, body) = (answer.status, answer.json().await);
    // In OpenAI's format on its own paths.
    (status, body.get("detail").unwrap_or(&body["error"]["message"]).clone())
}

#[tokio::test]
async fn refused_parameter_gets_400_with_its_text() {
    let service = Service::start().await;
    let (generation, events) = (format!("/v1/generations/{ID}"), format!("/v1/generations/{ID}/events"));
    let after = "after must be the id of an event, or the part of it after the generation's id.";
    let wait = "wait must be a duration with its unit, such as 20s or 500ms.";
    let of_generation = "The query is invalid. It accepts after and wait.";
    let of_events = "The query is invalid. It accepts after, format (native or openai or messages or responses or ui) and replay (events or snapshot).";
    let of_list = "The query is invalid. It accepts status, cursor and limit.";
    let of_connections = "The query is invalid. It accepts limit.";
    let of_channel =
        "The query is invalid. It accepts history (a whole number), presence (true or false), after and wait.";
    for (path, query, detail) in [
        (generation.as_str(), "after=01", after),
        (&generation, "after=", after),
        (&generation, "wait=5", wait),
        (&generation, "other=1", of_generation),
        (&generation, "after=1&after=1", of_generation),
        (&generation, "ticket=a&ticket=a", of_generation),
        (&events, "after=-1", after),
        (&events, "format=xml", of_events),
        (&events, "replay=none", of_events),
        (&events, "replay=snapshot&replay=snapshot", of_events),
        (&events, "wait=1s", of_events),
        (
            &events,
            "replay=snapshot&format=openai",
            "replay=snapshot requires the native format: omit replay or format.",
        ),
        ("/v1/generations", "status=unknown", of_list),
        ("/v1/generations", "cursor=x", "cursor must be the value of next in the previous page."),
        ("/v1/generations", "limit=0", "limit must be from 1 to 100."),
        ("/v1/generations", "limit=101", "limit must be from 1 to 100."),
        ("/v1/generations", "limit=x", of_list),
        ("/v1/generations", "ticket=a", of_list),
        ("/v1/connections", "limit=1001", "limit must be from 1 to 1000."),
        ("/v1/connections", "limit=-1", of_connections),
        ("/v1/connections", "other=1", of_connections),
        ("/v1/channels/a/events", "history=100001", "history must be at most 100000."),
        ("/v1/channels/a/events", "history=-1", of_channel),
        ("/v1/channels/a/events", "presence=1", of_channel),
        (
            "/v1/channels/a/events",
            "after=01",
            "after must be a sequence number: the digits after the dot of an event's id.",
        ),
        ("/v1/channels/a/events", "wait=5", wait),
        ("/v1/channels/a/events", "other=1", of_channel),
    ] {
        assert_eq!(refusal(&service, &format!("{path}?{query}")).await, (400, json!(detail)), "{path}?{query}");
    }
}

#[tokio::test]
async fn refusal_of_an_unknown_parameter_names_each_documented_parameter_and_duplicates_are_refused() {
    let service = Service::start().await;
    let document = document();
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let parameters = operations["get"]["parameters"].as_array().into_iter().flatten();
        let names: Vec<_> =
            parameters.filter(|one| one["in"] == "query").filter_map(|one| one["name"].as_str()).collect();
        let path = path.replace("{id}", ID).replace("{name}", "a");
        for name in &names {
            let (status, detail) = refusal(&service, &format!("{path}?other=1")).await;
            let words: Vec<_> =
                detail.as_str().expect("a text").split(|one: char| !one.is_alphanumeric() && one != '_').collect();
            assert!(status == 400 && words.contains(name), "{path}: {name} is missing in {detail}");
            assert_eq!(refusal(&service, &format!("{path}?{name}=&{name}=")).await.0, 400, "{path}: {name}");
            checked += 1;
        }
    }
    assert!(checked >= 13, "{checked} parameters");
}
